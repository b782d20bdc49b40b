"""The file tree as phones and tools walk it: both classes, records, channels, and what provisioning leaves behind."""

from __future__ import annotations

import msgspec
import pytest

from ota.profile import MobileProfile, enable_slot, store_slot
from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte
from simcard.readers import MemoryLink
from simcard.uicc import Card, personalise
from simcard.uicc.files import RULES, Access
from simcard.uicc.milenage import derive_opc

K, OPC = bytes.fromhex("465b5ce8b199b49faa5f0a2ee238a6bc"), bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf")
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
    msisdn="+79991234567",
)
ABROAD = msgspec.structs.replace(HOME, imsi="262011234567890", plmn="26201", spn="Abroad", coverage=("262",))
USIM, ISIM = "00a4040407a0000000871002", "00a4040407a0000000871004"
ADM = "0020000a083132333435363738"


@pytest.fixture
def card() -> Card:
    return personalise(iccid="8970199000000000017", home=HOME, ota=[KEYS], adm="12345678", pin="1234", puk="12345678")


@pytest.fixture
def link(card: Card) -> MemoryLink:
    reader = MemoryLink(card)
    reader.connect()
    return reader


def verify_pin(link: MemoryLink) -> None:
    link.send_apdu_checksw("002000010831323334ffffffff")


def home_profile(card: Card) -> MobileProfile:
    return card._state.accounts.slots[0].profile


# Class A0


def test_a_2g_phone_selects_reads_and_updates(link: MemoryLink) -> None:
    assert link.send_tpdu("a0a40000023f00") == ("", "9f16")
    assert link.send_tpdu("a0c0000016")[0] == "000000003f000100000000000913" + "0304" + "0400838a0000"
    assert link.send_tpdu("a0a40000027f20") == ("", "9f16")
    assert link.send_tpdu("a0a40000026f07") == ("", "9f0f")
    assert link.send_tpdu("a0c000000f") == ("000000096f07040014ffff01020000", "9000")
    assert link.send_tpdu("a0b0000009") == ("", "9804")
    assert link.send_tpdu("a02000010831323334ffffffff") == ("", "9000")
    assert link.send_tpdu("a0b0000009") == ("082905990000000010", "9000")
    assert link.send_tpdu("a0b000000a") == ("", "6709")
    assert link.send_tpdu("a0a40000026f7b") == ("", "9f0f")
    assert link.send_tpdu("a0d600000362f210") == ("", "9000")
    link.send_apdu_checksw(USIM)
    assert link.send_apdu("00b08d0003") == ("62f210", "9000")  # the same EF.FPLMN in the USIM


@pytest.mark.parametrize(
    ("apdu", "sw"),
    [
        ("a0a40000026f07", "9404"),
        ("a0b0000001", "9400"),
        ("a0a40004023f00", "6b00"),
        ("a0200001083131313131313131", "9804"),
        ("a0200002083131313131313131", "9802"),
        ("a0fe000000", "6d00"),
        ("a0fa000000", "9000"),
        ("a0f2000016", "9000"),
        ("a088000010" + "00" * 16, "9804"),
    ],
)
def test_a_sims_status_words_are_those_of_its_time(link: MemoryLink, apdu: str, sw: str) -> None:
    assert link.send_tpdu(apdu)[1] == sw


def test_run_gsm_algorithm_gives_sres_and_kc(card: Card, link: MemoryLink) -> None:
    link.send_apdu_checksw("a02000010831323334ffffffff")
    link.send_apdu_checksw("a0a40000027f20")
    answer = link.send_apdu("a088000010" + "00" * 16)[0]
    link.send_apdu_checksw(USIM)
    counted = link.send_apdu("008800801110" + "00" * 16)[0]
    assert counted == "04" + answer[:8] + "08" + answer[8:]


def test_a_2g_phone_unblocks_its_pin_and_turns_it_off() -> None:
    card = personalise(iccid="8970199000000000017", home=HOME, ota=[], adm="12345678", pin="1234", puk="87654321")
    link = MemoryLink(card)
    link.connect()
    wrong, new, puk = "39" * 8, "35363738ffffffff", "3837363534333231"
    assert [link.send_apdu(f"a020000108{wrong}")[1] for _ in range(3)] == ["9804", "9804", "9840"]
    assert link.send_apdu(f"a02c000010{wrong}{new}")[1] == "9804"
    assert link.send_apdu(f"a02c000010{puk}{new}")[1] == "9000"
    assert link.send_apdu(f"a020000108{new}")[1] == "9000"
    assert link.send_apdu(f"a026000108{new}")[1] == "9000"
    assert link.send_apdu(f"a020000108{new}")[1] == "9808"


def test_seek_finds_the_first_record_that_begins_with_the_pattern(link: MemoryLink) -> None:
    verify_pin(link)
    for fid in ("7f10", "6f3a"):
        link.send_apdu_checksw(f"a0a4000002{fid}")
    link.send_apdu_checksw("a0dc030422" + ("416e6e61" + "ff" * 30))
    assert link.send_tpdu("a0a2001004416e6e61") == ("", "9f01")
    assert link.send_tpdu("a0c0000001") == ("03", "9000")
    assert link.send_tpdu("a0a2000203416e6e") == ("", "9404")
    assert link.send_tpdu("a0a20000036e6e61") == ("", "9404")


# UICC


def test_search_record_tells_all_records_that_hold_the_pattern(link: MemoryLink) -> None:
    verify_pin(link)
    link.send_apdu_checksw("00a40804047f106f3a")
    for number, name in ((2, "416e6e61"), (5, "4861"), (7, "416e6e61")):
        link.send_apdu_checksw(f"00dc{number:02x}0422" + (name + "ff" * 34)[:68])
    assert link.send_apdu("00a2010404416e6e61")[0] == "0207"
    assert link.send_apdu("00a20a0504416e6e61")[0] == "0702"
    # Enhanced: from the next record on; behind the first 41; from offset 1.
    link.send_apdu_checksw("00b2020422")
    assert link.send_apdu("00a2010605" + "0c41" + "6e6e61")[0] == "0207"
    assert link.send_apdu("00a2000605" + "0600" + "416e6e")[0] == "07"
    assert link.send_apdu("00a2010605" + "0401" + "416e6e")[1] == "6282"
    assert link.send_apdu("00a2010602" + "0c41")[1] == "6700"
    assert link.send_apdu("00a2010401" + "58")[1] == "6282"


def test_increase_counts_up_in_a_cyclic_file_and_stops_at_the_end(link: MemoryLink) -> None:
    verify_pin(link)
    link.send_apdu_checksw(USIM)
    assert link.send_apdu("00a40004026f39")[0].startswith("62")
    assert link.send_apdu("0032000003000005")[0] == "000005000005"
    assert link.send_apdu("0032000003000002")[0] == "000007000002"
    assert link.send_apdu("00b2010403")[0] == "000007"
    assert link.send_apdu("00b2020403")[0] == "000005"
    assert link.send_apdu("0032000003ffffff")[1] == "9850"


def test_every_fcp_points_at_the_rule_that_is_true(card: Card, link: MemoryLink) -> None:
    verify_pin(link)
    link.send_apdu_checksw(USIM)
    fcp = bytes.fromhex(link.send_apdu("00a40004026f07")[0])
    at = fcp.index(bytes.fromhex("8b03"))
    fid, record = fcp[at + 2 : at + 4].hex(), fcp[at + 4]
    assert RULES[record - 1] == (Access.PIN, Access.ADM, None)
    link.send_apdu_checksw(f"00a4000402{fid}")
    rule = link.send_apdu(f"00b2{record:02x}0400")[0]
    assert rule.startswith("800101a406830101950108800102a40683010a950108ff")
    of_df = bytes.fromhex(link.send_apdu("00a40004023f00")[0])
    at = of_df.index(bytes.fromhex("8b032f06"))
    assert RULES[of_df[at + 4] - 1] == (Access.NEVER, Access.NEVER, None)


def test_logical_channels_have_selections_of_their_own_and_share_what_the_pin_opened(link: MemoryLink) -> None:
    link.send_apdu_checksw(USIM)
    assert link.send_apdu("0070000001") == ("01", "9000")
    verify_pin(link)
    link.send_apdu_checksw("01a40804047f206f07")
    assert link.send_apdu("01b0000009")[0] == "082905990000000010"
    assert link.send_apdu("00b0000009")[1] == "6986"
    assert link.send_apdu("0070000001")[0] == "02"
    assert link.send_apdu("0070000300")[1] == "9000"
    assert link.send_apdu("0070000001")[1] == "6a81"
    link.send_apdu_checksw("00708001")
    assert link.send_apdu("01b0000009")[1] == "6881"
    assert link.send_apdu("00708000")[1] == "6a86"


def test_identity_follows_from_the_imsi_in_the_isim(link: MemoryLink) -> None:
    verify_pin(link)
    link.send_apdu_checksw(ISIM)
    link.send_apdu_checksw("00a40004026f02")
    value = bytes.fromhex(link.send_apdu("00b0000000")[0])
    assert value[2 : 2 + value[1]] == b"250990000000001@ims.mnc099.mcc250.3gppnetwork.org"


# Provisioning


def test_what_a_tool_writes_into_the_files_becomes_the_home_account(card: Card, link: MemoryLink) -> None:
    link.send_apdu_checksw(ADM)
    verify_pin(link)
    link.send_apdu_checksw(USIM)
    for fid, content in (
        ("6f07", "082905990000000077"),
        ("6f78", "0010"),
        ("6f46", "0150726f67" + "ff" * 12),
    ):
        link.send_apdu_checksw(f"00a4000402{fid}")
        link.send_apdu_checksw(f"00d60000{len(content) // 2:02x}{content}")
    link.send_apdu_checksw("00a40004026f42")
    link.send_apdu_checksw("00dc010434" + "ff" * 24 + "e1" + "ff" * 12 + "07919799000050f5ffffffff000000")
    changed = home_profile(card)
    assert (changed.imsi, changed.acc, changed.spn) == ("250990000000077", 0x10, "Prog")
    assert (changed.smsc, changed.k) == ("+79990000055", HOME.k)


def test_a_file_that_fits_no_profile_leaves_the_account_and_the_rest_counts(card: Card, link: MemoryLink) -> None:
    link.send_apdu_checksw(ADM)
    link.send_apdu_checksw("00a40804047f206f07")
    link.send_apdu_checksw("00d6000009ffffffffffffffffff")
    link.send_apdu_checksw("00a40004026f78")
    link.send_apdu_checksw("00d60000020400")
    assert home_profile(card) == msgspec.structs.replace(HOME, acc=0x0400)


@pytest.mark.parametrize("where", ["00a4080404a5156f20", USIM + "/00a4000402af20", ISIM + "/00a4000402af20"])
def test_key_files_take_k_and_opc_and_show_nothing(card: Card, link: MemoryLink, where: str) -> None:
    for apdu in where.split("/"):
        link.send_apdu_checksw(apdu)
    assert link.send_apdu(f"00d6000110{K.hex()}")[1] == "6982"
    link.send_apdu_checksw(ADM)
    link.send_apdu_checksw(f"00d6000110{K.hex()}")
    link.send_apdu_checksw(f"00d6001110{OPC.hex()}")
    assert (home_profile(card).k, home_profile(card).opc) == (K, OPC)
    assert link.send_apdu("00b0000043") == ("", "6982")
    assert link.send_apdu("00d6004001ff")[1] == "9000"
    assert link.send_apdu("00d6004301ff")[1] == "6b00"


@pytest.mark.parametrize(
    ("record", "algorithm", "k", "opc"),
    [
        ("14" + K.hex() + OPC.hex(), "milenage", K, OPC),
        ("04" + K.hex() + OPC.hex(), "milenage", K, derive_opc(K, OPC)),
        ("11" + K.hex(), "comp128v1", K, b""),
        ("1f" + K.hex(), "xor", K, b""),
        ("160101" + "11" * 32 + K.hex(), "tuak", K, b"\x11" * 32),
        ("560101" + "11" * 32 + (K + OPC).hex(), "tuak", K + OPC, b"\x11" * 32),
    ],
)
def test_the_first_octet_of_a_key_file_chooses_the_algorithm(
    card: Card, link: MemoryLink, record: str, algorithm: str, k: bytes, opc: bytes
) -> None:
    link.send_apdu_checksw(ADM)
    link.send_apdu_checksw("00a4080404a5156f20")
    link.send_apdu_checksw(f"00d60000{len(record) // 2:02x}{record}")
    changed = home_profile(card)
    assert (changed.algorithm, changed.k, changed.opc) == (algorithm, k, opc)


@pytest.mark.parametrize("record", ["15", "16", "04", "160201" + "11" * 48])
def test_an_algorithm_the_card_has_not_is_refused(card: Card, link: MemoryLink, record: str) -> None:
    link.send_apdu_checksw(ADM)
    link.send_apdu_checksw("00a4080404a5156f20")
    assert link.send_apdu(f"00d60000{len(record) // 2:02x}{record}")[1] == "6a80"
    assert home_profile(card) == HOME


def test_a_change_of_account_forgets_keys_and_places_of_every_access_technology(card: Card, link: MemoryLink) -> None:
    link.send_apdu_checksw(ADM)
    verify_pin(link)
    files = card._files
    written = [files.gsm.efs[0x6F20], files.gsm.efs[0x6F53], files.usim.dfs[0x5F3B].efs[0x4F20]]
    written += [files.usim.efs[fid] for fid in (0x6F08, 0x6F09, 0x6F7E, 0x6F73, 0x6FE3, 0x6FE4, 0x6F7B)]
    written += list(files.usim.dfs[0x5FC0].efs.values())[:5]
    for ef in written:
        ef.content = bytes(len(ef.content))
    link.send_apdu_checksw("00a4040410a00000f04c4c414e4446414c4c464d01")
    for apdu in (*store_slot(1, ABROAD), enable_slot(1)):
        link.send_apdu_checksw(apdu.hex())
    assert all(any(ef.content) for ef in written)
    verify_pin(link)
    link.send_apdu_checksw("00a40804047f206f46")
    assert link.send_apdu("00b0000007")[0] == "014162726f6164"
    assert home_profile(card) == HOME


def test_the_atr_can_be_chosen() -> None:
    link = MemoryLink(personalise(iccid="8970199000000000017", home=HOME, ota=[], adm="12345678", atr=b"\x3b\x00"))
    link.connect()
    assert link.reset_card() == "3b00"
