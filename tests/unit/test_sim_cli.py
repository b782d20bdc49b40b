"""`landfall sim` from a person's side."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from simcard.cli import app

K, OPC = "465b5ce8b199b49faa5f0a2ee238a6bc", "cd63cb71954a9f4e48a5994e37a02baf"
HOME = ["--imsi", "250990000000001", "--plmn", "25099", "--smsc", "+79990000000", "--spn", "Дом", "--adm", "12345678"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> str:
    folder = str(tmp_path / "card")
    run("new", folder, *HOME, "--k", K, "--opc", OPC, "--iccid", "8970199000000000017")
    return folder


def test_a_new_card_masks_its_keys_unless_asked(tmp_path: Path) -> None:
    assert K not in run("new", str(tmp_path / "one"), *HOME, "--k", K, "--opc", OPC, "--json")
    shown = json.loads(run("new", str(tmp_path / "two"), *HOME, "--k", K, "--show-keys", "--json"))
    assert shown["k"] == K
    assert len(bytes.fromhex(shown["opc"])) == 16


def test_a_card_says_who_it_is_and_with_the_adm_what_its_slots_hold(folder: str) -> None:
    card = json.loads(run("read", "--card", folder, "--json"))
    assert (card["iccid"], card["imsi"], card["spn"]) == ("8970199000000000017", "250990000000001", "Дом")
    assert (card["smsc"], card["msisdn"], card["slots"]) == ("+79990000000", None, None)
    slots = json.loads(run("read", "--card", folder, "--adm", "12345678", "--json"))["slots"]
    assert slots == [{"slot": 0, "plmn": "25099", "enabled": True, "fingerprint": "00000000"}]


def test_a_wrong_adm_is_tried_once_and_the_rest_is_told(folder: str) -> None:
    with pytest.raises(LandfallError, match="2 tries left"):
        run("read", "--card", folder, "--adm", "00000000")
    assert json.loads(run("read", "--card", folder, "--json"))["adm_tries"] == 2


def test_a_challenge_is_answered_in_both_contexts(folder: str) -> None:
    rand, autn = "23553cbe9637a89d218ae64dae47bf35", "aa689c648351800041ed662ae8c74ecd"
    assert json.loads(run("auth", "--card", folder, rand, "--json"))["res"] == "46f8416a"
    answer = json.loads(run("auth", "--card", folder, rand, autn, "--json"))
    assert (answer["outcome"], answer["res"]) == ("authenticated", "a54211d5e3ba50bf")
    assert json.loads(run("auth", "--card", folder, rand, autn, "--json"))["outcome"] == "resynchronisation needed"
    with pytest.raises(LandfallError, match="MAC in AUTN wrong"):
        run("auth", "--card", folder, rand, "00" * 16)


def test_mistakes_are_named(tmp_path: Path, folder: str) -> None:
    with pytest.raises(LandfallError, match="holds a card already"):
        run("new", folder, *HOME)
    with pytest.raises(LandfallError, match="landfall sim new"):
        run("read", "--card", str(tmp_path / "nothing"))
    for wrong, told in (
        (("--k", "xyz"), r"^K: \(hidden, 3 characters\) is not 32 hex digits"),
        (("--kic", "xyz"), r"^KIc \(hidden, 3 characters\) is not 32, 48 or 64"),
        (("--imsi", "25099000000000x"), "^IMSI: '25099000000000x' is not 6 to 15 digits"),
        (("--plmn", "26099"), "does not begin with its PLMN 26099"),
        (("--acc", "zz"), "^ACC: 'zz'"),
        (("--pin", "12"), "^PIN or PUK: a code is 4 to 8 digits"),
    ):
        with pytest.raises(LandfallError, match=told):
            run("new", str(tmp_path / "other"), *HOME, *wrong)
    assert not (tmp_path / "other" / "card.json").exists()
    with pytest.raises(LandfallError, match="RAND must be 32 hex digits"):
        run("auth", "--card", folder, "00")


def test_without_pyscard_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smartcard.System", None)
    with pytest.raises(LandfallError, match=r"landfall\[pcsc\]"):
        run("readers")


def test_a_card_must_be_named_once(folder: str) -> None:
    with pytest.raises(LandfallError, match="none was named"):
        run("read")
    with pytest.raises(LandfallError, match="two at once"):
        run("read", "--card", folder, "-p", "0")


def test_an_atr_to_show_must_be_one(folder: str) -> None:
    with pytest.raises(LandfallError, match="'zz' is no ATR"):
        run("serve", folder, "--atr", "zz")


def test_a_code_that_is_none_costs_no_try(folder: str) -> None:
    with pytest.raises(LandfallError, match="the ADM was not tried: a code is 4 to 8 digits"):
        run("read", "--card", folder, "--adm", "abc")
    assert json.loads(run("read", "--card", folder, "--json"))["adm_tries"] == 3
