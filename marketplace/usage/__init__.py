"""Usage of visitors in one's own networks: taken in by IMSI, reported by request, settled by the ledger."""
