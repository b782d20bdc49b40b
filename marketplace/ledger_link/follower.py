"""The ledger's entries that concern this operator, each taken once and in order.

    follower.on(AcceptRequest, storefront.see_accept)
    await follower.run()

The cursor moves in the transaction of the entry's effect: whatever dies, an entry is neither lost nor taken twice.
Handlers are given the entry, its message and the request it is about, and only change the database: what must be done
outside (a card, an HLR, a payment) they leave as a task in the same transaction. Of each entry the node keeps what its
statements need. The newest checkpoint seen is kept beside the cursor, so that a ledger which forks while the node is
down is found when it is up again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.outbox import purpose_of
from marketplace.operator_database import Database, execute, fetch_one
from settlement.ledger.api import Entry
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.client import LedgerClient, Rejected, message_of
from settlement.ledger.messages import Message, PlaceRequest, ReportUsage
from settlement.ledger.state import Request

PAUSE_S: Final = 0.5
"""Between attempts while the ledger does not know this operator or does not answer."""
ENDS: Final = frozenset({"cancelled", "declined", "expired", "closed"})

Handler = Callable[[AsyncConnection, Entry, Message, Request | None], Awaitable[None]]


class _Place(Struct, frozen=True):
    cursor: int
    seen_size: int | None
    seen_root: bytes | None


class Follower:
    """Reads this operator's entries and hands them on."""

    def __init__(self, database: Database, ledger: LedgerClient) -> None:
        self._database = database
        self._ledger = ledger
        self._handlers: dict[type[Message], list[Handler]] = {}
        self._log = structlog.get_logger(__name__)
        self.cursor = -1

    def on(self, kind: type[Message], handler: Handler) -> None:
        """Have `handler` called for each entry of a kind, after those registered before it."""
        self._handlers.setdefault(kind, []).append(handler)

    async def run(self) -> None:
        """Follow for ever. Survives everything but cancellation."""
        while True:
            try:
                await self._restore()
                async for entry in self._ledger.follow(after=self.cursor):
                    await self.take(entry)
            except Rejected as error:
                self._log.info("the ledger does not show entries yet", code=error.rejection.code)
            except Exception as error:
                self._log.error("the follower stumbled", exc_info=error)
            await asyncio.sleep(PAUSE_S)

    async def take(self, entry: Entry) -> None:
        """Take one entry; one that was taken before is passed over."""
        if entry.index <= self.cursor:
            return
        message = message_of(entry)
        request_id = _request_of(message)
        request = None if request_id is None else await self._ledger.request(request_id)
        async with self._database.begin() as connection:
            moved = await execute(
                connection,
                "UPDATE follower SET cursor = :index, seen_size = :size, seen_root = :root WHERE cursor < :index",
                index=entry.index,
                size=self._ledger.seen and self._ledger.seen.size,
                root=self._ledger.seen and self._ledger.seen.root,
            )
            if moved:
                await self._keep(connection, entry, message, request)
                for handler in self._handlers.get(type(message), ()):
                    await handler(connection, entry, message, request)
        self.cursor = entry.index

    async def _restore(self) -> None:
        async with self._database.read() as connection:
            place = await fetch_one(connection, _Place, "SELECT * FROM follower")
        assert place is not None, "the first migration puts the row there"
        self.cursor = place.cursor
        if self._ledger.seen is None and place.seen_size is not None and place.seen_root is not None:
            self._ledger.seen = Checkpoint(self._ledger.origin, place.seen_size, place.seen_root)

    async def _keep(self, connection: AsyncConnection, entry: Entry, message: Message, request: Request | None) -> None:
        """Keep the entry for statements, and the request's row as the ledger has it now."""
        own = self._ledger.operator
        role, partner = _role(own, entry, message, request)
        returned = 0
        if request is not None:
            returned = await self._mirror(connection, entry, message, request)
        await execute(
            connection,
            "INSERT INTO entries (index, time_ms, kind, sender, counterparty, role, partner, request, settled_usdr,"
            " returned_usdr, refused) VALUES (:index, :time, :kind, :sender, :counterparty, :role, :partner, :request,"
            " :settled, :returned, :refused) ON CONFLICT DO NOTHING",
            index=entry.index,
            time=entry.time,
            kind=purpose_of(message),
            sender=entry.sender,
            counterparty=entry.counterparty,
            role=role,
            partner=partner,
            request=request.id if request is not None else None,
            settled=entry.settled,
            returned=returned,
            refused=msgspec.json.encode(entry.refused).decode(),
        )

    async def _mirror(self, connection: AsyncConnection, entry: Entry, message: Message, request: Request) -> int:
        """Bring the node's own row of a request up to the ledger's; what an end gave back to the home, else 0."""
        placed = message.escrow if isinstance(message, PlaceRequest) else 0
        await execute(
            connection,
            "INSERT INTO requests (id, role, home, visited, offer, delivery_key, state, placed_ms, accept_by_ms,"
            " ends_ms, report_by_ms, escrow_usdr, charged_usdr, payload, activated_ms) VALUES (:id, :role, :home,"
            " :visited, :offer, :key, :state, :placed, :accept_by, :ends, :report_by, :escrow, :charged, :payload,"
            " :activated) ON CONFLICT (id) DO UPDATE SET state = excluded.state, placed_ms = excluded.placed_ms,"
            " accept_by_ms = excluded.accept_by_ms, report_by_ms = excluded.report_by_ms,"
            " charged_usdr = excluded.charged_usdr, payload = excluded.payload, activated_ms = excluded.activated_ms",
            id=request.id,
            role="home" if request.home == self._ledger.operator else "visited",
            home=request.home,
            visited=request.visited,
            offer=request.offer,
            key=request.delivery_key,
            state=request.state,
            placed=request.placed,
            accept_by=request.accept_by,
            ends=request.ends,
            report_by=request.report_by,
            escrow=placed or request.escrow + request.charged,
            charged=request.charged,
            payload=request.payload,
            activated=request.activated,
        )
        cause = getattr(message, "cause", None)
        if purpose_of(message) not in ("cancel", "decline", "expire", "close"):
            return 0
        row = await fetch_one(
            connection,
            _Escrow,
            "UPDATE requests SET cause = coalesce(:cause, cause) WHERE id = :id RETURNING escrow_usdr",
            id=request.id,
            cause=cause,
        )
        assert row is not None, "it was put there above"
        return max(0, row.escrow_usdr - request.charged)  # under a deal more may be charged than escrow was: it is owed


class _Escrow(Struct, frozen=True):
    escrow_usdr: int


def _request_of(message: Message) -> UUID | None:
    if isinstance(message, PlaceRequest):
        return message.id
    found = getattr(message, "request", None)
    return found if isinstance(found, UUID) else None


def _role(own: str, entry: Entry, message: Message, request: Request | None) -> tuple[str | None, str | None]:
    """The role this operator has in an entry, and who has the other."""
    if request is not None:
        return ("home", request.visited) if request.home == own else ("visited", request.home)
    if isinstance(message, ReportUsage):
        return ("visited", entry.counterparty) if entry.sender == own else ("home", entry.sender)
    return None, None
