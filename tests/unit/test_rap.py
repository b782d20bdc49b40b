"""What of a TAP file goes back."""

from pathlib import Path
from typing import Any

import pytest

from landfall.errors import LandfallError
from settlement.usage.tap3.ber import grammar
from settlement.usage.tap3.checks import validate
from settlement.usage.tap3.rap import Returned, describe, error_context, write_return
from settlement.usage.tap3.sequence import SequenceBook
from settlement.usage.tap3.stream import open_tap
from settlement.usage.tap3.writer import write_batch, write_element
from tests import tap_batch

NOW = 1_793_523_600


def returns(folder: Path, events: list[dict[str, Any]], **more: Any) -> tuple[Returned, list[dict[str, Any]]]:
    write_batch(folder / "in.tap", tap_batch.header(), events)
    out = folder / "out.rap"
    returned = write_return(out, folder / "in.tap", validate(folder / "in.tap"), sequence=3, created_s=NOW, **more)
    with open_tap(out, rap=True) as rap:
        assert rap.header["rapBatchControlInfoRap"]["sender"] == "DEUD1"
        return returned, [record.value for record in rap.records()]


def test_a_severe_record_goes_back_as_it_came_and_the_others_do_not(tmp_path: Path) -> None:
    bad = tap_batch.call(5)
    bad["mobileOriginatedCall"]["locationInformation"]["networkLocation"]["recEntityCode"] = 9
    returned, [detail] = returns(tmp_path, [tap_batch.call(), bad, tap_batch.session()])
    assert (returned.severe, returned.value, returned.tax) == (1, 1000, 200)
    severe = detail["severeReturn"]
    assert severe["callEventDetail"] == bad
    [error] = severe["errorDetail"]
    assert error["errorCode"] == 31
    assert [item["pathItemId"] for item in error["errorContext"]] == [9, 138, 156, 184]


def test_lying_totals_send_the_file_back_with_the_audit(tmp_path: Path) -> None:
    audit = {"totalCharge": 1, "totalTaxValue": 200, "callEventDetailsCount": 1}
    returned, [detail] = returns(tmp_path, [tap_batch.call(), {"auditControlInfo": audit}])
    assert returned.fatal == 1
    error = detail["fatalReturn"]["auditControlInfoError"]
    assert error["auditControlInfo"] == audit
    assert error["errorDetail"][0]["errorCode"] == 100
    assert describe([detail]) == [{"return": "fatalReturn", "file": "00001", "event": None, "codes": [100]}]


def test_a_missing_section_sends_the_batch_back(tmp_path: Path) -> None:
    header = tap_batch.header()
    del header["networkInfo"]
    write_batch(tmp_path / "in.tap", header, [])
    write_return(tmp_path / "out", tmp_path / "in.tap", validate(tmp_path / "in.tap"), sequence=1, created_s=NOW)
    with open_tap(tmp_path / "out", rap=True) as rap:
        [record] = rap.records()
    assert record.value["fatalReturn"]["transferBatchError"]["errorDetail"][0]["errorCode"] == 10


def test_missing_numbers_are_asked_for(tmp_path: Path) -> None:
    with SequenceBook(tmp_path / "book") as book:
        control = tap_batch.header("99997")["batchControlInfo"]
        book.take(control, "x")
        missing = book.missing(tap_batch.header("00002")["batchControlInfo"])
    assert missing == [("99998", "00001")]
    _, [detail] = returns(tmp_path, [tap_batch.call()], missing=missing)
    assert detail == {"missingReturn": {"startMissingSeqNumber": "99998", "endMissingSeqNumber": "00001"}}


def test_a_notification_goes_back_whole(tmp_path: Path) -> None:
    notification = tap_batch.header()["batchControlInfo"] | {"releaseVersionNumber": 99}
    write_element(tmp_path / "in.tap", {"notification": notification})
    write_return(tmp_path / "out", tmp_path / "in.tap", validate(tmp_path / "in.tap"), sequence=1, created_s=NOW)
    with open_tap(tmp_path / "out", rap=True) as rap:
        [record] = rap.records()
    error = record.value["fatalReturn"]["notificationError"]
    assert error["notification"] == notification
    assert [item["pathItemId"] for item in error["errorDetail"][0]["errorContext"]] == [2, 201]


def test_a_section_larger_than_a_record_goes_back(tmp_path: Path) -> None:
    header = tap_batch.header()
    header["networkInfo"]["recEntityInfo"] *= 20_000  # the same code again and again
    write_batch(tmp_path / "in.tap", header, [])
    write_return(tmp_path / "out", tmp_path / "in.tap", validate(tmp_path / "in.tap"), sequence=1, created_s=NOW)
    with open_tap(tmp_path / "out", rap=True) as rap:
        [record] = rap.records()
    assert len(record.value["fatalReturn"]["networkInfoError"]["networkInfo"]["recEntityInfo"]) == 20_000


def test_a_correct_file_returns_nothing(tmp_path: Path) -> None:
    with pytest.raises(LandfallError, match="nothing to return"):
        returns(tmp_path, [tap_batch.call()])
    assert not (tmp_path / "out.rap").exists()


def test_a_context_names_lists_and_their_elements() -> None:
    field = "gprsCall.gprsServiceUsed.chargeInformationList[1].taxInformation"
    assert error_context(grammar("CallEvent"), field) == [
        {"pathItemId": 14, "itemLevel": 1},
        {"pathItemId": 121, "itemLevel": 2},
        {"pathItemId": 70, "itemLevel": 3},
        {"pathItemId": 69, "itemOccurrence": 2, "itemLevel": 4},
        {"pathItemId": 214, "itemLevel": 5},
    ]
