"""One query: the caller's own account."""

from typing import Final

import asyncpg

from marketplace.listing import columns_of, read_row
from settlement.ledger.state import Account

_OWN: Final = f"SELECT {columns_of(Account)} FROM accounts WHERE operator = $1"  # noqa: S608 - our own column names


async def read_account(pool: asyncpg.Pool, operator: str) -> Account:
    """The account of an admitted operator; there is always one."""
    return read_row(Account, await pool.fetchrow(_OWN, operator))
