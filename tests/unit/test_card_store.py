"""Cards on disk: whole states only, one process at a time, nothing comes back that was used up."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from landfall.errors import LandfallError
from ota.profile import MobileProfile
from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte
from simcard.uicc import CardFolder, open_card, personalise
from simcard.uicc.milenage import Milenage, xor

KEYS = KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=bytes(16), kid_key=bytes(16))
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
USIM = bytes.fromhex("00a4040c07a0000000871002")
WRONG_ADM = bytes.fromhex("0020000a083030303030303030")


def make_card(folder: Path) -> None:
    with CardFolder(folder) as store:
        personalise(iccid="8970199000000000017", home=HOME, ota=[KEYS], adm="12345678", store=store)


def challenge() -> bytes:
    milenage, rand, sqn, amf = Milenage(bytes(16), bytes(16)), bytes(16), (1 << 5).to_bytes(6, "big"), b"\x80\0"
    autn = xor(sqn, milenage.f2345(rand).ak) + amf + milenage.f1(rand, sqn, amf)
    return bytes.fromhex("0088008122") + b"\x10" + rand + b"\x10" + autn


def test_retry_counters_and_sequence_numbers_survive_the_power_going(tmp_path: Path) -> None:
    make_card(tmp_path)
    with CardFolder(tmp_path) as store:
        card = open_card(store)
        card.transmit(USIM)
        assert card.transmit(challenge())[:1] == b"\x61"
        assert card.transmit(WRONG_ADM) == bytes.fromhex("63c2")
    with CardFolder(tmp_path) as store:
        card = open_card(store)
        card.transmit(USIM)
        card.transmit(challenge())
        assert card.transmit(bytes.fromhex("00c0000001"))[:1] == b"\xdc"
        assert card.transmit(WRONG_ADM) == bytes.fromhex("63c1")


def test_a_state_that_cannot_be_stored_gives_no_answer_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_card(tmp_path)
    with CardFolder(tmp_path) as store:
        card = open_card(store)
        card.transmit(USIM)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        assert card.transmit(challenge()) == bytes.fromhex("6581")
        assert card.transmit(bytes.fromhex("00c0000001"))[-2:] == bytes.fromhex("6581")
        monkeypatch.undo()
        card.transmit(challenge())
        assert card.transmit(bytes.fromhex("00c0000001"))[:1] == b"\xdc"
    with CardFolder(tmp_path) as store:
        assert open_card(store)._state.accounts.slots[0].sequence.highest == 1 << 5


def test_a_half_written_file_from_a_crash_is_not_read(tmp_path: Path) -> None:
    make_card(tmp_path)
    (tmp_path / "card.json.new").write_bytes(b'{"iccid"')
    with CardFolder(tmp_path) as store:
        assert open_card(store).transmit(USIM) == bytes.fromhex("9000")


def test_a_card_belongs_to_one_program_at_a_time(tmp_path: Path) -> None:
    make_card(tmp_path)
    with CardFolder(tmp_path), pytest.raises(LandfallError, match="in use"):
        CardFolder(tmp_path)


def test_the_state_is_for_its_owner_only(tmp_path: Path) -> None:
    make_card(tmp_path / "card")
    assert stat.S_IMODE((tmp_path / "card").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "card" / "card.json").stat().st_mode) == 0o600


def test_a_folder_without_a_card_says_how_to_make_one(tmp_path: Path) -> None:
    with CardFolder(tmp_path) as store, pytest.raises(LandfallError, match="landfall sim new"):
        open_card(store)
