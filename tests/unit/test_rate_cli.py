"""`landfall rate`: amounts with their derivation, and errors that name file, record and field."""

import json
import re
from pathlib import Path

import msgspec
import openpyxl
import polars
import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from settlement.usage.cli import app
from settlement.usage.rate_cli import rate
from settlement.usage.tariff import Bundle, Code, Metered

EXAMPLES = Path("settlement/usage/examples")
runner = CliRunner()


def run(*arguments: object) -> str:
    result = runner.invoke(rate, [str(each) for each in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def write(folder: Path, tariff: object, records: str, name: str = "use.jsonl") -> tuple[Path, Path]:
    (folder / "tariff.json").write_bytes(msgspec.json.encode(tariff))
    (folder / name).write_text(records, encoding="utf-8")
    return folder / "tariff.json", folder / name


def test_the_example_is_derived_to_the_last_micro_sdrt() -> None:
    answer = json.loads(run(EXAMPLES / "tariff-peak-tiers.json", EXAMPLES / "month.csv", "--json"))
    assert (answer["charge"], answer["rules_version"]) == (868945, 2)
    first, second = (each["derivation"] for each in answer["requests"])
    assert [line["amount"] for line in first["lines"]] == "420000 51000 25000 0 41206 30000 18000 45000".split()
    assert [step["total"] for step in first["steps"]] == ["630206", "630206", "749945"]
    assert [step["step"] for step in second["steps"]] == ["sum", "rounded", "minimum", "tax VAT"]
    assert second["steps"][0]["total"] == "5150.75"


def test_people_see_zone_tier_rounding_and_tax() -> None:
    told = run(EXAMPLES / "tariff-peak-tiers.json", EXAMPLES / "month.csv")
    for word in ("peak", "back-to-first", "half-even", "tax VAT", "minimum", "0.868945 SDRt"):
        assert word in told


def test_records_of_the_ledger_and_of_a_batch_are_taken_too(tmp_path: Path) -> None:
    tariff = Metered(block_price=3, event_price=5)
    files = write(tmp_path, {"tariff": tariff}, '["data",29000000,60,0,1025,"DE"]\n')
    assert json.loads(run(*files, "--json"))["charge"] == 6
    one = {"imsi": "250011234567890", "service": "message", "start_ms": 1, "units": 2, "place": "DE"}
    batch = json.dumps({"batch": "b", "records": [one, {**one, "imsi": "250011234567891"}]})
    told = run(*write(tmp_path, tariff, batch, "batch.json"))
    assert "0.000020 SDRt" in told
    assert "1234567890" not in told


def test_a_bundle_tells_its_renewals_and_what_it_did_not_cover(tmp_path: Path) -> None:
    tariff = Bundle(price=1_000_000, octets=1000, hours=24, renewals=5)
    files = write(tmp_path, tariff, '["data",29000000,0,0,2500,"DE"]\n')
    answer = json.loads(run(*files, "--renewals", 1, "--json"))["requests"][0]["derivation"]
    assert answer["charge"] == 2_000_000
    assert answer["refused"] == [{"record": 0, "cause": "allowance-exhausted", "amount": 500}]


@pytest.mark.parametrize(
    ("tariff", "records", "told"),
    [
        ({"kind": "metered", "block": 0}, "", "block"),
        ({"kind": "metered", "grading": {"zones": [{"name": "base", "windows": []}]}}, "", "windows"),
        ({"kind": "metered", "cap": 1, "grading": {"minimum": 2}}, "", "more than the cap"),
        (Code(price=1), "", "no use to rate"),
        (Metered(), '{"service":"data","start":"2026-11-02T10:00","units":1}', "record 1: start .* no offset"),
        (Metered(), '{"service":"fax","start":"2026-11-02T10:00Z","units":1}', "record 1: .*fax"),
        (Metered(), '\n{"service":"data","start":"2026-11-02T10:00Z","units":-1}', "record 2: "),
        (Metered(), "[[[[", "line 1 is no JSON"),
        (Bundle(price=1, octets=1, hours=1), '["voice",1,0,0,1,"DE"]', "does not sell voice"),
    ],
)
def test_an_error_names_what_is_wrong(tmp_path: Path, tariff: object, records: str, told: str) -> None:
    with pytest.raises(LandfallError, match=told):
        run(*write(tmp_path, tariff, records))


def test_a_table_with_a_strange_column_or_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LandfallError, match="colour"):
        run(*write(tmp_path, Metered(), "service,colour\n", "use.csv"))
    (tmp_path / "use.csv").write_bytes("service,start,units\nданные,,1\n".encode("cp1251"))
    with pytest.raises(LandfallError, match="line 2, service: byte 0xe4 is not UTF-8"):
        run(tmp_path / "tariff.json", tmp_path / "use.csv")
    with pytest.raises(LandfallError, match="is empty"):
        run(*write(tmp_path, Metered(), "", "use.csv"))


def test_a_file_of_records_is_rated_in_bulk(tmp_path: Path) -> None:
    (tmp_path / "plain.json").write_bytes(msgspec.json.encode(Metered(block_price=3, event_price=5)))
    (tmp_path / "bundle.json").write_bytes(msgspec.json.encode(Bundle(price=1, octets=1, hours=1)))
    header = "partner,request,tariff,position,service,start,offset,units,continues\n"
    lines = ["P1,R1,plain,1,data,29000000,60,1,false", "P1,R1,plain,2,data,29000001,60,1024,false"]
    lines += ["P2,R2,plain,1,message,29000000,0,2,false"]
    (tmp_path / "use.csv").write_text(header + "\n".join(lines) + "\n")
    arguments = ["rate", str(tmp_path / "use.csv"), "--tariff", f"plain={tmp_path / 'plain.json'}"]
    out = tmp_path / "rated.parquet"
    result = runner.invoke(app, [*arguments, "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["charge"] == 16
    assert [(row["partner"], row["service"], row["charge"]) for row in answer["rows"]] == [
        ("P1", "data", 6),
        ("P2", "message", 10),
    ]
    rated = sorted(polars.read_parquet(out).select("request", "position", "charge").iter_rows())
    assert rated == [("R1", 1, 3), ("R1", 2, 3), ("R2", 1, 10)]
    assert "0.000016 SDRt" in runner.invoke(app, arguments).stdout
    told = runner.invoke(app, [*arguments[:2], "--tariff", f"plain={tmp_path / 'bundle.json'}"])
    assert "no metered tariff" in str(told.exception)
    told = runner.invoke(app, [*arguments[:2], "--tariff", f"other={tmp_path / 'plain.json'}"])
    assert "tariff 'plain'" in str(told.exception)


@pytest.fixture
def bulk(tmp_path: Path) -> list[str]:
    """Arguments that rate three records, the last of the first request."""
    (tmp_path / "plain.json").write_bytes(msgspec.json.encode(Metered(block_price=3, event_price=5)))
    header = "partner,request,tariff,position,service,start,offset,units,continues\n"
    lines = ["P2,R2,plain,1,message,29000000,0,2,false", "P1,R1,plain,2,data,29000001,60,1024,false"]
    lines += ["P1,R1,plain,1,data,29000000,60,1,false"]
    (tmp_path / "use.csv").write_text(header + "\n".join(lines) + "\n")
    return ["rate", str(tmp_path / "use.csv"), "--tariff", f"plain={tmp_path / 'plain.json'}"]


def test_rated_records_come_as_a_workbook_with_their_sums_and_as_csv(tmp_path: Path, bulk: list[str]) -> None:
    octets = []
    for _ in range(2):
        result = runner.invoke(app, [*bulk, "--out", str(tmp_path / "rated.xlsx")])
        assert result.exit_code == 0, result.output
        octets.append((tmp_path / "rated.xlsx").read_bytes())
    assert octets[0] == octets[1]
    book = openpyxl.load_workbook(tmp_path / "rated.xlsx", read_only=True)
    sums, records = ([list(row) for row in book[name].iter_rows(values_only=True)] for name in ("Sums", "Records"))
    assert sums[1:] == [
        ["P1", "data", "2025-02", 2, 1025, 0.000006],
        ["P2", "message", "2025-02", 1, 2, 0.00001],
        [None, None, None, 3, None, 0.000016],
    ]
    assert records[1][:4] == ["P1", "R1", 1, "2025-02-19 22:20 +01:00"]
    assert [row[-1] for row in records[1:]] == [0.000003, 0.000003, 0.00001]
    runner.invoke(app, [*bulk, "--out", str(tmp_path / "rated.csv")])
    assert polars.read_csv(tmp_path / "rated.csv")["charge"].to_list() == [3, 3, 10]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (",1024,false", ",1024,", "request R1, position 2: continues without a value"),
        (",1024,", ",much,", "use.csv: cannot be rated: .*much"),
        (",1024,", f",{2**63 - 1},", "use.csv: cannot be rated"),
        ("P2,", "П2,", "use.csv: cannot be read as .csv: line 2, partner: byte 0xcf"),
        ("P2,", "x" * 3_000_000 + ",", "use.csv: cannot be read.{20,200}$"),
    ],
)
def test_what_an_engine_cannot_read_or_rate_is_told_in_a_line(
    tmp_path: Path, bulk: list[str], old: str, new: str, told: str
) -> None:
    text = (tmp_path / "use.csv").read_text().replace(old, new)
    (tmp_path / "use.csv").write_bytes(text.encode("cp1251"))
    result = runner.invoke(app, bulk)
    assert isinstance(result.exception, LandfallError)
    assert re.search(told, str(result.exception))
    assert "\n" not in str(result.exception)


def test_an_ending_that_says_no_format_is_refused_before_anything_is_rated(tmp_path: Path, bulk: list[str]) -> None:
    result = runner.invoke(app, [*bulk, "--out", str(tmp_path / "rated.ods")])
    assert ".parquet, .csv, .xlsx" in str(result.exception)


def test_names_in_a_table_stay_what_they_are(tmp_path: Path, bulk: list[str]) -> None:
    text = (tmp_path / "use.csv").read_text().replace("plain", "T").replace("R1", "007").replace("R2", "7")
    (tmp_path / "use.csv").write_text(text.replace("P1", "01"))
    arguments = [*bulk[:3], f"T={tmp_path / 'plain.json'}", "--out", str(tmp_path / "rated.parquet"), "--json"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.exception
    assert [row["partner"] for row in json.loads(result.stdout)["rows"]] == ["01", "P2"]
    assert set(polars.read_parquet(tmp_path / "rated.parquet")["request"]) == {"007", "7"}
