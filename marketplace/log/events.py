"""Server-sent events of an operator's entries (WHATWG HTML §9.2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from marketplace.access.caller import Caller
from marketplace.ledger_node import LedgerNode
from marketplace.log.repository import list_entries
from settlement.ledger.api import PAGE
from settlement.ledger.sequencer import LOST

KEEP_ALIVE_S: Final = 10.0
"""A third of the SDK's patience, and below what proxies take for dead."""
KEEP_ALIVE: Final = b":\n\n"

log = structlog.get_logger(__name__)


async def stream_events(node: LedgerNode, caller: Caller, after: int) -> AsyncIterator[bytes]:
    """The caller's entries past `after`, then each as it becomes durable, for ever.

    When the database is lost the stream ends, and the follower comes again with what it saw last.
    """
    try:
        async for event in _follow(node, caller, after):
            yield event
    except LOST:
        return
    except Exception as error:  # the answer has begun, so nobody above could tell
        log.error("events broke off", operator=caller.operator, exc_info=error)


async def _follow(node: LedgerNode, caller: Caller, after: int) -> AsyncIterator[bytes]:
    encode = msgspec.json.Encoder().encode
    everything = caller.reads_everything
    with node.feed.follow(None if everything else caller.operator) as changed:
        yield KEEP_ALIVE
        while True:
            changed.clear()
            entries, _ = await list_entries(
                node.store.pool, caller.operator, after=after, limit=PAGE, everything=everything
            )
            if entries:
                after = entries[-1].index
                yield b"".join(b"id: %d\ndata: %b\n\n" % (entry.index, encode(entry)) for entry in entries)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), KEEP_ALIVE_S)
                continue
            yield KEEP_ALIVE
