"""Balance, redemption, statements, keys and the node's own state over HTTP."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from litestar import Controller, get, post
from litestar.params import Parameter
from msgspec import Struct

from marketplace.ledger_link.outbox import now_ms
from marketplace.ledger_link.service import KeyView, NewRedemption, Rotation
from marketplace.ledger_link.tasks import Task
from marketplace.operator_database import scalar
from marketplace.operator_node import Node
from marketplace.operator_problems import Refusal
from marketplace.statements.service import Statement, make_statement
from marketplace.wholesale.schemas import Taken
from settlement.ledger.client import Rejected
from settlement.ledger.state import Account


class NodeView(Struct, frozen=True):
    """Who this node is and how its link to the ledger does."""

    operator: str
    name: str
    country: str
    currency: str
    origin: str
    admitted: bool
    seal_key: str
    sign_key: str
    cursor: int
    pending: int
    ledger_size: int | None


class MessageView(Struct, frozen=True):
    """A message to the ledger; `answer` is its receipt or rejection, as JSON."""

    id: UUID
    purpose: str
    subject: str
    state: str
    answer: str | None


class TreasuryController(Controller):
    """SDRt."""

    path = "/"
    tags = ("treasury",)

    @get("/balance")
    async def balance(self, node: Node) -> Account:
        """Show available, escrow and held micro-SDRt."""
        return await node.ledger.account()

    @post("/redemptions", status_code=202)
    async def redeem(self, node: Node, data: NewRedemption) -> Taken:
        """Ask the issuer to pay SDRt out."""
        return Taken(await node.membership.redeem(data), "asked")

    @get("/statement")
    async def statement(
        self,
        node: Node,
        since: Annotated[str | None, Parameter(query="from", description="2026-11-20 or an ISO time; UTC")] = None,
        until: Annotated[str | None, Parameter(query="to", description="likewise, excluded")] = None,
    ) -> Statement:
        """Show what was charged, returned and earned by counterparty, by default ever."""
        from_ms, to_ms = _read_time(since, 0), _read_time(until, now_ms() + 86_400_000)
        owed = await node.ledger.obligations()
        async with node.database.read() as connection:
            return await make_statement(connection, node.settings.id, owed, from_ms=from_ms, to_ms=to_ms)


class OwnController(Controller):
    """The node itself."""

    path = "/"
    tags = ("node",)

    @get("/operator")
    async def show(self, node: Node) -> NodeView:
        """Show the node: operator, keys, how far it follows the ledger, messages waiting."""
        try:
            admitted = bool(await node.ledger.operator_keys(node.settings.id))
        except Rejected:
            admitted = False
        async with node.database.read() as connection:
            cursor = await scalar(connection, "SELECT cursor FROM follower")
        return NodeView(
            operator=node.settings.id,
            name=node.settings.name,
            country=node.settings.country,
            currency=node.settings.currency,
            origin=node.ledger.origin,
            admitted=admitted,
            seal_key=node.keys.seal_key().public_key().key_id,
            sign_key=node.keys.signer().kid,
            cursor=cursor,
            pending=await node.outbox.count_pending(),
            ledger_size=node.ledger.seen.size if node.ledger.seen else None,
        )

    @post("/keys/rotate", status_code=202)
    async def rotate(self, node: Node, data: Rotation) -> KeyView:
        """Replace the signing or the sealing key, with overlap."""
        return await node.membership.rotate(data.purpose)

    @get("/tasks")
    async def tasks(self, node: Node) -> list[Task]:
        """List work that waits or has failed, with the reason."""
        return await node.tasks.list_open()

    @post("/tasks/{position:int}/restart", status_code=202)
    async def restart(self, node: Node, position: int) -> None:
        """Start a failed task again."""
        if not await node.tasks.restart(position):
            raise Refusal("not-found", f"there is no open task {position}")

    @get("/outbox/{message_id:uuid}")
    async def message(self, node: Node, message_id: UUID) -> MessageView:
        """Show what became of a message to the ledger: pending, accepted or rejected, and the answer."""
        async with node.database.read() as connection:
            found = await node.outbox.get(connection, message_id)
        if found is None:
            raise Refusal("not-found", f"there is no message {message_id}")
        return MessageView(found.id, found.purpose, found.subject, found.state, found.answer)


def _read_time(text: str | None, default: int) -> int:
    if text is None:
        return default
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal("invalid", f"{text!r} is no time: write 2026-11-20 or 2026-11-20T12:00:00+00:00") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
