"""Delivery over SMPP to a software card: a network that loses, doubles and reorders, and a sender that dies."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import create_async_engine

from landfall import keystore
from ota.delivery import AbsentCard, Attempt, CarrierError, Outcome, State, Verdict, deliver, prepare
from ota.keysets import CardKeys
from ota.outbox import KeyCipher, PostgresOutbox, metadata
from ota.profile import MobileProfile, fingerprint, list_slots, parse_slot_list, store_slot
from ota.scp80 import KeyByte, KeySet, Spi
from ota.smpp import carrier as smpp_carrier
from ota.smpp.carrier import SmppCarrier
from ota.smpp.esme import Centre
from simcard.readers import MemoryLink
from simcard.uicc import personalise
from simulator.field import Field, Network, Phone
from simulator.hlr import EmbeddedHlr
from simulator.smsc import Faults, Smsc

ICCID, NUMBER = "8970199000000000017", "+79990000001"
KEYS = KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=bytes(range(16)), kid_key=bytes(range(16, 32)))
CIPHER = KeyCipher(partial(keystore.seal, bytes(32)), partial(keystore.unseal, bytes(32)))
HOME = MobileProfile(
    imsi="250990000000001",
    k=bytes(16),
    opc=bytes(16),
    plmn="25099",
    spn="Home",
    acc=1,
    smsc="+79990000000",
    coverage=("250",),
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


async def find_number(iccid: str) -> str:
    assert iccid == ICCID
    return NUMBER


@pytest_asyncio.fixture
async def outbox(database: str) -> AsyncIterator[PostgresOutbox]:
    engine = create_async_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    store = PostgresOutbox(engine, CIPHER)
    await store.add_card(CardKeys(iccid=ICCID, keys=KEYS))
    yield store
    await engine.dispose()


@asynccontextmanager
async def centre(faults: Faults | None = None, *, seed: int = 1) -> AsyncIterator[tuple[Smsc, Centre, Phone]]:
    field = Field()
    home = field.add_network(Network("25099", "Home", EmbeddedHlr()))
    await home.hlr.create_subscriber(HOME.imsi, k=HOME.k, opc=HOME.opc, algorithm="milenage", msisdn=None)
    phone = await field.add_phone(
        MemoryLink(personalise(iccid=ICCID, home=HOME, ota=[KEYS], adm="12345678")), place="25099"
    )
    smsc = Smsc(field, {"ota": "secret"}, faults=faults, seed=seed)
    smsc.numbers[NUMBER.removeprefix("+")] = ICCID
    async with smsc.serve("127.0.0.1", 0) as port:
        yield smsc, Centre(host="127.0.0.1", port=port, system_id="ota", password="secret"), phone


@asynccontextmanager
async def bound(where: Centre, *, validity_s: float = 5, proof_s: float = 5) -> AsyncIterator[SmppCarrier]:
    carrier = SmppCarrier(where, find_number, validity_s=validity_s, proof_s=proof_s)
    running = asyncio.create_task(carrier.run())
    try:
        yield carrier
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def read_slots(outbox: PostgresOutbox, carrier: SmppCarrier) -> Outcome:
    """Ask the card until it answers, as whoever meets UNKNOWN does."""
    while True:
        outcome = await deliver(outbox, (await prepare(outbox, ICCID, [list_slots()])).id, carrier)
        if outcome.verdict is not Verdict.UNKNOWN:
            return outcome


async def state_of(outbox: PostgresOutbox) -> State:
    (packet,) = await outbox.list_unfinished()
    return packet.state


async def test_a_profile_goes_over_smpp_and_its_proof_comes_back(outbox: PostgresOutbox) -> None:
    async with centre() as (_, where, _phone), bound(where) as carrier:
        packet = await prepare(outbox, ICCID, [*store_slot(1, ABROAD), list_slots()])
        assert packet.state is State.QUEUED
        outcome = await deliver(outbox, packet.id, carrier)
        assert outcome.verdict is Verdict.DONE, outcome.words
        assert parse_slot_list(outcome.data)[1].fingerprint == fingerprint(ABROAD.to_slot_tlv())


async def test_a_proof_the_card_sends_itself_in_short_messages_is_put_together(outbox: PostgresOutbox) -> None:
    await outbox.add_card(CardKeys(iccid=ICCID, keys=KEYS, spi=Spi(por_in_submit=True)))
    async with centre(Faults(reorder=0.5, duplicate=0.3)) as (_, where, _phone), bound(where) as carrier:
        packet = await prepare(outbox, ICCID, [*store_slot(1, ABROAD), list_slots()])
        outcome = await deliver(outbox, packet.id, carrier)
        if outcome.verdict is Verdict.UNKNOWN:
            outcome = await read_slots(outbox, carrier)
        assert outcome.verdict is Verdict.DONE, outcome.words


async def test_states_are_queued_sent_delivered_and_then_the_proof(
    outbox: PostgresOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.phone.Phone.receive_sms", _swallow)  # a card that takes everything and says nothing
    async with centre(Faults(delay_s=(0.2, 0.2))) as (_, where, _phone), bound(where, proof_s=0.5) as carrier:
        packet = await prepare(outbox, ICCID, [list_slots()])
        assert await state_of(outbox) is State.QUEUED
        sending = asyncio.create_task(deliver(outbox, packet.id, carrier))
        await asyncio.sleep(0.2)
        assert await state_of(outbox) is State.SENT
        await asyncio.sleep(0.5)
        assert await state_of(outbox) is State.DELIVERED
        outcome = await sending
        assert (outcome.verdict, outcome.words) == (Verdict.UNKNOWN, "the card sent no proof of receipt")
        assert await state_of(outbox) is State.UNKNOWN


async def _swallow(phone: Phone, tpdus: Sequence[bytes]) -> object:
    class Silent:
        responses = (b"",)
        submitted = ()

    return Silent()


async def test_a_phone_that_is_off_is_absent_and_the_same_bytes_go_again(outbox: PostgresOutbox) -> None:
    async with centre() as (_, where, phone), bound(where, validity_s=1) as carrier:
        packet = await prepare(outbox, ICCID, store_slot(1, ABROAD))
        await phone.switch_off()
        with pytest.raises(AbsentCard, match="EXPIRED"):
            await deliver(outbox, packet.id, carrier)
        await phone.switch_on()
        assert (await deliver(outbox, packet.id, carrier)).verdict is Verdict.DONE


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_card_holds_the_profile_however_bad_the_network_is(
    outbox: PostgresOutbox, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smpp_carrier, "SECOND_ANSWER_S", 0.3)
    faults = Faults(loss=0.2, duplicate=0.3, reorder=0.3, delay_s=(0.0, 0.05))
    async with centre(faults, seed=seed) as (_, where, _phone), bound(where, validity_s=1, proof_s=0.5) as carrier:
        packet = await prepare(outbox, ICCID, [*store_slot(1, ABROAD), list_slots()])
        outcome = await deliver(outbox, packet.id, carrier)
        while outcome.verdict is Verdict.UNKNOWN:
            if any(entry.slot == 1 for entry in parse_slot_list((await read_slots(outbox, carrier)).data)):
                break
            packet = await prepare(outbox, ICCID, [*store_slot(1, ABROAD), list_slots()])
            outcome = await deliver(outbox, packet.id, carrier)
        listed = parse_slot_list((await read_slots(outbox, carrier)).data)
        assert [(entry.slot, entry.fingerprint) for entry in listed[1:]] == [(1, fingerprint(ABROAD.to_slot_tlv()))]


async def test_a_sender_that_died_takes_the_proof_that_waited_for_it(outbox: PostgresOutbox) -> None:
    async with centre(Faults(delay_s=(0.3, 0.3))) as (smsc, where, _phone):
        packet = await prepare(outbox, ICCID, store_slot(1, ABROAD))
        async with bound(where) as carrier:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await deliver(outbox, packet.id, carrier)
        smsc.cut()
        await asyncio.sleep(0.8)  # the card has acted; nobody was there to hear it
        async with bound(where) as carrier:
            await carrier.esme.wait_bound()
            await asyncio.sleep(0.2)
            outcome = await deliver(outbox, packet.id, carrier)
        assert outcome.verdict is Verdict.DONE
        assert outcome.executed == len(store_slot(1, ABROAD))


async def test_two_packets_at_once_to_one_card_are_refused(outbox: PostgresOutbox) -> None:
    async with centre(Faults(delay_s=(0.2, 0.2))) as (_, where, _phone), bound(where) as carrier:
        packets = [await prepare(outbox, ICCID, [list_slots()]) for _ in range(2)]
        first = asyncio.create_task(deliver(outbox, packets[0].id, carrier))
        await asyncio.sleep(0.1)
        with pytest.raises(CarrierError, match="one at a time"):
            await deliver(outbox, packets[1].id, carrier)
        assert (await first).verdict is Verdict.DONE


async def test_a_proof_of_an_earlier_packet_is_not_taken_for_this_ones(outbox: PostgresOutbox) -> None:
    earlier, later = [await prepare(outbox, ICCID, [list_slots()]) for _ in range(2)]
    card = await outbox.card(ICCID)
    async with centre() as (_, where, _phone), bound(where) as carrier:
        proofs: list[bytes] = []

        class Listening(SmppCarrier):
            async def send(self, iccid: str, tpdus: Sequence[bytes], attempt: Attempt) -> list[bytes]:
                proofs.extend(await carrier.send(iccid, tpdus, attempt))
                return proofs

        assert (await deliver(outbox, earlier.id, Listening(where, find_number))).verdict is Verdict.DONE
        assert Attempt(outbox, earlier, card).is_settled_by(proofs[0])
        assert not Attempt(outbox, later, card).is_answered_by(proofs[0])
