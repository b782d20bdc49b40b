"""Operators and their keys that are valid now: what everybody may know."""

from collections import Counter, defaultdict
from typing import Final
from uuid import UUID

import asyncpg

from marketplace.listing import columns_of, read_row
from settlement.ledger.api import OperatorView, Quality
from settlement.ledger.state import Key, Operator

_LIST: Final = f"SELECT {columns_of(Operator)} FROM operators WHERE id > $1 ORDER BY id LIMIT $2"  # noqa: S608
_ONE: Final = f"SELECT {columns_of(Operator)} FROM operators WHERE id = $1"  # noqa: S608 - our own column names
_KEYS: Final = f"""
SELECT {columns_of(Key)} FROM keys
WHERE operator = ANY($1) AND (until IS NULL OR until > extract(epoch FROM clock_timestamp()) * 1000)
ORDER BY since, kid
"""  # noqa: S608


_QUALITY: Final = """
SELECT state, cause, count(*) AS number FROM requests WHERE visited = $1 AND id >= $2 GROUP BY state, cause
"""


async def measure_quality(pool: asyncpg.Pool, operator: str, *, since: UUID, days: int) -> Quality:
    """What became of the requests on an operator's offers, from the id `since` on (ids are by time)."""
    requests: Counter[str] = Counter()
    causes: dict[str, dict[str, int]] = defaultdict(dict)
    for state, cause, number in await pool.fetch(_QUALITY, operator, since):
        requests[state] += number
        if cause is not None:
            causes[state][cause] = number
    return Quality(operator, days, dict(requests), dict(causes))


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
