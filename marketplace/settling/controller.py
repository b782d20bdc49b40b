"""Proposals, obligations, cycles, disputes and deals: for the operators they name, and nobody else."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, get
from litestar.params import FromPath, FromQuery, QueryParameter

from marketplace.access.caller import BearerAuthentication, Caller
from marketplace.ledger_node import Node
from marketplace.listing import FIRST, After, Limit, to_page
from marketplace.openapi import BEARER
from marketplace.problems import require
from marketplace.requests.repository import Side
from marketplace.settling.repository import (
    Debt,
    R,
    find_cycle,
    find_own,
    find_proposal,
    list_own,
    list_periods,
    list_proposals,
)
from settlement.ledger.api import PAGE, Page, Path
from settlement.ledger.state import (
    Cycle,
    Deal,
    DealPeriod,
    DealState,
    Dispute,
    DisputeState,
    Obligation,
    ObligationState,
    Proposal,
    ProposalKind,
    ProposalState,
)


class ProposalController(Controller):
    """Proposals of the caller, and to it."""

    path = Path.PROPOSALS
    tags = ("settlement",)
    middleware = (BearerAuthentication,)
    security = BEARER

    @get(summary="Proposals you made or are asked about")
    async def list_own(
        self,
        request: Request[Caller, Any, Any],
        node: Node,
        state_: Annotated[ProposalState | None, QueryParameter(name="state")] = None,
        kind: FromQuery[ProposalKind | None] = None,
        after: Annotated[UUID, QueryParameter(description="`subject` of the last one seen.")] = FIRST,
        limit: Limit = PAGE,
    ) -> Page[Proposal]:
        """Oldest first. `leaf` is what a `consent` cites; `subject` is the id of the obligation, cycle or deal.

        Example: `curl -H "authorization: Bearer $TOKEN" '…/v1/proposals?state=open'`
        """
        rows = await list_proposals(
            node.store.pool, request.user.operator, state=state_, kind=kind, after=after, limit=limit + 1
        )
        return to_page(rows, limit, lambda row: row.subject)

    @get("/{leaf:str}", summary="One proposal")
    async def read(self, request: Request[Caller, Any, Any], node: Node, leaf: FromPath[str]) -> Proposal:
        """One proposal, by the leaf hash of its entry: who has consented, until when the others may.

        Example: `curl -H "authorization: Bearer $TOKEN" …/v1/proposals/9f86d081884c7d65…`
        """
        found = await find_proposal(node.store.pool, request.user.operator, leaf)
        return require(found, f"proposal {leaf[:64]} of {request.user.operator}")


class ObligationController(Controller):
    """Debts of the caller, and to it."""

    path = Path.OBLIGATIONS
    tags = ("settlement",)
    middleware = (BearerAuthentication,)
    security = BEARER

    @get(summary="What you owe and are owed")
    async def list_own(
        self,
        request: Request[Caller, Any, Any],
        node: Node,
        role: Annotated[Debt | None, QueryParameter(description="The caller's side; by default either.")] = None,
        state_: Annotated[ObligationState | None, QueryParameter(name="state")] = None,
        after: After = FIRST,
        limit: Limit = PAGE,
    ) -> Page[Obligation]:
        """Obligations by id, with what remains of each; everybody's for the issuer and auditors, so that they can net.

        Example: `curl -H "authorization: Bearer $TOKEN" '…/v1/obligations?role=debtor&state=open'`
        """
        rows = await list_own(
            node.store.pool, Obligation, request.user, side=role, state=state_, after=after, limit=limit + 1
        )
        return to_page(rows, limit, lambda row: row.id)

    @get("/{obligation:uuid}", summary="One obligation")
    async def read(self, request: Request[Caller, Any, Any], node: Node, obligation: FromPath[UUID]) -> Obligation:
        """One obligation that the caller owes or is owed.

        Example: `curl -H "authorization: Bearer $TOKEN" …/v1/obligations/01890a5d-ac96-774b-bcce-b302099a8057`
        """
        return await read_own(request, node, Obligation, obligation)


class CycleController(Controller):
    """Netting cycles of the caller."""

    path = Path.CYCLES
    tags = ("settlement",)
    middleware = (BearerAuthentication,)
    security = BEARER

    @get("/{cycle:uuid}", summary="One netting cycle")
    async def read(self, request: Request[Caller, Any, Any], node: Node, cycle: FromPath[UUID]) -> Cycle:
        """One cycle that the caller proposed or must consent to: every change, cap and new debt.

        Example: `curl -H "authorization: Bearer $TOKEN" …/v1/cycles/01890a5d-ac96-774b-bcce-b302099a8057`
        """
        found = await find_cycle(node.store.pool, request.user, cycle)
        return require(found, f"cycle {cycle} of {request.user.operator}")


class DisputeController(Controller):
    """Disputes of the caller, and with it."""

    path = Path.DISPUTES
    tags = ("settlement",)
    middleware = (BearerAuthentication,)
    security = BEARER

    @get(summary="Disputes you raised or must answer")
    async def list_own(
        self,
        request: Request[Caller, Any, Any],
        node: Node,
        role: Annotated[Side | None, QueryParameter(description="The caller's side; by default either.")] = None,
        state_: Annotated[DisputeState | None, QueryParameter(name="state")] = None,
        after: After = FIRST,
        limit: Limit = PAGE,
    ) -> Page[Dispute]:
        """Disputes by id, with what is held and until when the next step is to come; all for the issuer and auditors.

        Example: `curl -H "authorization: Bearer $TOKEN" '…/v1/disputes?role=visited&state=raised'`
        """
        rows = await list_own(
            node.store.pool, Dispute, request.user, side=role, state=state_, after=after, limit=limit + 1
        )
        return to_page(rows, limit, lambda row: row.id)

    @get("/{dispute:uuid}", summary="One dispute")
    async def read(self, request: Request[Caller, Any, Any], node: Node, dispute: FromPath[UUID]) -> Dispute:
        """One dispute of the caller.

        Example: `curl -H "authorization: Bearer $TOKEN" …/v1/disputes/01890a5d-ac96-774b-bcce-b302099a8057`
        """
        return await read_own(request, node, Dispute, dispute)


class DealController(Controller):
    """Deals of the caller."""

    path = Path.DEALS
    tags = ("settlement",)
    middleware = (BearerAuthentication,)
    security = BEARER

    @get(summary="Your deals")
    async def list_own(
        self,
        request: Request[Caller, Any, Any],
        node: Node,
        state_: Annotated[DealState | None, QueryParameter(name="state")] = None,
        after: After = FIRST,
        limit: Limit = PAGE,
    ) -> Page[Deal]:
        """Deals by id, with their terms and what is owed on credit now. Their offers are found like all offers.

        Example: `curl -H "authorization: Bearer $TOKEN" '…/v1/deals?state=agreed'`
        """
        rows = await list_own(node.store.pool, Deal, request.user, state=state_, after=after, limit=limit + 1)
        return to_page(rows, limit, lambda row: row.id)

    @get("/{deal:uuid}", summary="One deal")
    async def read(self, request: Request[Caller, Any, Any], node: Node, deal: FromPath[UUID]) -> Deal:
        """One deal of the caller.

        Example: `curl -H "authorization: Bearer $TOKEN" …/v1/deals/01890a5d-ac96-774b-bcce-b302099a8057`
        """
        return await read_own(request, node, Deal, deal)

    @get("/{deal:uuid}/periods", summary="What a deal came to")
    async def read_periods(
        self, request: Request[Caller, Any, Any], node: Node, deal: FromPath[UUID]
    ) -> Page[DealPeriod]:
        """Units and charges of each direction, period by period, and when each was settled; at most 36.

        Example: `curl -H "authorization: Bearer $TOKEN" …/v1/deals/01890a5d-ac96-774b-bcce-b302099a8057/periods`
        """
        await read_own(request, node, Deal, deal)
        return Page(tuple(await list_periods(node.store.pool, deal)))


async def read_own(request: Request[Caller, Any, Any], node: Node, row_type: type[R], key: UUID) -> R:
    """A row that names the caller. Raises ProblemError `not-found`."""
    found = await find_own(node.store.pool, row_type, request.user, key)
    return require(found, f"{row_type.__name__.lower()} {key} of {request.user.operator}")
