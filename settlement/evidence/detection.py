"""Detection: each request's reports against all evidence on it; what it may say is told by the package."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from settlement.evidence.model import (
    SERVICES,
    Evidence,
    Finding,
    Fraud,
    Limits,
    Metered,
    Ordered,
    OwnRecord,
    Reported,
    Service,
    Switched,
)
from settlement.ledger import signatures
from settlement.ledger.messages import UsageRecord

TOLERANCE_PPM: Final = 30_000
"""Meters above the radio miss retransmissions and headers: 3 % is what phones and networks differ by."""
TOLERANCE: Final = {"data": 200_000, "voice": 60, "message": 1}
"""Octets, seconds, messages that nobody argues about: a session's tail, rounding of a call, a message under way."""
TELLING_OCTETS: Final = 100_000
"""Two sessions of so many octets or more are not equal by chance; short ones, such as a ping, may be."""
SKEW_MINUTES: Final = 15
"""How far the ledger lets a network's clock run ahead (docs/protocol.md)."""


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
    return device is not None and signatures.is_signed(reading.signed_octets, reading.signature, device)


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
