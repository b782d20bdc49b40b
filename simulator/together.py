"""Several deeds at once, of which the first error is everybody's.

`asyncio.TaskGroup` wraps what goes wrong into a group; who waits for a ledger that stays away wants `Unreachable`.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*deeds: Coroutine[Any, Any, Any]) -> list[Any]:
    """Do all at once; their results, in order. The first that fails ends the others, and its error is raised."""
    tasks = [asyncio.ensure_future(deed) for deed in deeds]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
