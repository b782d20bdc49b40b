"""What goes over the air to one's own cards, packet by packet: queued, sent, delivered, and what the card proved."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from litestar import Controller, get
from litestar.params import Parameter
from msgspec import Struct

from marketplace.operator_node import Node
from ota.delivery import State, StoredPacket

MOST: Final = 1000
"""Packets of one answer: a screen or a day's work, not the whole past."""


class DeliveryView(Struct, frozen=True):
    """A packet to a card; `words` is what the card, or the lack of its proof, says."""

    id: UUID
    iccid: str
    counter: int
    commands: int
    state: State
    attempts: int
    prepared_ms: int
    delivered_ms: int | None
    words: str | None

    @classmethod
    def of(cls, packet: StoredPacket) -> "DeliveryView":
        """The view of a stored packet; its bytes stay where they are."""
        return cls(
            id=packet.id,
            iccid=packet.iccid,
            counter=packet.counter,
            commands=packet.commands,
            state=packet.state,
            attempts=packet.attempts,
            prepared_ms=_ms(packet.prepared_at),
            delivered_ms=None if packet.delivered_at is None else _ms(packet.delivered_at),
            words=None if packet.outcome is None else packet.outcome.words,
        )


class DeliveryController(Controller):
    """Packets over the air."""

    path = "/deliveries"
    tags = ("home",)

    @get("/")
    async def list_newest(
        self, node: Node, iccid: str | None = None, limit: Annotated[int, Parameter(ge=1, le=MOST)] = 100
    ) -> list[DeliveryView]:
        """List packets to cards, newest first; ask again to follow them."""
        return [DeliveryView.of(packet) for packet in await node.cards.list_packets(iccid, limit=limit)]


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
