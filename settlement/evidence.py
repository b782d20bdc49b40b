"""Evidence against usage reports: what a home operator knows though it sees no traffic, and what follows from it.

A subscriber with a local profile abroad leaves the home operator four kinds of evidence: the **card** reports when it
switched to the profile and back; the phone's **meter** counts octets, seconds and messages and signs the sums with the
device's key; each offer has **limits** of what is plausible; and where traffic is home-routed there are **records** of
the operator's own. `detect` compares them with what was reported and names each request that does not fit:

    findings = detect(read_evidence(path), read_reported(path))

It is a pure function of these two: no ledger, no clock, no knowledge of anybody. What it finds is a reason for a
dispute, with the numbers to argue with. As a program, `python -m settlement.evidence EVIDENCE REPORTED` reads JSON
Lines and prints findings as JSON Lines.

- `phantom-usage`: use of a profile that no card switched to, and that no meter counted
- `replay`: records that were reported before, to the last field, and that the meter counted once
- `over-report`: more than the meter counted (or the own records have), beyond tolerance
- `implausible`: without a meter or own records, more than can be within the time
- `out-of-window`: use while the card, by its own report, was on another profile
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal, TypeVar
from uuid import UUID

import msgspec
import nacl.bindings
import nacl.exceptions
from msgspec import Struct

from landfall.errors import LandfallError
from settlement.ledger.messages import UsageRecord

TOLERANCE_PPM: Final = 30_000
"""Meters above the radio miss retransmissions and headers: 3 % is what phones and networks differ by."""
TOLERANCE: Final = {"data": 200_000, "voice": 60, "message": 1}
"""Octets, seconds, messages that nobody argues about: a session's tail, rounding of a call, a message under way."""
TELLING_OCTETS: Final = 100_000
"""Two sessions of so many octets or more are not equal by chance; short ones, such as a ping, may be."""
SKEW_MINUTES: Final = 15
"""How far the ledger lets a network's clock run ahead (docs/protocol.md)."""
METER_PREFIX: Final = b"landfall meter v1\n"
MOST_LINE: Final = 1 << 20

Service = Literal["data", "voice", "message"]
SERVICES: Final[tuple[Service, ...]] = ("data", "voice", "message")
Fraud = Literal["phantom-usage", "replay", "over-report", "implausible", "out-of-window"]


T = TypeVar("T")


class EvidenceError(LandfallError):
    """A file of evidence or of reports cannot be read; the message names file and line."""


class Ordered(Struct, frozen=True, kw_only=True, tag="ordered"):
    """The home operator's own request. `reports`: its card tells of switches. `device`: the meter's Ed25519 key."""

    request: UUID
    visited: str
    offer: UUID
    reports: bool
    device: bytes | None = None


class Switched(Struct, frozen=True, kw_only=True, tag="switched"):
    """The card's report: on the profile of `request` from minute `on` (since the epoch) to minute `off`, if it left."""

    request: UUID
    on: int
    off: int | None = None


class Metered(Struct, frozen=True, kw_only=True, tag="metered"):
    """The meter's sums until `minute`, signed by the device over `signed_octets`."""

    request: UUID
    minute: int
    octets: int
    seconds: int
    messages: int
    signature: bytes

    @property
    def signed_octets(self) -> bytes:
        """What the signature is over."""
        return METER_PREFIX + f"{self.request} {self.minute} {self.octets} {self.seconds} {self.messages}".encode()

    def sums(self) -> dict[Service, int]:
        """By service."""
        return {"data": self.octets, "voice": self.seconds, "message": self.messages}


class Limits(Struct, frozen=True, kw_only=True, tag="limits"):
    """What use of an offer can be: octets a second, messages an hour. A call's seconds are at most its duration."""

    offer: UUID
    octets_per_s: int
    messages_per_h: int


class OwnRecord(Struct, frozen=True, kw_only=True, tag="own-record"):
    """Use that the home operator has a record of itself, in the service's units."""

    request: UUID
    service: Service
    start: int
    units: int


Evidence = Ordered | Switched | Metered | Limits | OwnRecord


class Reported(Struct, frozen=True):
    """A usage group as the ledger has it: `entry` is the index of the report it stood in."""

    request: UUID
    visited: str
    entry: int
    sequence: int
    records: tuple[UsageRecord, ...]


class Finding(Struct, frozen=True, kw_only=True):
    """One request whose reports do not fit. `excess`: units beyond the evidence, by service. `entries`: to dispute."""

    request: UUID
    visited: str
    fraud: Fraud
    entries: tuple[int, ...]
    excess: dict[str, int]
    why: str


class _Case:
    """All evidence on one request."""

    def __init__(self, ordered: Ordered) -> None:
        self.ordered = ordered
        self.switches: list[Switched] = []
        self.meter: Metered | None = None
        self.own: Counter[Service] = Counter()


def detect(evidence: Iterable[Evidence], reported: Iterable[Reported]) -> list[Finding]:
    """Find what does not fit, in the order of requests' first reports. Reports of unknown requests are passed over:
    they are somebody else's.
    """
    cases, limits = _gather(evidence)
    groups: dict[UUID, list[Reported]] = defaultdict(list)
    for group in reported:
        if group.request in cases:
            groups[group.request].append(group)
    found = (
        _judge(cases[request], sorted(theirs, key=lambda group: group.sequence), limits)
        for request, theirs in groups.items()
    )
    return [finding for finding in found if finding is not None]


def _gather(evidence: Iterable[Evidence]) -> tuple[dict[UUID, _Case], dict[UUID, Limits]]:
    cases: dict[UUID, _Case] = {}
    limits: dict[UUID, Limits] = {}
    rest: list[Switched | Metered | OwnRecord] = []
    for piece in evidence:
        match piece:
            case Ordered():
                cases[piece.request] = _Case(piece)
            case Limits():
                limits[piece.offer] = piece
            case _:
                rest.append(piece)
    for piece in rest:
        if (case := cases.get(piece.request)) is None:
            continue
        match piece:
            case Switched():
                case.switches.append(piece)
            case Metered():
                newer = case.meter is None or piece.minute >= case.meter.minute
                if newer and is_signed(piece, case.ordered.device):
                    case.meter = piece
            case OwnRecord():
                case.own[piece.service] += piece.units
    return cases, limits


def is_signed(reading: Metered, device: bytes | None) -> bool:
    """Whether a reading is the device's own: anybody could post one."""
    if device is None:
        return False
    try:
        nacl.bindings.crypto_sign_open(reading.signature + reading.signed_octets, device)
    except (nacl.exceptions.BadSignatureError, ValueError):
        return False
    return True


def _judge(case: _Case, groups: list[Reported], limits: dict[UUID, Limits]) -> Finding | None:
    sums = _sums(record for group in groups for record in group.records)
    if not any(sums.values()):
        return None
    counted = case.meter.sums() if case.meter else dict(case.own) if case.own else None
    if case.ordered.reports and not case.switches and not (counted and any(counted.values())):
        return _tell(case, "phantom-usage", groups, sums, "the card never switched to the profile")
    if counted is not None:
        return _compare(case, groups, sums, counted)
    return (
        _find_stray(case, groups)
        or _find_improbable(case, groups)
        or _find_implausible(case, groups, limits.get(case.ordered.offer))
    )


def _compare(
    case: _Case, groups: list[Reported], sums: dict[Service, int], counted: dict[Service, int]
) -> Finding | None:
    excess = _excess(sums, counted)
    if not excess:
        return None
    if entries := _find_replay(groups, sums, counted):
        return _tell(case, "replay", groups, excess, "records stand in two groups, and were counted once", entries)
    by = "the meter counted" if case.meter else "own records have"
    told = ", ".join(f"{by} {counted.get(service, 0)} of {sums[service]} of {service}" for service in excess)
    return _tell(case, "over-report", groups, excess, told)


def _excess(sums: dict[Service, int], counted: dict[Service, int]) -> dict[Service, int]:
    found: dict[Service, int] = {}
    for service in SERVICES:
        seen = counted.get(service, 0)
        allowed = max(TOLERANCE[service], seen * TOLERANCE_PPM // 1_000_000)
        if sums[service] > seen + allowed:
            found[service] = sums[service] - seen
    return found


def _find_replay(groups: list[Reported], sums: dict[Service, int], counted: dict[Service, int]) -> tuple[int, ...]:
    """Entries that repeat earlier ones, if that explains all that was reported too much; none if it does not.

    Records equal to the last field are enough of a sign by themselves. Groups equal but for their times (a clock was
    put right in between) are one only where leaving them out leaves what was counted, no more and no less.
    """
    units, entries = _find_repeated(groups)
    once = {service: sums[service] - units[service] for service in SERVICES}
    if entries and not _excess(once, counted):
        return entries
    units, entries = _find_similar(groups)
    once = {service: sums[service] - units[service] for service in SERVICES}
    less = {service: counted.get(service, 0) for service in SERVICES}
    return () if _excess(once, counted) or _excess(less, once) else entries


def _find_similar(groups: list[Reported]) -> tuple[dict[Service, int], tuple[int, ...]]:
    """Units of groups that are like an earlier one but for their times, by service, and their entries."""
    units: dict[Service, int] = dict.fromkeys(SERVICES, 0)
    entries: list[int] = []
    seen: set[tuple[tuple[object, ...], ...]] = set()
    for group in groups:
        content = tuple((one.service, one.duration, one.units, one.place, one.continues) for one in group.records)
        if content in seen:
            entries.append(group.entry)
            for record in group.records:
                units[record.service] += record.units
        seen.add(content)
    return units, tuple(entries)


def _find_repeated(groups: list[Reported]) -> tuple[dict[Service, int], tuple[int, ...]]:
    """Units of records that stood in an earlier group already, by service, and the entries they were repeated in."""
    units: dict[Service, int] = dict.fromkeys(SERVICES, 0)
    entries: list[int] = []
    seen: set[UsageRecord] = set()
    for group in groups:
        again = [record for record in group.records if record in seen]
        for record in again:
            units[record.service] += record.units
        if again:
            entries.append(group.entry)
        seen.update(group.records)
    return units, tuple(entries)


def _find_stray(case: _Case, groups: list[Reported]) -> Finding | None:
    """Use outside every time that the card says it was on the profile."""
    if not case.switches:
        return None
    windows = [(one.on - SKEW_MINUTES, (one.off or 1 << 60) + SKEW_MINUTES) for one in case.switches]
    stray = [
        (group.entry, record)
        for group in groups
        for record in group.records
        if record.units and not any(begin <= record.start <= end for begin, end in windows)
    ]
    if not stray:
        return None
    entries = tuple(dict.fromkeys(entry for entry, _ in stray))
    why = f"{len(stray)} records lie outside the times the card was on the profile"
    return _tell(case, "out-of-window", groups, _sums(record for _, record in stray), why, entries)


def _find_improbable(case: _Case, groups: list[Reported]) -> Finding | None:
    """Sessions equal to the last octet in two groups: with nothing to compare them to, improbable enough."""
    seen: set[UsageRecord] = set()
    again: list[tuple[int, UsageRecord]] = []
    for group in groups:
        again += [(group.entry, one) for one in group.records if one in seen]
        seen.update(one for one in group.records if one.service == "data" and one.units >= TELLING_OCTETS)
    if not again:
        return None
    entries = tuple(dict.fromkeys(entry for entry, _ in again))
    why = f"{len(again)} sessions stand in two groups, equal to the last octet"
    return _tell(case, "replay", groups, _sums(record for _, record in again), why, entries)


def _find_implausible(case: _Case, groups: list[Reported], limits: Limits | None) -> Finding | None:
    if limits is None:
        return None
    bad = [(g.entry, record) for g in groups for record in g.records if record.units > _most(record, limits)]
    if not bad:
        return None
    entries = tuple(dict.fromkeys(entry for entry, _ in bad))
    why = f"{len(bad)} records have more units than their duration allows"
    return _tell(case, "implausible", groups, _sums(record for _, record in bad), why, entries)


def _most(record: UsageRecord, limits: Limits) -> int:
    if record.service == "data":
        return limits.octets_per_s * max(record.duration, 1)
    if record.service == "voice":
        return record.duration + TOLERANCE["voice"]
    return limits.messages_per_h * (1 + record.duration // 3600)


def _sums(records: Iterable[UsageRecord]) -> dict[Service, int]:
    sums: dict[Service, int] = dict.fromkeys(SERVICES, 0)
    for record in records:
        sums[record.service] += record.units
    return sums


def _tell(
    case: _Case,
    fraud: Fraud,
    groups: list[Reported],
    excess: dict[Service, int],
    why: str,
    entries: tuple[int, ...] | None = None,
) -> Finding:
    return Finding(
        request=case.ordered.request,
        visited=case.ordered.visited,
        fraud=fraud,
        entries=entries or tuple(dict.fromkeys(group.entry for group in groups)),
        excess={service: units for service, units in excess.items() if units},
        why=why,
    )


def read_evidence(path: Path) -> Iterator[Evidence]:
    """Evidence from JSON Lines. Raises `EvidenceError`."""
    return _read(path, msgspec.json.Decoder(Evidence))


def read_reported(path: Path) -> Iterator[Reported]:
    """Reported groups from JSON Lines. Raises `EvidenceError`."""
    return _read(path, msgspec.json.Decoder(Reported))


def _read(path: Path, decoder: msgspec.json.Decoder[T]) -> Iterator[T]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MOST_LINE):
                number += 1
                if line.strip():
                    try:
                        yield decoder.decode(line)
                    except msgspec.MsgspecError as error:
                        raise EvidenceError(f"{path}, line {number}: {error}") from None
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read ({error.strerror}): name an existing file") from None


def main(arguments: list[str]) -> int:
    """Two files in, findings out."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m settlement.evidence EVIDENCE.jsonl REPORTED.jsonl\n")
        return 2
    try:
        for finding in detect(read_evidence(Path(arguments[0])), read_reported(Path(arguments[1]))):
            sys.stdout.buffer.write(msgspec.json.encode(finding) + b"\n")
    except EvidenceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
