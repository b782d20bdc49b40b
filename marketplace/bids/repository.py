"""Finding requests for bids: every operator may see all that are open."""

from typing import Final
from uuid import UUID

import asyncpg

from marketplace.listing import columns_of, read_row
from settlement.ledger.state import BidRequest

_SEARCH: Final = f"""
SELECT {columns_of(BidRequest)} FROM bid_requests
WHERE id > $1 AND status = 'open' AND until > extract(epoch FROM clock_timestamp()) * 1000
AND ($3::text IS NULL OR buyer = $3)
AND ($4::text IS NULL OR wanted->'countries' ? $4)
AND ($5::text IS NULL OR wanted->'plmns' ? $5)
AND ($6::text IS NULL OR wanted->>'category' = $6)
ORDER BY id LIMIT $2
"""  # noqa: S608 - our own columns


async def search_bid_requests(
    pool: asyncpg.Pool,
    *,
    buyer: str | None,
    country: str | None,
    plmn: str | None,
    category: str | None,
    after: UUID,
    limit: int,
) -> list[BidRequest]:
    """Open requests for bids by id, past `after`; None does not restrict."""
    rows = await pool.fetch(_SEARCH, after, limit, buyer, country, plmn, category)
    return [read_row(BidRequest, row) for row in rows]
