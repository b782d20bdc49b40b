"""The node's own database: transactions, rows as structs, and a bell that rings when something was committed.

    async with database.begin() as connection:
        request = await fetch_one(connection, Request, "SELECT * FROM requests WHERE id = :id", id=request_id)

SQL stands in the repositories of the domains; columns bear the names of the struct's fields.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from landfall.postgres import make_engine

CONNECTIONS: Final = 12
"""HTTP handlers and four background loops of one process; a node needs no more."""

T = TypeVar("T")


class Database:
    """A pool of connections to the node's PostgreSQL."""

    def __init__(self, dsn: str) -> None:
        # hide_parameters: an error's text goes into logs, and parameters are subscribers and keys.
        self.engine = make_engine(dsn, pool_size=CONNECTIONS, max_overflow=CONNECTIONS, hide_parameters=True)
        self._bells: list[asyncio.Event] = []

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits at the end; then every bell rings."""
        async with self.engine.begin() as connection:
            yield connection
        for bell in self._bells:
            bell.set()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection to look only."""
        async with self.engine.connect() as connection:
            yield connection

    def bell(self) -> asyncio.Event:
        """An event that is set after every commit of this process; whoever waits for it clears it."""
        bell = asyncio.Event()
        bell.set()
        self._bells.append(bell)
        return bell

    @contextmanager
    def listen(self) -> Iterator[asyncio.Event]:
        """A bell for as long as somebody listens."""
        bell = self.bell()
        try:
            yield bell
        finally:
            self._bells.remove(bell)

    async def ping(self) -> None:
        """Raise where the database does not answer."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


async def fetch(connection: AsyncConnection, kind: type[T], sql: str, **parameters: Any) -> list[T]:
    """All rows of a statement as `kind`, which names columns that are there; others are left out."""
    result = await connection.execute(text(sql), parameters)
    return [msgspec.convert(dict(row), kind) for row in result.mappings()]


async def fetch_one(connection: AsyncConnection, kind: type[T], sql: str, **parameters: Any) -> T | None:
    """The first row as `kind`, or None."""
    row = (await connection.execute(text(sql), parameters)).mappings().first()
    return None if row is None else msgspec.convert(dict(row), kind)


async def execute(connection: AsyncConnection, sql: str, **parameters: Any) -> int:
    """Run a statement; how many rows it touched."""
    return int((await connection.execute(text(sql), parameters)).rowcount)


async def execute_many(connection: AsyncConnection, sql: str, rows: list[dict[str, Any]]) -> None:
    """Run a statement once a row."""
    if rows:
        await connection.execute(text(sql), rows)


async def scalar(connection: AsyncConnection, sql: str, **parameters: Any) -> Any:
    """The first column of the first row, or None."""
    return await connection.scalar(text(sql), parameters)


async def await_bell(bell: asyncio.Event, timeout_s: float) -> None:
    """Wait until something was committed, at most `timeout_s`: other processes and the clock ring no bell."""
    try:
        async with asyncio.timeout(timeout_s):
            await bell.wait()
    except TimeoutError:
        pass
    bell.clear()
