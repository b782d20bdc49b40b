"""Subscribers over HTTP."""

from uuid import UUID

from litestar import Controller, get, post
from litestar.params import FromPath

from marketplace.operator_node import Node
from marketplace.subscribers.cards import CardView, view_card
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

    @get("/{subscriber:uuid}/card")
    async def show_card(self, node: Node, subscriber: FromPath[UUID]) -> CardView:
        """Show a subscriber's card: the account it uses, where it is reached, what its slots hold."""
        return await view_card(node.database, node.reports, subscriber)
