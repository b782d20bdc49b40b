"""One packet at a time a card, whoever sends: deliveries of profiles, jobs and campaigns take turns.

    async with turns.turn(iccid):
        outcome = await deliver(store, packet, carrier)

Turns are of one process: only one of a node's sends (decision 0082). Who waits longest goes first.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CardTurns:
    """Keeps a lock for each card somebody sends to, and nothing for any other."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, iccid: str) -> AsyncIterator[None]:
        """Wait for the card to be free, and keep it."""
        lock, waiting = self._locks.get(iccid, (asyncio.Lock(), 0))
        self._locks[iccid] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[iccid]
            if waiting == 1:
                del self._locks[iccid]
            else:
                self._locks[iccid] = lock, waiting - 1

    def __len__(self) -> int:
        return len(self._locks)
