"""`landfall tap`, as people call it."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from marketplace.usage.schemas import UsageBatch
from settlement.usage.tap3.cli import app
from settlement.usage.tap3.writer import write_batch
from tests import tap_batch


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    path = tmp_path / "CDRUS01DEUD100001"
    write_batch(path, tap_batch.header(), tap_batch.one_of_each())
    return path


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, LandfallError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def test_decode_and_encode_are_each_other_s_inverse(batch: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text(run("decode", batch, "--json"))
    answer = json.loads(run("encode", tmp_path / "lines.jsonl", tmp_path / "again", "--json"))
    assert (tmp_path / "again").read_bytes() == batch.read_bytes()
    assert answer["records"] == 10


def test_decode_shows_what_a_file_holds(batch: Path) -> None:
    shown = run("decode", batch)
    assert "RUS01" in shown
    assert "mobileOriginatedCall" in shown


def test_validate_remembers_sequence_numbers(batch: Path, tmp_path: Path) -> None:
    def verdict(code: int) -> Any:
        [answer] = json.loads(run("validate", batch, "--book", tmp_path / "book", "--json", code=code))
        return answer["verdict"], list(answer["report"]["counts"])

    assert verdict(0) == ("correct", [])
    assert verdict(0) == ("warning", ["identical-copy"])
    write_batch(batch, tap_batch.header(), tap_batch.one_of_each()[:3])
    assert verdict(1) == ("fatal", ["sequence-reused"])
    assert len((tmp_path / "book").read_text().splitlines()) == 1


def test_usage_makes_batches_the_operator_node_takes(batch: Path, tmp_path: Path) -> None:
    answer = json.loads(run("usage", batch, tmp_path / "out", "--place", "RUS01=25001", "--json"))
    assert answer["records"] == 6
    assert answer["not usage"] == {"not-reported": 4}
    [path] = answer["batches"]
    octets = Path(path).read_bytes()
    taken = msgspec.json.decode(octets, type=UsageBatch)
    assert [record.service for record in taken.records] == ["voice", "voice", "message", "data", "message", "voice"]
    for secret in (b"4915112345678", b"74951234567", b"351234567890120", b"10.0.0.1", b"4711"):
        assert secret not in octets  # numbers, device, address, cell


def test_usage_needs_places_it_can_read(batch: Path, tmp_path: Path) -> None:
    with pytest.raises(LandfallError, match="write each as TADIG=PLMN"):
        run("usage", batch, tmp_path / "out", "--place", "RUS01")


def test_a_settled_period_is_written_and_validates(tmp_path: Path) -> None:
    line = {"imsi": tap_batch.IMSI, "network": "RUS01", "charge": 1_234_567}
    record = ["data", 29_892_060, 180, 60, 5_000_000, "25001"]
    (tmp_path / "settled.jsonl").write_text(json.dumps(line | {"record": record}) + "\n")
    out = tmp_path / "out.tap"
    options = ("--sender", "RUS01", "--recipient", "DEUD1", "--sequence", 7)
    assert json.loads(run("write", tmp_path / "settled.jsonl", out, *options, "--json"))["records"] == 1
    assert "correct" in run("validate", out)
    (tmp_path / "settled.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(LandfallError, match=r"line 1: .*record"):
        run("write", tmp_path / "settled.jsonl", out, *options)
