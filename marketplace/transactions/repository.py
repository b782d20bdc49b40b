"""One query: an operator's own entry by the id it gave."""

from typing import Final
from uuid import UUID

import asyncpg

from settlement.ledger.tables import entries
from settlement.ledger.turn import StoredEntry

_COLUMNS: Final = ", ".join(f'"{column.name}"' for column in entries.columns)
_BY_ID: Final = f"SELECT {_COLUMNS} FROM entries WHERE id = $1 AND sender = $2"  # noqa: S608 - our own column names


async def find_own_entry(pool: asyncpg.Pool, transaction: UUID, sender: str) -> StoredEntry | None:
    """The entry that `sender` made with this id."""
    row = await pool.fetchrow(_BY_ID, transaction, sender)
    return None if row is None else StoredEntry(*row)
