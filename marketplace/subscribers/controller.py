"""Subscribers over HTTP."""

from litestar import Controller, get, post

from marketplace.operator_node import Node
from marketplace.subscribers.service import NewSubscriber, Subscriber


class SubscriberController(Controller):
    """Subscribers and their cards."""

    path = "/subscribers"
    tags = ("home",)

    @post("/")
    async def add(self, node: Node, data: NewSubscriber) -> Subscriber:
        """Enter a subscriber with the card's OTA key set."""
        return await node.subscribers.add(data)

    @get("/")
    async def list_all(self, node: Node) -> list[Subscriber]:
        """List subscribers."""
        return await node.subscribers.list()
