"""Entries as their parties read them. Every query says whose they are; `everything` is for auditors alone."""

from typing import Any, Final

import asyncpg
import msgspec

from settlement.ledger.api import Entry
from settlement.ledger.rules.context import Refusal

_COLUMNS: Final = '"index", time, sender, envelope, counterparty, settled, refused'
_OF_OPERATOR: Final = f"""
(SELECT {_COLUMNS} FROM entries WHERE sender = $1 AND "index" > $2 ORDER BY "index" LIMIT $3)
UNION ALL
(SELECT {_COLUMNS} FROM entries WHERE counterparty = $1 AND sender <> $1 AND "index" > $2 ORDER BY "index" LIMIT $3)
ORDER BY "index" LIMIT $3
"""  # noqa: S608 - our own column names
_EVERYTHING: Final = f'SELECT {_COLUMNS} FROM entries WHERE "index" > $1 ORDER BY "index" LIMIT $2'  # noqa: S608
_IS_PARTY: Final = 'SELECT true FROM entries WHERE "index" = $1 AND (sender = $2 OR counterparty = $2)'

_refusals = msgspec.json.Decoder(tuple[Refusal, ...])


async def list_entries(pool: asyncpg.Pool, operator: str, *, after: int, limit: int, everything: bool) -> list[Entry]:
    """Entries past `after` that the operator sent or that name it, in the log's order."""
    if everything:
        rows = await pool.fetch(_EVERYTHING, after, limit)
    else:
        rows = await pool.fetch(_OF_OPERATOR, operator, after, limit)
    return [_read(row) for row in rows]


async def is_party(pool: asyncpg.Pool, index: int, operator: str) -> bool:
    """Whether the operator sent entry `index` or is named by it."""
    return bool(await pool.fetchval(_IS_PARTY, index, operator))


def _read(row: Any) -> Entry:
    return Entry(
        index=row["index"],
        time=row["time"],
        sender=row["sender"],
        envelope=row["envelope"].decode(),
        counterparty=row["counterparty"],
        settled=row["settled"],
        refused=_refusals.decode(row["refused"]) if row["refused"] else (),
    )
