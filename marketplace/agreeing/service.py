"""Runs and cases: what differs is found, kept, proposed on by one member of staff and confirmed by another."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import polars as pl
from msgspec import Struct, structs
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.agreeing import model, records, repository
from marketplace.agreeing.breaks import list_sightings
from marketplace.agreeing.model import LIVE, Case, Event, Proposal, Sighting, State, bucket
from marketplace.agreeing.reported import ReportedUsage
from marketplace.agreeing.schemas import AgeLine, CaseHistory, CaseView, NewRun, RunView, SourceView, Upload
from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import Database, execute, execute_many, fetch, fetch_one, scalar
from marketplace.operator_problems import Refusal
from settlement.ledger.ids import new_id
from settlement.reconciliation import reconcile, summarise

MAX_CASES: Final = 10_000
"""Breaks of one run that become cases: what a department can look at. More are a matter of the rules, or of a file."""
NO_LIMIT: Final = 1_000_000
"""Cases read for ageing, more than a decade of runs makes."""

Decide = Callable[[Case], Event]


class Taken(Struct, frozen=True):
    """What a run or check did to cases, in the order of its findings."""

    cases: tuple[UUID, ...]
    opened: int
    cleared: int


class Agreeing:
    """Reconciliation with partners, and the cases of its breaks."""

    def __init__(self, database: Database, reported: ReportedUsage) -> None:
        self._database = database
        self.reported = reported

    async def upload(self, name: str, octets: bytes, *, by: str) -> Upload:
        """Take a file of records in. Raises ReconciliationError naming record and field."""
        frame = await asyncio.to_thread(records.read_upload, name, octets)
        digest = hashlib.sha256(octets).hexdigest()
        async with self._database.begin() as connection:
            await _keep_file(connection, digest, name, octets, by)
        return Upload(digest, name, frame.height)

    async def take_own(self, name: str, octets: bytes, *, by: str) -> Upload:
        """Take own records in, once a file. Raises ReconciliationError."""
        frame = await asyncio.to_thread(records.read_upload, name, octets)
        digest = hashlib.sha256(octets).hexdigest()
        sql = (
            "INSERT INTO own_records VALUES (:file, :record, :key, :party, :time, :amount, :request, :volume,"
            " :duration) ON CONFLICT DO NOTHING"
        )
        rows = [
            {"request": "", "volume": 0, "duration": 0, **row, "file": digest, "record": number}
            for number, row in enumerate(frame.iter_rows(named=True), 1)
        ]
        async with self._database.begin() as connection:
            await _keep_file(connection, digest, name, octets, by)
            await execute_many(connection, sql, rows)
        return Upload(digest, name, frame.height)

    async def export(self, partner: str, period: str) -> bytes:
        """What the ledger settled with a partner in a period, as CSV for either side's reconciliation."""
        frame = await self._settled(partner, *records.read_period(period))
        return await asyncio.to_thread(records.write_records, frame)

    async def run(self, new: NewRun, *, by: str) -> RunView:
        """Reconcile, store the run, and open or recognise a case of each break. Raises Refusal, ReconciliationError."""
        from_ms, to_ms = records.read_period(new.period)
        theirs, told_theirs = await self._side(new.theirs, new.partner, from_ms, to_ms)
        if new.ours is None and new.theirs is None:
            ours, told_ours = await self._own(new.partner, from_ms, to_ms)
        else:
            ours, told_ours = await self._side(new.ours, new.partner, from_ms, to_ms)
        at_ms, run_id = now_ms(), new_id()
        found = await asyncio.to_thread(reconcile, ours, theirs, new.rules)
        moment = datetime.fromtimestamp(at_ms // 1000, UTC)
        report = await asyncio.to_thread(summarise, found, as_of=moment, most=MAX_CASES)
        if report.breaks_in_all > MAX_CASES:
            raise Refusal(
                "invalid",
                f"{report.breaks_in_all} differences, more than {MAX_CASES}: choose wider rules, a shorter period or "
                "the right file; `landfall settle reconcile` shows what they are",
            )
        basis = f"{told_ours.origin}/{told_theirs.origin}"
        sightings = list(list_sightings(new.partner, basis, found, report))
        async with self._database.begin() as connection:
            taken = await take_sightings(
                connection, new.partner, basis, sightings, (from_ms, to_ms), by=f"run {run_id}", at_ms=at_ms
            )
            assert len(set(taken.cases)) == report.breaks_in_all, "a break has no case, or two have one"
            run = RunView(
                id=run_id,
                partner=new.partner,
                period=new.period,
                from_ms=from_ms,
                to_ms=to_ms,
                made_by=by,
                made_ms=at_ms,
                ours=told_ours,
                theirs=told_theirs,
                report=report,
                cases=len(taken.cases),
                opened=taken.opened,
                cleared=taken.cleared,
            )
            await repository.put_run(connection, run, taken.cases)
        return await self._with_ages(run)

    async def show_run(self, run: UUID) -> RunView:
        """A run, with the ages that its partner's cases have now. Raises Refusal `not-found`."""
        async with self._database.read() as connection:
            found = await repository.get_run(connection, run)
        return await self._with_ages(found)

    async def list_runs(self, partner: str | None, limit: int) -> list[RunView]:
        """Runs, newest first."""
        async with self._database.read() as connection:
            return await repository.list_runs(connection, partner, limit)

    async def list_cases(
        self,
        *,
        partner: str | None = None,
        state: State | None = None,
        source: str | None = None,
        run: UUID | None = None,
        limit: int,
    ) -> list[CaseView]:
        """Cases, the largest at stake first."""
        async with self._database.read() as connection:
            cases = await repository.list_cases(
                connection, partner=partner, state=state, source=source, run=run, limit=limit
            )
        now = now_ms()
        return [CaseView(case, case.age_days(now), bucket(case.age_days(now))) for case in cases]

    async def show(self, case: UUID) -> CaseHistory:
        """A case with its history. Raises Refusal `not-found`."""
        async with self._database.read() as connection:
            found = await repository.get_case(connection, case)
            events = await repository.list_events(connection, case)
        assert model.replay(events) == found, f"case {case} is not what its history says"
        days = found.age_days(now_ms())
        return CaseHistory(found, days, bucket(days), tuple(events))

    async def age(self, partner: str | None = None) -> tuple[AgeLine, ...]:
        """How old what still asks for something is: every step, empty ones too."""
        return age_cases(await self.list_cases(partner=partner, limit=NO_LIMIT))

    async def propose(self, case: UUID, proposal: Proposal, *, by: str) -> Case:
        """One member says how a case should end. Raises Refusal."""
        return await self._decide(case, lambda found: model.propose(found, proposal, by=by, at_ms=now_ms()))

    async def confirm(self, case: UUID, text: str, *, by: str) -> Case:
        """Another confirms. Raises Refusal `four-eyes` for the same."""
        return await self._decide(case, lambda found: model.confirm(found, by=by, at_ms=now_ms(), text=text))

    async def reopen(self, case: UUID, text: str, *, by: str) -> Case:
        """Take a case up again. Raises Refusal."""
        return await self._decide(case, lambda found: model.reopen(found, by=by, at_ms=now_ms(), text=text))

    async def _decide(self, case: UUID, decide: Decide) -> Case:
        async with self._database.begin() as connection:
            found = await repository.get_case(connection, case, lock=True)
            return (await repository.change_cases(connection, [(found, decide(found))]))[0]

    async def _settled(self, partner: str, from_ms: int, to_ms: int) -> pl.DataFrame:
        await self.reported.gather(partner)
        groups = await self.reported.groups(partner, from_ms=from_ms, to_ms=to_ms)
        activations = await self.reported.activations(partner, from_ms=from_ms, to_ms=to_ms)
        return await asyncio.to_thread(records.frame_usage, groups, activations, from_ms, to_ms)

    async def _side(
        self, digest: str | None, partner: str, from_ms: int, to_ms: int
    ) -> tuple[pl.DataFrame, SourceView]:
        """Records of an upload, or what the ledger settled."""
        if digest is None:
            frame = await self._settled(partner, from_ms, to_ms)
            return frame, SourceView(origin="ledger", name="settled on the ledger", records=frame.height)
        async with self._database.read() as connection:
            sql = "SELECT name, octets FROM agreement_files WHERE digest = :digest"
            file = await fetch_one(connection, _File, sql, digest=digest)
        if file is None:
            raise Refusal("not-found", f"there is no upload {digest}: take the file in first")
        whole = await asyncio.to_thread(records.read_upload, file.name, file.octets)
        frame, outside = records.cut(whole, from_ms, to_ms)
        return frame, SourceView(origin="file", name=file.name, digest=digest, records=frame.height, outside=outside)

    async def _own(self, partner: str, from_ms: int, to_ms: int) -> tuple[pl.DataFrame, SourceView]:
        async with self._database.read() as connection:
            rows = await fetch(
                connection,
                _OwnRow,
                "SELECT key, party, time_ms, amount_usdr, request, volume, duration FROM own_records"
                " WHERE party = :partner AND time_ms >= :from_ms AND time_ms < :to_ms ORDER BY file, record",
                partner=partner,
                from_ms=from_ms,
                to_ms=to_ms,
            )
            known = rows or await scalar(
                connection, "SELECT EXISTS (SELECT FROM own_records WHERE party = :p)", p=partner
            )
        if not known:
            raise Refusal(
                "not-found",
                f"there are no own records of {partner}: take some in by `landfall operator records import FILE`, or "
                "name their file with --theirs to compare it with what the ledger settled",
            )
        frame = pl.DataFrame(
            [tuple(getattr(row, name) for name in row.__struct_fields__) for row in rows],
            schema=records.SCHEMA,
            orient="row",
        )
        return frame, SourceView(origin="own-records", name="own records taken in", records=frame.height)

    async def _with_ages(self, run: RunView) -> RunView:
        return structs.replace(run, ageing=await self.age(run.partner))


class _File(Struct, frozen=True):
    name: str
    octets: bytes


class _OwnRow(Struct, frozen=True):
    key: str
    party: str
    time_ms: int
    amount_usdr: int
    request: str
    volume: int
    duration: int


async def take_sightings(
    connection: AsyncConnection,
    partner: str,
    basis: str,
    sightings: list[Sighting],
    period: tuple[int, int],
    *,
    by: str,
    at_ms: int,
) -> Taken:
    """Open a case of each difference that has none, recognise the others, clear those of the period that are gone."""
    await repository.lock_partner(connection, partner)
    marks = [sighting.mark for sighting in sightings]
    known = await repository.find_by_mark(connection, marks)
    fresh = [model.find(new_id(), one, by=by, at_ms=at_ms) for one in sightings if one.mark not in known]
    changes = [
        (known[one.mark], event)
        for one in sightings
        if one.mark in known and (event := model.find_again(known[one.mark], one, by=by, at_ms=at_ms)) is not None
    ]
    gone = [
        (case, event)
        for case in await repository.find_open(connection, partner, basis, from_ms=period[0], to_ms=period[1])
        if case.mark not in known and (event := model.clear(case, by=by, at_ms=at_ms)) is not None
    ]
    opened = await repository.open_cases(connection, fresh)
    await repository.change_cases(connection, [*changes, *gone])
    ids = {case.mark: case.id for case in (*known.values(), *opened)}
    return Taken(tuple(ids[mark] for mark in marks), len(opened), len(gone))


def age_cases(cases: list[CaseView]) -> tuple[AgeLine, ...]:
    """Live cases by age: counts by state, and what is at stake."""
    lines = []
    for days in (*(name for _, name in model.AGES), model.OLDER):
        aged = [view.case for view in cases if view.days == days and view.case.state in LIVE]
        states = {state: sum(case.state == state for case in aged) for state in LIVE}
        stake = sum(case.at_stake_usdr for case in aged)
        lines.append(AgeLine(days=days, cases=len(aged), at_stake_usdr=stake, **states))
    return tuple(lines)


async def _keep_file(connection: AsyncConnection, digest: str, name: str, octets: bytes, by: str) -> None:
    await execute(
        connection,
        "INSERT INTO agreement_files VALUES (:digest, :name, :octets, :now, :by) ON CONFLICT DO NOTHING",
        digest=digest,
        name=name,
        octets=octets,
        now=now_ms(),
        by=by,
    )
