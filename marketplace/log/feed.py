"""Who should look at the log again: each operator's followers wake when an entry names that operator, and only then.

One task a process follows the commits and asks once for each who is named in them, so a thousand idle followers cost
the database nothing.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

import structlog

from settlement.ledger.sequencer import LOST, RETRY_S, Sequencer

log = structlog.get_logger(__name__)


class Feed:
    """Wakes followers. `start` and `stop` belong to the process; `follow` to one follower."""

    def __init__(self, sequencer: Sequencer) -> None:
        self._sequencer = sequencer
        self._followers: dict[str | None, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow the commits of all processes."""
        self._task = asyncio.create_task(self._watch((await self._sequencer.store.head()).size))

    async def stop(self) -> None:
        """Wake nobody any more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @contextlib.contextmanager
    def follow(self, operator: str | None) -> Iterator[asyncio.Event]:
        """An event that is set when there may be entries of this operator; None: whenever there are entries."""
        event = asyncio.Event()
        self._followers[operator].add(event)
        try:
            yield event
        finally:
            self._followers[operator].discard(event)
            if not self._followers[operator]:
                del self._followers[operator]

    async def _watch(self, seen: int) -> None:
        while True:
            size = await self._sequencer.wait_beyond(seen)
            try:
                for operator in [None, *await self._named(seen, size)]:
                    for event in self._followers.get(operator, ()):
                        event.set()
                seen = size
            except LOST:
                await asyncio.sleep(RETRY_S)

    async def _named(self, first: int, end: int) -> list[str]:
        if not self._followers:
            return []
        rows = await self._sequencer.store.pool.fetch(_NAMED, first, end)
        return [row[0] for row in rows if row[0] is not None]


_NAMED = """
SELECT DISTINCT name FROM entries, LATERAL (VALUES (sender), (counterparty)) AS parties(name)
WHERE "index" >= $1 AND "index" < $2
UNION SELECT operator FROM readers WHERE "index" >= $1 AND "index" < $2
"""
