"""Purchases: paid, ordered on the ledger, delivered to the card, refunded where an item came to nothing."""
