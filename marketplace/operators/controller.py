"""`/v1/operators`: public."""

import time
from typing import Annotated, Final
from uuid import UUID

from litestar import Controller, get
from litestar.params import FromPath, QueryParameter

from marketplace.ledger_node import Node
from marketplace.listing import Limit, to_page
from marketplace.operators.repository import find_operator, list_operators, measure_quality
from marketplace.problems import ProblemError
from settlement.ledger.api import PAGE, OperatorView, Page, Path, Quality

DAY_MS: Final = 86_400_000


class OperatorController(Controller):
    """Who takes part."""

    path = Path.OPERATORS
    tags = ("operators",)

    @get(summary="All operators")
    async def list_all(
        self,
        node: Node,
        after: Annotated[str, QueryParameter(description="Id of the last operator seen.")] = "",
        limit: Limit = PAGE,
    ) -> Page[OperatorView]:
        """Admitted operators, service providers, auditors and the issuer, with their keys that are valid now.

        Example: `curl '…/v1/operators?limit=20'`
        """
        rows = await list_operators(node.store.pool, after=after, limit=limit + 1)
        return to_page(rows, limit, lambda view: view.operator.id)

    @get("/{operator:str}", summary="One operator")
    async def read(self, node: Node, operator: FromPath[str]) -> OperatorView:
        """One operator with its keys that are valid now; what is sealed to it uses its newest `seal` key.

        Example: `curl …/v1/operators/alfa`
        """
        view = await find_operator(node.store.pool, operator)
        if view is None:
            raise ProblemError("unknown-operator", f"there is no operator {operator[:64]}")
        return view

    @get("/{operator:str}/quality", summary="An operator's service record")
    async def measure(
        self,
        node: Node,
        operator: FromPath[str],
        days: Annotated[int, QueryParameter(ge=1, le=366, description="How far back.")] = 90,
    ) -> Quality:
        """What became of the requests on its offers, and for which causes they were declined, cancelled or closed.

        Example: `curl '…/v1/operators/bravo/quality?days=30'`
        """
        if await find_operator(node.store.pool, operator) is None:
            raise ProblemError("unknown-operator", f"there is no operator {operator[:64]}")
        since = UUID(int=(time.time_ns() // 1_000_000 - days * DAY_MS) << 80)
        return await measure_quality(node.store.pool, operator, since=since, days=days)
