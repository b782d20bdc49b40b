"""Usage over HTTP."""

from uuid import UUID

from litestar import Controller, get, post

from marketplace.operator_node import Node
from marketplace.usage.schemas import Intake, Sent, UsageBatch, UsageView

MAX_BATCH = 32 * 1024 * 1024
"""Octets of a batch: 100,000 records have some 20 MB."""


class UsageController(Controller):
    """Usage of visitors."""

    path = "/usage"
    tags = ("usage",)

    @post("/", request_max_body_size=MAX_BATCH)
    async def take(self, node: Node, data: UsageBatch) -> Intake:
        """Take a batch of records by IMSI; the same batch again gets the same answer."""
        return await node.usage.take(data)

    @post("/send", status_code=202)
    async def send(self, node: Node) -> Sent:
        """Report what is stored now instead of at the next minute."""
        return await node.usage.report()

    @get("/{request_id:uuid}")
    async def show(self, node: Node, request_id: UUID) -> UsageView:
        """Show how far the records of a request have come."""
        return await node.usage.view(request_id)
