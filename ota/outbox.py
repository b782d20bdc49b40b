"""Packets and counters in PostgreSQL: what `ota.delivery` needs to survive its sender.

A counter is taken by an UPDATE that locks the card's row, and its packet is inserted in the same transaction; the
unique key on (card, key set, counter) makes a reuse impossible, whatever the code does. Keys are stored encrypted by
the `KeyCipher` the node gives, bound to their ICCID:

    KeyCipher(partial(keystore.seal, dek), partial(keystore.unseal, dek))
"""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    bindparam,
    case,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from landfall.errors import LandfallError
from ota.delivery import Outcome, StoredPacket
from ota.keysets import CardKeys
from ota.scp80.parameters import COUNTER_MAX

metadata = MetaData()

cards: Final = Table(
    "ota_cards",
    metadata,
    Column("iccid", Text, primary_key=True),
    Column("key_index", SmallInteger, nullable=False),
    Column("sealed_keys", LargeBinary, nullable=False, comment="CardKeys as MessagePack, encrypted"),
    Column("counter", BigInteger, nullable=False, comment="last one taken; never goes back"),
    CheckConstraint(f"counter between 0 and {COUNTER_MAX}", name="ota_counter_five_bytes"),
)

packets: Final = Table(
    "ota_packets",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("iccid", Text, nullable=False),
    Column("key_index", SmallInteger, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("commands", SmallInteger, nullable=False),
    Column("packet", LargeBinary, nullable=False),
    Column("prepared_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("delivered_at", DateTime(timezone=True), comment="when the carrier said that it is in the card"),
    Column("outcome", JSONB, comment="null until an attempt was judged"),
    UniqueConstraint("iccid", "key_index", "counter"),
    ForeignKeyConstraint(["iccid"], ["ota_cards.iccid"]),
)


other_keys: Final = Table(
    "ota_other_keys",
    metadata,
    Column("iccid", Text, ForeignKey("ota_cards.iccid"), primary_key=True),
    Column("key_index", SmallInteger, primary_key=True, autoincrement=False),
    Column("sealed_keys", LargeBinary, nullable=False),
    Column("counter", BigInteger, nullable=False, comment="last one taken under these keys"),
    Column("state", Text, nullable=False, comment="new: written to the card, not proven; former: was in use"),
    CheckConstraint("state in ('new', 'former')", name="ota_other_keys_state"),
    CheckConstraint(f"counter between 0 and {COUNTER_MAX}", name="ota_other_counter_five_bytes"),
)

_FINAL = func.coalesce(packets.c.outcome["verdict"].astext, "unknown") != "unknown"
# Built once: on the way of every packet, making them anew costs more than PostgreSQL does.
_TAKE_COUNTER: Final = (
    update(cards)
    .where(cards.c.iccid == bindparam("card"), cards.c.counter < COUNTER_MAX)
    .values(counter=cards.c.counter + 1)
    .returning(cards.c.sealed_keys, cards.c.counter)
)
_STORE: Final = insert(packets).returning(packets)
_COUNT_ATTEMPT: Final = (
    update(packets)
    .where(packets.c.id == bindparam("which"), cards.c.iccid == packets.c.iccid)
    .values(attempts=packets.c.attempts + case((_FINAL, 0), else_=1))
    .returning(packets, cards.c.sealed_keys)
)
_NOTE_DELIVERED: Final = (
    update(packets)
    .where(packets.c.id == bindparam("which"), packets.c.delivered_at.is_(None))
    .values(delivered_at=func.now())
)
_FINISH: Final = (
    update(packets).where(packets.c.id == bindparam("which"), ~_FINAL).values(outcome=bindparam("found", type_=JSONB))
)


class OutboxError(LandfallError):
    """A card or packet that is not there, or a counter that has come to its end."""


class KeyCipher(msgspec.Struct, frozen=True):
    """Encryption of keys at rest: `encrypt(plaintext, context)` and `decrypt(ciphertext, context)`."""

    encrypt: Callable[[bytes, bytes], bytes]
    decrypt: Callable[[bytes, bytes], bytes]

    def seal_card(self, card: CardKeys) -> bytes:
        """A card's keys as they are stored, bound to its ICCID."""
        return self.encrypt(msgspec.msgpack.encode(card), card.iccid.encode())

    def open_card(self, iccid: str, sealed: bytes) -> CardKeys:
        """Inverse of `seal_card`."""
        return msgspec.msgpack.decode(self.decrypt(sealed, iccid.encode()), type=CardKeys)


class PostgresOutbox:
    """The `OutboxStore` of an operator node; any number of processes may share its tables."""

    def __init__(self, engine: AsyncEngine, cipher: KeyCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    async def add_card(self, card: CardKeys, *, counter: int = 0) -> None:
        """Enter a card, or replace its keys; `counter` is the last one the card has seen under these keys.

        Under the same key index the counter never goes back; another key index starts at `counter`.
        """
        sealed = self._cipher.seal_card(card)
        row = {"iccid": card.iccid, "key_index": card.key_index, "sealed_keys": sealed, "counter": counter}
        statement = insert(cards).values(row)
        taken = (
            select(func.max(packets.c.counter))
            .where(packets.c.iccid == card.iccid, packets.c.key_index == card.key_index)
            .scalar_subquery()
        )
        standing = case((cards.c.key_index == card.key_index, cards.c.counter), else_=0)
        highest = func.greatest(statement.excluded.counter, func.coalesce(taken, 0), standing)
        statement = statement.on_conflict_do_update(index_elements=[cards.c.iccid], set_={**row, "counter": highest})
        async with self._engine.begin() as connection:
            await connection.execute(statement)

    async def card(self, iccid: str) -> CardKeys:
        """The card's keys; raises `OutboxError` for an unknown card."""
        async with self._engine.connect() as connection:
            sealed = await connection.scalar(select(cards.c.sealed_keys).where(cards.c.iccid == iccid))
        return self._open(iccid, sealed)

    async def append(self, iccid: str, commands: int, encode: Callable[[CardKeys, int], bytes]) -> StoredPacket:
        """Take the next counter and store its packet, or neither."""
        async with self._engine.begin() as connection:
            taken = (await connection.execute(_TAKE_COUNTER, {"card": iccid})).one_or_none()
            if taken is None:
                raise OutboxError(f"card {iccid} is unknown, or its counter is at its end: import its key set")
            card = self._open(iccid, taken.sealed_keys)
            row = {
                "id": uuid4(),
                "iccid": iccid,
                "key_index": card.key_index,
                "counter": taken.counter,
                "commands": commands,
                "packet": encode(card, taken.counter),
            }
            stored = await connection.execute(_STORE, row)
            return _packet(stored.one())

    async def begin_attempt(self, packet_id: UUID) -> tuple[StoredPacket, CardKeys]:
        """Count an attempt, durable before anything is sent; a packet with a final outcome stays as it is."""
        async with self._engine.begin() as connection:
            row = (await connection.execute(_COUNT_ATTEMPT, {"which": packet_id})).one_or_none()
            if row is None:
                raise OutboxError(f"there is no packet {packet_id}")
            return _packet(row), self._open(row.iccid, row.sealed_keys)

    async def packet(self, packet_id: UUID) -> StoredPacket:
        """A packet as it stands. Raises `OutboxError` where there is none."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(packets).where(packets.c.id == packet_id))).one_or_none()
        if row is None:
            raise OutboxError(f"there is no packet {packet_id}")
        return _packet(row)

    async def note_delivered(self, packet_id: UUID) -> None:
        """Store when the carrier first said that the packet is in the card."""
        async with self._engine.begin() as connection:
            await connection.execute(_NOTE_DELIVERED, {"which": packet_id})

    async def finish(self, packet_id: UUID, outcome: Outcome) -> Outcome:
        """Store the outcome unless a final one stands; returns the one that stands."""
        built = msgspec.to_builtins(outcome)
        async with self._engine.begin() as connection:
            if (await connection.execute(_FINISH, {"which": packet_id, "found": built})).rowcount:
                return outcome
            query = select(packets).where(packets.c.id == packet_id)
            standing = _packet((await connection.execute(query)).one()).outcome
            assert standing is not None, "only a final outcome keeps another one out"
            return standing

    async def list_unfinished(self, iccid: str | None = None) -> list[StoredPacket]:
        """Packets without a final outcome, in the order of their counters: what a sender that comes back takes up."""
        open_ = packets.c.outcome.is_(None) | (packets.c.outcome["verdict"].astext == "unknown")
        query = select(packets).where(open_).order_by(packets.c.iccid, packets.c.key_index, packets.c.counter)
        if iccid is not None:
            query = query.where(packets.c.iccid == iccid)
        async with self._engine.connect() as connection:
            return [_packet(row) for row in await connection.execute(query)]

    async def list_packets(self, iccid: str | None = None, *, limit: int) -> list[StoredPacket]:
        """The newest packets, of one card or of all, newest first."""
        query = select(packets).order_by(packets.c.prepared_at.desc(), packets.c.counter.desc()).limit(limit)
        if iccid is not None:
            query = query.where(packets.c.iccid == iccid)
        async with self._engine.connect() as connection:
            return [_packet(row) for row in await connection.execute(query)]

    def _open(self, iccid: str, sealed: bytes | None) -> CardKeys:
        if sealed is None:
            raise OutboxError(f"card {iccid} is unknown: import its key set")
        return self._cipher.open_card(iccid, sealed)


def _packet(row: Row[Any]) -> StoredPacket:
    fields = {name: getattr(row, name) for name in StoredPacket.__struct_fields__ if name != "outcome"}
    outcome = None if row.outcome is None else msgspec.convert(row.outcome, Outcome)
    return StoredPacket(**fields, outcome=outcome)
