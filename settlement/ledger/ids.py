"""Ids of transactions: UUID version 7 (RFC 9562 §5.7), so that rows of a time lie together in an index."""

import os
import time
from hashlib import blake2b, sha256
from tempfile import SpooledTemporaryFile
from typing import Final
from uuid import UUID

REST: Final = "rest"
"""Label of what is owed after a dispute, because too little was held."""


def new_id(time_ms: int | None = None) -> UUID:
    """A fresh id: 48 bits of milliseconds (now, or `time_ms`), 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000 if time_ms is None else time_ms
    random = int.from_bytes(os.urandom(10), "big") >> 6
    high, low = random >> 62, random & ((1 << 62) - 1)
    return UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low)


def derive_id(base: UUID, label: str) -> UUID:
    """The id of something that follows from an entry without a message of its own: UUID version 8 (RFC 9562 §5.8).

    Never that of a message, which is of version 7.
    """
    digest = int.from_bytes(sha256(base.bytes + label.encode()).digest()[:16], "big")
    return UUID(int=digest & ~(0xF << 76 | 3 << 62) | 8 << 76 | 2 << 62)


def credit_id(deal: UUID, direction: int, period: int) -> UUID:
    """The obligation for usage beyond escrow in a direction of a deal, in one period."""
    return derive_id(deal, f"credit {direction} {period}")


def settlement_ids(deal: UUID, period: int) -> tuple[tuple[UUID, UUID], ...]:
    """(shortfall, rebate) of each direction: the obligations that settling a period of a deal may make."""
    return tuple(
        (derive_id(deal, f"shortfall {direction} {period}"), derive_id(deal, f"rebate {direction} {period}"))
        for direction in range(2)
    )


class IdRegister:
    """Finds a (sender, id) that was used twice, in any number of entries and little memory.

    Digests of 16 octets, with their entry's index, go to as many files as `PARTS` says, in memory until they are
    large; equal pairs meet in the same file, so only one file at a time is looked through.
    """

    PARTS: Final = 64
    """A billion entries then take 400 MB at a time to look through."""
    IN_MEMORY: Final = 1 << 20
    """Octets of a part before it goes to disk: 64 MB in all."""

    def __init__(self) -> None:
        self._parts: dict[int, SpooledTemporaryFile[bytes]] = {}

    def add(self, sender: str, transaction: UUID, index: int) -> None:
        """Note the entry `index`."""
        digest = blake2b(transaction.bytes + sender.encode(), digest_size=16).digest()
        number = digest[0] % self.PARTS
        if (part := self._parts.get(number)) is None:
            part = self._parts[number] = SpooledTemporaryFile(max_size=self.IN_MEMORY)  # noqa: SIM115 - kept
        part.write(digest + index.to_bytes(8, "big"))

    def find_repeated(self) -> tuple[int, int] | None:
        """(first use, repetition) of the repetition that comes first in the log; None where there is none."""
        found: tuple[int, int] | None = None
        for part in self._parts.values():
            part.seek(0)
            seen: dict[bytes, int] = {}
            while record := part.read(24):
                index = int.from_bytes(record[16:], "big")
                first = seen.setdefault(record[:16], index)
                if first != index and (found is None or index < found[1]):
                    found = (first, index)
        return found
