"""The ledger, SDRt, usage, rating, netting and reconciliation."""
