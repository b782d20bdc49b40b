"""Evidence over HTTP: meters, limits, checks."""

from uuid import UUID

from litestar import Controller, get, post, put

from marketplace.agreeing.evidence import CheckView, NewCheck, NewLimits
from marketplace.agreeing.meters import Device, NewDevice, Reading, Stored, Taken
from marketplace.operator_node import Node
from settlement.evidence import Limits


class MeterController(Controller):
    """Subscribers' device meters."""

    path = "/meters"
    tags = ("agreeing",)

    @post("/readings", status_code=200, opt={"exclude_from_auth": True})
    async def take(self, node: Node, data: Reading) -> Taken:
        """An app posts a signed reading; no token is needed. The same again is answered the same."""
        return await node.meters.take(data)

    @get("/{request_id:uuid}")
    async def list_readings(self, node: Node, request_id: UUID) -> list[Stored]:
        """List the readings of a request."""
        return await node.meters.list(request_id)

    @post("/devices/{subscriber:uuid}")
    async def enrol(self, node: Node, by: str, subscriber: UUID, data: NewDevice) -> Device:
        """Register a subscriber's device by its Ed25519 public key."""
        return await node.meters.enrol(subscriber, data, by=by)


class EvidenceController(Controller):
    """Checks of usage reports against evidence."""

    path = "/evidence"
    tags = ("agreeing",)

    @post("/checks")
    async def check(self, node: Node, by: str, data: NewCheck) -> CheckView:
        """Check a partner's reports of a period; each finding becomes a case, or is recognised as one."""
        return await node.evidence.check(data, by=by)

    @put("/limits/{offer:uuid}")
    async def limit(self, node: Node, by: str, offer: UUID, data: NewLimits) -> Limits:
        """Say what use of an offer can be."""
        return await node.evidence.limit(offer, data, by=by)
