"""The home operator's OTA platform and a software card: packets stored in PostgreSQL, real ENVELOPEs, lost answers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from landfall import keystore
from ota.delivery import Attempt, Verdict, deliver, prepare
from ota.keysets import CardKeys
from ota.outbox import KeyCipher, OutboxError, PostgresOutbox, metadata
from ota.profile import MobileProfile, delete_slot, fingerprint, list_slots, parse_slot_list, store_slot
from ota.scp80 import KeyByte, KeySet, ParameterError, ResponseStatus
from ota.scp80.sms import build_envelope
from simcard.uicc import Card, personalise

ICCID = "8949000000000000001"
AES = KeyByte(1, 2)
KEYS = KeySet(kic=AES, kid=AES, kic_key=bytes(range(16)), kid_key=bytes(range(16, 32)))
CIPHER = KeyCipher(partial(keystore.seal, bytes(32)), partial(keystore.unseal, bytes(32)))
HOME = MobileProfile(
    imsi="262010000000001", k=b"h" * 16, opc=b"o" * 16, plmn="26201", spn="Home", acc=1, smsc="+491710000", coverage=()
)
ABROAD = MobileProfile(
    imsi="232010000000001",
    k=b"v" * 16,
    opc=b"p" * 16,
    plmn="23201",
    spn="Alpenfunk",
    acc=2,
    smsc="+43664000",
    coverage=("232", "22801", *(f"3{number:02}" for number in range(40))),
)


class Envelopes:
    """A carrier that puts each TPDU into the card as a phone does, and loses the first `lose` answers."""

    may_double = False

    def __init__(self, card: Card, *, lose: int = 0) -> None:
        self.card, self.lose = card, lose
        self.seen: list[list[bytes]] = []

    async def send(self, iccid: str, tpdus: Sequence[bytes], attempt: Attempt) -> list[bytes]:
        self.seen.append(list(tpdus))
        answers = [self._exchange(build_envelope(tpdu, smsc="+491710000")) for tpdu in tpdus]
        if self.lose:
            self.lose -= 1
            raise ConnectionError("the radio is gone")
        return answers

    def _exchange(self, envelope: bytes) -> bytes:
        answer = self.card.transmit(bytes([0x80, 0xC2, 0, 0, len(envelope)]) + envelope)
        if answer[-2] == 0x61:
            answer = self.card.transmit(bytes([0, 0xC0, 0, 0, answer[-1]]))
        assert answer[-2] in (0x90, 0x91), answer.hex()
        return answer[:-2]


def make_card() -> Card:
    return personalise(iccid=ICCID, home=HOME, ota=[KEYS], adm="12345678")


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
async def test_a_profile_is_written_listed_and_deleted_over_the_air(outbox: PostgresOutbox) -> None:
    carrier = Envelopes(make_card())
    packet = await prepare(outbox, ICCID, [*store_slot(1, ABROAD), list_slots()])
    written = await deliver(outbox, packet.id, carrier)
    assert written.verdict is Verdict.DONE, written.words
    home, abroad = parse_slot_list(written.data)
    assert (home.slot, home.enabled, home.plmn) == (0, True, "26201")
    assert (abroad.slot, abroad.plmn) == (1, "23201")
    assert abroad.fingerprint == fingerprint(ABROAD.to_slot_tlv())

    packet = await prepare(outbox, ICCID, [delete_slot(1), list_slots()])
    deleted = await deliver(outbox, packet.id, carrier)
    assert deleted.verdict is Verdict.DONE, deleted.words
    assert [entry.slot for entry in parse_slot_list(deleted.data)] == [0]


@pytest.mark.asyncio
async def test_a_packet_is_not_sent_again_once_proven(outbox: PostgresOutbox) -> None:
    carrier = Envelopes(make_card())
    packet = await prepare(outbox, ICCID, [delete_slot(1)])
    first = await deliver(outbox, packet.id, carrier)
    assert await deliver(outbox, packet.id, carrier) == first
    assert len(carrier.seen) == 1
    assert await outbox.list_unfinished() == []


@pytest.mark.asyncio
async def test_a_retry_sends_the_identical_bytes_and_a_card_that_was_not_heard_is_asked(outbox: PostgresOutbox) -> None:
    carrier = Envelopes(make_card(), lose=2)
    packet = await prepare(outbox, ICCID, store_slot(1, ABROAD))
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await deliver(outbox, packet.id, carrier)
    assert [waiting.id for waiting in await outbox.list_unfinished(ICCID)] == [packet.id]
    outcome = await deliver(outbox, packet.id, carrier)
    assert (outcome.verdict, outcome.status) == (Verdict.UNKNOWN, ResponseStatus.CNTR_LOW)
    assert carrier.seen[0] == carrier.seen[1] == carrier.seen[2]
    assert len(carrier.seen[0]) == 2

    question = await prepare(outbox, ICCID, [list_slots()])
    answer = await deliver(outbox, question.id, carrier)
    assert parse_slot_list(answer.data)[1].fingerprint == fingerprint(ABROAD.to_slot_tlv())


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
