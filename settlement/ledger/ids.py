"""Ids of transactions: UUID version 7 (RFC 9562 §5.7), so that rows of a time lie together in an index."""

import os
import time
from uuid import UUID


def new_id(time_ms: int | None = None) -> UUID:
    """A fresh id: 48 bits of milliseconds (now, or `time_ms`), 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000 if time_ms is None else time_ms
    random = int.from_bytes(os.urandom(10), "big") >> 6
    high, low = random >> 62, random & ((1 << 62) - 1)
    return UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low)
