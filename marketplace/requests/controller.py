"""`/v1/requests`: where each request stands, for its two parties."""

from typing import Annotated, Any
from uuid import UUID

import litestar
from litestar import Controller, get
from litestar.params import FromPath, FromQuery, QueryParameter

from marketplace.access.caller import BearerAuthentication, Caller
from marketplace.ledger_node import Node
from marketplace.listing import FIRST, Limit, to_page
from marketplace.openapi import BEARER
from marketplace.problems import ProblemError, require
from marketplace.requests.repository import Side, find_request, list_requests
from settlement.ledger.api import PAGE, Page, Path
from settlement.ledger.state import Request, RequestState


class RequestController(Controller):
    """Requests of the caller."""

    path = Path.REQUESTS
    tags = ("requests",)
    middleware = (BearerAuthentication,)
    security = BEARER

    @get(summary="Your requests")
    async def list_own(
        self,
        request: litestar.Request[Caller, Any, Any],
        node: Node,
        role: Annotated[Side | None, QueryParameter(description="The caller's side; by default either.")] = None,
        state_: Annotated[RequestState | None, QueryParameter(name="state")] = None,
        offer: FromQuery[UUID | None] = None,
        after: Annotated[UUID, QueryParameter(description="Id of the last request seen.")] = FIRST,
        limit: Limit = PAGE,
    ) -> Page[Request]:
        """Requests the caller placed (`home`) or serves (`visited`), oldest first, with escrow and high-water marks.

        Example: `curl -H "authorization: Bearer $TOKEN" '…/v1/requests?role=visited&state=requested'`
        """
        try:
            rows = await list_requests(
                node.store.pool,
                request.user.operator,
                side=role,
                state=state_,
                offer=offer,
                after=after,
                limit=limit + 1,
            )
        except LookupError as error:
            raise ProblemError("not-found", str(error)) from None
        return to_page(rows, limit, lambda row: row.id)

    @get("/{request_id:uuid}", summary="One request")
    async def read(
        self, request: litestar.Request[Caller, Any, Any], node: Node, request_id: FromPath[UUID]
    ) -> Request:
        """One request that the caller is a party of.

        Example: `curl -H "authorization: Bearer $TOKEN" …/v1/requests/01890a5d-ac96-774b-bcce-b302099a8057`
        """
        found = await find_request(node.store.pool, request.user.operator, request_id)
        return require(found, f"request {request_id} of {request.user.operator}")
