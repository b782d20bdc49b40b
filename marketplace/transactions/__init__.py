"""Envelopes in, receipts out: the one way to write."""
