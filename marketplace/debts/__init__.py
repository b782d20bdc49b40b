"""Debts outside of escrow: invoices uploaded and confirmed, obligations paid, netting cycles consented to."""
