"""From the visited operator's accept to the subscriber's card, and off it again when the request ends.

    deliver   fetch the sealed payload, open it; a code is kept for the subscriber, a profile is written over the air
              into the card's lowest free slot; the proof of receipt brings the slot list, whose fingerprint must be the
              profile's; then the ledger is told
    erase     the payload beside the ledger is erased
    remove    the slot is deleted over the air, again with proof

A card gets one packet at a time. Which packet is on its way stands in the slot's row before it is sent, so a node that
dies sends the same octets again; what remains unknown is asked of the card, not assumed.
"""

from uuid import UUID

import structlog
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from landfall.errors import LandfallError
from marketplace.ledger_link.keys import OperatorKeys
from marketplace.ledger_link.outbox import Outbox
from marketplace.ledger_link.tasks import Later, Tasks
from marketplace.operator_database import Database, fetch_one
from marketplace.storefront.repository import find_item, update_item
from marketplace.storefront.schemas import ItemRow
from marketplace.subscribers.service import (
    CardSlot,
    Subscriber,
    find_slot,
    free_slot,
    get_subscriber,
    reserve_slot,
    update_slot,
)
from marketplace.wholesale.repository import find_offer, get_request
from marketplace.wholesale.schemas import RequestView
from ota.delivery import AbsentCard, Carrier, Outcome, Verdict, deliver, prepare
from ota.outbox import PostgresOutbox
from ota.profile import (
    MobileProfile,
    ProfileError,
    SlotEntry,
    delete_slot,
    fingerprint,
    list_slots,
    parse_slot_list,
    store_slot,
)
from ota.sealing import SealContext, SealError, open_sealed
from ota.turns import CardTurns
from settlement.ledger.client import LedgerClient, Rejected
from settlement.ledger.messages import CancelRequest, DeliverRequest

ABSENT_PAUSE_S = 5.0
"""Between attempts to reach a phone that is off or out of reach."""
UNKNOWN_PAUSE_S = 1.0


class Undeliverable(Exception):  # noqa: N818 - what is the case
    """Trying again will not help; `cause` is what the request is cancelled for."""

    def __init__(self, cause: str, why: str) -> None:
        super().__init__(why)
        self.cause = cause


class _Owner(Struct, frozen=True):
    subscriber: UUID


class Delivery:
    """Writes profiles into subscribers' cards and deletes them there."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerClient,
        outbox: Outbox,
        tasks: Tasks,
        keys: OperatorKeys,
        cards: PostgresOutbox,
        carrier: Carrier | None,
        turns: CardTurns,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._outbox = outbox
        self._tasks = tasks
        self._keys = keys
        self._cards = cards
        self._carrier = carrier
        self._turns = turns
        self._log = structlog.get_logger(__name__)
        tasks.on("deliver", self.deliver)
        tasks.on("erase", self.erase)
        tasks.on("remove", self.remove)

    async def deliver(self, subject: str) -> None:
        """Task: bring what an accepted request is for to the subscriber, and say so on the ledger."""
        async with self._database.read() as connection:
            request = await get_request(connection, UUID(subject))
            item = await find_item(connection, request.id)
            offer = await find_offer(connection, request.offer)
        if request.state != "accepted" or item is None or offer is None:
            return
        try:
            payload = await self._open(request)
            if offer.terms.delivery == "profile":
                await self._write(request, item, payload)
            else:
                await self._finish(request, item, code=payload)
        except Undeliverable as failure:
            self._log.warning("cannot be delivered", request=subject, cause=failure.cause, error=str(failure))
            async with self._database.begin() as connection:
                await update_item(connection, item.id, detail=str(failure))
                message = self._ledger.make(CancelRequest, request=request.id, cause=failure.cause)
                await self._outbox.enqueue(connection, message, subject=subject)

    async def _open(self, request: RequestView) -> bytes:
        assert request.payload is not None, "an accept names its payload"
        key = self._keys.seal_key_of(request.delivery_key)
        try:
            sealed = await self._ledger.payload(request.payload)
            if key is None:
                raise Undeliverable("key-lost", f"the sealing key {request.delivery_key} is not in the keystore")
            context = SealContext(origin=self._ledger.origin, visited=request.visited, request=str(request.id))
            return open_sealed(sealed, recipient=key, info=context)
        except (SealError, Rejected) as error:
            raise Undeliverable("payload-unusable", str(error)) from None

    async def _write(self, request: RequestView, item: ItemRow, payload: bytes) -> None:
        try:
            profile = MobileProfile.decode(payload)
        except ProfileError as error:
            raise Undeliverable("payload-unusable", str(error)) from None
        subscriber = await self._subscriber(item)
        async with self._turns.turn(subscriber.iccid):
            async with self._database.begin() as connection:
                # Locked: an end of the request that comes now finds the slot, and has it deleted.
                if (await get_request(connection, request.id, lock=True)).state != "accepted":
                    return
                slot = await reserve_slot(connection, subscriber, request.id)
            if slot is None:
                raise Undeliverable("no-slot-free", f"all {subscriber.slots} slots of the card are taken")
            if slot.state == "reserved":
                wanted = fingerprint(profile.to_slot_tlv())
                commands = [*store_slot(slot.slot, profile), list_slots()]
                entry = await self._command(slot, commands, state="reserved", wanted=wanted)
                if entry is None or entry.fingerprint != wanted:
                    await self._forget_packet(slot)
                    raise Later(UNKNOWN_PAUSE_S, "the slot does not hold the profile yet")
            await self._finish(request, item, code=None)

    async def _finish(self, request: RequestView, item: ItemRow, *, code: bytes | None) -> None:
        async with self._database.begin() as connection:
            if code is None:
                await update_slot(connection, request.id, state="stored", packet=None, fingerprint=None)
            else:
                await update_item(connection, item.id, code=self._keys.encrypt(code, item.id.bytes))
            message = self._ledger.make(DeliverRequest, request=request.id)
            await self._outbox.enqueue(connection, message, subject=str(request.id))
            await self._tasks.add(connection, "erase", str(request.id))

    async def erase(self, subject: str) -> None:
        """Task: erase the sealed payload beside the ledger; it has served."""
        async with self._database.read() as connection:
            request = await get_request(connection, UUID(subject))
        if request.payload is not None:
            await self._ledger.erase_payload(request.payload)

    async def remove(self, subject: str) -> None:
        """Task: delete the slot of an ended request over the air."""
        async with self._database.read() as connection:
            slot = await find_slot(connection, UUID(subject))
        if slot is None:
            return
        async with self._turns.turn(slot.iccid):
            slot = await self._find(slot.request)
            if slot.state == "reserved" and slot.packet is None:
                entry = None  # nothing was ever sent
            else:
                if slot.state != "deleting":
                    await self._forget_packet(slot)
                    slot = await self._find(slot.request)
                entry = await self._command(slot, [delete_slot(slot.slot), list_slots()], state="deleting")
            if entry is not None:
                await self._forget_packet(slot)
                raise Later(UNKNOWN_PAUSE_S, "the card still lists the slot")
            async with self._database.begin() as connection:
                await free_slot(connection, slot.request)

    async def _command(
        self, slot: CardSlot, commands: list[bytes], *, state: str, wanted: bytes | None = None
    ) -> SlotEntry | None:
        """Send a slot's packet, made once, and return what the card then lists in the slot, None for empty."""
        packet = slot.packet
        if packet is None:
            packet = (await prepare(self._cards, slot.iccid, commands)).id
            async with self._database.begin() as connection:
                await update_slot(connection, slot.request, state=state, packet=packet, fingerprint=wanted)
        outcome = await self._send(packet)
        if outcome.verdict is Verdict.UNKNOWN:
            outcome = await self._send((await prepare(self._cards, slot.iccid, [list_slots()])).id)
        if outcome.verdict is Verdict.UNKNOWN:
            raise Later(UNKNOWN_PAUSE_S, outcome.words)
        if outcome.verdict is not Verdict.DONE:
            await self._forget_packet(slot)
            raise Undeliverable("card-refused", outcome.words)
        return next((entry for entry in parse_slot_list(outcome.data) if entry.slot == slot.slot), None)

    async def _send(self, packet: UUID) -> Outcome:
        if self._carrier is None:
            raise LandfallError("no carrier of short messages: set [carrier] in operator.toml and its secret")
        try:
            return await deliver(self._cards, packet, self._carrier)
        except AbsentCard as absent:
            raise Later(ABSENT_PAUSE_S, str(absent)) from None

    async def _forget_packet(self, slot: CardSlot) -> None:
        async with self._database.begin() as connection:
            await update_slot(connection, slot.request, state=slot.state, packet=None, fingerprint=None)

    async def _find(self, request: UUID) -> CardSlot:
        async with self._database.read() as connection:
            slot = await find_slot(connection, request)
        assert slot is not None, "only the task that removes a slot frees it"
        return slot

    async def _subscriber(self, item: ItemRow) -> Subscriber:
        async with self._database.read() as connection:
            return await _owner(connection, item)


async def _owner(connection: AsyncConnection, item: ItemRow) -> Subscriber:
    row = await fetch_one(connection, _Owner, "SELECT subscriber FROM purchases WHERE id = :p", p=item.purchase)
    assert row is not None, "an item belongs to a purchase"
    return await get_subscriber(connection, row.subscriber)
