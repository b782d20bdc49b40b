"""Finding offers. Every query says who asks: a whitelist hides an offer from all others."""

from typing import Final, Literal
from uuid import UUID

import asyncpg
from msgspec import Struct

from marketplace.listing import columns_of, read_row
from settlement.ledger.state import Offer

Service = Literal["data", "voice", "message", "code"]

_VISIBLE: Final = """
(publisher = $1 OR jsonb_array_length(terms->'whitelist') = 0 OR terms->'whitelist' ? $1)
"""
_ONE: Final = f"SELECT {columns_of(Offer)} FROM offers WHERE id = $2 AND {_VISIBLE}"  # noqa: S608 - our own columns
_SEARCH: Final = f"""
SELECT {columns_of(Offer)} FROM offers
WHERE {_VISIBLE} AND id > $2
AND CASE WHEN $4 THEN publisher = $1 ELSE
    status = 'open' AND coalesce(stock, 1) > 0
    AND (terms->>'valid_until')::bigint > coalesce($5, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    END
AND ($6::text IS NULL OR terms->'countries' ? $6)
AND ($7::text IS NULL OR terms->'plmns' ? $7)
AND ($8::text IS NULL OR terms->>'category' = $8)
AND ($9::text IS NULL OR publisher = $9)
AND ($10::text IS NULL OR CASE terms->'tariff'->>'kind'
    WHEN 'code' THEN $10 = 'code'
    WHEN 'metered' THEN $10 <> 'code'
    ELSE coalesce((terms->'tariff'->>CASE $10 WHEN 'data' THEN 'octets' WHEN 'voice' THEN 'seconds'
                   WHEN 'message' THEN 'messages' ELSE '' END)::bigint, 0) > 0
    END)
AND ($11::bigint IS NULL OR CASE terms->'tariff'->>'kind'
    WHEN 'metered' THEN (terms->'tariff'->>'cap')::bigint BETWEEN 1 AND $11
    ELSE (terms->'tariff'->>'price')::bigint <= $11
    END)
AND ($12::text IS NULL OR EXISTS (
    SELECT FROM (VALUES (terms->'name'), (terms->'description')) AS fields(texts), jsonb_each_text(texts)
    WHERE strpos(lower(value), lower($12)) > 0))
ORDER BY id LIMIT $3
"""  # noqa: S608


class Search(Struct, frozen=True, kw_only=True):
    """What is looked for; None does not restrict. `own`: the caller's own offers in every status, and no others.

    `max_price`: of a bundle or code, or cap of a metered tariff (one without a cap fits no price).
    `valid_at`: the offer is still valid then, milliseconds since the epoch; by default now. `text`: in any language.
    """

    country: str | None = None
    plmn: str | None = None
    category: str | None = None
    service: Service | None = None
    publisher: str | None = None
    max_price: int | None = None
    valid_at: int | None = None
    text: str | None = None
    own: bool = False


async def search_offers(pool: asyncpg.Pool, caller: str, search: Search, *, after: UUID, limit: int) -> list[Offer]:
    """Offers that `caller` may see and order, or its own, by id (which is by time of making), past `after`."""
    rows = await pool.fetch(
        _SEARCH,
        caller,
        after,
        limit,
        search.own,
        search.valid_at,
        search.country,
        search.plmn,
        search.category,
        search.publisher,
        search.service,
        search.max_price,
        search.text,
    )
    return [read_row(Offer, row) for row in rows]


async def find_offer(pool: asyncpg.Pool, caller: str, offer: UUID) -> Offer | None:
    """One offer, open or not, if `caller` may know of it."""
    row = await pool.fetchrow(_ONE, caller, offer)
    return None if row is None else read_row(Offer, row)
