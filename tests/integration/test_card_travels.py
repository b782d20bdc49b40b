"""The whole path of one card: a slot over the air, a journey, a real challenge, and home again."""

from __future__ import annotations

import pytest

from ota.profile import (
    MULTI_ACCOUNT_TAR,
    MobileProfile,
    delete_slot,
    fingerprint,
    list_slots,
    parse_slot_list,
    store_slot,
)
from ota.scp80.packet import KeySet, ProofOfReceipt, decode_response, encode_command
from ota.scp80.parameters import KeyByte, ResponseStatus, Spi
from ota.scp80.remote import CompactResponse, ExpandedResponse, encode_script, join_commands
from ota.scp80.report import decode_report, peek_report
from ota.scp80.sms import build_delivers, parse_submit, unwrap_response
from simcard.readers import MemoryLink
from simcard.uicc import Card, personalise
from simulator.field import AbsentSubscriberError, Field, Network, Phone
from simulator.hlr import Cause, EmbeddedHlr

ICCID = "8970199000000000017"
KEYS = KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=bytes(range(32)), kid_key=bytes(range(32, 64)))
HOME = MobileProfile(
    imsi="250990000000001",
    k=bytes.fromhex("465b5ce8b199b49faa5f0a2ee238a6bc"),
    opc=bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf"),
    plmn="25099",
    spn="Home",
    acc=2,
    smsc="+79990000000",
    coverage=("250",),
    msisdn="+79991234567",
)
ABROAD = MobileProfile(
    imsi="262011234567890",
    k=bytes(range(16)),
    opc=bytes(range(16, 32)),
    plmn="26201",
    spn="Abroad",
    acc=4,
    smsc="+491700000000",
    coverage=("26201", "262"),
    msisdn="+491701234567",
)


class World:
    """Two countries, one phone, and the sender of OTA packets with its counter."""

    def __init__(self) -> None:
        self.field = Field()
        self.home_hlr, self.abroad_hlr = EmbeddedHlr(), EmbeddedHlr()
        self.home = self.field.add_network(Network("25099", "Home", self.home_hlr))
        self.abroad = self.field.add_network(Network("26201", "Abroad", self.abroad_hlr))
        self.card: Card = personalise(iccid=ICCID, home=HOME, ota=[KEYS], adm="12345678")
        self.link = MemoryLink(self.card)
        self.phone: Phone
        self.counter = 0
        self.registered: list[str] = []
        self.abroad.on_registered(lambda imsi, _: self.registered.append(imsi))

    async def start(self) -> World:
        for hlr, profile in ((self.home_hlr, HOME), (self.abroad_hlr, ABROAD)):
            await hlr.create_subscriber(
                profile.imsi, k=profile.k, opc=profile.opc, algorithm="milenage", msisdn=profile.msisdn
            )
        self.phone = await self.field.add_phone(self.link, place="25099")
        return self

    def pack(self, commands: list[bytes], spi: Spi | None = None) -> list[bytes]:
        return self.pack_data(join_commands(commands), spi, MULTI_ACCOUNT_TAR)

    def pack_data(self, data: bytes, spi: Spi | None, tar: bytes) -> list[bytes]:
        self.counter += 1
        packet = encode_command(data, keys=KEYS, spi=spi or Spi(), tar=tar, counter=self.counter)
        return build_delivers(packet, originator="+79990000001", timestamp=bytes(7), reference=self.counter)

    async def send(self, tpdus: list[bytes]) -> ProofOfReceipt:
        answer = await self.phone.receive_sms(tpdus)
        assert all(not response for response in answer.responses[:-1])
        return decode_response(unwrap_response(answer.responses[-1]), keys=KEYS, spi=Spi())

    async def run(self, commands: list[bytes]) -> CompactResponse:
        proof = await self.send(self.pack(commands))
        assert proof.status is ResponseStatus.POR_OK
        assert proof.secured
        return CompactResponse.decode(proof.data)


@pytest.fixture
async def world() -> World:
    return await World().start()


async def test_a_slot_stored_over_the_air_serves_abroad_and_is_deleted_at_home(world: World) -> None:
    assert world.phone.serving is world.home
    assert not await world.phone.travel_to("262")
    assert world.phone.refusal is Cause.PLMN_NOT_ALLOWED
    assert world.phone.imsi == HOME.imsi

    assert await world.phone.travel_to("250")
    stored = await world.run([*store_slot(3, ABROAD), list_slots()])
    assert (stored.executed, stored.sw) == (2, 0x9000)
    assert [(entry.slot, entry.enabled, entry.plmn) for entry in parse_slot_list(stored.data)] == [
        (0, True, "25099"),
        (3, False, "26201"),
    ]

    assert await world.phone.travel_to("26201")
    assert world.phone.imsi == ABROAD.imsi
    assert world.phone.serving is world.abroad
    assert world.registered == [ABROAD.imsi]

    assert await world.phone.travel_to("25099")
    assert world.phone.imsi == HOME.imsi
    deleted = await world.run([delete_slot(3), list_slots()])
    assert [entry.slot for entry in parse_slot_list(deleted.data)] == [0]
    assert not await world.phone.travel_to("26201")
    assert world.registered == [ABROAD.imsi]


async def test_deleting_the_enabled_slot_abroad_returns_to_the_home_profile_and_out_of_service(
    world: World,
) -> None:
    await world.run(store_slot(1, ABROAD))
    await world.phone.travel_to("262")
    assert (await world.run([delete_slot(1)])).sw == 0x9000
    assert world.phone.imsi == HOME.imsi
    assert world.phone.refusal is Cause.PLMN_NOT_ALLOWED
    with pytest.raises(AbsentSubscriberError, match=ICCID):
        await world.phone.receive_sms(world.pack([list_slots()]))


async def test_a_replayed_packet_is_refused_as_counter_low_and_has_one_effect(world: World) -> None:
    store, delete = world.pack(store_slot(1, ABROAD)), world.pack([delete_slot(1)])
    assert (await world.send(store)).status is ResponseStatus.POR_OK
    assert (await world.send(delete)).status is ResponseStatus.POR_OK
    again = await world.send(store)
    assert again.status is ResponseStatus.CNTR_LOW
    assert again.secured
    assert [entry.slot for entry in parse_slot_list((await world.run([list_slots()])).data)] == [0]


async def test_a_forged_packet_is_refused_and_moves_no_counter(world: World) -> None:
    good = world.pack([list_slots()])
    forged = [good[0][:-1] + bytes([good[0][-1] ^ 1])]
    assert (await world.send(forged)).status is not ResponseStatus.POR_OK
    assert (await world.send(good)).status is ResponseStatus.POR_OK


async def test_a_packet_without_ciphering_is_too_weak_for_commands_that_carry_keys(world: World) -> None:
    proof = await world.send(world.pack(store_slot(1, ABROAD), Spi(ciphering=False)))
    assert proof.status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL


async def test_files_are_managed_over_the_air_in_both_formats_without_moving_the_phones_selection(world: World) -> None:
    world.link.send_apdu_checksw("00a40004026f46", "9???")
    commands = [bytes.fromhex("00a40004026f07"), bytes.fromhex("00b0000009")]
    compact = await world.send(world.pack_data(join_commands(commands), None, bytes.fromhex("B00010")))
    assert CompactResponse.decode(compact.data) == CompactResponse(2, 0x9000, bytes.fromhex("082905990000000010"))
    expanded = await world.send(world.pack_data(encode_script(commands), None, bytes.fromhex("B00010")))
    assert ExpandedResponse.decode(expanded.data).responses[1].hex() == "082905990000000010" + "9000"
    assert world.link.send_apdu("00b0000005") == ("01486f6d65", "9000")


async def test_an_application_the_card_does_not_have_is_named_and_the_counter_moves(world: World) -> None:
    tpdus = world.pack_data(b"", None, bytes.fromhex("B0FFFF"))
    assert (await world.send(tpdus)).status is ResponseStatus.TAR_UNKNOWN
    assert (await world.send(tpdus)).status is ResponseStatus.CNTR_LOW


async def test_a_proof_of_receipt_can_come_as_a_short_message_of_the_card(world: World) -> None:
    spi = Spi(por_in_submit=True)
    answer = await world.phone.receive_sms(world.pack([list_slots()], spi))
    assert answer.responses == (b"",)
    submit = parse_submit(answer.submitted[0])
    assert submit.destination == "+79990000001"
    proof = decode_response(unwrap_response(submit.user_data), keys=KEYS, spi=spi)
    assert proof.status is ResponseStatus.POR_OK


async def test_a_home_hlr_that_lost_its_counters_is_put_right_by_auts(world: World) -> None:
    for _ in range(3):
        await world.phone.travel_to("26201")
        await world.phone.travel_to("25099")
    await world.home_hlr.delete(HOME.imsi)
    await world.home_hlr.create_subscriber(HOME.imsi, k=HOME.k, opc=HOME.opc, algorithm="milenage", msisdn=None)
    assert await world.phone.travel_to("25099")
    subscriber = world.home_hlr.find(HOME.imsi)
    assert subscriber is not None
    assert subscriber.seq > 16  # where the card stood: one of five vectors in each of four registrations


async def test_a_barred_subscriber_is_cut_off_at_once_and_the_card_returns_to_its_home_profile(world: World) -> None:
    await world.run(store_slot(1, ABROAD))
    await world.phone.travel_to("26201")
    await world.abroad.bar(ABROAD.imsi)
    assert world.phone.serving is None
    assert not await world.phone.settle()
    assert world.phone.imsi == HOME.imsi
    assert await world.phone.travel_to("25099")
    assert (await world.run([delete_slot(1)])).sw == 0x9000


async def test_a_slot_that_fails_gives_way_to_the_next_one_that_covers_the_country(world: World) -> None:
    unknown = MobileProfile(
        imsi="262019999999999",
        k=bytes(16),
        opc=bytes(16),
        plmn="26201",
        spn="Gone",
        acc=1,
        smsc="+491700000000",
        coverage=("262",),
    )
    await world.run(store_slot(1, unknown))
    await world.run(store_slot(2, ABROAD))
    assert await world.phone.travel_to("262")
    assert world.phone.imsi == ABROAD.imsi
    assert world.registered == [ABROAD.imsi]


async def test_the_card_reports_its_new_number_to_where_its_last_packet_came_from(world: World) -> None:
    await world.run(store_slot(1, ABROAD))
    assert world.phone.take_submitted() == ()
    await world.phone.travel_to("262")
    await world.phone.settle()
    (message,) = map(parse_submit, world.phone.take_submitted())
    assert message.destination == "+79990000001"
    assert peek_report(message.user_data) == (ICCID, KEYS.kid)
    report = decode_report(message.user_data, KEYS)
    assert (report.slot, report.plmn, report.counter) == (1, "26201", 1)
    assert (report.smsc, report.msisdn) == (ABROAD.smsc, ABROAD.msisdn)
    assert report.fingerprint == fingerprint(ABROAD.to_slot_tlv())

    await world.phone.settle()
    assert world.phone.take_submitted() == ()
    await world.phone.travel_to("250")
    await world.phone.settle()
    (message,) = map(parse_submit, world.phone.take_submitted())
    report = decode_report(message.user_data, KEYS)
    assert (report.slot, report.counter, report.msisdn) == (0, 2, HOME.msisdn)


async def test_a_person_chooses_the_account_in_the_menu_and_gives_the_choice_back(world: World) -> None:
    await world.run(store_slot(1, ABROAD))
    await world.phone.settle()
    assert list(world.phone.screen.menu.values()) == ["Choose account"]
    await world.phone.choose("Choose account", "Abroad")
    assert world.phone.screen.displayed == "Abroad"
    assert world.phone.imsi == ABROAD.imsi
    assert world.phone.serving is None
    assert await world.phone.settle()  # at home nobody serves that account, and it is soon given up
    assert world.phone.imsi == HOME.imsi

    assert await world.phone.travel_to("262")
    await world.phone.settle()
    await world.phone.choose("Choose account", "Home")
    await world.phone.settle()
    assert world.phone.imsi == HOME.imsi
    await world.phone.choose("Choose account", "Automatic")
    assert world.phone.screen.displayed == "Automatic"
    assert await world.phone.settle()
    assert world.phone.imsi == ABROAD.imsi
