"""Deals over HTTP. `by` is whose token was used (`marketplace.staff`)."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, get, post
from litestar.params import Parameter
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED

from marketplace.deals.schemas import Consenting, DealProgress, DealStatus, DealView, Forecast, NewDeal, Settling
from marketplace.debts.schemas import Asked, Refusing
from marketplace.operator_node import Node

Period = Annotated[
    str | None, Parameter(query="period", description="Past use to reckon with: 2026-10, or first/last day; UTC.")
]


class DealController(Controller):
    """Bilateral deals."""

    path = "/deals"
    tags = ("deals",)

    @post("/forecast", status_code=HTTP_200_OK)
    async def forecast(self, node: Node, data: NewDeal, period: Period = None) -> Forecast:
        """Show what a draft would cost on past use, by default of the last whole period; nothing is sent."""
        return await node.deals.forecast(data, period)

    @post("/", status_code=HTTP_202_ACCEPTED)
    async def propose(self, node: Node, by: str, data: NewDeal) -> Asked:
        """Propose a deal to a partner; it is `proposed` once the ledger has taken it."""
        return await node.deals.propose(data, by=by)

    @get("/")
    async def list_all(
        self,
        node: Node,
        in_state: Annotated[DealStatus | None, Parameter(query="state")] = None,
        partner: str | None = None,
    ) -> list[DealView]:
        """List deals, the newest first; `asked` waits for our answer."""
        return await node.deals.list_all(in_state, partner)

    @get("/{deal:uuid}")
    async def show(self, node: Node, deal: UUID) -> DealProgress:
        """Show a deal: used against committed by period and direction, credit, obligations."""
        return await node.deals.show(deal)

    @get("/{deal:uuid}/forecast")
    async def forecast_proposed(self, node: Node, deal: UUID, period: Period = None) -> Forecast:
        """Show what a deal that a partner proposed would cost on past use."""
        return await node.deals.forecast_proposed(deal, period)

    @post("/{deal:uuid}/consent", status_code=HTTP_202_ACCEPTED)
    async def consent(self, node: Node, by: str, deal: UUID, data: Consenting) -> Asked:
        """Agree to a partner's deal: its directions become offers to the two."""
        return await node.deals.consent(deal, data, by=by)

    @post("/{deal:uuid}/refuse", status_code=HTTP_202_ACCEPTED)
    async def refuse(self, node: Node, by: str, deal: UUID, data: Refusing) -> Asked:
        """Do not agree to a partner's deal, or withdraw one's own proposal."""
        return await node.deals.refuse(deal, data, by=by)

    @post("/{deal:uuid}/settle", status_code=HTTP_202_ACCEPTED)
    async def settle(self, node: Node, deal: UUID, data: Settling) -> list[Asked]:
        """Settle a period that is over, or all of them: shortfalls and rebates become obligations."""
        return await node.deals.settle(deal, data)
