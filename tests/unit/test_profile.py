"""A mobile profile, its slot, and the commands of the multi-account application."""

import msgspec
import pytest
from rich.console import Console

from ota.profile import (
    MULTI_ACCOUNT_AID,
    MULTI_ACCOUNT_TAR,
    MobileProfile,
    ProfileError,
    SlotEntry,
    delete_slot,
    enable_slot,
    encode_slot_list,
    fingerprint,
    list_slots,
    parse_slot_list,
    store_slot,
)
from ota.scp80.remote import join_commands, split_commands
from ota.scp80.tlv import decode_only, decode_tlvs, encode_tlv

PROFILE = MobileProfile(
    imsi="232011234567890",
    k=bytes(range(16)),
    opc=bytes(range(16, 32)),
    plmn="23201",
    spn="Alpenfunk",
    acc=0x0001,
    smsc="+43664000",
    coverage=("232", "23201", "310410"),
    msisdn="+4366412345",
)


def test_the_slot_codes_the_imsi_and_coverage_as_the_files_of_a_usim() -> None:
    fields = dict(decode_tlvs(decode_only(PROFILE.to_slot_tlv(), 0xE1)))
    assert fields[0x80].hex() == "082923102143658709"
    assert fields[0x84].hex() == "32f210"
    assert fields[0x87].hex() == "32f2ff" + "32f210" + "130014"
    assert fields[0x88].hex() == "9134660400"


def test_secrets_and_the_person_are_in_no_repr_and_no_rich_table() -> None:
    console = Console(record=True, width=400, quiet=True)
    console.print(PROFILE)
    shown = repr(PROFILE) + str(PROFILE) + console.export_text()
    for hidden in (PROFILE.k, PROFILE.opc):
        assert hidden.hex() not in shown
        assert repr(hidden) not in shown
    assert PROFILE.imsi not in shown
    assert str(PROFILE.msisdn) not in shown
    assert "Alpenfunk" in shown


@pytest.mark.parametrize(
    "change",
    [
        {"k": bytes(15)},
        {"opc": bytes(32)},
        {"algorithm": "rot13"},
        {"imsi": "23202123456789"},
        {"imsi": "23201x"},
        {"plmn": "232"},
        {"acc": 1 << 16},
        {"spn": "x" * 17},
        {"smsc": "43664000"},
        {"coverage": ("AT",)},
        {"coverage": ("232",) * 86},
        {"msisdn": "0664"},
        {"iccid": "12"},
        {"sqn": 1 << 48},
    ],
)
def test_a_field_that_does_not_fit_is_named_without_its_secret(change: dict[str, object]) -> None:
    with pytest.raises(ProfileError) as refusal:
        msgspec.structs.replace(PROFILE, **change)
    assert PROFILE.k.hex() not in str(refusal.value)
    assert PROFILE.imsi not in str(refusal.value)


def test_a_slot_without_a_mandatory_field_says_which() -> None:
    fields = [(tag, value) for tag, value in decode_tlvs(decode_only(PROFILE.to_slot_tlv(), 0xE1)) if tag != 0x82]
    with pytest.raises(ProfileError, match="slot TLV lacks 82"):
        MobileProfile.from_slot_tlv(encode_tlv(0xE1, b"".join(encode_tlv(tag, value) for tag, value in fields)))


def test_a_card_of_an_older_kind_ignores_what_it_does_not_know() -> None:
    inner = decode_only(PROFILE.to_slot_tlv(), 0xE1) + encode_tlv(0x9E, b"new")
    assert MobileProfile.from_slot_tlv(encode_tlv(0xE1, inner)) == PROFILE


def test_a_long_profile_goes_in_blocks_with_the_last_one_marked() -> None:
    profile = msgspec.structs.replace(PROFILE, coverage=("232",) * 85)
    commands = store_slot(3, profile)
    assert [command[:4].hex() for command in commands] == ["80e20300", "80e20381"]
    assert b"".join(command[5:] for command in commands) == profile.to_slot_tlv()
    assert all(command[4] == len(command) - 5 for command in commands)


def test_commands_can_be_told_apart_in_one_packet() -> None:
    commands = [*store_slot(1, PROFILE), delete_slot(2), enable_slot(1), list_slots()]
    assert split_commands(join_commands(commands)) == commands


@pytest.mark.parametrize("build", [lambda: store_slot(0, PROFILE), lambda: delete_slot(0), lambda: enable_slot(16)])
def test_the_home_slot_is_never_written_and_a_slot_beyond_the_last_is_refused(build: object) -> None:
    assert callable(build)
    with pytest.raises(ProfileError, match="slot"):
        build()


def test_the_list_of_a_full_card_is_one_short_answer() -> None:
    mark = fingerprint(PROFILE.to_slot_tlv())
    entries = [SlotEntry(0, False, "26201"), *(SlotEntry(slot, slot == 2, "23201", mark) for slot in range(1, 16))]
    coded = encode_slot_list(entries)
    assert parse_slot_list(coded) == tuple(entries)
    assert len(coded) < 200


def test_the_tar_is_bytes_13_to_15_of_the_aid() -> None:
    assert len(MULTI_ACCOUNT_AID) == 16
    assert MULTI_ACCOUNT_TAR == MULTI_ACCOUNT_AID[12:15] == b"LFM"
