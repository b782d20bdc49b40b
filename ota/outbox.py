"""Packets and counters in PostgreSQL: what `ota.delivery` needs to survive its sender.

A counter is taken under a lock of the card's row, and its packet is inserted in the same transaction; the
unique key on (card, key set, counter) makes a reuse impossible, whatever the code does. Keys are stored encrypted by
the `KeyCipher` the node gives, bound to their ICCID:

    KeyCipher(partial(keystore.seal, dek), partial(keystore.unseal, dek))
"""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import (
    ARRAY,
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
    cast,
    column,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncEngine

from landfall.errors import LandfallError
from ota.delivery import Outcome, StoredPacket
from ota.gathering import Gathering
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
    Column("state", Text, nullable=False, comment="new: being written to the card, not proven; former: was in use"),
    Column("label", Text, nullable=False, comment="whose rotation it is"),
    UniqueConstraint("iccid", "state"),
    CheckConstraint("state in ('new', 'former')", name="ota_other_keys_state"),
    CheckConstraint(f"counter between 0 and {COUNTER_MAX}", name="ota_other_counter_five_bytes"),
)

_FINAL = func.coalesce(packets.c.outcome["verdict"].astext, "unknown") != "unknown"


def _among(values: str, of: Any) -> Any:
    """One of an array's, as `= any(…)`: one statement, and one plan, for batches of every size."""
    return func.any(bindparam(values, type_=ARRAY(of)))


def _rows_of(**types: Any) -> Any:
    """A table of as many rows as the arrays bound as `all_` and each name have."""
    arrays = [bindparam(f"all_{name}", type_=ARRAY(of)) for name, of in types.items()]
    columns = [column(name, of) for name, of in types.items()]
    return func.unnest(*arrays).table_valued(*columns, name="given").render_derived()


# Built once: on the way of every packet, making them anew costs more than PostgreSQL does.
_LOCK_CARDS: Final = (
    select(cards).where(cards.c.iccid == _among("iccids", Text)).order_by(cards.c.iccid).with_for_update()
)
_TAKE_COUNTERS: Final = update(cards).where(cards.c.iccid == _among("iccids", Text)).values(counter=cards.c.counter + 1)
_NEW: Final = {
    "id": Uuid,
    "iccid": Text,
    "key_index": SmallInteger,
    "counter": BigInteger,
    "commands": SmallInteger,
    "packet": LargeBinary,
}
_STORE: Final = (
    insert(packets).from_select(list(_NEW), select(_rows_of(**_NEW))).returning(packets.c.id, packets.c.prepared_at)
)
_OF_OTHER_KEYS: Final = (
    select(other_keys.c.sealed_keys)
    .where(other_keys.c.iccid == packets.c.iccid, other_keys.c.key_index == packets.c.key_index)
    .scalar_subquery()
)
_COUNT_ATTEMPTS: Final = (
    update(packets)
    .where(packets.c.id == _among("ids", Uuid), cards.c.iccid == packets.c.iccid)
    .values(attempts=packets.c.attempts + case((_FINAL, 0), else_=1))
    .returning(
        packets,
        case((cards.c.key_index == packets.c.key_index, cards.c.sealed_keys), else_=_OF_OTHER_KEYS).label("sealed"),
        cards.c.sealed_keys,
    )
)
_NOTE_DELIVERED: Final = (
    update(packets)
    .where(packets.c.id == _among("ids", Uuid), packets.c.delivered_at.is_(None))
    .values(delivered_at=func.now())
)
_found: Final = _rows_of(id=Uuid, outcome=Text)
_FINISH: Final = (
    update(packets)
    .where(packets.c.id == _found.c.id, ~_FINAL)
    .values(outcome=cast(_found.c.outcome, JSONB))
    .returning(packets.c.id)
)
_STANDING: Final = select(packets).where(packets.c.id == _among("ids", Uuid))


Encode = Callable[[CardKeys, int], bytes]
"""Makes a packet of a card's keys and a counter."""


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
    """The `OutboxStore` of an operator node; any number of processes may share its tables.

    A node delivers to hundreds of cards at once and writes four times for each; the writes that wait share statements
    and a commit (`Gathering`). What returns is durable. One outbox serves one event loop.
    """

    def __init__(self, engine: AsyncEngine, cipher: KeyCipher) -> None:
        self.engine = self._engine = engine
        self.cipher = self._cipher = cipher
        self._appends = Gathering(self._append_all)
        self._attempts = Gathering(self._begin_all)
        self._arrivals = Gathering(self._note_all)
        self._outcomes = Gathering(self._finish_all)

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

    async def card(self, iccid: str, *, key_index: int | None = None) -> CardKeys:
        """The card's keys in use; or those of an index, which a card may have besides while they are replaced.

        Raises `OutboxError` for an unknown card, or an index of which it has no keys.
        """
        in_use = select(cards.c.sealed_keys).where(cards.c.iccid == iccid)
        besides = select(other_keys.c.sealed_keys).where(other_keys.c.iccid == iccid)
        async with self._engine.connect() as connection:
            if key_index is not None:
                in_use = in_use.where(cards.c.key_index == key_index)
            sealed = await connection.scalar(in_use)
            if sealed is None and key_index is not None:
                sealed = await connection.scalar(besides.where(other_keys.c.key_index == key_index))
        return self._open(iccid, sealed)

    async def append(self, iccid: str, commands: int, encode: Encode) -> StoredPacket:
        """Take the next counter and store its packet, or neither."""
        return await self._appends.ask(iccid, (commands, encode))

    async def begin_attempt(self, packet_id: UUID) -> tuple[StoredPacket, CardKeys]:
        """Count an attempt, durable before anything is sent; a packet with a final outcome stays as it is."""
        return await self._attempts.ask(packet_id, None)

    async def packet(self, packet_id: UUID) -> StoredPacket:
        """A packet as it stands. Raises `OutboxError` where there is none."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(packets).where(packets.c.id == packet_id))).one_or_none()
        if row is None:
            raise OutboxError(f"there is no packet {packet_id}")
        return read_packet(row)

    async def note_delivered(self, packet_id: UUID) -> None:
        """Store when the carrier first said that the packet is in the card."""
        await self._arrivals.ask(packet_id, None)

    async def finish(self, packet_id: UUID, outcome: Outcome) -> Outcome:
        """Store the outcome unless a final one stands; returns the one that stands."""
        return await self._outcomes.ask(packet_id, outcome)

    async def _append_all(self, wanted: dict[str, tuple[int, Encode]]) -> dict[str, StoredPacket | Exception]:
        results: dict[str, StoredPacket | Exception] = {
            iccid: OutboxError(f"card {iccid} is unknown, or its counter is at its end: import its key set")
            for iccid in wanted
        }
        made: dict[UUID, dict[str, Any]] = {}
        async with self._engine.begin() as connection:
            for row in await connection.execute(_LOCK_CARDS, {"iccids": list(wanted)}):
                if row.counter >= COUNTER_MAX:
                    continue
                commands, encode = wanted[row.iccid]
                try:
                    card = self._open(row.iccid, row.sealed_keys)
                    packet = encode(card, row.counter + 1)
                except Exception as error:
                    # Of one card, which keeps its counter; the others go on.
                    results[row.iccid] = error
                    continue
                which = uuid4()
                values = (which, row.iccid, card.key_index, row.counter + 1, commands, packet)
                made[which] = dict(zip(_NEW, values, strict=True))
            if made:
                stored = {f"all_{name}": [row[name] for row in made.values()] for name in _NEW}
                await connection.execute(_TAKE_COUNTERS, {"iccids": stored["all_iccid"]})
                for row in await connection.execute(_STORE, stored):
                    fields = made[row.id]
                    results[fields["iccid"]] = StoredPacket(prepared_at=row.prepared_at, **fields)
        return results

    async def _begin_all(self, wanted: dict[UUID, None]) -> dict[UUID, tuple[StoredPacket, CardKeys] | Exception]:
        results: dict[UUID, tuple[StoredPacket, CardKeys] | Exception] = {
            which: OutboxError(f"there is no packet {which}") for which in wanted
        }
        async with self._engine.begin() as connection:
            rows = (await connection.execute(_COUNT_ATTEMPTS, {"ids": list(wanted)})).all()
        for row in rows:
            results[row.id] = read_packet(row), self._open(row.iccid, row.sealed or row.sealed_keys)
        return results

    async def _note_all(self, wanted: dict[UUID, None]) -> dict[UUID, Exception | None]:
        async with self._engine.begin() as connection:
            await connection.execute(_NOTE_DELIVERED, {"ids": list(wanted)})
        return dict.fromkeys(wanted)

    async def _finish_all(self, wanted: dict[UUID, Outcome]) -> dict[UUID, Outcome | Exception]:
        results: dict[UUID, Outcome | Exception] = dict(wanted)
        coded = [msgspec.json.encode(outcome).decode() for outcome in wanted.values()]
        given = {"all_id": list(wanted), "all_outcome": coded}
        async with self._engine.begin() as connection:
            stored = set((await connection.execute(_FINISH, given)).scalars())
            if kept := [which for which in wanted if which not in stored]:
                for row in await connection.execute(_STANDING, {"ids": kept}):
                    standing = read_packet(row).outcome
                    assert standing is not None, "only a final outcome keeps another one out"
                    results[row.id] = standing
        return results

    async def list_unfinished(self, iccid: str | None = None) -> list[StoredPacket]:
        """Packets without a final outcome, in the order of their counters: what a sender that comes back takes up."""
        open_ = packets.c.outcome.is_(None) | (packets.c.outcome["verdict"].astext == "unknown")
        query = select(packets).where(open_).order_by(packets.c.iccid, packets.c.key_index, packets.c.counter)
        if iccid is not None:
            query = query.where(packets.c.iccid == iccid)
        async with self._engine.connect() as connection:
            return [read_packet(row) for row in await connection.execute(query)]

    async def list_packets(self, iccid: str | None = None, *, limit: int) -> list[StoredPacket]:
        """The newest packets, of one card or of all, newest first."""
        query = select(packets).order_by(packets.c.prepared_at.desc(), packets.c.counter.desc()).limit(limit)
        if iccid is not None:
            query = query.where(packets.c.iccid == iccid)
        async with self._engine.connect() as connection:
            return [read_packet(row) for row in await connection.execute(query)]

    def _open(self, iccid: str, sealed: bytes | None) -> CardKeys:
        if sealed is None:
            raise OutboxError(f"card {iccid} is unknown: import its key set")
        return self._cipher.open_card(iccid, sealed)


def read_packet(row: Row[Any]) -> StoredPacket:
    """A row of the table as a packet."""
    fields = {name: getattr(row, name) for name in StoredPacket.__struct_fields__ if name != "outcome"}
    outcome = None if row.outcome is None else msgspec.convert(row.outcome, Outcome)
    return StoredPacket(**fields, outcome=outcome)
