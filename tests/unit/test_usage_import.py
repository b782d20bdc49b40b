"""Billing systems' files become usage by a mapping, and what is wrong with them is told by line, column and value."""

import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import openpyxl
import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from marketplace.usage.schemas import UsageBatch
from settlement.usage import rows
from settlement.usage.cli import app
from settlement.usage.csv_mapping import BadLine, read_mapping
from settlement.usage.intake import NetworkUsage
from settlement.usage.rows import read_usage

EXAMPLES = Path(rows.__file__).parent / "examples"
NINE = 1_793_523_600_000  # 2026-11-01 09:00 UTC

MAPPING = """
decimal = ","
delimiter = ";"
[imsi]
column = "imsi"
[service]
column = "kind"
[start]
column = "start"
zone = "+0300"
[place]
column = "plmn"
[units]
data = { column = "volume", unit = "kB" }
voice = { column = "volume", unit = "minutes" }
"""
HEAD = "imsi;kind;start;plmn;volume\n"
GOOD = "262011234567890;data;2026-11-01 12:00:00;25001;1,5\n"


def read(folder: Path, text: str | bytes, mapping: str = MAPPING, name: str = "usage.csv") -> list[Any]:
    (folder / "mapping.toml").write_text(mapping)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_usage(folder / name, read_mapping(folder / "mapping.toml")))


def read_example(name: str) -> list[Any]:
    path = EXAMPLES / name
    return list(read_usage(path, read_mapping(path.with_suffix(".toml"))))


def test_a_russian_export_is_read_to_the_octet() -> None:
    found = list(
        read_usage(EXAMPLES / "cdr-semicolon-cp1251.csv", read_mapping(EXAMPLES / "cdr-semicolon-cp1251.toml"))
    )
    assert found == [
        NetworkUsage("250011234567890", "data", NINE + 5000, 12_500_000, "25001", 600, 180),
        NetworkUsage("250011234567890", "voice", NINE + 43_198_000, 3661, "25001", 3661, 180),
        NetworkUsage("250017654321098", "message", NINE + 72_900_000, 1, "25001", 0, 180),
        NetworkUsage("250017654321098", "data", NINE + 75_600_000, 1_024_000_001, "25001", 7200, 180),
    ]


def test_a_mediation_feed_without_a_header_is_read_by_column_numbers() -> None:
    found = read_example("mediation-pipe-utf8.csv")
    assert found == [
        NetworkUsage("262011234567890", "data", NINE, 1_001_024, "25001", 600, 180),
        NetworkUsage("262011234567890", "voice", NINE + 3_600_000, 61, "25001", 61, 180),
        NetworkUsage("262011234567891", "message", NINE + 3_660_000, 1, "25020", 0, 180),
    ]


def test_charging_events_in_json_lines_are_read() -> None:
    found = read_example("ocs-events.jsonl")
    assert found == [
        NetworkUsage("262011234567890", "data", NINE, 12_800 + 2_097_152, "RU", 0, 180),
        NetworkUsage("262011234567890", "voice", NINE + 1_800_000, 61, "RU", 61, 180),
        NetworkUsage("262011234567891", "message", NINE + 2_710_000, 1, "DE", 0, 0),
    ]


@pytest.mark.parametrize(
    ("line", "column", "value"),
    [
        ("26201;data;2026-11-01 12:00:00;25001;1", "imsi", "26201"),
        ("262011234567890;fax;2026-11-01 12:00:00;25001;1", "kind", "fax"),
        ("262011234567890;data;01.11.2026;25001;1", "start", "01.11.2026"),
        ("262011234567890;data;1969-11-01 12:00:00;25001;1", "start", "1969-11-01 12:00:00"),
        ("262011234567890;data;2026-11-01 12:00:00;;1", "plmn", ""),
        ("262011234567890;data;2026-11-01 12:00:00;25001;1.5", "volume", "1.5"),
        ("262011234567890;data;2026-11-01 12:00:00;25001;-1", "volume", "-1"),
        ("262011234567890;data;2026-11-01 12:00:00;25001;1e99", "volume", "1e99"),
        ("262011234567890;data;2026-11-01 12:00:00;25001;NaN", "volume", "NaN"),
        ("262011234567890;data;2026-11-01 12:00:00;25001;1_0", "volume", "1_0"),
        ("262011234567890;data", "start", ""),
        ('262011234567890;"da"ta', "", ""),
        (";" * 5000, "", "5001 columns"),
        ("x" * 70_000, "", "x" * 80),
    ],
)
def test_a_bad_line_is_told_and_the_others_are_read(line: str, column: str, value: str, tmp_path: Path) -> None:
    found = read(tmp_path, HEAD + GOOD + line + "\n" + GOOD)
    [bad] = [item for item in found if isinstance(item, BadLine)]
    assert (bad.line, bad.column, bad.value) == (3, column, value)
    assert len(found) == 3


def test_a_line_in_another_encoding_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, (HEAD + GOOD).encode() + "данные;\n".encode("cp1251") + GOOD.encode())
    assert [(item.line, item.why) for item in found if isinstance(item, BadLine)] == [
        (3, "is not utf-8: invalid continuation byte")
    ]


@pytest.mark.parametrize(
    ("text", "mapping", "told"),
    [
        ("imsi,kind,start\n", MAPPING, "line 1 has no column 'imsi', 'kind'"),
        (HEAD.replace("plmn", "imsi;plmn"), MAPPING, "column 'imsi' twice"),
        (HEAD, MAPPING.replace("kB", "furlongs"), "unit 'furlongs' is none of"),
        (HEAD, MAPPING.replace("+0300", "Europe/Atlantis"), "Europe/Atlantis"),
        (HEAD, MAPPING.replace('column = "plmn"', ""), "place: give either a column or a value"),
        (HEAD, MAPPING + "[other]\n", "unknown field"),
        (HEAD, "= nonsense", "mapping.toml"),
        (b"PK\x03\x04", 'format = "xlsx"\n' + MAPPING, "is no XLSX workbook"),
    ],
)
def test_a_wrong_mapping_is_told_before_anything_is_read(
    text: str | bytes, mapping: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(LandfallError, match=told):
        read(tmp_path, text, mapping)


def test_a_workbook_is_read_like_its_csv(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in (HEAD.strip().split(";"), ["262011234567890", "data", "2026-11-01 12:00:00", 25001, 1.5]):
        sheet.append(row)
    book.save(tmp_path / "usage.xlsx")
    octets = (tmp_path / "usage.xlsx").read_bytes()
    found = read(tmp_path, octets, 'format = "xlsx"\n' + MAPPING, "usage.xlsx")
    assert found == [NetworkUsage("262011234567890", "data", NINE, 1500, "25001", 0, 180)]


def test_a_damaged_sheet_is_told(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.worksheets[0].append(HEAD.strip().split(";"))
    book.save(tmp_path / "whole.xlsx")
    with zipfile.ZipFile(tmp_path / "whole.xlsx") as whole, zipfile.ZipFile(tmp_path / "cut.xlsx", "w") as cut:
        for part in whole.infolist():
            octets = whole.read(part)
            cut.writestr(part.filename, octets[:-40] if "sheet1" in part.filename else octets)
    with pytest.raises(LandfallError, match="cannot be read to its end"):
        read(tmp_path, (tmp_path / "cut.xlsx").read_bytes(), 'format = "xlsx"\n' + MAPPING, "cut.xlsx")


def test_a_zip_bomb_is_refused_unopened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"\0" * 20_000_000)
    with pytest.raises(LandfallError, match="a bomb, not a workbook"):
        read(tmp_path, (tmp_path / "bomb.xlsx").read_bytes(), 'format = "xlsx"\n' + MAPPING, "bomb.xlsx")


def run(folder: Path, text: str, *options: str) -> Any:
    (folder / "mapping.toml").write_text(MAPPING)
    (folder / "usage.csv").write_text(text)
    arguments = ["import", str(folder / "usage.csv"), "--mapping", str(folder / "mapping.toml"), "--json", *options]
    return CliRunner().invoke(app, arguments)


def test_a_dry_run_tells_and_writes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, HEAD + GOOD + "1;2\n", "--dry-run")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert answer["tally"]["by_service"] == {"data": {"records": 1, "units": 1500}}
    assert [bad["line"] for bad in answer["tally"]["bad"]] == [3]
    assert answer["first"][0]["imsi"] == "26201…"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mapping.toml", "usage.csv"]


def test_a_file_with_a_bad_line_makes_no_batch_unless_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(tmp_path, HEAD + GOOD + "1;2\n", "--out", str(out)).exit_code == 1
    assert not out.exists()
    result = run(tmp_path, HEAD + GOOD + "1;2\n", "--out", str(out), "--skip-bad")
    [path] = out.iterdir()
    assert result.exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    batch = msgspec.json.decode(path.read_bytes(), type=UsageBatch)  # as the operator node takes it
    assert batch.batch == path.stem
    assert [record.units for record in batch.records] == [1500]


def test_a_screen_shows_the_first_bad_lines_and_how_many_there_are(tmp_path: Path) -> None:
    (tmp_path / "mapping.toml").write_text(MAPPING)
    (tmp_path / "usage.csv").write_text(HEAD + GOOD + GOOD.replace("1,5", "1.5") * 1_300)
    arguments = ["import", str(tmp_path / "usage.csv"), "-m", str(tmp_path / "mapping.toml"), "--dry-run"]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 1
    assert told.stderr.count("line ") == 20
    assert "and 1,280 bad lines more" in told.stderr
    assert len(json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)["tally"]["bad"]) == 1_300


@pytest.mark.parametrize("text", ["", "one\ntwo\n"])
def test_a_file_that_ends_before_its_header_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(LandfallError, match="ends before line 3, where its header would be"):
        read(tmp_path, text, "skip = 2\n" + MAPPING)
