"""Evidence against usage reports: what is honest passes, each fraud is named, nobody else's word counts."""

import random
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from settlement.evidence import (
    SERVICES,
    TOLERANCE,
    TOLERANCE_PPM,
    Evidence,
    EvidenceError,
    Finding,
    Limits,
    Metered,
    Ordered,
    OwnRecord,
    Reported,
    Switched,
    detect,
    read_evidence,
)
from settlement.ledger.messages import UsageRecord

REQUEST, OTHER, OFFER = UUID(int=1), UUID(int=2), UUID(int=3)
DEVICE = SigningKey(bytes(32))
MINUTE = 29_000_000


def ordered(request: UUID = REQUEST, **changes: object) -> Ordered:
    given_ = {"visited": "costa", "offer": OFFER, "reports": True, "device": bytes(DEVICE.verify_key)} | changes
    return Ordered(request=request, **given_)  # type: ignore[arg-type]


def metered(octets: int = 0, seconds: int = 0, messages: int = 0, key: SigningKey = DEVICE) -> Metered:
    reading = Metered(request=REQUEST, minute=MINUTE, octets=octets, seconds=seconds, messages=messages, signature=b"")
    return msgspec.structs.replace(reading, signature=key.sign(reading.signed_octets).signature)


def switched(on: int = MINUTE - 60, off: int | None = MINUTE) -> Switched:
    return Switched(request=REQUEST, on=on, off=off)


def data(octets: int, start: int = MINUTE - 30, duration: int = 600) -> UsageRecord:
    return UsageRecord("data", start, 60, duration, octets, "21498")


def reported(*groups: tuple[UsageRecord, ...], request: UUID = REQUEST) -> list[Reported]:
    return [Reported(request, "costa", 100 + n, n, group) for n, group in enumerate(groups, start=1)]


def frauds(evidence: list[Evidence], reports: list[Reported]) -> list[str]:
    return [finding.fraud for finding in detect(evidence, reports)]


def test_what_the_meter_counted_may_be_reported() -> None:
    assert frauds([ordered(), switched(), metered(50_000_000)], reported((data(50_900_000),))) == []


def test_more_than_the_meter_counted_is_over_reported() -> None:
    [finding] = detect([ordered(), switched(), metered(50_000_000)], reported((data(80_000_000),)))
    assert (finding.fraud, finding.excess, finding.entries) == ("over-report", {"data": 30_000_000}, (101,))


def test_records_that_stand_twice_are_a_replay() -> None:
    group = (data(20_000_000), data(9_000_000, start=MINUTE - 20))
    [finding] = detect([ordered(), switched(), metered(29_000_000)], reported(group, group))
    assert (finding.fraud, finding.entries) == ("replay", (102,))


def test_a_replay_whose_clock_was_put_right_is_a_replay() -> None:
    first, again = (data(20_000_000), data(9_000_000)), (data(20_000_000, MINUTE - 20), data(9_000_000, MINUTE - 20))
    [finding] = detect([ordered(), switched(), metered(29_000_000)], reported(first, again))
    assert (finding.fraud, finding.entries) == ("replay", (102,))


def test_equal_records_that_the_meter_counted_are_no_replay() -> None:
    group = (data(20_000_000),)
    assert frauds([ordered(), switched(), metered(40_000_000)], reported(group, group)) == []


def test_a_replay_that_is_inflated_as_well_is_over_reported() -> None:
    group = (data(20_000_000),)
    assert frauds([ordered(), switched(), metered(10_000_000)], reported(group, group)) == ["over-report"]


def test_use_that_no_card_and_no_meter_saw_is_a_phantom() -> None:
    assert frauds([ordered(), metered()], reported((data(5_000_000),))) == ["phantom-usage"]
    assert frauds([ordered(device=None)], reported((data(5_000_000),))) == ["phantom-usage"]


def test_a_lost_switch_report_alone_accuses_nobody() -> None:
    assert frauds([ordered(), metered(5_000_000)], reported((data(5_000_000),))) == []


def test_a_reading_that_another_key_signed_counts_for_nothing() -> None:
    forged = metered(1, key=SigningKey(b"1" * 32))
    assert frauds([ordered(), switched(), forged], reported((data(50_000_000),))) == []


def test_the_last_reading_counts() -> None:
    early = msgspec.structs.replace(metered(10), minute=MINUTE - 50)
    early = msgspec.structs.replace(early, signature=DEVICE.sign(early.signed_octets).signature)
    for readings in ([early, metered(50_000_000)], [metered(50_000_000), early]):
        assert frauds([ordered(), switched(), *readings], reported((data(50_000_000),))) == []


def test_without_a_meter_own_records_are_compared() -> None:
    own = OwnRecord(request=REQUEST, service="voice", start=MINUTE, units=300)
    call = UsageRecord("voice", MINUTE - 30, 60, 900, 900, "21498")
    assert frauds([ordered(device=None), switched(), own], reported((call,))) == ["over-report"]


def test_without_any_count_use_must_be_plausible() -> None:
    limits = Limits(offer=OFFER, octets_per_s=1_000_000, messages_per_h=60)
    base: list[Evidence] = [ordered(device=None), switched(), limits]
    assert frauds(base, reported((data(600_000_000),))) == []
    assert frauds(base, reported((data(600_000_001),))) == ["implausible"]
    long_call = UsageRecord("voice", MINUTE - 30, 60, 60, 600, "21498")
    assert frauds(base, reported((long_call,))) == ["implausible"]


def test_without_any_count_sessions_equal_to_the_last_octet_are_a_replay() -> None:
    base: list[Evidence] = [ordered(device=None), switched()]
    assert frauds(base, reported((data(10_123_456),), (data(10_123_456),))) == ["replay"]
    assert frauds(base, reported((data(64),), (data(64),))) == []


def test_without_any_count_use_must_be_while_the_card_was_there() -> None:
    base: list[Evidence] = [ordered(device=None), switched()]
    assert frauds(base, reported((data(1_000, start=MINUTE + 15),))) == []
    assert frauds(base, reported((data(1_000, start=MINUTE + 16),))) == ["out-of-window"]


def test_reports_on_requests_of_others_are_passed_over() -> None:
    assert frauds([ordered()], reported((data(1_000_000),), request=OTHER)) == []


def test_a_report_of_nothing_accuses_nobody() -> None:
    assert frauds([ordered(), metered()], reported((data(0),))) == []


USE = st.fixed_dictionaries({service: st.integers(min_value=0, max_value=10**9) for service in SERVICES})


def split(draw: random.Random, units: int) -> list[int]:
    cuts = sorted(draw.randrange(units + 1) for _ in range(draw.randrange(4)))
    return [b - a for a, b in zip([0, *cuts], [*cuts, units], strict=True)]


def groups_of(draw: random.Random, use: dict[str, int]) -> list[tuple[UsageRecord, ...]]:
    records = [
        UsageRecord(service, MINUTE - draw.randrange(60), 60, 3600, units, "21498")  # type: ignore[arg-type]
        for service, total in use.items()
        for units in split(draw, total)
    ]
    draw.shuffle(records)
    half = len(records) // 2
    return [part for part in (tuple(records[:half]), tuple(records[half:])) if part]


@settings(max_examples=200)
@given(USE, st.randoms(use_true_random=False))
def test_honest_reports_are_never_accused_however_they_are_split(use: dict[str, int], draw: random.Random) -> None:
    evidence: list[Evidence] = [ordered(), switched(), metered(use["data"], use["voice"], use["message"])]
    draw.shuffle(evidence)
    assert frauds(evidence, reported(*groups_of(draw, use))) == []


@settings(max_examples=200)
@given(USE, st.sampled_from(SERVICES), st.integers(min_value=1, max_value=10**6), st.randoms(use_true_random=False))
def test_anything_beyond_tolerance_is_found(
    use: dict[str, int], service: str, beyond: int, draw: random.Random
) -> None:
    evidence: list[Evidence] = [ordered(), switched(), metered(use["data"], use["voice"], use["message"])]
    seen = use[service]
    allowed = max(TOLERANCE[service], seen * TOLERANCE_PPM // 1_000_000)
    told = {**use, service: seen + allowed + beyond}
    [finding] = detect(evidence, reported(*groups_of(draw, told)))
    assert finding.excess == {service: allowed + beyond}


def test_as_a_program_it_reads_two_files_and_prints_findings(tmp_path: Path) -> None:
    evidence, reports = tmp_path / "evidence.jsonl", tmp_path / "reported.jsonl"
    evidence.write_bytes(b"\n".join(map(msgspec.json.encode, [ordered(), switched(), metered(1_000)])))
    reports.write_bytes(b"\n".join(map(msgspec.json.encode, reported((data(90_000_000),)))))
    command = [sys.executable, "-m", "settlement.evidence", str(evidence), str(reports)]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    assert msgspec.json.decode(output, type=Finding).fraud == "over-report"


def test_a_line_that_is_no_evidence_is_named(tmp_path: Path) -> None:
    path = tmp_path / "evidence.jsonl"
    path.write_bytes(msgspec.json.encode(ordered()) + b'\n{"type":"rumour"}\n')
    with pytest.raises(EvidenceError, match="line 2"):
        list(read_evidence(path))
