"""`landfall sim provision` and `verify` from a person's side: one card, batches, and faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from simcard.cli import app
from simcard.provisioning_run import Journal

K, OPC = "465b5ce8b199b49faa5f0a2ee238a6bc", "cd63cb71954a9f4e48a5994e37a02baf"
ICCIDS = [f"89999000000000001{n:02d}" for n in range(4)]
HEADER = "ICCID,IMSI,PLMN,K,OPC,ADM,SMSC,SPN"


def row(n: int, **changes: str) -> str:
    values = {
        "ICCID": ICCIDS[n],
        "IMSI": f"25099000000000{n}",
        "PLMN": "25099",
        "K": f"{n:032x}",
        "OPC": OPC,
        "ADM": f"1234567{n}",
        "SMSC": "+79990000000",
        "SPN": "Home",
    }
    return ",".join((values | changes).values())


def invoke(*arguments: str, exit_code: int = 0) -> tuple[Any, str]:
    """The JSON printed, and what was told meanwhile."""
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout), result.stderr


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    path = tmp_path / "cards.csv"
    path.write_text("\n".join([HEADER, *(row(n) for n in range(3))]) + "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> str:
    folder = tmp_path / "card"
    home = ["--imsi", "001010000000001", "--plmn", "00101", "--smsc", "+10000000"]
    invoke("new", str(folder), *home, "--iccid", ICCIDS[0], "--adm", "12345678")
    return str(folder)


def batched(batch: Path, *more: str, exit_code: int = 0) -> tuple[Any, str]:
    where = ["--batch", str(batch), "--card", str(batch.parent / "cards")]
    return invoke("provision", *where, *more, exit_code=exit_code)


def test_one_card_is_written_from_options_and_agrees_afterwards(folder: str) -> None:
    wanted = ["--imsi", "250990000000007", "--plmn", "25099", "--k", K, "--opc", OPC, "--spn", "New"]
    (outcome,), told = invoke("provision", "--card", folder, *wanted, "--adm", "12345678")
    assert (outcome["result"], outcome["keys"]) == ("provisioned", "agree")
    assert f"card {ICCIDS[0]}: landfall, tries of the ADM left: 3" in told
    assert K not in json.dumps(outcome) + told
    (checked,), _ = invoke("verify", "--card", folder, *wanted)
    assert checked["result"] == "agrees"
    (checked,), _ = invoke("verify", "--card", folder, "--imsi", "250990000000008", exit_code=1)
    assert [file["file"] for file in checked["files"] if file["action"] == "differs"] == ["EF.IMSI", "EF.ACC"]


def test_a_dry_run_of_one_card_changes_no_byte_of_it(folder: str) -> None:
    before = (Path(folder) / "card.json").read_bytes()
    (outcome,), _ = invoke("provision", "--card", folder, "--spn", "New", "--adm", "00000000", "--dry-run")
    assert outcome["result"] == "dry run"
    assert (Path(folder) / "card.json").read_bytes() == before


def test_a_batch_makes_cards_and_tells_the_network(batch: Path) -> None:
    told_to = batch.parent / "hlr.txt"
    outcomes, told = batched(batch, "--network", "osmo-hlr-vty", "--network-file", str(told_to))
    assert [(o["iccid"], o["result"], o["keys"]) for o in outcomes] == [(i, "made", "agree") for i in ICCIDS[:3]]
    assert "[3/3]" in told
    assert told_to.read_text().count("aud3g milenage") == 3
    assert told_to.stat().st_mode & 0o777 == 0o600
    outcomes, _ = invoke("verify", "--batch", str(batch), "--card", str(batch.parent / "cards"))
    assert {o["result"] for o in outcomes} == {"agrees"}


def test_a_batch_run_again_does_only_what_is_left_or_has_changed(batch: Path) -> None:
    batched(batch)
    outcomes, told = batched(batch)
    assert outcomes == []
    assert "done already, and passed over: 3 of 3 cards" in told
    batch.write_text("\n".join([HEADER, row(0), row(1, SPN="New"), row(2), row(3)]))
    outcomes, _ = batched(batch)
    assert [(o["iccid"], o["result"]) for o in outcomes] == [(ICCIDS[1], "provisioned"), (ICCIDS[3], "made")]


def test_a_dry_run_of_a_batch_leaves_nothing_behind(batch: Path) -> None:
    outcomes, _ = batched(batch, "--dry-run")
    assert {o["result"] for o in outcomes} == {"dry run"}
    assert [path.name for path in batch.parent.iterdir()] == ["cards.csv"]


def test_a_wrong_adm_ends_the_batch_and_is_not_tried_again_until_it_is_corrected(batch: Path) -> None:
    batched(batch)
    batch.write_text("\n".join([HEADER, row(0, ADM="99999999", SPN="New"), row(1, SPN="New"), row(2, SPN="New")]))
    outcomes, told = batched(batch, exit_code=1)
    assert [(o["iccid"], o["result"]) for o in outcomes] == [(ICCIDS[0], "code refused")]
    assert "2 tries left" in outcomes[0]["error"]
    assert "a wrong code ends the batch" in told
    outcomes, told = batched(batch, exit_code=1)
    assert [o["iccid"] for o in outcomes] == ICCIDS[1:3]
    assert f"card {ICCIDS[0]} is passed over: it refused its ADM or PIN" in told
    batch.write_text("\n".join([HEADER, row(0, SPN="New"), row(1, SPN="New"), row(2, SPN="New")]))
    outcomes, _ = batched(batch, "--adm-again", ICCIDS[0])
    assert [(o["iccid"], o["result"]) for o in outcomes] == [(ICCIDS[0], "provisioned")]


def test_a_run_cut_off_while_the_adm_was_tried_does_not_try_it_again(batch: Path) -> None:
    batched(batch)
    path = batch.with_name("cards.csv.journal")
    trying = Journal(path).last(ICCIDS[0])
    assert trying is not None
    path.write_text(json.dumps({**json.loads(path.read_text().splitlines()[0]), "result": "trying", "adm_tries": 3}))
    path.write_text(path.read_text() + "\n")
    with pytest.raises(LandfallError, match="2 tries left"):
        invoke("read", "--card", str(batch.parent / "cards" / ICCIDS[0]), "--adm", "99999999")
    outcomes, _ = batched(batch, exit_code=1)
    assert "may have refused this ADM" in outcomes[0]["error"]
    (card, _) = invoke("read", "--card", str(batch.parent / "cards" / ICCIDS[0]))
    assert card["adm_tries"] == 2


def test_the_journal_has_no_secrets_and_survives_a_torn_line(batch: Path) -> None:
    batched(batch)
    path = batch.with_name("cards.csv.journal")
    text = path.read_text()
    assert OPC not in text
    assert "12345670" not in text
    path.write_text(text + '{"iccid":"89')
    assert batched(batch)[0] == []
    assert path.read_text() == text
    path.write_text("no journal\n")
    with pytest.raises(LandfallError, match="line 1: no journal of ours"):
        batched(batch)


def test_a_card_that_fails_is_told_and_the_others_go_on(batch: Path) -> None:
    batch.write_text("\n".join([HEADER, row(0, SMSC=""), row(1)]))
    outcomes, told = batched(batch, exit_code=1)
    assert [(o["iccid"], o["result"]) for o in outcomes] == [(ICCIDS[0], "failed"), (ICCIDS[1], "made")]
    assert outcomes[0]["error"] == f"SMSC needed to make card {ICCIDS[0]} anew"
    assert "1 cards are still to do" in told


def test_what_excludes_each_other_is_told(batch: Path, folder: str) -> None:
    with pytest.raises(LandfallError, match=r"--batch and --imsi \(or SIM_IMSI\) exclude"):
        batched(batch, "--imsi", "250990000000007")
    with pytest.raises(LandfallError, match="nothing is said"):
        invoke("provision", "--card", folder)
    with pytest.raises(LandfallError, match="go together"):
        batched(batch, "--network", "csv")
    with pytest.raises(LandfallError, match=r"K: \(hidden, 2 characters\) is not 32 hex"):
        invoke("provision", "--card", folder, "--k", "00")


def test_a_wrong_pin_ends_the_batch_as_a_wrong_adm_does(tmp_path: Path) -> None:
    for n in range(2):
        home = ["--imsi", "001010000000001", "--plmn", "00101", "--smsc", "+10000000", "--pin", "1234"]
        invoke("new", str(tmp_path / "cards" / ICCIDS[n]), *home, "--iccid", ICCIDS[n], "--adm", f"1234567{n}")
    batch = tmp_path / "cards.csv"
    batch.write_text("\n".join([HEADER, row(0), row(1)]))
    outcomes, _ = batched(batch, "--pin", "0000", "--dry-run")
    assert {o["result"] for o in outcomes} == {"dry run"}
    outcomes, _ = batched(batch, "--pin", "0000", exit_code=1)
    assert [(o["iccid"], o["result"]) for o in outcomes] == [(ICCIDS[0], "code refused")]
    assert outcomes[0]["error"] == "the PIN is not accepted: 2 tries left; it was not tried again"
    outcomes, _ = batched(batch, "--pin", "1234", "--adm-again", ICCIDS[0])
    assert [o["result"] for o in outcomes] == ["provisioned"] * 2


def test_what_the_network_cannot_be_told_is_said_before_a_card_is_made(tmp_path: Path) -> None:
    batch = tmp_path / "cards.csv"
    batch.write_text("\n".join([f"{HEADER},ALGORITHM", f"{row(0)},", f"{row(1, OPC='')},comp128v2"]) + "\n")
    network = ["--network", "open5gs", "--network-file", str(tmp_path / "subscribers")]
    with pytest.raises(LandfallError, match=f"card {ICCIDS[1]} has comp128v2, and Open5GS knows Milenage only"):
        batched(batch, *network)
    assert not (tmp_path / "cards").exists()
    outcomes, _ = batched(batch)
    assert [(outcome["result"], outcome["keys"]) for outcome in outcomes] == [("made", "agree")] * 2


@pytest.mark.parametrize("algorithm", ["tuak", "xor", "comp128v1"])
def test_a_card_of_another_algorithm_is_made_and_answers_challenges(tmp_path: Path, algorithm: str) -> None:
    home = ["--imsi", "001010000000001", "--plmn", "00101", "--smsc", "+10000000", "--algorithm", algorithm]
    made, _ = invoke("new", str(tmp_path / "card"), *home)
    assert (made["algorithm"], bool(made["opc"])) == (algorithm, algorithm == "tuak")
    answer, _ = invoke("auth", "--card", str(tmp_path / "card"), "00" * 16)
    assert (answer["outcome"], len(answer["res"]), len(answer["kc"])) == ("authenticated", 8, 16)
