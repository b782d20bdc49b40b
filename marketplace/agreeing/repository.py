"""Runs, cases and their events in the node's database. A case's row is what its events make of it, kept in step."""

from collections.abc import Sequence
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.agreeing.model import Case, Event, State, apply, replay
from marketplace.agreeing.schemas import RunView, SourceView
from marketplace.operator_database import execute, execute_many, fetch, fetch_one, scalar
from marketplace.operator_problems import Refusal
from settlement.reconciliation import Report

_cases = msgspec.json.Decoder(Case)
_CASE: Final = "SELECT body FROM agreement_cases WHERE "
_RUN: Final = (
    "SELECT r.*, (SELECT count(*) FROM agreement_run_cases c WHERE c.run = r.id) AS cases FROM agreement_runs r"
)


class _Body(Struct, frozen=True):
    body: str


class _EventRow(Struct, frozen=True):
    case: UUID
    number: int
    at_ms: int
    by: str
    what: Literal[
        "found", "found-again", "changed", "cleared", "proposed", "confirmed", "reopened", "disputed", "ledger"
    ]
    sets: str


class _RunRow(Struct, frozen=True):
    id: UUID
    partner: str
    period: str
    from_ms: int
    to_ms: int
    made_by: str
    made_ms: int
    ours: str
    theirs: str
    report: str
    cases: int

    def view(self) -> RunView:
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.__struct_fields__}
        for side in ("ours", "theirs"):
            fields[side] = msgspec.json.decode(fields[side], type=SourceView)
        return RunView(**{**fields, "report": msgspec.json.decode(self.report, type=Report)})


async def lock_partner(connection: AsyncConnection, partner: str) -> None:
    """Runs and checks of one partner take turns until their transactions end."""
    await scalar(connection, "SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))", name=f"agreeing {partner}")


async def find_by_mark(connection: AsyncConnection, marks: Sequence[str]) -> dict[str, Case]:
    """The cases of these differences, locked."""
    sql = f"{_CASE} mark = ANY(:marks) ORDER BY id FOR UPDATE"
    cases = [_cases.decode(row.body) for row in await fetch(connection, _Body, sql, marks=list(marks))]
    return {case.mark: case for case in cases}


async def find_open(connection: AsyncConnection, partner: str, basis: str, *, from_ms: int, to_ms: int) -> list[Case]:
    """Cases of a period that nobody has taken up, locked."""
    sql = (
        f"{_CASE} partner = :partner AND basis = :basis AND state = 'open' AND time_ms >= :from_ms"
        " AND time_ms < :to_ms ORDER BY id FOR UPDATE"
    )
    rows = await fetch(connection, _Body, sql, partner=partner, basis=basis, from_ms=from_ms, to_ms=to_ms)
    return [_cases.decode(row.body) for row in rows]


async def get_case(connection: AsyncConnection, case: UUID, *, lock: bool = False) -> Case:
    """One case. Raises Refusal `not-found`."""
    row = await fetch_one(connection, _Body, f"{_CASE} id = :id{' FOR UPDATE' if lock else ''}", id=case)
    if row is None:
        raise Refusal("not-found", f"there is no case {case}")
    return _cases.decode(row.body)


async def find_disputed(connection: AsyncConnection, dispute: UUID) -> Case | None:
    """The case that was raised as this dispute, locked."""
    row = await fetch_one(connection, _Body, f"{_CASE} dispute = :dispute FOR UPDATE", dispute=dispute)
    return None if row is None else _cases.decode(row.body)


async def list_cases(
    connection: AsyncConnection,
    *,
    partner: str | None = None,
    state: State | None = None,
    source: str | None = None,
    run: UUID | None = None,
    limit: int,
) -> list[Case]:
    """Cases, the largest at stake first; of a run in its order."""
    rows = await fetch(
        connection,
        _Body,
        "SELECT c.body FROM agreement_cases c"  # noqa: S608 - our own words
        + (' JOIN agreement_run_cases r ON r."case" = c.id AND r.run = :run' if run else "")
        + " WHERE (CAST(:partner AS text) IS NULL OR c.partner = :partner)"
        " AND (CAST(:state AS text) IS NULL OR c.state = :state)"
        " AND (CAST(:source AS text) IS NULL OR c.source = :source)"
        + (" ORDER BY r.place LIMIT :limit" if run else " ORDER BY c.at_stake_usdr DESC, c.id LIMIT :limit"),
        **({"run": run} if run else {}),
        partner=partner,
        state=state,
        source=source,
        limit=limit,
    )
    return [_cases.decode(row.body) for row in rows]


async def open_cases(connection: AsyncConnection, events: Sequence[Event]) -> list[Case]:
    """Store new cases by their first events."""
    cases = [replay([event]) for event in events]
    await execute_many(
        connection,
        "INSERT INTO agreement_cases (id, mark, partner, source, basis, kind, state, time_ms, at_stake_usdr, dispute,"
        " body) VALUES (:id, :mark, :partner, :source, :basis, :kind, :state, :time_ms, :at_stake_usdr, :dispute,"
        " :body)",
        [_columns(case) for case in cases],
    )
    await _add_events(connection, events)
    return cases


async def change_cases(connection: AsyncConnection, changes: Sequence[tuple[Case, Event]]) -> list[Case]:
    """Store one event each of these cases, which the caller has locked; the cases after them."""
    cases = [apply(case, event) for case, event in changes]
    await execute_many(
        connection,
        "UPDATE agreement_cases SET kind = :kind, state = :state, time_ms = :time_ms, at_stake_usdr = :at_stake_usdr,"
        " dispute = :dispute, body = :body WHERE id = :id AND mark = :mark AND partner = :partner"
        " AND basis = :basis AND source = :source",
        [_columns(case) for case in cases],
    )
    await _add_events(connection, [event for _, event in changes])
    return cases


async def list_events(connection: AsyncConnection, case: UUID) -> list[Event]:
    """A case's history, from the first sighting on."""
    sql = 'SELECT * FROM agreement_events WHERE "case" = :case ORDER BY number'
    return [
        Event(
            case=row.case,
            number=row.number,
            at_ms=row.at_ms,
            by=row.by,
            what=row.what,
            sets=msgspec.json.decode(row.sets),
        )
        for row in await fetch(connection, _EventRow, sql, case=case)
    ]


async def put_run(connection: AsyncConnection, run: RunView, cases: Sequence[UUID]) -> None:
    """Store a run and the cases of its breaks, in the report's order."""
    await execute(
        connection,
        "INSERT INTO agreement_runs (id, partner, period, from_ms, to_ms, made_by, made_ms, ours, theirs, report)"
        " VALUES (:id, :partner, :period, :from_ms, :to_ms, :made_by, :made_ms, :ours, :theirs, :report)",
        **{name: getattr(run, name) for name in ("id", "partner", "period", "from_ms", "to_ms", "made_by", "made_ms")},
        **{name: msgspec.json.encode(getattr(run, name)).decode() for name in ("ours", "theirs", "report")},
    )
    await execute_many(
        connection,
        'INSERT INTO agreement_run_cases (run, place, "case") VALUES (:run, :place, :case)',
        [{"run": run.id, "place": place, "case": case} for place, case in enumerate(cases)],
    )


async def get_run(connection: AsyncConnection, run: UUID) -> RunView:
    """One run. Raises Refusal `not-found`."""
    row = await fetch_one(connection, _RunRow, f"{_RUN} WHERE id = :id", id=run)
    if row is None:
        raise Refusal("not-found", f"there is no run {run}")
    return row.view()


async def list_runs(connection: AsyncConnection, partner: str | None, limit: int) -> list[RunView]:
    """Runs, newest first."""
    sql = f"{_RUN} WHERE CAST(:partner AS text) IS NULL OR partner = :partner ORDER BY made_ms DESC LIMIT :limit"
    return [row.view() for row in await fetch(connection, _RunRow, sql, partner=partner, limit=limit)]


def _columns(case: Case) -> dict[str, Any]:
    names = ("id", "mark", "partner", "source", "basis", "kind", "state", "time_ms", "at_stake_usdr", "dispute")
    return {**{name: getattr(case, name) for name in names}, "body": msgspec.json.encode(case).decode()}


async def _add_events(connection: AsyncConnection, events: Sequence[Event]) -> None:
    await execute_many(
        connection,
        'INSERT INTO agreement_events ("case", number, at_ms, by, what, sets)'
        " VALUES (:case, :number, :at_ms, :by, :what, :sets)",
        [
            {
                "case": event.case,
                "number": event.number,
                "at_ms": event.at_ms,
                "by": event.by,
                "what": event.what,
                "sets": msgspec.json.encode(event.sets).decode(),
            }
            for event in events
        ],
    )
