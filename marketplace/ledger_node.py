"""One worker's ledger node: what its controllers work with, opened and closed with the application."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from litestar.di import NamedDependency
from msgspec import Struct

from landfall.errors import LandfallError
from landfall.postgres import open_database
from landfall.settings import Settings
from marketplace.access.tokens import Tokens
from marketplace.ledger_setup import DATABASE, NOT_FOUNDED, LedgerKeys, open_keys, read_origin
from marketplace.log.feed import Feed
from marketplace.log.proofs import Prover
from settlement.ledger.note import Signer
from settlement.ledger.sequencer import LOST, Sequencer
from settlement.ledger.store import LedgerStore

CONNECTIONS: Final = 20
"""Of one worker: one sequences, one listens, the rest read. Eight workers stay within the embedded server's 200."""
REVIVAL_S: Final = 1.0
"""How often the embedded server is looked after."""

log = structlog.get_logger(__name__)


class LedgerNode(Struct, frozen=True):
    """What the controllers work with."""

    origin: str
    store: LedgerStore
    sequencer: Sequencer
    prover: Prover
    tokens: Tokens
    feed: Feed

    async def ping(self) -> None:
        """Raise unless the database answers and entries are sequenced."""
        await self.store.pool.fetchval("SELECT 1")
        if self.sequencer.halted:
            raise RuntimeError(self.sequencer.halted)


Node = NamedDependency[LedgerNode]
"""How a handler asks for it."""


@asynccontextmanager
async def open_node(settings: Settings) -> AsyncIterator[LedgerNode]:
    """Open keys and database and start sequencing. Raises LandfallError where no ledger was founded."""
    keys = open_keys(settings)
    dsn = await asyncio.to_thread(open_database, settings.database_url, settings.data_dir, DATABASE)
    async with LedgerStore.open(dsn, connections=CONNECTIONS) as store, _revive(settings, store):
        node = await _assemble(store, keys)
        await node.sequencer.start()
        await node.feed.start()
        try:
            yield node
        finally:
            await node.feed.stop()
            await node.sequencer.stop()


async def _assemble(store: LedgerStore, keys: LedgerKeys) -> LedgerNode:
    origin = await read_origin(store)
    if origin is None:
        raise LandfallError(NOT_FOUNDED)
    sequencer = Sequencer(store, seed=keys.origin, origin=origin)
    return LedgerNode(
        origin=origin,
        store=store,
        sequencer=sequencer,
        prover=Prover(store, Signer(origin, keys.origin)),
        tokens=Tokens(store.pool, origin=origin, key=keys.token),
        feed=Feed(sequencer),
    )


@asynccontextmanager
async def _revive(settings: Settings, store: LedgerStore) -> AsyncIterator[None]:
    """Start the embedded server again when it has died; one of one's own is looked after by whoever runs it."""

    async def look_after() -> None:
        while True:
            await asyncio.sleep(REVIVAL_S)
            try:
                await store.pool.fetchval("SELECT 1")
            except LOST:
                log.warning("the database does not answer; starting it again")
                with contextlib.suppress(LandfallError):
                    await asyncio.to_thread(open_database, None, settings.data_dir, DATABASE)

    task = asyncio.create_task(look_after()) if settings.database_url is None else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
