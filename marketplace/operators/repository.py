"""Operators and their keys that are valid now: what everybody may know."""

from collections import defaultdict
from typing import Final

import asyncpg

from marketplace.listing import columns_of, read_row
from settlement.ledger.api import OperatorView
from settlement.ledger.state import Key, Operator

_LIST: Final = f"SELECT {columns_of(Operator)} FROM operators WHERE id > $1 ORDER BY id LIMIT $2"  # noqa: S608
_ONE: Final = f"SELECT {columns_of(Operator)} FROM operators WHERE id = $1"  # noqa: S608 - our own column names
_KEYS: Final = f"""
SELECT {columns_of(Key)} FROM keys
WHERE operator = ANY($1) AND (until IS NULL OR until > extract(epoch FROM clock_timestamp()) * 1000)
ORDER BY since, kid
"""  # noqa: S608


async def list_operators(pool: asyncpg.Pool, *, after: str, limit: int) -> list[OperatorView]:
    """Operators by id, past `after`."""
    return await _with_keys(pool, await pool.fetch(_LIST, after, limit))


async def find_operator(pool: asyncpg.Pool, operator: str) -> OperatorView | None:
    """One operator."""
    found = await _with_keys(pool, await pool.fetch(_ONE, operator))
    return found[0] if found else None


async def _with_keys(pool: asyncpg.Pool, rows: list[asyncpg.Record]) -> list[OperatorView]:
    keys: dict[str, list[Key]] = defaultdict(list)
    for record in await pool.fetch(_KEYS, [row["id"] for row in rows]):
        keys[record["operator"]].append(read_row(Key, record))
    return [OperatorView(read_row(Operator, row), tuple(keys[row["id"]])) for row in rows]
