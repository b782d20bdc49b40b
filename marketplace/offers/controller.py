"""`/v1/offers`: what may be ordered."""

from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, Request, get
from litestar.params import FromPath, FromQuery, QueryParameter

from marketplace.access.caller import BearerAuthentication, Caller
from marketplace.ledger_node import Node
from marketplace.listing import FIRST, Limit, to_page
from marketplace.offers.repository import Search, Service, find_offer, search_offers
from marketplace.openapi import BEARER
from marketplace.problems import require
from settlement.ledger.api import PAGE, Page, Path
from settlement.ledger.messages import MAX_TIME, Category
from settlement.ledger.state import Offer
from settlement.money import MAX_AMOUNT


class OfferController(Controller):
    """Finding offers, as their whitelists allow."""

    path = Path.OFFERS
    tags = ("offers",)
    middleware = (BearerAuthentication,)
    security = BEARER

    @get(summary="Search offers")
    async def search(
        self,
        request: Request[Caller, Any, Any],
        node: Node,
        country: Annotated[str | None, QueryParameter(pattern="^[A-Z]{2}$", description="ISO 3166-1 alpha-2.")] = None,
        plmn: Annotated[str | None, QueryParameter(pattern="^[0-9]{5,6}$", description="MCC and MNC.")] = None,
        category: FromQuery[Category | None] = None,
        service: Annotated[Service | None, QueryParameter(description="What the tariff must sell.")] = None,
        publisher: Annotated[str | None, QueryParameter(max_length=32)] = None,
        max_price: Annotated[
            int | None, QueryParameter(ge=0, le=MAX_AMOUNT, description="Micro-SDRt: price, or a metered offer's cap.")
        ] = None,
        valid_at: Annotated[
            int | None, QueryParameter(ge=0, le=MAX_TIME, description="Milliseconds since the epoch; by default now.")
        ] = None,
        q: Annotated[str | None, QueryParameter(max_length=200, description="Text, in any of its languages.")] = None,
        status: Annotated[
            Literal["open", "all"], QueryParameter(description="`all`: the caller's own, whatever their status.")
        ] = "open",
        after: Annotated[UUID, QueryParameter(description="Id of the last offer seen.")] = FIRST,
        limit: Limit = PAGE,
    ) -> Page[Offer]:
        """Offers that are open, in stock, valid, and visible to the caller, oldest first.

        Example: `curl -H "authorization: Bearer $TOKEN" '…/v1/offers?country=ES&service=data&max_price=5000000'`
        """
        search = Search(
            country=country,
            plmn=plmn,
            category=category,
            service=service,
            publisher=publisher,
            max_price=max_price,
            valid_at=valid_at,
            text=q,
            own=status == "all",
        )
        rows = await search_offers(node.store.pool, request.user.operator, search, after=after, limit=limit + 1)
        return to_page(rows, limit, lambda offer: offer.id)

    @get("/{offer:uuid}", summary="One offer")
    async def read(self, request: Request[Caller, Any, Any], node: Node, offer: FromPath[UUID]) -> Offer:
        """One offer in any status, if the caller may know of it.

        Example: `curl -H "authorization: Bearer $TOKEN" …/v1/offers/01890a5d-ac96-774b-bcce-b302099a8057`
        """
        found = await find_offer(node.store.pool, request.user.operator, offer)
        return require(found, f"offer {offer} for {request.user.operator}")
