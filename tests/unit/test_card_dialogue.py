"""What the multi-account application asks of phones, great and small, and what it makes of their answers."""

from __future__ import annotations

import msgspec
import pytest

from ota.profile import (
    MULTI_ACCOUNT_AID,
    SLOTS_MAX,
    SPN_CHARACTERS,
    MobileProfile,
    enable_slot,
    list_slots,
    parse_slot_list,
    store_slot,
)
from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte, ScpError
from ota.scp80.report import AccountReport, ReportError, decode_report, encode_report, peek_report
from simcard.readers import MemoryLink
from simcard.uicc import Card, personalise
from simcard.uicc.coding import decode_name
from simcard.uicc.toolkit import Kind, Tag, read_comprehension_tlvs

KEYS = KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=bytes(range(16)), kid_key=bytes(range(16, 32)))
HOME = MobileProfile(
    imsi="250990000000001",
    k=bytes(16),
    opc=bytes(16),
    plmn="25099",
    spn="Home",
    acc=2,
    smsc="+79990000000",
    coverage=("250",),
)
ABROAD = msgspec.structs.replace(HOME, imsi="262011234567890", plmn="26201", spn="За рубежом", coverage=("262",))
EVERYTHING = "ff" * 8
GERMANY, AT_HOME = "930762f21000010001", "930752f09900010001"
REPORT = AccountReport(
    iccid="8970199000000000017",
    slot=1,
    plmn="26201",
    fingerprint=b"\1\2\3\4",
    smsc="+491700000000",
    msisdn="+491701234567",
    counter=7,
)


class Handset:
    """A phone by hand: fetches what waits and answers what it is told to."""

    def __init__(self, card: Card, profile: str) -> None:
        self.link = MemoryLink(card)
        self.link.connect()
        self.sw = self.send("80100000", profile)

    def send(self, head: str, body: str = "") -> str:
        self.sw = self.link.send_apdu(f"{head}{len(body) // 2:02x}{body}")[1]
        return self.sw

    def fetch(self) -> tuple[Kind, dict[int, bytes], bytes]:
        data = bytes.fromhex(self.link.send_apdu(f"80120000{self.sw[2:]}")[0])
        body = data[2:] if data[1] < 0x80 else data[3:]
        fields = dict(read_comprehension_tlvs(body))
        return Kind(fields[Tag.COMMAND_DETAILS][1]), fields, body

    def answer(self, fields: dict[int, bytes], result: str = "00", further: str = "") -> str:
        details = fields[Tag.COMMAND_DETAILS].hex()
        return self.send("80140000", f"8103{details}82028281{f'83{len(result) // 2:02x}'}{result}{further}")

    def drain(self, place: str = AT_HOME, result: str = "00") -> list[Kind]:
        """Do all that waits; the kinds that came."""
        kinds = []
        while self.sw.startswith("91"):
            kind, fields, _ = self.fetch()
            kinds.append(kind)
            if kind is Kind.REFRESH:
                break
            self.answer(fields, result, place if kind is Kind.PROVIDE_LOCAL_INFORMATION else "")
        return kinds


def make_card() -> Card:
    card = personalise(iccid="8970199000000000017", home=HOME, ota=[KEYS], adm="12345678")
    link = MemoryLink(card)
    link.connect()
    aid = MULTI_ACCOUNT_AID.hex()
    for apdu in (
        f"00a40404{len(aid) // 2:02x}{aid}",
        "0020000a083132333435363738",
        *map(bytes.hex, store_slot(1, ABROAD)),
    ):
        link.send_apdu_checksw(apdu)
    return card


def test_a_phone_that_can_do_everything_gets_events_a_menu_and_a_timer() -> None:
    phone = Handset(make_card(), EVERYTHING)
    assert phone.drain() == [
        Kind.SET_UP_EVENT_LIST,
        Kind.SET_UP_MENU,
        Kind.TIMER_MANAGEMENT,
        Kind.PROVIDE_LOCAL_INFORMATION,
    ]
    assert phone.send("80f2000c") == "9000"
    assert phone.send("80c20000", "d70782028281a40101").startswith("91")
    assert phone.drain() == [Kind.TIMER_MANAGEMENT, Kind.PROVIDE_LOCAL_INFORMATION]


def test_a_card_with_its_home_account_alone_asks_nothing_and_shows_no_menu_until_a_slot_is_stored() -> None:
    card = personalise(iccid="8970199000000000017", home=HOME, ota=[KEYS], adm="12345678")
    phone = Handset(card, EVERYTHING)
    assert phone.drain() == [Kind.SET_UP_EVENT_LIST]
    assert phone.send("80c20000", "d70782028281a40101") == "9000"
    aid = MULTI_ACCOUNT_AID.hex()
    phone.send("00a40404", aid)
    phone.send("0020000a", "3132333435363738")
    for apdu in store_slot(1, ABROAD):
        card.transmit(apdu)
    phone.send("00a4000c", "3f00")
    assert phone.send("80f2000c").startswith("91")
    assert phone.drain() == [Kind.SET_UP_MENU, Kind.TIMER_MANAGEMENT, Kind.PROVIDE_LOCAL_INFORMATION]
    phone.send("00a40404", aid)
    card.transmit(bytes.fromhex("80e40100"))
    phone.send("00a4000c", "3f00")
    kind, fields, _ = phone.fetch()
    assert (kind, fields[Tag.ITEM]) == (Kind.SET_UP_MENU, b"")


def test_the_poll_timer_runs_for_half_a_minute() -> None:
    phone = Handset(make_card(), "0000000000000001")
    kind, fields, _ = phone.fetch()
    assert (kind, fields[Tag.TIMER_IDENTIFIER], fields[Tag.TIMER_VALUE].hex()) == (
        Kind.TIMER_MANAGEMENT,
        b"\1",
        "000003",
    )


def test_a_phone_without_timers_is_asked_at_every_status() -> None:
    phone = Handset(make_card(), "00000040")  # PROVIDE LOCAL INFORMATION and nothing else
    assert phone.drain() == [Kind.PROVIDE_LOCAL_INFORMATION]
    assert phone.send("80f2000c").startswith("91")
    assert phone.drain(GERMANY, "06") == [Kind.PROVIDE_LOCAL_INFORMATION, Kind.REFRESH]


def test_a_phone_that_refuses_the_timer_is_asked_at_every_status_too() -> None:
    phone = Handset(make_card(), EVERYTHING)
    phone.drain(result="30")
    assert phone.send("80f2000c").startswith("91")


def test_a_location_event_is_as_good_as_an_answer() -> None:
    phone = Handset(make_card(), EVERYTHING)
    phone.drain()
    phone.send("80c20000", "d613" + "990103" + "82028281" + "9b0100" + GERMANY)
    assert phone.drain() == [Kind.REFRESH]


def test_a_choice_lists_every_account_and_marks_the_one_that_holds() -> None:
    card = make_card()
    phone = Handset(card, EVERYTHING)
    phone.drain()
    phone.send("80c20000", "d30782020181900101")
    kind, fields, body = phone.fetch()
    items = [value for tag, value in read_comprehension_tlvs(body) if tag == Tag.ITEM]
    assert kind is Kind.SELECT_ITEM
    assert [item[0] for item in items] == [0x80, 1, 2]
    assert items[2][1:] == b"\x80" + "За рубежом".encode("utf-16-be")
    assert fields[Tag.ITEM_IDENTIFIER] == b"\x80"
    phone.answer(fields, further="900102")
    kind, fields, _ = phone.fetch()
    assert (kind, fields[Tag.TEXT_STRING]) == (Kind.DISPLAY_TEXT, b"\x08" + "За рубежом".encode("utf-16-be"))
    phone.answer(fields)
    assert phone.fetch()[0] is Kind.REFRESH
    assert card._state.accounts.enabled == 1


@pytest.mark.parametrize(("letter", "shown"), [("A", 10), ("Ж", 4)])
def test_a_card_with_every_slot_filled_shows_all_names_as_far_as_they_fit(letter: str, shown: int) -> None:
    card = make_card()
    phone = Handset(card, EVERYTHING)
    phone.drain()
    phone.send("00a40404", MULTI_ACCOUNT_AID.hex())
    phone.send("0020000a", "3132333435363738")
    for slot in range(1, SLOTS_MAX):
        for apdu in store_slot(slot, msgspec.structs.replace(ABROAD, spn=letter * SPN_CHARACTERS)):
            assert card.transmit(apdu)[:1] in (b"\x90", b"\x91")
    listed, _ = phone.link.send_apdu(list_slots().hex())
    assert len(parse_slot_list(bytes.fromhex(listed))) == SLOTS_MAX
    phone.send("00a4000c", "3f00")
    phone.drain()
    phone.send("80c20000", "d30782020181900101")
    kind, _, body = phone.fetch()
    assert kind is Kind.SELECT_ITEM
    items = [value for tag, value in read_comprehension_tlvs(body) if tag == Tag.ITEM]
    assert len(items) == SLOTS_MAX + 1
    assert decode_name(items[-1][1:]) == letter * shown


@pytest.mark.parametrize("result", ["10", "11", "12", "20"])
def test_a_person_who_turns_away_changes_nothing(result: str) -> None:
    card = make_card()
    phone = Handset(card, EVERYTHING)
    phone.drain()
    phone.send("80c20000", "d30782020181900101")
    _, fields, _ = phone.fetch()
    assert phone.answer(fields, result) == "9000"
    assert card._state.accounts.enabled == 0


@pytest.mark.parametrize(
    ("envelope", "sw"),
    [("d30782020181900107", "6a80"), ("d606990104820282 81".replace(" ", ""), "6a80"), ("d50482028281", "6a81")],
)
def test_what_nobody_asked_for_is_refused(envelope: str, sw: str) -> None:
    phone = Handset(make_card(), EVERYTHING)
    phone.drain()
    assert phone.send("80c20000", envelope) == sw


def test_a_report_that_cannot_leave_is_given_up_after_three_tries() -> None:
    card = make_card()
    card._state.accounts.report_to = "+79990000001"
    Handset(card, EVERYTHING).drain()
    link = MemoryLink(card)
    aid = MULTI_ACCOUNT_AID.hex()
    link.connect()
    for apdu in (f"00a40404{len(aid) // 2:02x}{aid}", "0020000a083132333435363738", enable_slot(1).hex()):
        link.send_apdu_checksw(apdu, "9???")
    phone = Handset(card, EVERYTHING)
    sent = 0
    for _ in range(6):
        while phone.sw.startswith("91"):
            kind, fields, _ = phone.fetch()
            sent += kind is Kind.SEND_SHORT_MESSAGE
            place = GERMANY if kind is Kind.PROVIDE_LOCAL_INFORMATION else ""
            phone.answer(fields, "2004" if kind is Kind.SEND_SHORT_MESSAGE else "00", place)
        phone.send("80c20000", "d70782028281a40101")
    assert sent == 3
    assert not card._state.accounts.report_due


def test_a_report_reads_back_and_a_changed_one_does_not() -> None:
    data = encode_report(REPORT, KEYS)
    assert len(data) <= 140
    assert decode_report(data, KEYS) == REPORT
    assert peek_report(data) == (REPORT.iccid, KEYS.kid)
    anonymous = msgspec.structs.replace(REPORT, msisdn=None)
    assert decode_report(encode_report(anonymous, KEYS), KEYS) == anonymous
    for at in range(len(data)):
        with pytest.raises(ScpError):
            decode_report(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :], KEYS)
    other = msgspec.structs.replace(KEYS, kid_key=bytes(16))
    with pytest.raises(ReportError, match="not of this key set"):
        decode_report(data, other)
