"""The card's electrical interface: files, codes, authentication, toolkit, and how T=0 shapes answers."""

from __future__ import annotations

import pytest

from ota.profile import (
    MULTI_ACCOUNT_AID,
    MobileProfile,
    delete_slot,
    enable_slot,
    list_slots,
    parse_slot_list,
    store_slot,
)
from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte
from simcard.readers import CardFaultError, LinkError, MemoryLink
from simcard.uicc import Card, personalise
from simcard.uicc.milenage import Milenage, xor

K, OPC = bytes.fromhex("465b5ce8b199b49faa5f0a2ee238a6bc"), bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf")
KEYS = KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=bytes(range(16)), kid_key=bytes(range(16, 32)))
USIM = "00a4040407a0000000871002"


def make_profile(imsi: str = "250990000000001", plmn: str = "25099", **fields: object) -> MobileProfile:
    values = {
        "imsi": imsi,
        "k": K,
        "opc": OPC,
        "plmn": plmn,
        "spn": "Дом",
        "acc": 2,
        "smsc": "+79990000000",
        "coverage": (plmn,),
    }
    return MobileProfile(**{**values, **fields})  # type: ignore[arg-type]


def make_card(pin: str | None = None, puk: str | None = None) -> Card:
    return personalise(iccid="8970199000000000017", home=make_profile(), ota=[KEYS], adm="12345678", pin=pin, puk=puk)


@pytest.fixture
def link() -> MemoryLink:
    reader = MemoryLink(make_card())
    reader.connect()
    return reader


def challenge(seq: int, ind: int = 0, amf: bytes = b"\x80\0", rand: bytes = bytes(16)) -> str:
    milenage = Milenage(K, OPC)
    sqn = (seq << 5 | ind).to_bytes(6, "big")
    autn = xor(sqn, milenage.f2345(rand).ak) + amf + milenage.f1(rand, sqn, amf)
    return f"0088008122{'10' + rand.hex()}{'10' + autn.hex()}"


def test_a_select_waits_for_get_response_and_a_wrong_length_is_told(link: MemoryLink) -> None:
    length = link.send_tpdu("00a40004022fe2")[1][2:]
    data, sw = link.send_tpdu(f"00c00000{length}")
    assert (data[:2], sw) == ("62", "9000")
    assert link.send_tpdu("00b0000010") == ("", "6c0a")
    assert link.send_tpdu("00b000000a") == ("980791090000000010f7", "9000")
    assert link.send_tpdu("00c000000a") == ("", "6985")


def test_a_get_response_may_take_its_data_in_pieces(link: MemoryLink) -> None:
    total = int(link.send_tpdu("00a40004022fe2")[1][2:], 16)
    first, sw = link.send_tpdu("00c0000004")
    assert sw == f"61{total - 4:02x}"
    rest, sw = link.send_tpdu(f"00c00000{total - 4:02x}")
    assert sw == "9000"
    assert len(first + rest) == 2 * total


def test_an_apdu_before_connect_is_a_link_error() -> None:
    with pytest.raises(LinkError, match="connect"):
        MemoryLink(make_card()).send_apdu("00a40004023f00")


@pytest.mark.parametrize(
    ("apdu", "sw"),
    [
        ("00", "6700"),
        ("00a4000402", "6700"),
        ("00a40004023f", "6700"),
        ("04a40000023f00", "6e00"),
        ("41a40000023f00", "6881"),
        ("01a40000023f00", "6881"),
        ("00fe000000", "6d00"),
        ("00a40004026f07", "6a82"),
        ("00b0000001", "6986"),
        ("00a4040405a000000999", "6a82"),
        ("00a40104023f00", "6a86"),
    ],
)
def test_what_cannot_be_done_has_its_status_word(link: MemoryLink, apdu: str, sw: str) -> None:
    assert link.send_tpdu(apdu) == ("", sw)


def test_files_are_found_by_path_short_identifier_and_parent(link: MemoryLink) -> None:
    link.send_apdu_checksw(USIM)
    assert link.send_apdu("00b0870009")[0] == "082905990000000010"
    link.send_apdu_checksw("00a40804022fe2")
    assert link.send_apdu("00b0000000")[0] == "980791090000000010f7"
    link.send_apdu_checksw("00a40004027fff")
    link.send_apdu_checksw("00a40904026fad")
    assert link.send_apdu("00b0000004") == ("00000002", "9000")
    link.send_apdu_checksw("00a40304")
    assert link.send_apdu("80f2000000")[0][:10].startswith("62")


def test_a_record_is_read_by_number_and_in_turn(link: MemoryLink) -> None:
    link.send_apdu_checksw(USIM)
    link.send_apdu_checksw("00a40004026f06")
    first = link.send_apdu_checksw("00b2010416")[0]
    assert link.send_apdu("00b2000216") == (first, "9000")
    assert link.send_apdu("00b2000216")[0] == link.send_apdu("00b2020416")[0]
    assert link.send_apdu("00b2ff0416")[1] == "6a83"
    assert link.send_apdu("00b0000001")[1] == "6981"


def test_an_identity_is_written_only_with_the_adm(link: MemoryLink) -> None:
    link.send_apdu_checksw(USIM)
    link.send_apdu_checksw("00a40004026f07")
    update = "00d6000009082905990000000020"
    assert link.send_apdu(update)[1] == "6982"
    link.send_apdu_checksw("0020000a083132333435363738")
    link.send_apdu_checksw(update)
    assert link.send_apdu("00b0000009")[0] == "082905990000000020"
    assert link.send_apdu("00d6000802ffff")[1] == "6b00"


def test_a_wrong_code_costs_a_try_and_the_third_blocks_it_across_resets() -> None:
    link = MemoryLink(make_card())
    link.connect()
    wrong = "0020000a083030303030303030"
    assert link.send_apdu("0020000a")[1] == "63c3"
    assert link.send_apdu(wrong)[1] == "63c2"
    link.reset_card()
    assert link.send_apdu(wrong)[1] == "63c1"
    assert link.send_apdu(wrong)[1] == "6983"
    assert link.send_apdu("0020000a083132333435363738")[1] == "6983"
    assert link.send_apdu("0020000b")[1] == "6a88"


def test_a_pin_guards_the_imsi_and_a_puk_brings_it_back() -> None:
    link = MemoryLink(make_card(pin="1234", puk="87654321"))
    link.connect()
    link.send_apdu_checksw(USIM)
    link.send_apdu_checksw("00a40004026f07")
    assert link.send_apdu("00b0000009")[1] == "6982"
    assert link.send_apdu(challenge(1))[1] == "6982"
    for sw in ("63c2", "63c1", "6983"):
        assert link.send_apdu("00200001083030303030303030")[1] == sw
    link.send_apdu_checksw("002c000110" + b"87654321".hex() + "34343434ffffffff")
    link.send_apdu_checksw("00b0000009")
    link.reset_card()
    link.send_apdu_checksw("002000010834343434ffffffff")
    link.send_apdu_checksw("002600010834343434ffffffff")
    assert link.send_apdu("002000010834343434ffffffff")[1] == "6984"


def test_a_challenge_is_accepted_once_and_a_stale_one_gives_auts(link: MemoryLink) -> None:
    link.send_apdu_checksw(USIM)
    data, sw = link.send_apdu(challenge(7))
    assert sw == "9000"
    assert data.startswith("db08")
    assert len(bytes.fromhex(data)) == 1 + 9 + 17 + 17 + 9
    data, sw = link.send_apdu(challenge(7))
    assert (data[:4], sw) == ("dc0e", "9000")
    milenage = Milenage(K, OPC)
    auts = bytes.fromhex(data[4:])
    sqn = xor(auts[:6], milenage.f5star(bytes(16)))
    assert int.from_bytes(sqn, "big") == 7 << 5
    assert milenage.f1star(bytes(16), sqn) == auts[6:]


def test_sequence_numbers_of_other_indices_may_come_late_but_not_leap(link: MemoryLink) -> None:
    link.send_apdu_checksw(USIM)
    assert link.send_apdu(challenge(9, ind=1))[0].startswith("db")
    assert link.send_apdu(challenge(8, ind=2))[0].startswith("db")
    assert link.send_apdu(challenge(8, ind=1))[0].startswith("dc")
    assert link.send_apdu(challenge(10 + (1 << 28), ind=3))[0].startswith("dc")


def test_a_wrong_mac_is_9862_and_changes_nothing(link: MemoryLink) -> None:
    link.send_apdu_checksw(USIM)
    apdu = challenge(3)
    assert link.send_apdu(apdu[:-2] + f"{int(apdu[-2:], 16) ^ 1:02x}") == ("", "9862")
    assert link.send_apdu(apdu)[0].startswith("db")


def test_the_2g_context_answers_sres_and_kc(link: MemoryLink) -> None:
    link.send_apdu_checksw(USIM)
    data, _ = link.send_apdu_checksw("008800801110" + "23553cbe9637a89d218ae64dae47bf35")
    assert data == "04" + "46f8416a" + "08" + "eae4be823af9a08b"


def test_slots_are_managed_by_a_reader_with_the_adm(link: MemoryLink) -> None:
    abroad = make_profile("262011234567890", "26201", k=bytes(16))
    aid = MULTI_ACCOUNT_AID.hex()
    link.send_apdu_checksw(f"00a40404{len(aid) // 2:02x}{aid}")
    assert link.send_apdu(list_slots().hex())[1] == "6982"
    link.send_apdu_checksw("0020000a083132333435363738")
    for command in store_slot(2, abroad):
        link.send_apdu_checksw(command.hex())
    link.send_apdu_checksw(enable_slot(2).hex())
    entries = parse_slot_list(bytes.fromhex(link.send_apdu_checksw(list_slots().hex())[0]))
    assert [(entry.slot, entry.enabled) for entry in entries] == [(0, False), (2, True)]
    assert link.send_apdu(enable_slot(3).hex())[1] == "6a83"
    link.send_apdu_checksw(delete_slot(2).hex())
    assert link.send_apdu("80e2000000")[1] == "6a83"
    assert link.send_apdu("80e2018101ff")[1] == "6a86"
    assert link.send_apdu("80e2018001ff")[1] == "6a80"
    link.send_apdu_checksw(USIM)
    link.send_apdu_checksw("00a40004026f07")
    assert link.send_apdu("00b0000009")[0] == "082905990000000010"


def test_a_change_of_account_forgets_places_and_keys_and_asks_for_a_reset(link: MemoryLink) -> None:
    link.send_apdu_checksw(USIM)
    for fid, size in (("6f7b", 30), ("6f7e", 11), ("6f08", 33), ("6f73", 14), ("6fe3", 18)):
        link.send_apdu_checksw(f"00a4000402{fid}")
        link.send_apdu_checksw(f"00d60000{size:02x}{'11' * size}")
    link.send_apdu_checksw("8010000001ff")
    aid = MULTI_ACCOUNT_AID.hex()
    link.send_apdu_checksw(f"00a40404{len(aid) // 2:02x}{aid}")
    link.send_apdu_checksw("0020000a083132333435363738")
    for command in store_slot(1, make_profile("262011234567890", "26201")):
        link.send_apdu_checksw(command.hex())
    _, sw = link.send_apdu(enable_slot(1).hex())
    assert sw == "910b"
    assert link.send_apdu("801200000b")[0] == "d009810301010482028182"
    link.send_apdu_checksw(USIM)
    for fid, content in (
        ("6f7b", "ff" * 30),
        ("6f7e", "ffffffff62f2100000ff01"),
        ("6f08", "07" + "ff" * 32),
        ("6f73", "ffffffffffffff62f2100000ff01"),
        ("6fe3", "ff" * 12 + "62f210000001"),
    ):
        link.send_apdu_checksw(f"00a4000402{fid}", "????")
        assert link.send_apdu("00b0000000")[0] == content


def test_a_terminal_response_to_nothing_and_a_fetch_of_nothing_are_refused(link: MemoryLink) -> None:
    assert link.send_apdu("801200000b")[1] == "6985"
    assert link.send_apdu("801400000c810301260082028281830100")[1] == "6985"


def test_an_unexpected_status_word_is_a_fault_that_names_both(link: MemoryLink) -> None:
    with pytest.raises(CardFaultError, match="answered 6a82 to 00a40004, expected 9000"):
        link.send_apdu_checksw("00a40004026fff")


def test_no_key_is_in_any_representation() -> None:
    state = make_card()._state
    text = repr(state) + repr(state.accounts) + repr(state.codes) + repr(state.ota)
    for secret in (K, OPC, KEYS.kic_key, KEYS.kid_key, b"12345678"):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text
