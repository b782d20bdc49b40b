"""`/v1/requests-for-bids`: what buyers look for and find no offer of."""

from typing import Annotated

from litestar import Controller, get
from litestar.params import FromQuery, QueryParameter

from marketplace.access.caller import BearerAuthentication
from marketplace.bids.repository import search_bid_requests
from marketplace.ledger_node import Node
from marketplace.listing import FIRST, After, Limit, to_page
from marketplace.openapi import BEARER
from settlement.ledger.api import PAGE, Page, Path
from settlement.ledger.messages import Category
from settlement.ledger.state import BidRequest


class BidRequestController(Controller):
    """Requests for bids; a bid itself is an offer with `bid_for`, and only its buyer finds it."""

    path = Path.BIDS
    tags = ("offers",)
    middleware = (BearerAuthentication,)
    security = BEARER

    @get(summary="Search requests for bids")
    async def search(
        self,
        node: Node,
        buyer: Annotated[str | None, QueryParameter(max_length=32)] = None,
        country: Annotated[str | None, QueryParameter(pattern="^[A-Z]{2}$", description="ISO 3166-1 alpha-2.")] = None,
        plmn: Annotated[str | None, QueryParameter(pattern="^[0-9]{5,6}$", description="MCC and MNC.")] = None,
        category: FromQuery[Category | None] = None,
        after: After = FIRST,
        limit: Limit = PAGE,
    ) -> Page[BidRequest]:
        """What buyers look for now, oldest first.

        Example: `curl -H "authorization: Bearer $TOKEN" '…/v1/requests-for-bids?country=ES'`
        """
        rows = await search_bid_requests(
            node.store.pool,
            buyer=buyer,
            country=country,
            plmn=plmn,
            category=category,
            after=after,
            limit=limit + 1,
        )
        return to_page(rows, limit, lambda bids: bids.id)
