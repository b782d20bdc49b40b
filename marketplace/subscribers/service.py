"""Subscribers, their multi-account SIMs and those cards' OTA key sets.

Key sets go encrypted into `ota.outbox`, whose counter is the card's; here stay the person and the slots.
"""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import Database, execute, fetch, fetch_one, scalar
from marketplace.operator_problems import Refusal
from ota.key_import import KeyImport, Result
from ota.keysets import CardKeys
from ota.outbox import PostgresOutbox
from ota.scp80.packet import KeySet
from ota.scp80.parameters import CipherAlgorithm, KeyByte
from settlement.ledger.ids import new_id

HexKey = Annotated[str, Meta(pattern="^(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{48}|[0-9A-Fa-f]{64})$")]


class NewCard(Struct, frozen=True, forbid_unknown_fields=True):
    """A card's OTA key set: AES keys in hex, the key set's index, the last counter used, and its slots besides home.

    Without keys the card must be known by an import of its batch.
    """

    iccid: Annotated[str, Meta(pattern="^[0-9]{18,20}$")]
    kic: HexKey | None = None
    kid: HexKey | None = None
    key_index: Annotated[int, Meta(ge=1, le=15)] = 1
    counter: Annotated[int, Meta(ge=0)] = 0
    slots: Annotated[int, Meta(ge=1, le=15)] = 7

    def __repr__(self) -> str:
        return "NewCard(…)"


class NewSubscriber(Struct, frozen=True, forbid_unknown_fields=True):
    """A person with a card."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    msisdn: Annotated[str, Meta(pattern=r"^\+[0-9]{5,15}$")]
    card: NewCard

    def __repr__(self) -> str:
        return "NewSubscriber(…)"


class Subscriber(Struct, frozen=True):
    """A subscriber as staff see them."""

    id: UUID
    name: str
    msisdn: str
    iccid: str
    slots: int
    added_ms: int

    def __repr__(self) -> str:
        return f"Subscriber({self.id})"


class Subscribers:
    """The home operator's subscribers."""

    def __init__(self, database: Database, cards: PostgresOutbox) -> None:
        self._database = database
        self._cards = cards
        self._keys = KeyImport(cards)

    async def add(self, new: NewSubscriber) -> Subscriber:
        """Enter a subscriber and the card. Raises Refusal `already-exists` for a known ICCID."""
        async with self._database.read() as connection:
            if await fetch_one(connection, Subscriber, "SELECT * FROM subscribers WHERE iccid = :i", i=new.card.iccid):
                raise Refusal("already-exists", "a subscriber has this card already")
        await self._take_keys(new.card)
        async with self._database.begin() as connection:
            found = await fetch_one(
                connection,
                Subscriber,
                "INSERT INTO subscribers (id, name, msisdn, iccid, slots, added_ms)"
                " VALUES (:id, :name, :msisdn, :iccid, :slots, :now) ON CONFLICT (iccid) DO NOTHING RETURNING *",
                id=new_id(),
                name=new.name,
                msisdn=new.msisdn,
                iccid=new.card.iccid,
                slots=new.card.slots,
                now=now_ms(),
            )
        if found is None:
            raise Refusal("already-exists", "a subscriber has this card already")
        return found

    async def _take_keys(self, card: NewCard) -> None:
        """Enter the card's keys, or find them known. Raises Refusal `already-exists` where others stand."""
        if card.kic is None or card.kid is None:
            if card.kic is not None or card.kid is not None:
                raise Refusal("invalid", "kic and kid go together: give both, or none of a card that was imported")
            await self._cards.card(card.iccid)
            return
        byte = KeyByte(card.key_index, CipherAlgorithm.AES_CBC)
        keys = KeySet(kic=byte, kic_key=bytes.fromhex(card.kic), kid=byte, kid_key=bytes.fromhex(card.kid))
        (finding,) = await self._keys.take([CardKeys(iccid=card.iccid, keys=keys)], counter=card.counter or None)
        if finding.result is Result.REFUSED:
            raise Refusal(
                "already-exists", f"card {card.iccid}: {finding.words}; leave kic and kid out to keep what stands"
            )

    async def find_number(self, iccid: str) -> str:
        """The number a card is reached under: its subscriber's, else that of the batch it came with.

        Raises Refusal `not-found`.
        """
        async with self._database.read() as connection:
            found: str | None = await scalar(
                connection,
                "SELECT msisdn FROM (SELECT 1 AS place, msisdn FROM subscribers WHERE iccid = :i"
                " UNION ALL SELECT 2, msisdn FROM card_numbers WHERE iccid = :i) AS numbers ORDER BY place LIMIT 1",
                i=iccid,
            )
        if found is None:
            raise Refusal("not-found", f"card {iccid} has no subscriber and came without a MSISDN: it has no number")
        return found

    async def list(self) -> list[Subscriber]:
        """All subscribers, oldest first."""
        async with self._database.read() as connection:
            return await fetch(connection, Subscriber, "SELECT * FROM subscribers ORDER BY id")


async def get_subscriber(connection: AsyncConnection, subscriber: UUID) -> Subscriber:
    """One subscriber. Raises Refusal `not-found`."""
    found = await fetch_one(connection, Subscriber, "SELECT * FROM subscribers WHERE id = :id", id=subscriber)
    if found is None:
        raise Refusal("not-found", f"there is no subscriber {subscriber}")
    return found


class CardSlot(Struct, frozen=True):
    """A slot of a card that a request occupies; `fingerprint` tells what the card should hold."""

    iccid: str
    slot: int
    request: UUID
    state: str
    packet: UUID | None
    fingerprint: bytes | None


async def find_slot(connection: AsyncConnection, request: UUID) -> CardSlot | None:
    """The slot of a request's profile."""
    return await fetch_one(connection, CardSlot, "SELECT * FROM card_slots WHERE request = :r", r=request)


async def reserve_slot(connection: AsyncConnection, subscriber: Subscriber, request: UUID) -> CardSlot | None:
    """The slot a request has, or the card's lowest free one; None where all are taken."""
    if (found := await find_slot(connection, request)) is not None:
        return found
    return await fetch_one(
        connection,
        CardSlot,
        "INSERT INTO card_slots (iccid, slot, request, state) SELECT :iccid, number, :request, 'reserved'"
        " FROM generate_series(1, CAST(:slots AS int)) AS number WHERE number NOT IN"
        " (SELECT slot FROM card_slots WHERE iccid = :iccid) ORDER BY number LIMIT 1 RETURNING *",
        iccid=subscriber.iccid,
        slots=subscriber.slots,
        request=request,
    )


async def update_slot(
    connection: AsyncConnection, request: UUID, *, state: str, packet: UUID | None, fingerprint: bytes | None
) -> None:
    """Note how far a slot has come and which packet is on its way."""
    await execute(
        connection,
        "UPDATE card_slots SET state = :state, packet = :packet, fingerprint = coalesce(:fingerprint, fingerprint)"
        " WHERE request = :request",
        request=request,
        state=state,
        packet=packet,
        fingerprint=fingerprint,
    )


async def free_slot(connection: AsyncConnection, request: UUID) -> None:
    """The slot is empty again."""
    await execute(connection, "DELETE FROM card_slots WHERE request = :request", request=request)
