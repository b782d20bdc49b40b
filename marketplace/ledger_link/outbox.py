"""Messages to the ledger: signed and stored first, sent until answered, the answer stored with what follows from it.

    async with database.begin() as connection:
        ...                                                        # the effect that calls for the message
        await outbox.enqueue(connection, message, subject=str(request.id))

A message is stored in the transaction of what causes it, so there is neither one without the other. `subject` is the
domain key: of one purpose and subject only one message stands, until it was rejected. What is sent again are the same
octets; the ledger gives the first receipt again. Messages go out in the order they were stored. Only an envelope that
the ledger says has expired, and of which it knows no receipt, is signed anew: same id, later `exp`.

An accept brings its sealed payload along: it is laid beside the ledger before the envelope is sent, and erased here
with the answer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct, structs
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.operator_database import Database, await_bell, execute, fetch, fetch_one, scalar
from settlement.ledger.api import Receipt
from settlement.ledger.client import EXPIRY_S, LedgerClient, Rejected, Unreachable
from settlement.ledger.envelope import parse
from settlement.ledger.messages import Message
from settlement.ledger.rejections import Rejection

BATCH: Final = 500
"""Envelopes read and sent at once: at most 33 MB, and lost answers cost little."""
POLL_S: Final = 0.5
"""How long a message stored by another process may wait."""
PAUSE_S: Final = 1.0
"""After an answer that asks for patience."""

Handler = Callable[[AsyncConnection, str, Message, Receipt | Rejection], Awaitable[None]]
"""Called in the transaction that stores the answer: (connection, subject, message, answer)."""

_sent = Counter("landfall_outbox_answers", "Answers of the ledger to messages of this node", ["purpose", "answer"])


class Stored(Struct, frozen=True):
    """A message in the outbox."""

    position: int
    id: UUID
    purpose: str
    subject: str
    envelope: bytes
    payload: bytes | None
    state: str
    answer: str | None = None


class Outbox:
    """Signs, stores and sends this operator's messages."""

    def __init__(self, database: Database, ledger: LedgerClient) -> None:
        self._database = database
        self._ledger = ledger
        self._handlers: dict[type[Message], Handler] = {}
        self._log = structlog.get_logger(__name__)

    def on_answer(self, kind: type[Message], handler: Handler) -> None:
        """Have `handler` called with the answer to each message of a kind; it may be called for one id only once."""
        self._handlers[kind] = handler

    async def enqueue(
        self, connection: AsyncConnection, message: Message, *, subject: str, payload: bytes | None = None
    ) -> bool:
        """Sign and store a message in the caller's transaction; False where one of that purpose and subject stands."""
        assert self._ledger.signer is not None
        stored = await execute(
            connection,
            "INSERT INTO outbox (id, purpose, subject, envelope, payload, stored_ms)"
            " VALUES (:id, :purpose, :subject, :envelope, :payload, :now)"
            " ON CONFLICT (purpose, subject) WHERE state <> 'rejected' DO NOTHING",
            id=message.id,
            purpose=purpose_of(message),
            subject=subject,
            envelope=self._ledger.signer.sign(message),
            payload=payload,
            now=now_ms(),
        )
        return stored == 1

    async def find(self, connection: AsyncConnection, purpose: str, subject: str) -> Stored | None:
        """The last message of a purpose and subject."""
        return await fetch_one(
            connection,
            Stored,
            "SELECT * FROM outbox WHERE purpose = :purpose AND subject = :subject ORDER BY position DESC LIMIT 1",
            purpose=purpose,
            subject=subject,
        )

    async def get(self, connection: AsyncConnection, message_id: UUID) -> Stored | None:
        """A message by its id."""
        return await fetch_one(connection, Stored, "SELECT * FROM outbox WHERE id = :id", id=message_id)

    async def count_pending(self) -> int:
        """How many messages wait for an answer."""
        async with self._database.read() as connection:
            return int(await scalar(connection, "SELECT count(*) FROM outbox WHERE state = 'pending'"))

    async def run(self) -> None:
        """Send what is stored, for ever. Survives everything but cancellation."""
        bell = self._database.bell()
        while True:
            try:
                while await self.flush():
                    pass
                await await_bell(bell, POLL_S)
            except Unreachable as error:
                self._log.warning("the ledger does not answer", error=str(error))
                await asyncio.sleep(PAUSE_S)
            except Exception as error:
                self._log.error("the outbox stumbled", exc_info=error)
                await asyncio.sleep(PAUSE_S)

    async def flush(self) -> bool:
        """Send the oldest messages once, whether any was answered for good. Raises Unreachable, Untrusted."""
        async with self._database.read() as connection:
            waiting = await fetch(
                connection, Stored, "SELECT * FROM outbox WHERE state = 'pending' ORDER BY position LIMIT :n", n=BATCH
            )
        if not waiting:
            return False
        for stored in waiting:
            if stored.payload is not None:
                await self._ledger.put_payload(stored.payload)
        answered = False
        answers = await self._send(waiting)
        for stored, answer in zip(waiting, answers, strict=True):
            if isinstance(answer, Rejection) and await self._is_early(answer):
                await asyncio.sleep(PAUSE_S)
                break  # those behind it wait too: their order is kept
            if isinstance(answer, Rejection) and answer.code == "unknown-key":
                # This operator may have been admitted after the answer, and before the look at its keys.
                [answer] = await self._send([stored])
            if isinstance(answer, Rejection) and answer.code == "expired":
                await self._renew(stored)
                answered = True
                continue
            await self._settle(stored, answer)
            answered = True
        return answered

    async def _is_early(self, answer: Rejection) -> bool:
        """Whether an answer is not about the message: the ledger is busy, or has yet to admit this operator."""
        if answer.code != "unknown-key":
            return answer.code == "overloaded"
        assert self._ledger.signer is not None
        try:
            keys = await self._ledger.operator_keys(self._ledger.operator)
        except Rejected:
            return True
        return self._ledger.signer.kid not in {key.kid for key in keys}

    async def _send(self, waiting: list[Stored]) -> list[Receipt | Rejection]:
        if len(waiting) > 1:
            return await self._ledger.send_all([stored.envelope for stored in waiting])
        try:
            return [await self._ledger.send(waiting[0].envelope)]
        except Rejected as rejected:
            return [rejected.rejection]

    async def _renew(self, stored: Stored) -> None:
        assert self._ledger.signer is not None
        known = await self._ledger.receipt(stored.id)
        if known is not None:
            await self._settle(stored, known)
            return
        message = structs.replace(parse(stored.envelope).message, exp=now_ms() + EXPIRY_S * 1000)
        async with self._database.begin() as connection:
            await execute(
                connection,
                "UPDATE outbox SET envelope = :envelope WHERE id = :id AND state = 'pending'",
                id=stored.id,
                envelope=self._ledger.signer.sign(message),
            )

    async def _settle(self, stored: Stored, answer: Receipt | Rejection) -> None:
        accepted = isinstance(answer, Receipt)
        message = parse(stored.envelope).message
        async with self._database.begin() as connection:
            changed = await execute(
                connection,
                "UPDATE outbox SET state = :state, answer = :answer, answered_ms = :now, payload = NULL"
                " WHERE id = :id AND state = 'pending'",
                id=stored.id,
                state="accepted" if accepted else "rejected",
                answer=msgspec.json.encode(answer).decode(),
                now=now_ms(),
            )
            if changed and (handler := self._handlers.get(type(message))) is not None:
                await handler(connection, stored.subject, message, answer)
        _sent.labels(stored.purpose, "accepted" if accepted else getattr(answer, "code", "")).inc()
        if isinstance(answer, Rejection):
            self._log.warning("the ledger rejected", purpose=stored.purpose, id=str(stored.id), code=answer.code)


def purpose_of(message: Message) -> str:
    """A message's purpose is its type's name on the wire."""
    return str(message.__struct_config__.tag)


def now_ms() -> int:
    """The node's clock, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
