"""TAP files: written, read, checked, taken as usage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landfall.errors import LandfallError
from settlement.ledger.messages import UsageRecord
from settlement.usage.tap3 import processes
from settlement.usage.tap3.checks import validate
from settlement.usage.tap3.findings import RULES
from settlement.usage.tap3.sequence import SequenceBook
from settlement.usage.tap3.stream import TapError, open_tap
from settlement.usage.tap3.usage import Batch, NotUsage, Settled, TapUsage, to_usage, write_settled
from settlement.usage.tap3.writer import to_lines, write_batch, write_lines
from tests import tap_batch

Fields = dict[str, Any]


def write(folder: Path, events: list[Fields], header: Fields | None = None, name: str = "batch.tap") -> Path:
    path = folder / name
    write_batch(path, tap_batch.header() if header is None else header, events)
    return path


def test_a_batch_is_read_as_it_was_written(tmp_path: Path) -> None:
    with open_tap(write(tmp_path, tap_batch.one_of_each())) as tap:
        assert [record.value for record in tap.records()] == tap_batch.one_of_each()
        assert tap.header["batchControlInfo"] == tap_batch.header()["batchControlInfo"]
        audit = tap.header["auditControlInfo"]
    assert audit["callEventDetailsCount"] == 10
    assert audit["totalCharge"] == 3 * 1000 + 23 + 3000 + 5 + 70 + 11 + 13 + 17 + 19
    assert audit["totalChargeRefund"] == 30
    assert audit["totalTaxValue"] == 600


def test_a_correct_batch_has_no_findings(tmp_path: Path) -> None:
    report = validate(write(tmp_path, tap_batch.one_of_each()))
    assert report.findings == []
    assert report.verdict == "correct"
    assert (report.sender, report.recipient, report.sequence, report.records) == ("RUS01", "DEUD1", "00001", 10)


def change(path: str, value: Any) -> Callable[[Fields, Fields], None]:
    def apply(header: Fields, event: Fields) -> None:
        target: Any = header if path.startswith(("batch", "accounting", "network")) else event
        *names, last = [int(name) if name.isdigit() else name for name in path.split(".")]
        for name in names:
            target = target[name]
        if value is None:
            del target[last]
        else:
            target[last] = value

    return apply


PRICE = "mobileOriginatedCall.basicServiceUsedList.0.chargeInformationList.0"
BASIC = "mobileOriginatedCall.basicCallInformation"


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("batchControlInfo.sender", None, "missing-field"),
        ("batchControlInfo.fileSequenceNumber", "0001", "syntax"),
        ("batchControlInfo.fileSequenceNumber", "00000", "out-of-range"),
        ("batchControlInfo.releaseVersionNumber", 13, "out-of-range"),
        ("batchControlInfo.fileAvailableTimeStamp.localTimeStamp", "20261301000000", "syntax"),
        ("accountingInfo", None, "missing-section"),
        ("accountingInfo.tapDecimalPlaces", 7, "decimals"),
        ("accountingInfo.currencyConversionInfo.0.exchangeRate", 0, "out-of-range"),
        ("networkInfo.utcTimeOffsetInfo.0.utcTimeOffset", "+3", "syntax"),
        ("networkInfo.recEntityInfo", [{"recEntityCode": 1}] * 2, "repeated-code"),
        (f"{BASIC}.chargeableSubscriber", None, "no-subscriber"),
        (f"{BASIC}.chargeableSubscriber.simChargeableSubscriber.imsi", "26A01", "imsi-syntax"),
        (f"{BASIC}.callEventStartTimeStamp", None, "no-start"),
        (f"{BASIC}.callEventStartTimeStamp.localTimeStamp", "20261101250000", "start-syntax"),
        (f"{BASIC}.callEventStartTimeStamp.utcTimeOffsetCode", 5, "unknown-utc-offset"),
        ("mobileOriginatedCall.locationInformation.networkLocation.recEntityCode", 9, "unknown-rec-entity"),
        ("mobileOriginatedCall.basicServiceUsedList", None, "no-charge"),
        (f"{PRICE}.chargeDetailList.0.chargeType", "01", "no-total-charge"),
        (f"{PRICE}.chargeDetailList.0.charge", -1, "negative-charge"),
        (f"{PRICE}.exchangeRateCode", 3, "unknown-exchange-rate"),
        (f"{PRICE}.taxInformation.0.taxCode", 2, "unknown-tax"),
        (f"{PRICE}.discountInformation", {"discountCode": 4, "discount": 1}, "unknown-discount"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, rule: str, tmp_path: Path) -> None:
    header, event = tap_batch.header(), tap_batch.call()
    change(path, value)(header, event)
    report = validate(write(tmp_path, [event], header))
    assert rule in report.counts
    one = next(one for one in report.findings if one.rule == rule)
    assert (one.severity, one.code) == RULES[rule]
    assert one.record == (1 if one.severity == "severe" else 0)


@pytest.mark.parametrize(
    ("name", "rule"),
    [("totalCharge", "total-charge"), ("totalTaxValue", "total-tax"), ("callEventDetailsCount", "record-count")],
)
def test_lying_totals_are_fatal(name: str, rule: str, tmp_path: Path) -> None:
    path = tmp_path / "batch.tap"
    audit = {"totalCharge": 1000, "totalTaxValue": 200, "totalDiscountValue": 0, "callEventDetailsCount": 1}
    write_batch(path, tap_batch.header(), [tap_batch.call(), {"auditControlInfo": audit | {name: 999}}])
    report = validate(path)
    assert (report.verdict, report.counts) == ("fatal", {rule: 1})
    assert report.findings[0].code == 100


@pytest.mark.parametrize("release", range(1, 13))
def test_releases_from_3_1_on_are_taken_and_others_named(release: int, tmp_path: Path) -> None:
    header = tap_batch.header()
    header["batchControlInfo"]["releaseVersionNumber"] = release
    write_batch(tmp_path / "earlier", header, tap_batch.one_of_each())
    assert validate(tmp_path / "earlier").verdict == "correct"
    header["batchControlInfo"]["specificationVersionNumber"] = 2
    write_batch(tmp_path / "earlier", header, tap_batch.one_of_each())
    assert validate(tmp_path / "earlier").counts == {"out-of-range": 1}


def test_a_record_that_comes_twice_goes_back_once(tmp_path: Path) -> None:
    report = validate(write(tmp_path, [tap_batch.call(), tap_batch.session(), tap_batch.call()]))
    assert [(one.rule, one.record) for one in report.findings] == [("duplicate-record", 3)]


def test_several_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PARALLEL_FROM", 0)
    monkeypatch.setattr(processes, "CHUNK", 7)
    events = [tap_batch.session(octets=number) for number in range(50)] + [tap_batch.session(octets=3)]
    path = write(tmp_path, events)
    assert validate(path, workers=2) == validate(path, workers=1)
    with open_tap(path) as tap:
        lines = b"".join(to_lines(tap, 2))
        assert lines == b"".join(to_lines(tap, 1))
    (tmp_path / "lines").write_bytes(lines)
    write_lines(tmp_path / "lines", tmp_path / "again", 2)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    (tmp_path / "lines").write_bytes(lines + b'{"fax": {}}\n')
    with pytest.raises(LandfallError, match="auditControlInfo"):
        write_lines(tmp_path / "lines", tmp_path / "bad", 2)
    assert not (tmp_path / "bad").exists()


def test_chunks_are_bounded_by_octets_too() -> None:
    sizes = [1, processes.CHUNK_OCTETS, processes.CHUNK_OCTETS, *[1] * 2500]
    assert [len(chunk) for chunk in processes.in_chunks(sizes, lambda size: size)] == [1, 1, 1, 1000, 1000, 500]


def test_json_lines_make_the_same_file_again(tmp_path: Path) -> None:
    path = write(tmp_path, tap_batch.one_of_each())
    with open_tap(path) as tap:
        (tmp_path / "batch.jsonl").write_bytes(b"".join(to_lines(tap)))
    write_lines(tmp_path / "batch.jsonl", tmp_path / "again.tap")
    assert (tmp_path / "again.tap").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('{"transferBatch": {}}\n{"gprsCall": {"volume": 1}}', "line 2, gprsCall: GprsCall has no field 'volume'"),
        ('{"transferBatch": {}}\n{"fax": {}}', "line 2"),
        ('{"transferBatch": {}}\n{"gprsCall": ', "line 2 is no JSON object"),
        ('{"transferBatch": {"batchControlInfo": {"sender": 5}}}', "batchControlInfo.sender: 5 is no text"),
        ("{}", "line 1 must be"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_written(lines: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(lines)
    with pytest.raises(LandfallError, match=told):
        write_lines(tmp_path / "in.jsonl", tmp_path / "out.tap")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        ("", "the file is empty"),
        ("7f841600", "this is a RAP"),
        ("1f8b0800", "gzip"),
        ("504b0304", "ZIP"),
        ("7b227d", "JSON"),
        ("6110", "cut 16 octets before its end, in its first section"),
        ("6188ffffffffffffffff", "claims 18446744073709551615 octets"),
        ("61898080808080808080", "a length of 9 octets"),
        ("6180", "an indefinite length without its end"),
        ("61055f81490103", "NRTRDE"),
        ("61806480" + "6f80" * 60, "nested deeper"),
        ("6406", "begins neither TAP nor RAP"),
        ("61046400640a", "tag 64 claims 10 octets where 0 are left"),
        ("610464006400", "the section batchControlInfo occurs twice"),
        ("61026401", "tag 64 claims 1 octets where 0 are left"),
    ],
)
def test_hostile_files_are_told_by_octet(octets: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(bytes.fromhex(octets))
    with pytest.raises(TapError, match=told) as error, open_tap(path) as tap:
        list(tap.records())
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("kept", "told"),
    [(30, "in batchControlInfo"), (600, "octet 600: the file is cut .* in record 2 of callEventDetails")],
)
def test_a_cut_file_is_told_with_the_record_it_ends_in(kept: int, told: str, tmp_path: Path) -> None:
    path = write(tmp_path, [tap_batch.session(), tap_batch.call(), tap_batch.call(1)])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TapError, match=told):
        open_tap(path)


def test_a_truncated_record_is_told_with_its_number_and_field(tmp_path: Path) -> None:
    good = write(tmp_path, [tap_batch.session(), tap_batch.session(1)]).read_bytes()
    bad = good.replace(bytes.fromhex("5f817a030f4240"), bytes.fromhex("5f817a7f0f4240"))  # an incoming volume's length
    (tmp_path / "bad.tap").write_bytes(bad)
    told = r"octet \d+, record 1, gprsCall.gprsServiceUsed: tag 5f817a claims 127 octets"
    with pytest.raises(TapError, match=told), open_tap(tmp_path / "bad.tap") as tap:
        list(tap.records())


def test_indefinite_lengths_and_unknown_fields_are_read(tmp_path: Path) -> None:
    path = tmp_path / "indefinite.tap"
    record = "6e80" + "7f798000 00".replace(" ", "") + "df8f0103aabbcc" + "0000"
    path.write_bytes(bytes.fromhex("6180" + "6480" + "0000" + "6380" + record + "0000" + "0000"))
    with open_tap(path) as tap:
        [one] = list(tap.records())
    assert one.value == {"gprsCall": {"gprsServiceUsed": {}}}
    assert [strange.tag for strange in one.unknown] == ["df8f01"]


def test_gaps_copies_and_reuse_are_told_for_each_pair_by_itself(tmp_path: Path) -> None:
    def control(sequence: int, sender: str = "RUS01", **more: str) -> Fields:
        return {"sender": sender, "recipient": "DEUD1", "fileSequenceNumber": f"{sequence:05d}", **more}

    def rules(book: SequenceBook, *arguments: Any) -> list[str]:
        return [one.rule for one in book.check(*arguments)]

    with SequenceBook(tmp_path / "book.jsonl") as book:
        assert rules(book, control(41), "a") == []
        book.take(control(41), "a")
    with SequenceBook(tmp_path / "book.jsonl") as book:
        assert rules(book, control(42), "b") == []
        assert rules(book, control(44), "b") == ["sequence-gap"]
        assert rules(book, control(41), "a") == ["identical-copy"]
        assert rules(book, control(41), "b") == ["sequence-reused"]
        assert rules(book, control(7, "FRAF1"), "c") == []
        assert rules(book, control(90, fileTypeIndicator="T"), "c") == []
        book.take(control(99_999, "FRAF1"), "d")
        assert rules(book, control(1, "FRAF1"), "e") == []
    (tmp_path / "book.jsonl").write_text("nonsense\n")
    with pytest.raises(LandfallError, match="line 1"), SequenceBook(tmp_path / "book.jsonl"):
        pass


def test_calls_messages_and_sessions_become_usage_and_nothing_else_does(tmp_path: Path) -> None:
    events = tap_batch.one_of_each()
    with open_tap(write(tmp_path, events)) as tap:
        found = list(to_usage(tap, {"RUS01": "25001"}))
    used = {item.number: item.usage for item in found if isinstance(item, TapUsage)}
    minute = 29_892_060  # 2026-11-01 09:00 UTC
    assert used[1] == UsageRecord("voice", minute, 180, 61, 61, "25001")
    assert used[3] == UsageRecord("message", minute, 180, 0, 1, "25001")
    assert used[4] == UsageRecord("data", minute, 180, 600, 1_001_024, "25001")
    assert sorted(used) == [1, 2, 3, 4, 7, 8]
    assert {item.cause for item in found if isinstance(item, NotUsage)} == {"not-reported"}


def test_a_partial_call_is_continued(tmp_path: Path) -> None:
    parts = [tap_batch.call(0, cause=1), tap_batch.call(1, cause=1), tap_batch.call(2), tap_batch.call(3)]
    with open_tap(write(tmp_path, parts)) as tap:
        found = list(to_usage(tap, {"RUS01": "RU"}))
    assert [item.usage.continues for item in found if isinstance(item, TapUsage)] == [False, True, True, False]


def test_a_settled_period_written_as_tap_is_correct_and_comes_back_the_same(tmp_path: Path) -> None:
    records = [
        UsageRecord("data", 29_000_000, 180, 60, 5_000_000, "25001"),
        UsageRecord("voice", 29_000_010, -210, 61, 61, "25001"),
        UsageRecord("message", 29_000_020, 7, 0, 1, "25001"),
    ]
    settled = [Settled(tap_batch.IMSI, "RUS01", record, 1_234_567 + n) for n, record in enumerate(records)]
    path = tmp_path / "settled.tap"
    batch = Batch("RUS01", "DEUD1", 12, created_s=1_764_547_200, cut_off_s=1_764_547_200)
    totals = write_settled(path, batch, settled)
    assert totals.charge == sum(one.charge for one in settled)
    assert validate(path).findings == []
    with open_tap(path) as tap:
        found = [item.usage for item in to_usage(tap, {"RUS01": "25001"}) if isinstance(item, TapUsage)]
    assert found[:2] == records[:2]
    assert (found[2].start, found[2].offset) == (29_000_020, 0)  # no code for seven minutes: told in UTC


def test_a_settled_record_may_name_its_subscriber_by_number_alone(tmp_path: Path) -> None:
    record = UsageRecord("voice", 29_000_000, 0, 61, 61, "25001")
    batch = Batch("RUS01", "DEUD1", 13, created_s=1_764_547_200, cut_off_s=1_764_547_200)
    path = tmp_path / "settled.tap"
    write_settled(path, batch, [Settled("", "RUS01", record, 7, msisdn="491555000001")])
    with open_tap(path) as tap:
        (call,) = [one.value["mobileOriginatedCall"] for one in tap.records()]
    charged = call["basicCallInformation"]["chargeableSubscriber"]["simChargeableSubscriber"]
    assert charged == {"msisdn": "491555000001"}
