"""Several deeds at once.

    engine, cards = await together(engine.run_step(…), travellers.step(…))    # different deeds, all at once
    rows = await for_all(subscribers, enter)                                  # one deed for many, some at once

`asyncio.TaskGroup` wraps what goes wrong into a group; who waits for a ledger that stays away wants `Unreachable`, and
has it from `together`, where the first error is everybody's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

AT_ONCE: Final = 12
"""Calls of `for_all` under way at once: the nodes share two cores with this program."""

T = TypeVar("T")
R = TypeVar("R")


async def together(*deeds: Coroutine[Any, Any, Any]) -> list[Any]:
    """Do all at once; their results, in order. The first that fails ends the others, and its error is raised."""
    tasks = [asyncio.ensure_future(deed) for deed in deeds]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def for_all(items: Iterable[T], deed: Callable[[T], Awaitable[R]]) -> list[R]:
    """Do it for all, some at once; the results in order. The first failure ends the others, and comes in a group."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def do(item: T) -> R:
        async with gate:
            return await deed(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(do(item)) for item in items]
    return [task.result() for task in tasks]
