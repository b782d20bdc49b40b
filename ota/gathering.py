"""Many callers, one transaction: what is asked for while one batch runs makes the next.

    gathering = Gathering(store_all)                  # store_all({key: item}) -> {key: result}
    result = await gathering.ask(key, item)

There is no timer: a caller who is alone is served at once. A key stands in a batch once; who asks for it again waits
for the next. Where a batch fails, each of its items is tried alone, so that nobody fails for another's item.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")

BATCH_MAX: Final = 256
"""Items a batch: beyond it one statement's parameters cost more than another round trip."""


class Gathering(Generic[K, T, R]):
    """Serves one event loop. `run` is given items by key and gives a result, or an exception, for every key."""

    def __init__(self, run: Callable[[dict[K, T]], Awaitable[dict[K, R | Exception]]]) -> None:
        self._run = run
        self._waiting: deque[tuple[K, T, asyncio.Future[R]]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def ask(self, key: K, item: T) -> R:
        """The result for `item`; raises what its run raised. A caller who is cancelled does not stop the batch."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, item, answer))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            items = {key: item for key, (item, _) in batch.items()}
            try:
                results = await self._run_safely(items)
            except BaseException:
                for _, answer in batch.values():
                    answer.cancel()
                raise
            for key, (_, answer) in batch.items():
                if answer.done():
                    continue
                result = results[key]
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)

    def _next_batch(self) -> dict[K, tuple[T, asyncio.Future[R]]]:
        batch: dict[K, tuple[T, asyncio.Future[R]]] = {}
        later: deque[tuple[K, T, asyncio.Future[R]]] = deque()
        for key, item, answer in self._waiting:
            if key in batch or len(batch) == BATCH_MAX:
                later.append((key, item, answer))
            else:
                batch[key] = item, answer
        self._waiting = later
        return batch

    async def _run_safely(self, items: dict[K, T]) -> dict[K, R | Exception]:
        try:
            return await self._run(items)
        except Exception as error:
            if len(items) == 1:
                return dict.fromkeys(items, error)
        alone: dict[K, R | Exception] = {}
        for key, item in items.items():
            alone |= await self._run_safely({key: item})
        return alone
