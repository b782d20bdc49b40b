"""A card's key set replaced over the air, without ever losing the card.

    begin      a new key set is made and stored as `new`, beside the one in use
    PUT KEY    under the one in use (`ota.scp80.key_management`); again and again the same keys, so that it may repeat
    prove      any packet under the new keys that the card answers under them
    switch     the new key set is in use, the one before is `former`, in one transaction
    DELETE     of the former one, under the new; then it is forgotten here too

Whatever dies in between, both key sets are stored until the new one is proven, and the card has at least one of them.
A rotation bears a label, so that one that is taken up again knows whether it has switched. Each key set has a counter
of its own; a new one's begins at 0, or at the highest that was ever used under its index with this card.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Text, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ota.delivery import StoredPacket
from ota.keysets import CardKeys
from ota.outbox import OutboxError, PostgresOutbox, cards, other_keys, packets, read_packet
from ota.scp80.key_management import ISD_TAR, VERSIONS, delete_key, put_key
from ota.scp80.packet import KeySet, encode_command
from ota.scp80.parameters import COUNTER_MAX, CounterMode, KeyByte
from ota.scp80.remote import join_commands

NEW, FORMER = "new", "former"
FIRST_TRIED: Final = max(VERSIONS)
"""Manufacturers fill key sets from 1 up, so free ones are looked for from 15 down."""


class OtherKeys(msgspec.Struct, frozen=True):
    """A key set of a card that is not the one in use."""

    card: CardKeys
    state: str
    label: str


class KeyRotation:
    """The stored side of rotations; what is sent when is the caller's."""

    def __init__(self, store: PostgresOutbox) -> None:
        self._engine, self._cipher = store.engine, store.cipher

    async def find(self, iccid: str, state: str) -> OtherKeys | None:
        """The card's key set in that state; of a card there is at most one `new` and one `former`."""
        async with self._engine.connect() as connection:
            return await self._find(connection, iccid, state)

    async def begin(self, iccid: str, label: str) -> OtherKeys:
        """The new key set of this rotation, made once; one an earlier rotation left unproven is taken up.

        Raises `OutboxError` for an unknown card, and where no index is left that this card's SPI could count under.
        """
        async with self._engine.begin() as connection:
            current = await self._current(connection, iccid)
            if (standing := await self._find(connection, iccid, NEW)) is not None:
                where = (other_keys.c.iccid == iccid, other_keys.c.state == NEW)
                await connection.execute(update(other_keys).where(*where).values(label=label))
                return msgspec.structs.replace(standing, label=label)
            index, counter = await self._choose_index(connection, current)
            card = msgspec.structs.replace(current, keys=_make(current.keys, index))
            row = {
                "iccid": iccid,
                "key_index": index,
                "sealed_keys": self._cipher.seal_card(card),
                "counter": counter,
                "state": NEW,
                "label": label,
            }
            await connection.execute(insert(other_keys).values(row))
            return OtherKeys(card, NEW, label)

    async def prepare_put(self, new: OtherKeys) -> StoredPacket:
        """Store the packet that gives the card its new key set, under the one in use."""
        return await self._append_current(new.card.iccid, lambda current: put_key(new.card.keys, under=current.keys))

    async def prepare_delete(self, former: OtherKeys) -> StoredPacket:
        """Store the packet that deletes the former key set, under the one in use."""
        return await self._append_current(former.card.iccid, lambda _: delete_key(former.card.key_index))

    async def prepare_proof(self, new: OtherKeys, commands: Sequence[bytes]) -> StoredPacket:
        """Store a packet under the new key set: the card's answer to it proves that it has it."""
        card = new.card
        async with self._engine.begin() as connection:
            taken = await connection.scalar(
                update(other_keys)
                .where(other_keys.c.iccid == card.iccid, other_keys.c.key_index == card.key_index)
                .where(other_keys.c.counter < COUNTER_MAX)
                .values(counter=other_keys.c.counter + 1)
                .returning(other_keys.c.counter)
            )
            if taken is None:
                raise OutboxError(f"card {card.iccid} has no new key set {card.key_index}")
            return await self._store(connection, card, taken, commands, tar=card.tar)

    async def switch(self, new: OtherKeys) -> None:
        """The card has proved the new key set: it is in use from now on. Again changes nothing."""
        iccid = new.card.iccid
        async with self._engine.begin() as connection:
            await self._current(connection, iccid)
            moved = (
                await connection.execute(
                    delete(other_keys)
                    .where(other_keys.c.iccid == iccid, other_keys.c.state == NEW)
                    .returning(other_keys.c.key_index, other_keys.c.sealed_keys, other_keys.c.counter)
                )
            ).one_or_none()
            if moved is None:
                return
            before = select(
                cards.c.iccid,
                cards.c.key_index,
                cards.c.sealed_keys,
                cards.c.counter,
                literal(FORMER, Text),
                literal(new.label, Text),
            ).where(cards.c.iccid == iccid)
            columns = ["iccid", "key_index", "sealed_keys", "counter", "state", "label"]
            await connection.execute(insert(other_keys).from_select(columns, before))
            await connection.execute(update(cards).where(cards.c.iccid == iccid).values(**moved._mapping))

    async def packet(self, packet_id: UUID) -> StoredPacket:
        """A packet of a rotation as it stands."""
        async with self._engine.connect() as connection:
            return read_packet((await connection.execute(select(packets).where(packets.c.id == packet_id))).one())

    async def forget(self, former: OtherKeys) -> None:
        """The card has deleted its former key set: so do we."""
        where = (other_keys.c.iccid == former.card.iccid, other_keys.c.state == FORMER)
        async with self._engine.begin() as connection:
            await connection.execute(delete(other_keys).where(*where))

    async def _append_current(self, iccid: str, make: Callable[[CardKeys], bytes]) -> StoredPacket:
        async with self._engine.begin() as connection:
            current = await self._current(connection, iccid)
            taken = await connection.scalar(
                update(cards)
                .where(cards.c.iccid == iccid, cards.c.counter < COUNTER_MAX)
                .values(counter=cards.c.counter + 1)
                .returning(cards.c.counter)
            )
            if taken is None:
                raise OutboxError(f"the counter of card {iccid} is at its end")
            return await self._store(connection, current, taken, [make(current)], tar=ISD_TAR)

    async def _store(
        self, connection: AsyncConnection, card: CardKeys, counter: int, commands: Sequence[bytes], *, tar: bytes
    ) -> StoredPacket:
        packet = encode_command(join_commands(commands), keys=card.keys, spi=card.spi, tar=tar, counter=counter)
        row = {
            "id": uuid4(),
            "iccid": card.iccid,
            "key_index": card.key_index,
            "counter": counter,
            "commands": len(commands),
            "packet": packet,
        }
        return read_packet((await connection.execute(insert(packets).values(row).returning(packets))).one())

    async def _current(self, connection: AsyncConnection, iccid: str) -> CardKeys:
        sealed = await connection.scalar(select(cards.c.sealed_keys).where(cards.c.iccid == iccid).with_for_update())
        if sealed is None:
            raise OutboxError(f"card {iccid} is unknown: import its key set")
        return self._cipher.open_card(iccid, sealed)

    async def _find(self, connection: AsyncConnection, iccid: str, state: str) -> OtherKeys | None:
        query = select(other_keys).where(other_keys.c.iccid == iccid, other_keys.c.state == state)
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else OtherKeys(self._cipher.open_card(iccid, row.sealed_keys), row.state, row.label)

    async def _choose_index(self, connection: AsyncConnection, current: CardKeys) -> tuple[int, int]:
        """An index nothing was ever sent under, else the one with the lowest counter; and the counter to begin at."""
        query = (
            select(packets.c.key_index, func.max(packets.c.counter))
            .where(packets.c.iccid == current.iccid)
            .group_by(packets.c.key_index)
        )
        used = {row[0]: row[1] for row in await connection.execute(query)}
        held = await connection.scalars(select(other_keys.c.key_index).where(other_keys.c.iccid == current.iccid))
        free = set(VERSIONS) - {current.key_index, *held}
        index = min(free, key=lambda one: (used.get(one, 0), FIRST_TRIED - one))
        counter: int = used.get(index, 0)
        if counter and current.spi.counter is CounterMode.COUNTER_MUST_BE_LOWER:
            raise OutboxError(f"card {current.iccid}: every key index was used, and its counter must rise by one")
        return index, counter


def _make(like: KeySet, index: int) -> KeySet:
    return KeySet(
        kic=KeyByte(index, like.kic.algorithm),
        kid=KeyByte(index, like.kid.algorithm),
        kic_key=secrets.token_bytes(len(like.kic_key)),
        kid_key=secrets.token_bytes(len(like.kid_key)),
    )
