"""Writes that wait share a batch; nobody fails for another's item."""

import asyncio

import pytest

from ota.gathering import BATCH_MAX, Gathering


class Store:
    """Remembers its batches; refuses -1 alone, and breaks down as a whole where it finds -2."""

    def __init__(self) -> None:
        self.batches: list[dict[str, int]] = []
        self.open, self.begun = asyncio.Event(), asyncio.Event()
        self.open.set()

    async def run(self, items: dict[str, int]) -> dict[str, int | Exception]:
        self.batches.append(dict(items))
        self.begun.set()
        await self.open.wait()
        if -2 in items.values():
            raise ConnectionError("gone")
        return {key: ValueError(key) if item == -1 else item * 2 for key, item in items.items()}


async def test_what_is_asked_for_while_a_batch_runs_makes_the_next() -> None:
    store = Store()
    gathering = Gathering(store.run)
    store.open.clear()
    first = asyncio.create_task(gathering.ask("a", 1))
    await store.begun.wait()
    more = [asyncio.create_task(gathering.ask(key, 2)) for key in "bcd"]
    await asyncio.sleep(0)
    store.open.set()
    assert await asyncio.gather(first, *more) == [2, 4, 4, 4]
    assert store.batches == [{"a": 1}, {"b": 2, "c": 2, "d": 2}]


async def test_a_key_stands_in_a_batch_once_and_batches_have_an_end() -> None:
    store = Store()
    gathering = Gathering(store.run)
    asked = [gathering.ask("a", 1), gathering.ask("a", 2), *(gathering.ask(f"n{n}", n) for n in range(BATCH_MAX))]
    assert (await asyncio.gather(*asked))[:2] == [2, 4]
    assert [len(batch) for batch in store.batches] == [BATCH_MAX, 2]


async def test_a_refused_item_and_a_broken_batch_are_their_own_callers_matter() -> None:
    store = Store()
    gathering = Gathering(store.run)
    results = await asyncio.gather(*(gathering.ask(str(n), n) for n in (1, -1, -2, 3)), return_exceptions=True)
    assert (results[0], results[3]) == (2, 6)
    assert isinstance(results[1], ValueError)
    assert isinstance(results[2], ConnectionError)


async def test_a_caller_who_is_cancelled_does_not_stop_the_batch() -> None:
    store = Store()
    gathering = Gathering(store.run)
    store.open.clear()
    gone, stays = (asyncio.create_task(gathering.ask(key, 1)) for key in "ab")
    await store.begun.wait()
    gone.cancel()
    store.open.set()
    assert await stays == 2
    with pytest.raises(asyncio.CancelledError):
        await gone
