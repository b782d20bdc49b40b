"""RAP in: what a partner returns is found in the files that were sent, whatever it says of itself."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from landfall.errors import LandfallError
from settlement.usage.tap3.checks import validate
from settlement.usage.tap3.cli import app
from settlement.usage.tap3.rap import write_return
from settlement.usage.tap3.returns import apply_returns, list_returned
from settlement.usage.tap3.stream import TapError, open_tap
from settlement.usage.tap3.writer import write_batch, write_element
from tests import tap_batch


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """A file whose third record refers to a recording entity that is not there."""
    events = [tap_batch.call(0), tap_batch.session(1), tap_batch.session(2), tap_batch.call(3)]
    events[2]["gprsCall"]["gprsLocationInformation"]["gprsNetworkLocation"]["recEntity"] = [9]
    path = tmp_path / "CDRUS01DEUD100003"
    write_batch(path, tap_batch.header("00003"), events)
    return path


@pytest.fixture
def rap(sent: Path, tmp_path: Path) -> Path:
    """What our own validation returns of it, with two numbers missing before it."""
    path = tmp_path / "RCDEUD1RUS0100001"
    write_return(path, sent, validate(sent), sequence=1, created_s=1_793_000_000, missing=[("00001", "00002")])
    return path


def change(rap: Path, edit: Any) -> None:
    """Write a RAP file anew with its value changed."""
    with open_tap(rap, rap=True) as stream:
        value = {**stream.header, "returnDetails": [record.value for record in stream.records()]}
    edit(value)
    write_element(rap, {"returnBatch": value})


def severe_of(value: Any) -> Any:
    return next(one["severeReturn"] for one in value["returnDetails"] if "severeReturn" in one)


def test_a_returned_record_is_found_with_its_reason(rap: Path, sent: Path) -> None:
    applied = apply_returns(rap, [sent])
    assert (applied.verdict, applied.findings, applied.missing) == ("applied", [], [("00001", "00002")])
    missing, severe = applied.returns
    assert (missing.kind, missing.status) == ("missing", "noted")
    assert (severe.record, severe.event, severe.value, severe.status) == (3, "gprsCall", 3000, "applied")
    [cause] = severe.causes
    assert cause.code == 31
    assert cause.field.startswith("gprsCall.gprsLocationInformation.gprsNetworkLocation")
    [state] = applied.files
    assert (state.records, state.charge, state.returned_records, state.stands) == (4, 8000, 1, 5000)
    [line] = list_returned(applied)
    assert (line["record"], next(iter(line["event"]))) == (3, "gprsCall")


def test_a_record_is_found_whatever_the_order_of_its_fields(rap: Path, sent: Path) -> None:
    def turn(value: Any) -> None:
        event = severe_of(value)["callEventDetail"]
        event["gprsCall"] = dict(reversed(event["gprsCall"].items()))

    change(rap, turn)
    assert apply_returns(rap, [sent]).returns[1].record == 3


def test_a_record_that_was_changed_on_the_way_is_found_by_what_tells_it_apart(rap: Path, sent: Path) -> None:
    def drop(value: Any) -> None:
        del severe_of(value)["callEventDetail"]["gprsCall"]["gprsBasicCallInformation"]["chargingId"]

    change(rap, drop)
    assert apply_returns(rap, [sent]).returns[1].record == 3


def test_a_record_that_was_never_sent_returns_nothing(rap: Path, sent: Path) -> None:
    def forge(value: Any) -> None:
        basic = severe_of(value)["callEventDetail"]["gprsCall"]["gprsBasicCallInformation"]
        basic["callEventStartTimeStamp"]["localTimeStamp"] = "20200101000000"

    change(rap, forge)
    applied = apply_returns(rap, [sent])
    assert (applied.verdict, applied.returns[1].status, applied.files[0].stands) == ("open", "no-such-record", 8000)


def test_one_record_is_returned_once(rap: Path, sent: Path) -> None:
    def double(value: Any) -> None:
        value["returnDetails"].append({"severeReturn": severe_of(value)})
        value["rapAuditControlInfo"] |= {"totalSevereReturnValue": 6000, "returnDetailsCount": 3}

    change(rap, double)
    applied = apply_returns(rap, [sent])
    assert [one.status for one in applied.returns] == ["noted", "applied", "returned-twice"]
    assert applied.files[0].stands == 5000


@pytest.mark.parametrize("name", ["totalSevereReturnValue", "returnDetailsCount"])
def test_a_rap_file_whose_sums_lie_is_not_applied(rap: Path, sent: Path, name: str) -> None:
    change(rap, lambda value: value["rapAuditControlInfo"].update({name: 7}))
    applied = apply_returns(rap, [sent])
    assert (applied.verdict, applied.findings[0].code) == ("fatal", 100)
    assert {one.status for one in applied.returns} == {"not-applied"}


def test_a_fatal_return_takes_the_whole_file_back(sent: Path, tmp_path: Path) -> None:
    with open_tap(sent) as tap:
        header = {**tap.header, "auditControlInfo": {**tap.header["auditControlInfo"], "totalCharge": 1}}
        records = [record.value for record in tap.records()]
    audit = {"auditControlInfo": header.pop("auditControlInfo")}
    write_batch(sent, header, [*records, audit])
    rap = tmp_path / "RC"
    write_return(rap, sent, validate(sent), sequence=2, created_s=1_793_000_000)
    applied = apply_returns(rap, [sent])
    assert applied.returns[0].status == "applied"
    assert applied.returns[0].causes[0].field == "auditControlInfo.totalCharge"
    assert (applied.files[0].returned_records, applied.files[0].stands) == (4, 0)


def test_files_of_others_are_refused_and_files_not_given_are_named(rap: Path, sent: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_batch(other, tap_batch.header("00009"), [tap_batch.call()])
    assert apply_returns(rap, [other]).returns[1].status == "file-not-given"
    header = tap_batch.header()
    header["batchControlInfo"]["recipient"] = "FRAF1"
    write_batch(other, header, [tap_batch.call()])
    with pytest.raises(LandfallError, match="from RUS01 to FRAF1"):
        apply_returns(rap, [sent, other])


def test_the_command_tells_what_stands_and_applies_a_file_once(rap: Path, sent: Path, tmp_path: Path) -> None:
    out, book = tmp_path / "returned.jsonl", tmp_path / "book"
    arguments = ["apply", str(rap), str(sent), "--book", str(book), "--out", str(out)]
    told = CliRunner().invoke(app, [*arguments, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["verdict"] == "applied"
    assert msgspec.json.decode(out.read_bytes())["causes"][0]["code"] == 31
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, LandfallError)
    assert "applied before" in str(again.exception)
    shown = CliRunner().invoke(app, ["apply", str(rap), str(sent)])
    assert "What stands" in shown.output


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("rap")
    event = tap_batch.session(2)
    event["gprsCall"]["gprsLocationInformation"]["gprsNetworkLocation"]["recEntity"] = [9]
    write_batch(folder / "sent", tap_batch.header("00003"), [event])
    write_return(folder / "rap", folder / "sent", validate(folder / "sent"), sequence=1, created_s=1)
    return folder / "rap", folder / "sent"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_rap_file_is_applied_or_refused_by_name(both: tuple[Path, Path], data: st.DataObject) -> None:
    rap, sent = both
    octets = bytearray(rap.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    damaged = rap.with_name("damaged")
    damaged.write_bytes(octets[: data.draw(st.integers(1, len(octets)))])
    try:
        applied = apply_returns(damaged, [sent])
    except (TapError, LandfallError):
        return
    assert all(0 <= state.stands <= 3000 for state in applied.files)
