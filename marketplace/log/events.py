"""Server-sent events of an operator's entries (WHATWG HTML §9.2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import msgspec

from marketplace.access.caller import Caller
from marketplace.ledger_node import LedgerNode
from marketplace.log.repository import list_entries
from settlement.ledger.api import PAGE

KEEP_ALIVE_S: Final = 10.0
"""A third of the SDK's patience, and below what proxies take for dead."""


async def stream_events(node: LedgerNode, caller: Caller, after: int) -> AsyncIterator[bytes]:
    """The caller's entries past `after`, then each as it becomes durable, for ever."""
    encode = msgspec.json.Encoder().encode
    everything = caller.reads_everything
    with node.feed.follow(None if everything else caller.operator) as changed:
        yield b": here you are\n\n"
        while True:
            changed.clear()
            entries = await list_entries(
                node.store.pool, caller.operator, after=after, limit=PAGE, everything=everything
            )
            if entries:
                after = entries[-1].index
                yield b"".join(b"id: %d\ndata: %b\n\n" % (entry.index, encode(entry)) for entry in entries)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), KEEP_ALIVE_S)
                continue
            yield b":\n\n"
