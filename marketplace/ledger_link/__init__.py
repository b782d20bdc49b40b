"""The node's one way to the ledger: an outbox of signed messages, a follower of entries, tasks that follow."""
