"""Delivery over a real PostgreSQL: counters taken once, bytes sent again as they were."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from landfall import keystore
from ota.delivery import Verdict, deliver, prepare
from ota.keysets import CardKeys
from ota.outbox import KeyCipher, OutboxError, PostgresOutbox, metadata
from ota.profile import delete_slot, enable_slot
from ota.scp80 import (
    KeyByte,
    KeySet,
    ParameterError,
    ResponseStatus,
    SecurityFailure,
    decode_command,
    encode_response,
    peek_command,
)
from ota.scp80.remote import CompactResponse, split_commands
from ota.scp80.sms import Reassembler, parse_deliver, wrap_response

ICCID = "8949000000000000001"
AES = KeyByte(1, 2)
KEYS = KeySet(kic=AES, kid=AES, kic_key=b"k" * 16, kid_key=b"m" * 16)
CIPHER = KeyCipher(partial(keystore.seal, bytes(32)), partial(keystore.unseal, bytes(32)))


class CardEnd:
    """The card's end of the radio: verifies, counts effects, answers; `lose` drops that many answers."""

    def __init__(self) -> None:
        self.counter, self.effects, self.lose = 0, 0, 0
        self.seen: list[list[bytes]] = []

    async def send(self, iccid: str, tpdus: Sequence[bytes]) -> list[bytes]:
        self.seen.append(list(tpdus))
        parts, answers = Reassembler(), []
        for tpdu in tpdus:
            whole = parts.add(parse_deliver(tpdu).user_data)
            answers.append(b"" if whole is None else self._answer(whole[1]))
        if self.lose:
            self.lose -= 1
            raise ConnectionError("the radio is gone")
        return answers

    def _answer(self, packet: bytes) -> bytes:
        header = peek_command(packet)
        try:
            command = decode_command(packet, KEYS, last_counter=self.counter)
        except SecurityFailure as failure:
            response = encode_response(failure.status, header=header, counter=failure.counter, keys=KEYS)
        else:
            self.counter = command.counter
            self.effects += 1
            answer = CompactResponse(len(split_commands(command.data)), 0x9000).encode()
            response = encode_response(ResponseStatus.POR_OK, answer, header=header, counter=command.counter, keys=KEYS)
        return wrap_response(response)


@pytest_asyncio.fixture
async def outbox(database: str) -> AsyncIterator[PostgresOutbox]:
    engine = create_async_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    store = PostgresOutbox(engine, CIPHER)
    await store.add_card(CardKeys(iccid=ICCID, keys=KEYS))
    yield store
    await engine.dispose()


@pytest.mark.asyncio
async def test_a_packet_is_delivered_and_not_sent_again_once_proven(outbox: PostgresOutbox) -> None:
    card = CardEnd()
    packet = await prepare(outbox, ICCID, [delete_slot(1), enable_slot(0)])
    first = await deliver(outbox, packet.id, card)
    assert (first.verdict, first.executed) == (Verdict.DONE, 2)
    assert await deliver(outbox, packet.id, card) == first
    assert len(card.seen) == 1
    assert await outbox.list_unfinished() == []


@pytest.mark.asyncio
async def test_a_retry_sends_the_identical_bytes_and_counter_low_means_unknown(outbox: PostgresOutbox) -> None:
    card = CardEnd()
    card.lose = 2
    packet = await prepare(outbox, ICCID, [delete_slot(slot) for slot in range(1, 16)] * 4)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await deliver(outbox, packet.id, card)
    assert [waiting.id for waiting in await outbox.list_unfinished(ICCID)] == [packet.id]
    outcome = await deliver(outbox, packet.id, card)
    assert (outcome.verdict, outcome.status) == (Verdict.UNKNOWN, ResponseStatus.CNTR_LOW)
    assert card.seen[0] == card.seen[1] == card.seen[2]
    assert len(card.seen[0]) == 3
    assert card.effects == 1


@pytest.mark.asyncio
async def test_counters_taken_at_once_are_all_different(outbox: PostgresOutbox) -> None:
    packets = await asyncio.gather(*(prepare(outbox, ICCID, [delete_slot(1)]) for _ in range(12)))
    assert sorted(packet.counter for packet in packets) == list(range(1, 13))


@pytest.mark.asyncio
async def test_a_packet_that_cannot_be_made_takes_no_counter(outbox: PostgresOutbox) -> None:
    with pytest.raises(ParameterError):
        await prepare(outbox, ICCID, [delete_slot(1)], tar=b"\x01")
    assert (await prepare(outbox, ICCID, [delete_slot(1)])).counter == 1


@pytest.mark.asyncio
async def test_importing_a_card_again_never_turns_its_counter_back(outbox: PostgresOutbox) -> None:
    await outbox.add_card(CardKeys(iccid=ICCID, keys=KEYS), counter=100)
    assert (await prepare(outbox, ICCID, [delete_slot(1)])).counter == 101
    await outbox.add_card(CardKeys(iccid=ICCID, keys=KEYS))
    assert (await prepare(outbox, ICCID, [delete_slot(1)])).counter == 102


@pytest.mark.asyncio
async def test_keys_lie_encrypted_and_an_unknown_card_is_named(outbox: PostgresOutbox) -> None:
    async with outbox._engine.connect() as connection:
        sealed = await connection.scalar(text("select sealed_keys from ota_cards"))
    assert KEYS.kic_key not in sealed
    assert (await outbox.card(ICCID)).keys == KEYS
    with pytest.raises(OutboxError, match="8900000000000000000 is unknown"):
        await prepare(outbox, "8900000000000000000", [delete_slot(1)])
