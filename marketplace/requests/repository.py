"""Requests, for their two parties. Every query says who asks."""

from typing import Final, Literal
from uuid import UUID

import asyncpg

from marketplace.listing import columns_of, read_row
from settlement.ledger.state import Request, RequestState

Side = Literal["home", "visited"]

_ONE: Final = f"SELECT {columns_of(Request)} FROM requests WHERE id = $1 AND (home = $2 OR visited = $2)"  # noqa: S608


def _of(side: Side) -> str:
    # One index each (home, id) and (visited, id): nobody is both sides of a request, so the two never overlap.
    return f"""
    (SELECT {columns_of(Request)} FROM requests
     WHERE {side} = $1 AND id > $2 AND ($4::text IS NULL OR state = $4) AND ($5::uuid IS NULL OR offer = $5)
     ORDER BY id LIMIT $3)
    """  # noqa: S608 - our own column names


_LIST: Final[dict[Side | None, str]] = {
    "home": _of("home"),
    "visited": _of("visited"),
    None: f"{_of('home')} UNION ALL {_of('visited')} ORDER BY id LIMIT $3",
}


async def list_requests(
    pool: asyncpg.Pool,
    caller: str,
    *,
    side: Side | None,
    state: RequestState | None,
    offer: UUID | None,
    after: UUID,
    limit: int,
) -> list[Request]:
    """Requests of `caller` as `side` (None: either), by id, past `after`."""
    rows = await pool.fetch(_LIST[side], caller, after, limit, state, offer)
    return [read_row(Request, row) for row in rows]


async def find_request(pool: asyncpg.Pool, caller: str, request: UUID) -> Request | None:
    """One request that `caller` is a party of."""
    row = await pool.fetchrow(_ONE, request, caller)
    return None if row is None else read_row(Request, row)
