"""Requests, for their two parties. Every query says who asks.

A request bears the id of the entry that placed it, which its home operator sent and which names the visited one. So
lists follow the log's indices by sender and by counterparty, and requests need none of their own (docs/decisions/0272).
"""

from typing import Final, Literal
from uuid import UUID

import asyncpg

from marketplace.listing import FIRST, columns_of, read_row
from settlement.ledger.state import Request, RequestState

Side = Literal["home", "visited"]

_PLACED: Final = """
entries CROSS JOIN LATERAL
(SELECT * FROM requests WHERE requests.id = entries.id AND requests.home = entries.sender OFFSET 0) AS request
"""
"""Requests with the entries that placed them; another sender's entry may have the same id.

OFFSET keeps the planner from joining first: it thinks that few would be left, and would sort all that an operator sent.
"""
_ONE: Final = f"SELECT {columns_of(Request)} FROM requests WHERE id = $1 AND (home = $2 OR visited = $2)"  # noqa: S608
_PLACE: Final = f'SELECT "index" FROM {_PLACED} WHERE entries.id = $1 AND $2 IN (home, visited)'  # noqa: S608


def _of(party: Literal["sender", "counterparty"]) -> str:
    return f"""
    (SELECT "index", request.* FROM {_PLACED}
     WHERE entries.{party} = $1 AND "index" > $2
       AND ($4::text IS NULL OR state = $4) AND ($5::uuid IS NULL OR offer = $5)
     ORDER BY "index" LIMIT $3)
    """  # noqa: S608 - our own column names


_SIDES: Final[dict[Side | None, str]] = {
    "home": _of("sender"),
    "visited": _of("counterparty"),
    None: f"{_of('sender')} UNION ALL {_of('counterparty')}",  # nobody is both sides of a request
}
_LIST: Final = {
    side: f'SELECT {columns_of(Request)} FROM ({rows}) AS placed ORDER BY "index" LIMIT $3'  # noqa: S608
    for side, rows in _SIDES.items()
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
    """Requests of `caller` as `side` (None: either), in the log's order, past `after`.

    Raises LookupError where `after` is no request of the caller's.
    """
    place = -1 if after == FIRST else await pool.fetchval(_PLACE, after, caller)
    if place is None:
        raise LookupError(f"there is no request {after} of {caller} to go on after")
    rows = await pool.fetch(_LIST[side], caller, place, limit, state, offer)
    return [read_row(Request, row) for row in rows]


async def find_request(pool: asyncpg.Pool, caller: str, request: UUID) -> Request | None:
    """One request that `caller` is a party of."""
    row = await pool.fetchrow(_ONE, request, caller)
    return None if row is None else read_row(Request, row)
