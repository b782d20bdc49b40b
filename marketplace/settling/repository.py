"""Rows of rules version 2, for the operators they name. Every query says who asks."""

from typing import Any, Final, Literal, TypeVar
from uuid import UUID

import asyncpg

from marketplace.access.caller import Caller
from marketplace.listing import columns_of, read_row
from settlement.ledger.state import Cycle, Deal, DealPeriod, Dispute, Obligation, Proposal, Row

R = TypeVar("R", bound=Row)

Debt = Literal["debtor", "creditor"]

_PARTIES: Final[dict[type[Row], tuple[str, str]]] = {
    Obligation: ("debtor", "creditor"),
    Dispute: ("home", "visited"),
    Deal: ("proposer", "partner"),
}
"""Columns with a row's two parties; nobody is both."""
_TABLES: Final[dict[type[Row], str]] = {Obligation: "obligations", Dispute: "disputes", Deal: "deals"}

_PROPOSAL: Final = f"SELECT {columns_of(Proposal)} FROM proposals WHERE "  # noqa: S608 - our own column names
_NAMED: Final = "(proposer = $1 OR parties ? $1)"
_ONE_PROPOSAL: Final = f"{_PROPOSAL} {_NAMED} AND leaf = $2"
_ONE_CYCLE: Final = f"""
SELECT {columns_of(Cycle)} FROM cycles WHERE id = $2
AND ($3 OR EXISTS (SELECT FROM proposals WHERE subject = $2 AND {_NAMED}))
"""  # noqa: S608
_PERIODS: Final = f"SELECT {columns_of(DealPeriod)} FROM deal_periods WHERE deal = $1 ORDER BY number"  # noqa: S608
_PROPOSALS: Final = (
    f"{_PROPOSAL} {_NAMED} AND subject > $2 AND ($4::text IS NULL OR state = $4) AND ($5::text IS NULL OR kind = $5) "
    "ORDER BY subject LIMIT $3"
)


async def list_own(
    pool: asyncpg.Pool,
    row_type: type[R],
    caller: Caller,
    *,
    side: str | None = None,
    state: str | None,
    after: UUID,
    limit: int,
) -> list[R]:
    """Rows that name the caller (as `side`; None: either), by id, past `after`; for overseers everybody's."""
    first, second = _PARTIES[row_type]
    if side is not None:
        first = second = side
    rows = await pool.fetch(
        f"SELECT {columns_of(row_type)} FROM {_TABLES[row_type]} "  # noqa: S608 - our own names
        f"WHERE ($5 OR {first} = $1 OR {second} = $1) AND id > $2 AND ($4::text IS NULL OR state = $4) "
        "ORDER BY id LIMIT $3",
        *(caller.operator, after, limit, state, caller.oversees),
    )
    return [read_row(row_type, row) for row in rows]


async def find_own(pool: asyncpg.Pool, row_type: type[R], caller: Caller, key: UUID) -> R | None:
    """One row that names the caller; for overseers anybody's."""
    first, second = _PARTIES[row_type]
    row = await pool.fetchrow(
        f"SELECT {columns_of(row_type)} FROM {_TABLES[row_type]} "  # noqa: S608 - our own names
        f"WHERE ($3 OR {first} = $1 OR {second} = $1) AND id = $2",
        *(caller.operator, key, caller.oversees),
    )
    return None if row is None else read_row(row_type, row)


async def list_periods(pool: asyncpg.Pool, deal: UUID) -> list[DealPeriod]:
    """The periods of a deal that have traffic or are settled. Whether the caller may see the deal was asked before."""
    return [read_row(DealPeriod, row) for row in await pool.fetch(_PERIODS, deal)]


async def list_proposals(
    pool: asyncpg.Pool, caller: str, *, state: str | None, kind: str | None, after: UUID, limit: int
) -> list[Proposal]:
    """Proposals that `caller` made or is a party of, by subject, past `after`."""
    rows: list[Any] = await pool.fetch(_PROPOSALS, caller, after, limit, state, kind)
    return [read_row(Proposal, row) for row in rows]


async def find_cycle(pool: asyncpg.Pool, caller: Caller, cycle: UUID) -> Cycle | None:
    """One cycle that the caller proposed or is a party of; for overseers anybody's."""
    row = await pool.fetchrow(_ONE_CYCLE, caller.operator, cycle, caller.oversees)
    return None if row is None else read_row(Cycle, row)


async def find_proposal(pool: asyncpg.Pool, caller: str, leaf: str) -> Proposal | None:
    """One proposal that `caller` made or is a party of."""
    row = await pool.fetchrow(_ONE_PROPOSAL, caller, leaf)
    return None if row is None else read_row(Proposal, row)
