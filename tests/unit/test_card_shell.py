"""`landfall sim shell` and `export`: a card's files by hand and as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from simcard.cli import app
from simcard.known_files import KNOWN_FILES, resolve

IMSI, ICCID, ADM = "250990000000001", "8999900000000000011", "12345678"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    folder = str(tmp_path / "card")
    home = ["--imsi", IMSI, "--plmn", "25099", "--smsc", "+79990000000", "--adm", ADM, "--iccid", ICCID]
    assert CliRunner().invoke(app, ["new", folder, *home], catch_exceptions=False).exit_code == 0
    return folder


def shell(folder: str, *lines: str, exit_code: int = 0) -> list[str]:
    """What is said, line by line."""
    result = CliRunner().invoke(
        app, ["shell", "--card", folder], input="".join(line + "\n" for line in lines), catch_exceptions=False
    )
    assert result.exit_code == exit_code, result.output
    return result.stdout.splitlines()


def test_files_are_selected_by_name_or_number_and_read(folder: str) -> None:
    by_name = shell(folder, "select usim/EF.IMSI", "read")
    assert by_name == ["EF.IMSI: transparent, 9 octets", "082905990000000010"]
    assert shell(folder, "select usim/6f07", "read") == by_name
    records = shell(folder, "select usim/SMSP", "read 1", "read")
    assert records[1].startswith("1: ffff")
    assert records[1] in records[2:]


def test_a_file_is_updated_after_the_adm_whose_tries_are_shown_first(folder: str) -> None:
    said = shell(folder, "select usim/ACC", "update 0004", f"verify adm {ADM}", "update 0004", "read", exit_code=1)
    assert said[1:] == ["error: the card refuses to update usim/6f78: 6982", "tries of the ADM left: 3", "0004"]


def test_the_last_try_is_not_spent_in_a_shell(folder: str) -> None:
    wrong = "verify adm 00000000"
    said = shell(folder, wrong, wrong, wrong, f"verify adm {ADM}", "info", exit_code=1)
    assert sum("is not accepted" in line for line in said) == 2
    assert sum("nothing was tried" in line for line in said) == 2
    assert said[-1].endswith("tries of the ADM left: 1")


def test_apdus_and_challenges_go_as_they_are_typed(folder: str) -> None:
    assert shell(folder, "apdu 00a4000c022fe2", "apdu 00b000000a") == [
        "9000",
        "98990900000000000110 9000".replace("0110", "10f1"),
    ]
    (answer,) = shell(folder, f"auth {'00' * 16}")
    assert answer.startswith("04")
    assert answer.endswith(" 9000")


def test_mistakes_are_told_and_the_shell_goes_on(folder: str) -> None:
    said = shell(
        folder, "read", "select nothing", "apdu xyz", "jump", "", "auth 00", "read_record", "info", exit_code=1
    )
    assert said[0] == "error: no file is selected; `select usim/EF.IMSI` does it"
    assert "is no file: write usim/6f07" in said[1]
    assert said[2] == "error: 'xyz' is not hex"
    assert said[3].startswith("there is no command 'jump'")
    assert said[-1] == f"ICCID {ICCID}, tries of the ADM left: 3"


def test_every_known_file_is_found_by_its_path_and_by_its_name() -> None:
    for path, name in KNOWN_FILES.items():
        assert resolve(path) == tuple(path.split("/"))
        directory = path.rpartition("/")[0]
        assert KNOWN_FILES["/".join(resolve(f"{directory}/{name}"))] == name
    assert resolve("mf/ICCID") == ("3f00", "2fe2")
    assert resolve("gsm/imsi") == ("3f00", "7f20", "6f07")
    assert resolve("usim/6fff") == ("usim", "6fff")
    with pytest.raises(LandfallError, match="is no file"):
        resolve("usim/EF.NOTHING")


def export(folder: str, *options: str) -> dict[str, dict[str, object]]:
    result = CliRunner().invoke(app, ["export", "--card", folder, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    exported = json.loads(result.stdout)
    assert exported["kind"] == "landfall"
    return {file["path"]: file for file in exported["files"]}


def test_an_export_has_every_readable_file_and_no_keys(folder: str) -> None:
    files = export(folder)
    assert files["3f00/2fe2"]["content"] == "9899090000000000" + "10f1"
    assert files["usim/6f07"]["content"] == files["3f00/7f20/6f07"]["content"] == "082905990000000010"
    assert len(files["usim/6f42"]["records"]) >= 1  # type: ignore[arg-type]
    assert files["usim/6f08"]["hidden"]
    assert "content" not in files["usim/6f08"]
    assert "content" in export(folder, "--show-keys")["usim/6f08"]
    assert not [path for path in files if path.endswith(("af20", "a515/6f20"))]


def test_an_export_with_a_wrong_adm_costs_one_try(folder: str) -> None:
    with pytest.raises(LandfallError, match="2 tries left"):
        export(folder, "--adm", "00000000")
