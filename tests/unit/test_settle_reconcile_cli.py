"""`landfall settle reconcile`: CSV and Parquet in, a report out; errors that name file, record and field."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from settlement.cli import app
from settlement.reconciliation import leftovers, read_records, reconcile
from settlement.reconciliation.model import MAX_WINDOW_S

HEADER = "key,party,time,amount,volume,duration\n"
OURS = HEADER + (
    "k1,DEUD1,2026-10-01T10:00:00Z,1.5,1000,60\n"
    "k2,DEUD1,2026-10-01T11:00:00Z,2.000001,1000,60\n"
    "k3,FRAF1,2026-10-02T10:00Z,4,,\n"
    "k4,FRAF1,2026-08-01T10:00:00+03:00,8,500,5\n"
)
THEIRS = HEADER + (
    "k1,DEUD1,2026-10-01T13:00:00+03:00,1.500000,1000,60\n"
    "k2,DEUD1,2026-10-01T11:00:10Z,2,1000,60\n"
    "k3,ITAI1,2026-10-02T10:00:00Z,4,0,0\n"
    "k5,FRAF1,2026-10-03T00:00:00Z,16,1,1\n"
)


def _run(*arguments: object) -> dict[str, Any]:
    run = CliRunner().invoke(app, ["reconcile", *map(str, arguments), "--json"])
    if run.exception and not isinstance(run.exception, SystemExit):
        raise run.exception
    assert run.exit_code == 0, run.output
    answer = json.loads(run.stdout)
    assert isinstance(answer, dict)
    return answer


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.csv"
    ours.write_text(OURS)
    theirs.write_text(THEIRS)
    return ours, theirs


def _kinds(report: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {row["kind"]: (row["ours"], row["theirs"]) for row in report["kinds"] if row["ours"] or row["theirs"]}


def test_every_record_is_in_one_kind_and_amounts_are_exact(files: tuple[Path, Path]) -> None:
    report = _run(*files)
    assert _kinds(report) == {
        "matched": (1, 1),
        "amount": (1, 1),
        "wrong party": (1, 1),
        "missing here": (0, 1),
        "missing there": (1, 0),
    }
    assert report["ours"] == {"records": 4, "amount": 15_500_001}
    assert report["theirs"] == {"records": 4, "amount": 23_500_000}
    assert [(row["kind"], row["at_stake"], row["age_days"]) for row in report["breaks"]] == [
        ("missing here", 16_000_000, 0),
        ("missing there", 8_000_000, 62),
        ("wrong party", 4_000_000, 0),
        ("amount", 1, 1),
    ]
    assert {"kind": "missing there", "days": "61–90", "breaks": 1, "at_stake": 8_000_000} in report["ageing"]


def test_rules_from_toml_widen_what_passes(files: tuple[Path, Path], tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('amount_tolerance = "0.000001"\ntime_window_s = 10\nsteps = ["key"]\n')
    assert _kinds(_run(*files, "--rules", rules))["within tolerance"] == (1, 1)
    rules.write_text("amount_tolerance_ppm = 1\ntime_window_s = 9\n")
    assert _kinds(_run(*files, "--rules", rules))["late"] == (1, 1)


def test_parquet_and_csv_of_the_same_records_agree(files: tuple[Path, Path], tmp_path: Path) -> None:
    parquet = tmp_path / "theirs.parquet"
    frame = pl.read_csv(files[1], infer_schema=False)
    frame.with_columns(
        pl.col("time").str.to_datetime("%+"),
        pl.Series("amount", [Decimal(text) for text in frame["amount"]], pl.Decimal(20, 8)),
        pl.col("volume", "duration").cast(pl.Int32),
    ).write_parquet(parquet)
    assert read_records(parquet).equals(read_records(files[1]))
    assert _run(files[0], parquet)["kinds"] == _run(*files)["kinds"]


def test_the_page_and_the_file_of_breaks_hold_what_the_report_holds(files: tuple[Path, Path], tmp_path: Path) -> None:
    files[0].write_text(OURS + "<script>,DEUD1,2026-10-01T10:00:00Z,3,0,0\n")
    page, breaks = tmp_path / "report.html", tmp_path / "breaks.csv"
    report = _run(*files, "--html", page, "--breaks", breaks, "--as-of", "2027-01-01T00:00:00Z")
    text = page.read_text()
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert "16.000000 SDRt" in text
    listed = pl.read_csv(breaks)
    assert listed["at_stake"].to_list() == [row["at_stake"] for row in report["breaks"]]
    assert min(listed["age_days"]) == 90
    assert listed["time"][0].startswith("2026-10-03T00:00:00")


def test_columns_only_one_side_has_are_not_compared_and_that_is_said(files: tuple[Path, Path]) -> None:
    frame = pl.read_csv(files[1], infer_schema=False).drop("volume")
    frame.write_csv(files[1])
    assert "volume was not compared: theirs has no such column" in _run(*files)["notes"]


def test_empty_files_reconcile_to_nothing(files: tuple[Path, Path]) -> None:
    for file in files:
        file.write_text(HEADER)
    report = _run(*files)
    assert report["breaks_in_all"] == 0
    assert _kinds(report) == {}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("k,P,2026-10-01T10:00:00Z,1e3,1,1", "record 2, amount: '1e3' is not SDRt"),
        ("k,P,2026-10-01T10:00:00Z,-1,1,1", "record 2, amount: '-1'"),
        ("k,P,2026-10-01T10:00:00Z,0.0000001,1,1", "record 2, amount: '0.0000001'"),
        ("k,P,2026-10-01T10:00:00Z,9999999999.9,1,1", "record 2, amount: '9999999999.9'"),
        ("k,P,2026-10-01T10:00:00Z,,1,1", "record 2, amount: ''"),
        ("k,P,2026-10-01T10:00:00,1,1,1", "record 2, time: '2026-10-01T10:00:00' is not RFC 3339"),
        ("k,P,2026-13-01T10:00:00Z,1,1,1", "record 2, time: '2026-13-01T10:00:00Z'"),
        ("k,,2026-10-01T10:00:00Z,1,1,1", "record 2, party: ''"),
        ("k,P,2026-10-01T10:00:00Z,1,1.5,1", "record 2, volume: '1.5' is not whole octets"),
        ("k,P,2026-10-01T10:00:00Z,1,1,1,1", "record 2 has 7 fields, the header 6"),
        ("k,P,2026-10-01T10:00:00Z,1,1", "record 2 has 5 fields, the header 6"),
        ("k,P,1966-10-01T10:00:00Z,1,1,1", "record 2, time: '1966-10-01T10:00:00Z'"),
    ],
)
def test_a_bad_record_is_refused_with_field_and_value(files: tuple[Path, Path], row: str, why: str) -> None:
    files[1].write_text(HEADER + "k0,P,2026-10-01T10:00:00Z,1,1,1\n" + row + "\n")
    with pytest.raises(LandfallError) as refused:
        _run(*files)
    assert why in str(refused.value)
    assert str(files[1]) in str(refused.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "can be read|has no column"),
        (b"key,time\n", "has no column party, amount; it has 'key, time'"),
        (
            HEADER.encode() + "k,Ростелеком,2026-10-01T10:00:00Z,1,1,1\n".encode("cp1251"),
            "line 2, party: byte 0xd0",
        ),
        (b"key,party,time,amount,amount_usdr\n", "amount and amount_usdr"),
        (b"c," * 1_000_000 + b"\n", "the header is longer than"),
    ],
)
def test_a_file_that_is_none_of_records_is_refused(files: tuple[Path, Path], content: bytes, why: str) -> None:
    files[0].write_bytes(content)
    with pytest.raises(LandfallError, match=why):
        _run(*files)


def test_a_mark_of_byte_order_and_columns_of_others_do_not_matter(files: tuple[Path, Path]) -> None:
    kinds = _run(*files)["kinds"]
    lines = ["note," + OURS.splitlines()[0], *("," + line for line in OURS.splitlines()[1:])]
    files[0].write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    assert _run(*files)["kinds"] == kinds


def test_a_float_is_no_amount(tmp_path: Path) -> None:
    file = tmp_path / "floats.parquet"
    moment = datetime(2026, 10, 1, tzinfo=UTC)
    pl.DataFrame({"key": ["a"], "party": ["P"], "time": [moment], "amount": [1.5]}).write_parquet(file)
    with pytest.raises(LandfallError, match=r"record 1, amount: '1\.5' is not SDRt"):
        read_records(file)


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("amount_tolerance = 0.5", "amount_tolerance"),
        ('amount_tolerance = "-1"', "amount_tolerance: '-1' is no amount"),
        ("tolerance = 1", "unknown field `tolerance`"),
        (f"time_window_s = {MAX_WINDOW_S + 1}", "time_window_s"),
        ('steps = ["luck"]', "luck"),
        ("=", "Invalid"),
    ],
)
def test_bad_rules_are_refused_with_the_field(files: tuple[Path, Path], tmp_path: Path, rules: str, why: str) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(rules)
    with pytest.raises(LandfallError, match=why) as refused:
        _run(*files, "--rules", file)
    assert str(file) in str(refused.value)


def test_a_search_for_sums_that_was_cut_short_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "MAX_SUM_STEPS", 50)
    columns = {"key": [""] * 12, "party": ["P"] * 12, "time": [0] * 12}
    ours = pl.DataFrame({**columns, "amount": [10**6 + i for i in range(12)]}, strict=False)
    theirs = pl.DataFrame({**columns, "amount": [3 * 10**5 + 7 * i for i in range(12)]}, strict=False)
    assert reconcile(ours, theirs).notes == ("the search for sums ended after 50 steps",)


def _rows(sheet: Any) -> list[list[Any]]:
    return [list(row) for row in sheet.iter_rows(values_only=True)]


def test_the_differences_come_as_a_workbook_of_the_same_octets(files: tuple[Path, Path], tmp_path: Path) -> None:
    octets = []
    for name in ("one.xlsx", "two.xlsx"):
        report = _run(*files, "--breaks", tmp_path / name)
        octets.append((tmp_path / name).read_bytes())
    assert octets[0] == octets[1]
    book = openpyxl.load_workbook(tmp_path / "one.xlsx", read_only=True)
    kinds, rows = (_rows(book[name]) for name in ("Kinds", "Differences"))
    assert kinds[-1][:2] == ["in all", report["ours"]["records"]]
    assert kinds[-1][2] * 10**6 == pytest.approx(report["ours"]["amount"])
    assert len(rows) == 1 + report["breaks_in_all"]
    told = dict(zip(rows[0], rows[1], strict=True))
    assert (told["kind"], told["key"]) == (report["breaks"][0]["kind"], report["breaks"][0]["key"])
    assert told["at stake, SDRt"] * 10**6 == pytest.approx(report["breaks"][0]["at_stake"])


def test_an_ending_nobody_can_write_is_refused_before_the_files_are_read(tmp_path: Path) -> None:
    with pytest.raises(LandfallError, match=r"--breaks .*\.csv, \.parquet, \.xlsx"):
        _run(tmp_path / "none.csv", tmp_path / "none.csv", "--breaks", tmp_path / "breaks.txt")
