"""Sealed payloads beside the log, erasable."""
