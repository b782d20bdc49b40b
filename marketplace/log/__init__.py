"""The log as it is read: checkpoint, tiles, proofs, entries, events."""
