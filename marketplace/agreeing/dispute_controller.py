"""Disputes over HTTP, in either role. Steps need a member of staff's own token."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, get, post
from litestar.params import Parameter

from marketplace.agreeing.disputes import MAX_DOSSIER, DisputeView, Role, Step
from marketplace.agreeing.model import Case
from marketplace.agreeing.schemas import NewDispute, OnItsWay
from marketplace.operator_node import Node
from marketplace.staff.service import require_member
from settlement.ledger.state import DisputeState

Digest = Annotated[str, Parameter(pattern="^[0-9a-f]{64}$", description="SHA-256, hex.")]


class DisputeController(Controller):
    """Disputes of charges."""

    path = "/disputes"
    tags = ("agreeing",)

    @get("/")
    async def list_all(
        self,
        node: Node,
        role: Role | None = None,
        in_state: Annotated[DisputeState | None, Parameter(query="state")] = None,
    ) -> list[DisputeView]:
        """List disputes by deadline, with whose turn it is and what happens without it."""
        return await node.disputes.list(role=role, state=in_state)

    @get("/{dispute:uuid}")
    async def show(self, node: Node, dispute: UUID) -> DisputeView:
        """Show a dispute as the ledger has it now, and what staff here did."""
        return await node.disputes.show(dispute)

    @post("/of-case/{case:uuid}", status_code=202)
    async def raise_case(self, node: Node, by: str, case: UUID, data: NewDispute) -> Case:
        """Raise a confirmed case: what the visited operator has available, up to the amount, is held."""
        return await node.disputes.raise_case(case, data, by=require_member(by))

    @post("/{dispute:uuid}/{step:str}", status_code=202, request_max_body_size=MAX_DOSSIER)
    async def take_step(
        self, node: Node, by: str, request: Request[Any, Any, Any], dispute: UUID, step: Step, name: str = "evidence"
    ) -> OnItsWay:
        """Accept, reject, escalate, withdraw, expire; the body, if any, is what is shown: only its digest leaves."""
        body = await request.body()
        shown = (name, body) if body else None
        return OnItsWay(await node.disputes.take_step(dispute, step, by=require_member(by), dossier=shown))

    @get("/dossiers/{digest:str}", media_type="application/octet-stream")
    async def read_dossier(self, node: Node, digest: Digest) -> bytes:
        """What a digest is of, to hand to the partner or the issuer."""
        return await node.disputes.read_dossier(digest)
