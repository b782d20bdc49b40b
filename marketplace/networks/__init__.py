"""Whom the node reaches besides the ledger: HLRs of its networks, the carrier of short messages; signed webhooks."""
