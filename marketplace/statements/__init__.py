"""Statements: what was charged, paid back and owed, by counterparty and period, from one's own entries."""
