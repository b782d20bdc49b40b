"""Entries as their parties read them. Every query says whose they are; `everything` is for auditors alone."""

from typing import Any, Final

import asyncpg
import msgspec

from settlement.ledger.api import Entry
from settlement.ledger.rules.context import Refusal

PAGE_OCTETS: Final = 4 * 1024 * 1024
"""Of envelopes in one page: a thousand full usage reports would be 64 MB."""

_COLUMNS: Final = '"index", time, sender, envelope, counterparty, settled, refused'
_OF_OPERATOR: Final = f"""
(SELECT {_COLUMNS} FROM entries WHERE sender = $1 AND "index" > $2 ORDER BY "index" LIMIT $3 + 1)
UNION ALL
(SELECT {_COLUMNS} FROM entries WHERE counterparty = $1 AND sender <> $1 AND "index" > $2 ORDER BY "index" LIMIT $3 + 1)
UNION ALL
(SELECT {_COLUMNS} FROM readers JOIN entries USING ("index")
 WHERE operator = $1 AND "index" > $2 ORDER BY "index" LIMIT $3 + 1)
ORDER BY "index" LIMIT $3 + 1
"""  # noqa: S608 - our own column names
_EVERYTHING: Final = f"""
SELECT {_COLUMNS} FROM entries WHERE $1::text IS NOT NULL AND "index" > $2 ORDER BY "index" LIMIT $3 + 1
"""  # noqa: S608


def _bounded(entries: str) -> str:
    """No more than fit a page in number and octets, but one; `found` tells whether there are others."""
    return f"""
    SELECT {_COLUMNS}, found FROM (
        SELECT *, count(*) OVER () AS found, row_number() OVER entire AS number,
               sum(length(envelope)) OVER entire - length(envelope) AS octets_before
        FROM ({entries}) AS page WINDOW entire AS (ORDER BY "index" ROWS UNBOUNDED PRECEDING)
    ) AS measured WHERE number <= $3 AND octets_before < $4 ORDER BY "index"
    """  # noqa: S608


_LIST: Final = {False: _bounded(_OF_OPERATOR), True: _bounded(_EVERYTHING)}
_IS_PARTY: Final = """
SELECT true FROM entries WHERE "index" = $1 AND (sender = $2 OR counterparty = $2)
UNION SELECT true FROM readers WHERE "index" = $1 AND operator = $2
"""

_refusals = msgspec.json.Decoder(tuple[Refusal, ...])


async def list_entries(
    pool: asyncpg.Pool, operator: str, *, after: int, limit: int, everything: bool
) -> tuple[list[Entry], bool]:
    """Entries past `after` that the operator sent or that name it, in the log's order; and whether there are more."""
    rows = await pool.fetch(_LIST[everything], operator, after, limit, PAGE_OCTETS)
    return [_read(row) for row in rows], bool(rows) and rows[0]["found"] > len(rows)


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
