"""Usage on its way from the network to the ledger.

    intake    records come by IMSI; each is stored under the request its profile serves, or refused with a cause
    report    stored records of active requests go into signed reports, one home operator a report, numbered without
              gaps a request; a request is in one report at a time
    settle    the ledger's receipt ends the report: settled, or for want of escrow refused by name. A rejected report
              of several requests is taken apart, so that one bad group does not hold up the others

Reports leave when asked, and by the timer. Nothing is sent that was not stored first.
"""

import hashlib
from collections.abc import Sequence
from itertools import groupby
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.outbox import Outbox, now_ms
from marketplace.operator_database import Database, execute, execute_many, fetch, fetch_one, scalar
from marketplace.operator_problems import Refusal
from marketplace.profiles.service import ProfilePool
from marketplace.usage.schemas import Intake, NetworkRecord, NotTaken, Sent, UsageBatch, UsageView
from marketplace.wholesale import repository
from marketplace.wholesale.schemas import RequestView
from settlement.ledger.api import Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.envelope import MAX_RAW
from settlement.ledger.messages import Message, ReportUsage, Terms, UsageGroup, UsageRecord
from settlement.ledger.rejections import Rejection
from settlement.usage.rating import MINUTE_MS, sells

MAX_GROUPS_OCTETS: Final = MAX_RAW * 3 // 4 - 1024
"""JSON of a report's groups: an envelope's octets less base64's third, less header, ids and signature."""
GROUP_OCTETS: Final = 100
"""JSON of a group around its records: names, request id, sequence."""
MAX_RECORDS: Final = 2000
MAX_GROUPS: Final = 600
"""Bounds of `UsageGroup` and `ReportUsage`."""
ROUND: Final = 20_000
"""Records looked at in one round: more wait for the next."""


class _Stored(Struct, frozen=True):
    position: int
    home: str
    request: UUID
    next_sequence: int
    record: str


class _Answered(Struct, frozen=True):
    digest: bytes
    answer: str


class _Group(Struct):
    request: UUID
    sequence: int
    rows: list[_Stored]


class UsageReports:
    """Intake and reporting of usage as the visited operator."""

    def __init__(self, database: Database, ledger: LedgerClient, outbox: Outbox, pool: ProfilePool) -> None:
        self._database = database
        self._ledger = ledger
        self._outbox = outbox
        self._pool = pool
        outbox.on_answer(ReportUsage, self._see_answer)

    async def take(self, batch: UsageBatch) -> Intake:
        """Store a batch once. Raises Refusal `already-exists` for the same name with other records."""
        digest = hashlib.sha256(msgspec.msgpack.encode(batch.records)).digest()
        async with self._database.begin() as connection:
            known = await fetch_one(connection, _Answered, "SELECT * FROM usage_batches WHERE id = :id", id=batch.batch)
            if known is not None:
                if known.digest != digest:
                    raise Refusal("already-exists", f"batch {batch.batch!r} was taken with other records")
                return msgspec.json.decode(known.answer, type=Intake)
            rows, refused = await self._sort(connection, batch.records)
            intake = Intake(batch.batch, len(rows), tuple(refused))
            await execute(
                connection,
                "INSERT INTO usage_batches (id, digest, received_ms, answer) VALUES (:id, :digest, :now, :answer)",
                id=batch.batch,
                digest=digest,
                now=now_ms(),
                answer=msgspec.json.encode(intake).decode(),
            )
            await execute_many(
                connection,
                "INSERT INTO usage_records (batch, request, record) VALUES (:batch, :request, :record)",
                [{"batch": batch.batch, "request": request, "record": record} for request, record in rows],
            )
        return intake

    async def _sort(
        self, connection: AsyncConnection, records: Sequence[NetworkRecord]
    ) -> tuple[list[tuple[UUID, str]], list[NotTaken]]:
        """Which request each record belongs to, and those that belong to none or that its offer does not sell."""
        served: dict[str, tuple[RequestView, Terms] | None] = {}
        rows, refused = [], []
        for number, record in enumerate(records):
            if record.imsi not in served:
                served[record.imsi] = await self._find_served(connection, record.imsi)
            found = served[record.imsi]
            cause = "unknown-imsi" if found is None else _objection(record, *found)
            if found is None or cause is not None:
                refused.append(NotTaken(number, cause or ""))
                continue
            minute = record.start_ms // MINUTE_MS
            reported = UsageRecord(
                record.service, minute, record.offset, record.duration, record.units, record.place, record.continues
            )
            rows.append((found[0].id, msgspec.json.encode(reported).decode()))
        return rows, refused

    async def _find_served(self, connection: AsyncConnection, imsi: str) -> tuple[RequestView, Terms] | None:
        profile = await self._pool.find_by_imsi(connection, imsi)
        if profile is None or profile.request is None:
            return None
        request = await repository.get_request(connection, profile.request)
        offer = await repository.find_offer(connection, request.offer)
        return None if offer is None else (request, offer.terms)

    async def report(self) -> Sent:
        """Make reports of what is stored for requests that are active and in no report."""
        async with self._database.begin() as connection:
            rows = await fetch(
                connection,
                _Stored,
                "SELECT u.position, r.home, u.request, r.next_sequence, u.record FROM usage_records u"
                " JOIN requests r ON r.id = u.request WHERE u.state = 'stored' AND r.state = 'active'"
                " AND r.reporting IS NULL ORDER BY r.home, u.request, u.position LIMIT :n FOR UPDATE OF u, r",
                n=ROUND,
            )
            reports = records = 0
            for _, of_home in groupby(rows, key=lambda row: row.home):
                for groups in _pack(list(of_home)):
                    await self._enqueue(connection, groups)
                    reports += 1
                    records += sum(len(group.rows) for group in groups)
        return Sent(reports, records)

    async def _enqueue(self, connection: AsyncConnection, groups: list[_Group]) -> None:
        message = self._ledger.make(
            ReportUsage,
            groups=tuple(
                UsageGroup(
                    group.request,
                    group.sequence,
                    tuple(msgspec.json.decode(row.record, type=UsageRecord) for row in group.rows),
                )
                for group in groups
            ),
        )
        await execute_many(
            connection,
            "UPDATE requests SET reporting = :report WHERE id = :id",
            [{"report": message.id, "id": group.request} for group in groups],
        )
        positions = [row.position for group in groups for row in group.rows]
        await execute(
            connection,
            "UPDATE usage_records SET state = 'reported', report = :report WHERE position = ANY(:positions)",
            report=message.id,
            positions=positions,
        )
        await self._outbox.enqueue(connection, message, subject=str(message.id))

    async def _see_answer(
        self, connection: AsyncConnection, _: str, message: Message, answer: Receipt | Rejection
    ) -> None:
        assert isinstance(message, ReportUsage)
        if isinstance(answer, Rejection):
            await self._take_apart(connection, message, answer)
            return
        sql = "UPDATE requests SET next_sequence = next_sequence + 1, reporting = NULL WHERE reporting = :report"
        await execute(connection, sql, report=message.id)
        await execute(
            connection, "UPDATE usage_records SET state = 'settled' WHERE report = :report", report=message.id
        )
        for refusal in answer.refused:
            sql = (
                "UPDATE usage_records SET state = 'refused', cause = :cause WHERE position = (SELECT position FROM"
                " usage_records WHERE report = :report AND request = :request ORDER BY position OFFSET :number LIMIT 1)"
            )
            await execute(
                connection,
                sql,
                cause=refusal.cause,
                report=message.id,
                request=refusal.request,
                number=refusal.record,
            )

    async def _take_apart(self, connection: AsyncConnection, message: ReportUsage, rejection: Rejection) -> None:
        """Send the groups of a rejected report each on its own; a group alone that is rejected is refused."""
        await execute(connection, "UPDATE requests SET reporting = NULL WHERE reporting = :report", report=message.id)
        if len(message.groups) == 1:
            sql = "UPDATE usage_records SET state = 'refused', cause = :cause WHERE report = :report"
            await execute(connection, sql, cause=rejection.code, report=message.id)
            return
        for group in message.groups:
            rows = await fetch(
                connection,
                _Stored,
                "SELECT u.position, r.home, u.request, r.next_sequence, u.record FROM usage_records u"
                " JOIN requests r ON r.id = u.request WHERE u.report = :report AND u.request = :request"
                " ORDER BY u.position",
                report=message.id,
                request=group.request,
            )
            await self._enqueue(connection, [_Group(group.request, group.sequence, rows)])

    async def has_unsettled(self, connection: AsyncConnection, request: UUID) -> bool:
        """Whether records of a request have yet to be settled."""
        sql = "SELECT EXISTS (SELECT FROM usage_records WHERE request = :r AND state IN ('stored', 'reported'))"
        return bool(await scalar(connection, sql, r=request))

    async def view(self, request: UUID) -> UsageView:
        """How far the records of a request have come."""
        async with self._database.read() as connection:
            await repository.get_request(connection, request)
            counts = await fetch(
                connection,
                _Count,
                "SELECT state, cause, count(*) AS number FROM usage_records WHERE request = :r GROUP BY state, cause",
                r=request,
            )
        numbers = dict.fromkeys(("stored", "reported", "settled", "refused"), 0)
        for count in counts:
            numbers[count.state] += count.number
        return UsageView(request, **numbers, causes=tuple(sorted({count.cause for count in counts if count.cause})))


class _Count(Struct, frozen=True):
    state: str
    cause: str | None
    number: int


def _objection(record: NetworkRecord, request: RequestView, terms: Terms) -> str | None:
    """Why the ledger would not take a record, by the rules of `settlement.ledger.rules.usage`; None if it would."""
    if request.state in ("cancelled", "declined", "expired", "closed"):
        return "request-ended"
    if not sells(terms.tariff, record.service):
        return "not-sold"
    if record.place not in terms.plmns and record.place not in terms.countries:
        return "out-of-coverage"
    minute = record.start_ms // MINUTE_MS * MINUTE_MS
    if not request.activated_ms <= minute <= request.ends_ms:
        return "out-of-time"
    return None


def _pack(rows: list[_Stored]) -> list[list[_Group]]:
    """Groups of one home operator's records into reports that each fit an entry."""
    reports: list[list[_Group]] = []
    room = 0
    for request, of_request in groupby(rows, key=lambda row: row.request):
        group: _Group | None = None
        for row in of_request:
            size = len(row.record) + 1
            if group is None or len(group.rows) == MAX_RECORDS or room < size:
                if group is not None:
                    break  # the request's next group waits for this one's answer
                group = _Group(request, row.next_sequence, [])
                if room < size + GROUP_OCTETS or len(reports[-1]) == MAX_GROUPS:
                    reports.append([])
                    room = MAX_GROUPS_OCTETS
                reports[-1].append(group)
                room -= GROUP_OCTETS
            group.rows.append(row)
            room -= size
    return reports
