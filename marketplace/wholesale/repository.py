"""Offers and requests in the node's database."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.operator_database import execute, fetch, fetch_one
from marketplace.operator_problems import Refusal
from marketplace.wholesale.schemas import OfferView, RequestView
from settlement.ledger.messages import PlaceRequest, Terms
from settlement.ledger.state import Offer

_terms = msgspec.json.Decoder(Terms)


class _OfferRow(Struct, frozen=True):
    id: UUID
    publisher: str
    state: str
    policy: str
    terms: str
    cause: str | None
    published_ms: int | None
    deal: UUID | None

    def view(self) -> OfferView:
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return OfferView(**{**fields, "terms": _terms.decode(self.terms)})


async def put_offer(
    connection: AsyncConnection, *, offer: UUID, publisher: str, terms: Terms, policy: str, state: str, **more: Any
) -> None:
    """Insert an offer; one that is there keeps its terms and policy."""
    await execute(
        connection,
        "INSERT INTO offers (id, publisher, terms, policy, state, published_ms, deal)"
        " VALUES (:id, :publisher, :terms, :policy, :state, :published, :deal) ON CONFLICT (id) DO NOTHING",
        id=offer,
        publisher=publisher,
        terms=msgspec.json.encode(terms).decode(),
        policy=policy,
        state=state,
        published=more.get("published_ms"),
        deal=more.get("deal"),
    )


async def remember_offer(connection: AsyncConnection, offer: Offer) -> None:
    """Keep another operator's offer, whose terms a request or package cites."""
    await put_offer(
        connection,
        offer=offer.id,
        publisher=offer.publisher,
        terms=offer.terms,
        policy="auto",
        state=offer.status,
        published_ms=offer.published,
        deal=None if offer.deal is UNSET else offer.deal,
    )


async def set_offer_state(
    connection: AsyncConnection, offer: UUID, state: str, *, cause: str | None = None, published_ms: int | None = None
) -> None:
    """Move an offer on."""
    await execute(
        connection,
        "UPDATE offers SET state = :state, cause = :cause, published_ms = coalesce(:published, published_ms)"
        " WHERE id = :id",
        id=offer,
        state=state,
        cause=cause,
        published=published_ms,
    )


async def find_offer(connection: AsyncConnection, offer: UUID) -> OfferView | None:
    """An own or remembered offer."""
    row = await fetch_one(connection, _OfferRow, "SELECT * FROM offers WHERE id = :id", id=offer)
    return None if row is None else row.view()


async def list_offers(connection: AsyncConnection, publisher: str) -> list[OfferView]:
    """A publisher's offers, oldest first."""
    rows = await fetch(connection, _OfferRow, "SELECT * FROM offers WHERE publisher = :p ORDER BY id", p=publisher)
    return [row.view() for row in rows]


async def put_ordered(
    connection: AsyncConnection, message: PlaceRequest, *, home: str, visited: str, placed_ms: int, accept_by_ms: int
) -> None:
    """The home's own row of a request that is on its way to the ledger."""
    await execute(
        connection,
        "INSERT INTO requests (id, role, home, visited, offer, delivery_key, state, placed_ms, accept_by_ms, ends_ms,"
        " escrow_usdr) VALUES (:id, 'home', :home, :visited, :offer, :key, 'ordering', :placed, :accept_by, :ends,"
        " :escrow)",
        id=message.id,
        home=home,
        visited=visited,
        offer=message.offer,
        key=message.delivery_key,
        placed=placed_ms,
        accept_by=accept_by_ms,
        ends=message.ends,
        escrow=message.escrow,
    )


async def set_request_state(
    connection: AsyncConnection, request: UUID, state: str, *, cause: str | None = None
) -> None:
    """Move a request on, where the ledger has no row of it."""
    await execute(
        connection,
        "UPDATE requests SET state = :state, cause = :cause WHERE id = :id",
        id=request,
        state=state,
        cause=cause,
    )


async def get_request(connection: AsyncConnection, request: UUID, *, lock: bool = False) -> RequestView:
    """A request of this operator's, locked against other changes if asked. Raises Refusal `not-found`."""
    sql = "SELECT * FROM requests WHERE id = :id" + (" FOR UPDATE" if lock else "")  # noqa: S608 - no value in it
    found = await fetch_one(connection, RequestView, sql, id=request)
    if found is None:
        raise Refusal("not-found", f"there is no request {request} here")
    return found


async def list_requests(
    connection: AsyncConnection, *, role: str | None = None, state: str | None = None
) -> list[RequestView]:
    """All requests of this operator, oldest first."""
    return await fetch(
        connection,
        RequestView,
        "SELECT * FROM requests WHERE (CAST(:role AS text) IS NULL OR role = :role)"
        " AND (CAST(:state AS text) IS NULL OR state = :state) ORDER BY id",
        role=role,
        state=state,
    )
