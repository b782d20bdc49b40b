"""Checking usage reports against what the operator knows by itself: cards, meters, limits, own records.

    check    gather a partner's reports, take what there is of evidence on their requests, and let `settlement.evidence`
             compare the two; each finding becomes a case, with the signed reading and the switches in its records

Nothing the visited operator said is evidence here but the reports themselves. What a meter has not reached yet is put
off: records that start after a request's last reading wait for the next, and are told as `unmetered`.

A finding is in units; its amount is the share of what those units were charged (decision 0232).
"""

import asyncio
from collections import defaultdict
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta, Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.agreeing.breaks import mark_of
from marketplace.agreeing.meters import Stored, find_device, find_last
from marketplace.agreeing.model import Sighting
from marketplace.agreeing.records import read_period
from marketplace.agreeing.reported import Group, ReportedUsage
from marketplace.agreeing.service import take_sightings
from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import Database, execute, fetch
from settlement.evidence import Evidence as Piece
from settlement.evidence import Finding, Limits, Ordered, OwnRecord, Reported, Switched, detect
from settlement.ledger.ids import new_id
from settlement.ledger.messages import OperatorId, UsageRecord
from settlement.usage.rating import MINUTE_MS

BASIS: Final = "evidence"
Rate = Annotated[int, Meta(ge=0, le=2**53)]


class NewLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """What use of an offer can be: octets a second and messages an hour."""

    octets_per_s: Rate
    messages_per_h: Rate


class NewCheck(Struct, frozen=True, forbid_unknown_fields=True):
    """A partner and a period, 2026-10 or 2026-10-01/2026-10-15."""

    partner: OperatorId
    period: Annotated[str, Meta(max_length=32)]


class Found(Struct, frozen=True):
    """A finding, what of the charge it is about, and its case."""

    finding: Finding
    charged_usdr: int
    excess_usdr: int
    case: UUID


class CheckView(Struct, frozen=True, kw_only=True):
    """A check: how much was looked at, on what evidence, and what does not fit.

    `unmetered`: records that start after their meter's last reading, which were put off.
    """

    id: UUID
    partner: str
    period: str
    made_ms: int
    made_by: str
    requests: int
    records: int
    unmetered: int
    with_meter: int
    with_card: int
    with_limits: int
    with_own_records: int
    findings: tuple[Found, ...]
    opened: int
    cleared: int


class _Known(Struct, kw_only=True):
    """The evidence on one request."""

    ordered: Ordered
    pieces: list[Piece]
    meter: Stored | None = None


class _Request(Struct, frozen=True):
    id: UUID
    visited: str
    offer: UUID
    iccid: str | None


class _Switch(Struct, frozen=True):
    request: UUID | None
    received_ms: int


class _Own(Struct, frozen=True):
    time_ms: int
    volume: int
    duration: int


class EvidenceChecks:
    """Runs the detector on a partner's reports."""

    def __init__(self, database: Database, reported: ReportedUsage) -> None:
        self._database = database
        self._reported = reported

    async def limit(self, offer: UUID, limits: NewLimits, *, by: str) -> Limits:
        """Say what use of an offer can be."""
        async with self._database.begin() as connection:
            await execute(
                connection,
                "INSERT INTO plausible_limits VALUES (:offer, :octets, :messages, :now, :by) ON CONFLICT (offer) DO"
                " UPDATE SET octets_per_s = excluded.octets_per_s, messages_per_h = excluded.messages_per_h,"
                " set_ms = excluded.set_ms, set_by = excluded.set_by",
                offer=offer,
                octets=limits.octets_per_s,
                messages=limits.messages_per_h,
                now=now_ms(),
                by=by,
            )
        return Limits(offer=offer, octets_per_s=limits.octets_per_s, messages_per_h=limits.messages_per_h)

    async def check(self, new: NewCheck, *, by: str) -> CheckView:
        """Check every request of which the partner reported use in the period. Raises Refusal, ReportedError."""
        period = read_period(new.period)
        await self._reported.gather(new.partner)
        in_period = await self._reported.groups(new.partner, from_ms=period[0], to_ms=period[1])
        charged = dict.fromkeys(group.request for group in in_period if group.visited == new.partner)
        groups = {request: await self._reported.of_request(request) for request in charged}
        async with self._database.read() as connection:
            known = {request: await _know(connection, request) for request in groups}
        reports, unmetered = _list_reported(groups, known)
        pieces = [piece for one in known.values() for piece in (one.ordered, *one.pieces)]
        findings = await asyncio.to_thread(detect, pieces, reports)
        at_ms, check_id = now_ms(), new_id()
        valued = [(finding, *value(finding, groups[finding.request])) for finding in findings]
        sightings = [_sight(*one, groups[one[0].request], known[one[0].request]) for one in valued]
        async with self._database.begin() as connection:
            taken = await take_sightings(
                connection, new.partner, BASIS, sightings, period, by=f"check {check_id}", at_ms=at_ms
            )
            view = CheckView(
                id=check_id,
                partner=new.partner,
                period=new.period,
                made_ms=at_ms,
                made_by=by,
                requests=len(groups),
                records=sum(len(report.records) for report in reports) + unmetered,
                unmetered=unmetered,
                with_meter=sum(one.meter is not None for one in known.values()),
                with_card=sum(one.ordered.reports for one in known.values()),
                with_limits=sum(any(isinstance(piece, Limits) for piece in one.pieces) for one in known.values()),
                with_own_records=sum(
                    any(isinstance(piece, OwnRecord) for piece in one.pieces) for one in known.values()
                ),
                findings=tuple(Found(*one, case) for one, case in zip(valued, taken.cases, strict=True)),
                opened=taken.opened,
                cleared=taken.cleared,
            )
            await execute(
                connection,
                "INSERT INTO evidence_checks VALUES (:id, :partner, :period, :at, :by, :body)",
                id=check_id,
                partner=new.partner,
                period=new.period,
                at=at_ms,
                by=by,
                body=msgspec.json.encode(view).decode(),
            )
        return view


async def _know(connection: AsyncConnection, request: UUID) -> _Known:
    """What there is on a request of one's own."""
    (row,) = await fetch(
        connection,
        _Request,
        "SELECT r.id, r.visited, r.offer, s.iccid FROM requests r LEFT JOIN purchase_items i ON i.request = r.id"
        " LEFT JOIN purchases p ON p.id = i.purchase LEFT JOIN subscribers s ON s.id = p.subscriber WHERE r.id = :id",
        id=request,
    )
    sql = "SELECT request, received_ms FROM card_switches WHERE iccid = :iccid ORDER BY counter"
    switches = await fetch(connection, _Switch, sql, iccid=row.iccid or "")
    meter = await find_last(connection, request)
    device = meter.key if meter is not None else await find_device(connection, request)
    pieces: list[Piece] = list(_list_stays(request, switches))
    if meter is not None:
        pieces.append(meter.metered())
    pieces += await fetch(
        connection,
        Limits,
        "SELECT offer, octets_per_s, messages_per_h FROM plausible_limits WHERE offer = :offer",
        offer=row.offer,
    )
    own = await fetch(
        connection, _Own, "SELECT time_ms, volume, duration FROM own_records WHERE request = :r", r=str(request)
    )
    pieces += [_own_record(request, one) for one in own]
    ordered = Ordered(request=request, visited=row.visited, offer=row.offer, reports=bool(switches), device=device)
    return _Known(ordered=ordered, pieces=pieces, meter=meter)


def _list_stays(request: UUID, switches: list[_Switch]) -> list[Switched]:
    """When the card was on the request's profile, by its own reports in their order."""
    stays: list[Switched] = []
    on: int | None = None
    for switch in switches:
        minute = switch.received_ms // MINUTE_MS
        if switch.request == request:
            on = minute if on is None else on
        elif on is not None:
            stays.append(Switched(request=request, on=on, off=minute))
            on = None
    return stays if on is None else [*stays, Switched(request=request, on=on)]


def _own_record(request: UUID, own: _Own) -> OwnRecord:
    start = own.time_ms // MINUTE_MS
    if own.volume:
        return OwnRecord(request=request, service="data", start=start, units=own.volume)
    if own.duration:
        return OwnRecord(request=request, service="voice", start=start, units=own.duration)
    return OwnRecord(request=request, service="message", start=start, units=1)


def _list_reported(groups: dict[UUID, list[Group]], known: dict[UUID, _Known]) -> tuple[list[Reported], int]:
    """Reports as the detector takes them, without what the meter has not reached, and how many records that are."""
    reports, unmetered = [], 0
    for request, of_request in groups.items():
        meter = known[request].meter
        for group in of_request:
            records = tuple(record for record, _ in group.priced())
            reached = tuple(record for record in records if meter is None or record.start <= meter.minute)
            unmetered += len(records) - len(reached)
            if reached:
                reports.append(Reported(request, group.visited, group.entry, group.sequence, reached))
    return reports, unmetered


def value(finding: Finding, groups: list[Group]) -> tuple[int, int]:
    """What the request's records were charged, and the excess' share of it by service, in micro-SDRt, rounded down."""
    units: dict[str, int] = defaultdict(int)
    charges: dict[str, int] = defaultdict(int)
    for record, charge in (pair for group in groups for pair in group.priced()):
        units[record.service] += record.units
        charges[record.service] += charge
    excess = sum(
        charges[service] * min(count, units[service]) // units[service]
        for service, count in finding.excess.items()
        if units[service]
    )
    return sum(charges.values()), excess


def _sight(finding: Finding, charged: int, excess: int, groups: list[Group], known: _Known) -> Sighting:
    records: list[UsageRecord] = [record for group in groups for record, _ in group.priced()]
    shown: dict[str, Any] = {
        "finding": msgspec.to_builtins(finding),
        "evidence": msgspec.to_builtins([known.ordered, *known.pieces]),
    }
    return Sighting(
        mark=mark_of(BASIS, finding.visited, str(finding.request), finding.fraud),
        partner=finding.visited,
        source="evidence",
        basis=BASIS,
        kind=finding.fraud,
        key=str(finding.request),
        time_ms=min(record.start for record in records) * MINUTE_MS,
        request=finding.request,
        at_stake_usdr=excess,
        ours_usdr=charged - excess,
        theirs_usdr=charged,
        records=shown,
    )
