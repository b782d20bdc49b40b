"""The ledger in PostgreSQL: a pool, the head, what is read of the log, and `turn()`, the one way to write.

    async with LedgerStore.open(dsn) as store:
        head = await store.head()
        async with store.turn() as turn:          # advisory lock, head, clock; commits at the end or not at all
            await turn.load(state, envelopes)
            await turn.write(entries, tree_rows, state, head)

Reading never waits for a writer, and sees only what is committed.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import msgspec

from settlement.ledger.execution import EMPTY_CHAIN
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import Frontier
from settlement.ledger.rows import KeptRows
from settlement.ledger.tiles import TILE_WIDTH, Tile, encode_bundle
from settlement.ledger.turn import Head, Turn

LOCK: Final = 0x53657175_656E6365  # "Sequence"
"""The advisory lock whose holder is the sequencer."""
CLOSE_TIMEOUT_S: Final = 5.0
"""A connection that is not given back by then is cut: its transaction rolls back, which is always safe."""
BARRIER_S: Final = 10.0
"""How long a server may take for one commit before it counts as deposed; a checkpoint of a slow disk fits in."""
CHANNEL: Final = "landfall_head"
"""Where commits are announced with the new size."""


class LedgerStore:
    """A pool of connections to one ledger's database, and the queries of its log. Made by `open`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self._kept = KeptRows()

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str, *, connections: int = 10) -> AsyncIterator["LedgerStore"]:
        """Connect; the tables must be there. `connections`: at most, for this process."""
        pool = await asyncpg.create_pool(
            dsn,
            min_size=2,
            max_size=connections,
            init=_prepare_connection,
            server_settings=_SESSION,
            connection_class=_Connection,
        )
        try:
            yield cls(pool)
        finally:
            try:
                await asyncio.wait_for(pool.close(), CLOSE_TIMEOUT_S)
            except TimeoutError:
                pool.terminate()

    async def head(self) -> Head:
        """The committed end of the log; an empty log has one too."""
        return _head(await self.pool.fetchrow(_HEAD))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Hold the sequencer's lock for one transaction that commits at the end of the block.

        Only one turn runs at a time, over all processes of this database. The head is read by a statement of its own
        after the lock is held, as one that waited for the lock would read a stale head.
        """
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            row = await connection.fetchrow(_HEAD_AND_CLOCK)
            if row is None:
                await connection.execute(_FIRST_HEAD, EMPTY_CHAIN, Frontier().to_bytes())
                row = await connection.fetchrow(_HEAD_AND_CLOCK)
            yield Turn(connection, self._kept, _head(row), int(row["clock"]))

    async def promote(self) -> int:
        """Raise the epoch, and return it: sequencers that began before never commit again (docs/decisions/0131)."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            epoch: int | None = await connection.fetchval(_PROMOTE)
            if epoch is None:
                raise LookupError("the ledger has no entries yet: there is nothing to promote")
            return epoch

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AsyncIterator[int]]:
        """Sizes of the log as any process commits, until the connection is lost."""
        heard: asyncio.Queue[int | None] = asyncio.Queue()

        def hear(_connection: object, _pid: int, _channel: str, size: str) -> None:
            heard.put_nowait(int(size))

        async def sizes() -> AsyncIterator[int]:
            while (size := await heard.get()) is not None:
                yield size

        connection = await self.pool.acquire()
        try:
            connection.add_termination_listener(lambda _connection: heard.put_nowait(None))
            await connection.add_listener(CHANNEL, hear)
            yield sizes()
        finally:
            if not connection.is_closed():
                await connection.remove_listener(CHANNEL, hear)
            await self.pool.release(connection)

    async def node_tiles(self, tiles: Iterable[Tile]) -> dict[Tile, bytes]:
        """Hash tiles by name: level 0 from the leaves, above from the tree. Raises LookupError."""
        found: dict[Tile, bytes] = {}
        async with self.pool.acquire() as connection:
            for tile in tiles:
                first = tile.number * TILE_WIDTH
                if tile.level == 0:
                    rows = await connection.fetch(_LEAVES, first, first + tile.width)
                else:
                    rows = await connection.fetch(_TREE, tile.level, first, first + tile.width)
                if len(rows) != tile.width:
                    raise LookupError(f"the tree has no {tile.path}: {len(rows)} of {tile.width} hashes")
                found[tile] = b"".join(row[0] for row in rows)
        return found

    async def leaves(self, first: int, end: int) -> list[bytes]:
        """Data of the leaves first ≤ index < end, as many as there are."""
        rows = await self.pool.fetch(_ENVELOPES, first, end)
        return [leaf_data(row["time"], row["envelope"]) for row in rows]

    async def bundle(self, tile: Tile) -> bytes:
        """The C2SP entry bundle of a tile's leaves. Raises LookupError where they are not all there."""
        first = tile.number * TILE_WIDTH
        leaves = await self.leaves(first, first + tile.width)
        if len(leaves) != tile.width:
            raise LookupError(f"the log has no {tile.path}: {len(leaves)} of {tile.width} entries")
        return encode_bundle(leaves)


_SESSION: Final = {"enable_seqscan": "off", "jit": "off"}
"""Every statement on the hot path finds rows by key. Given at the start of a session, so a pool's reset keeps it."""
_HEAD: Final = "SELECT * FROM head"
_HEAD_AND_CLOCK: Final = "SELECT *, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS clock FROM head"
_FIRST_HEAD: Final = "INSERT INTO head (id, size, time, chain, frontier, digested) VALUES (1, 0, 0, $1, $2, 0)"
_PROMOTE: Final = "UPDATE head SET epoch = epoch + 1 RETURNING epoch"
_BARRIER: Final = "SELECT pg_logical_emit_message(true, 'landfall', '')"
"""Writes a commit and nothing else."""
_LEAVES: Final = 'SELECT leaf FROM entries WHERE "index" >= $1 AND "index" < $2 ORDER BY "index"'
_TREE: Final = 'SELECT hash FROM tree WHERE level = $1 AND "index" >= $2 AND "index" < $3 ORDER BY "index"'
_ENVELOPES: Final = 'SELECT time, envelope FROM entries WHERE "index" >= $1 AND "index" < $2 ORDER BY "index"'


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg tells no types
    """One that is given back as it is: nothing here outlives a transaction but a listener, which takes itself away."""

    def get_reset_query(self) -> str:
        return ""


def _head(row: asyncpg.Record | None) -> Head:
    if row is None:
        return Head()
    frontier = Frontier.from_bytes(row["frontier"])
    head = Head(row["size"], row["time"], row["chain"], frontier, row["digested"], row["epoch"], row["renewed"])
    assert head.frontier.size == head.size, f"the head says {head.size} entries, its tree {head.frontier.size}"
    return head


async def _prepare_connection(connection: asyncpg.Connection) -> None:
    """JSONB as plain Python values; and nothing is read before the server has shown that it still commits.

    A primary that was deposed comes back with commits that no standby ever had, and shows them. Where a standby must
    confirm, a commit of ours is confirmed only with everything before it, so a deposed server is never believed
    (docs/decisions/0210). Raises ConnectionError after BARRIER_S.
    """
    try:
        await asyncio.wait_for(connection.execute(_BARRIER), BARRIER_S)
    except TimeoutError:
        raise ConnectionError(
            f"the database does not commit within {BARRIER_S:.0f} s: its synchronous standby does not confirm. "
            "Start the standby; if this server was deposed, bring it back as a standby of the new primary."
        ) from None
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=_decode_jsonb, format="binary"
    )


def _encode_jsonb(value: Any) -> bytes:
    return b"\x01" + msgspec.json.encode(value)


def _decode_jsonb(value: bytes) -> Any:
    return msgspec.json.decode(value[1:])
