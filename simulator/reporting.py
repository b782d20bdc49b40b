"""How visited operators report a step's use: on time, late, twice, with a wrong clock, or dishonestly.

Whatever they do, a report that the ledger refuses is looked at: a clock that ran ahead is put right and the report sent
again; what was sent twice must not count twice. Each record's end goes into the step's truth.
"""

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec import structs

from simulator.book import make_record
from simulator.desk import Answered
from simulator.frauds import HONEST, OVER_REPORT, PHANTOM, REPLAY
from simulator.journeys import Array, Stage
from simulator.population import Use, generator
from simulator.tap_path import Used, through_tap
from simulator.together import together
from simulator.usage_reports import SERVICES, Group, Report, SimRecord, TruthTable, pack
from simulator.world import Operator

if TYPE_CHECKING:
    from simulator.engine import Engine

IMSI_DIGITS: Final = 15


class Doubled(Exception):  # noqa: N818 - what happened
    """What was sent twice counted twice."""


class Reporter:
    """Reports one step."""

    def __init__(self, engine: "Engine", step: int, minute: int) -> None:
        self._engine, self._step, self._minute = engine, step, minute
        self._plan = engine.world.scenario.reporting
        self._draw = generator(engine.world, "reports", step)
        self.truth = TruthTable()
        self.octets = 0

    async def report(self, use: Use) -> None:
        """Meter it, report it, and move the journeys on."""
        engine, journeys = self._engine, self._engine.journeys
        lot = self._draw.random(len(use.trip))
        serving = (journeys.stage[use.trip] == Stage.ACTIVE) & ~journeys.barred[use.trip]
        trip = use.trip[serving]
        units = [array[serving] for array in (use.octets, use.seconds, use.messages)]
        kind = engine.frauds.kind[trip]
        true = [np.where(kind == PHANTOM, 0, array) for array in units]
        for name, array in zip(("used_octets", "used_seconds", "used_messages"), true, strict=True):
            getattr(journeys, name)[trip] += array
        factor = np.where(kind == OVER_REPORT, engine.frauds.factor[trip], 1.0)
        told = [np.ceil(array * factor).astype(np.int64) for array in units]
        self.octets = int(true[0].sum())
        going_on = (engine.trips.end_step[trip] > self._step) & (self._step + 1 < engine.world.scenario.steps)
        late = (lot[serving] < self._plan.late) & going_on & (kind == HONEST) & (journeys.late_minute[trip] == 0)
        self._postpone(trip[late], [array[late] for array in told])
        now = np.flatnonzero(~late)
        groups = [self._group(int(trip[at]), [int(a[at]) for a in true], [int(a[at]) for a in told]) for at in now]
        groups = [group for group in groups if group.records]
        by_tap = self._by_tap()
        billed = [group for group in groups if int(engine.visited[group.trip]) in by_tap]
        direct = [group for group in groups if int(engine.visited[group.trip]) not in by_tap]
        await together(self._through_billing(billed), self._send(direct, f"usage/{self._step}"))
        await self._send(billed, f"usage/{self._step}")
        again = [
            Group(g.trip, g.sequence + 1, [SimRecord(one.record, 0) for one in g.records], "replay")
            for g in groups
            if engine.frauds.kind[g.trip] == REPLAY and journeys.sequence[g.trip] == g.sequence
        ]
        await self._send(again, f"replay/{self._step}")

    def _postpone(self, trip: Array, told: list[Array]) -> None:
        journeys = self._engine.journeys
        for name, array in zip(("late_octets", "late_seconds", "late_messages"), told, strict=True):
            getattr(journeys, name)[trip] = array
        journeys.late_minute[trip] = self._minute

    def _group(self, trip: int, true: list[int], told: list[int]) -> Group:
        """A journey's records of this step, after what an earlier step postponed."""
        journeys, records, label = self._engine.journeys, [], ""
        if minute := int(journeys.late_minute[trip]):
            late = [int(getattr(journeys, name)[trip]) for name in ("late_octets", "late_seconds", "late_messages")]
            records += self._records(trip, minute, late, late)
            journeys.late_minute[trip], label = 0, "late"
        records += self._records(trip, self._minute, true, told)
        return Group(trip, int(journeys.sequence[trip]) + 1, records, label)

    def _by_tap(self) -> dict[int, Operator]:
        """Networks with a classic billing system. Who lies reports by itself."""
        world = self._engine.world
        liars = {one.operator for one in world.scenario.dishonest}
        return {one.number: one for one in world.operators if one.plan.usage == "tap" and one.id not in liars}

    async def _through_billing(self, groups: list[Group]) -> None:
        """What they report stood in a TAP file first, and is read from there: as the others' reports are sent."""
        engine = self._engine
        for operator in self._by_tap().values():
            theirs = [group for group in groups if engine.visited[group.trip] == operator.number]
            if not theirs:
                continue
            used = [Used(imsi_of(operator, group.trip), one.record) for group in theirs for one in group.records]
            path = engine.journal.tap(operator.id, self._step)
            deed = partial(through_tap, path, used, tadig=operator.tadig, plmn=operator.plmn, sequence=self._step)
            by_imsi: defaultdict[str, list[SimRecord]] = defaultdict(list)
            for one in await engine.desk.work(deed):
                by_imsi[one.imsi].append(SimRecord(one.record, one.record.units))
            for group in theirs:
                group.records = by_imsi[imsi_of(operator, group.trip)]

    def _records(self, trip: int, minute: int, true: list[int], told: list[int]) -> list[SimRecord]:
        engine = self._engine
        operator = engine.world.operators[int(engine.visited[trip])]
        most_s, factor = engine.world.scenario.step_hours * 3600, float(engine.frauds.factor[trip])
        made = []
        for service, is_true, units in zip(SERVICES, true, told, strict=True):
            if units:
                honest = int(units / factor)
                record = make_record(service, minute, operator.country.offset, units, honest, most_s, operator.plmn)
                made.append(SimRecord(record, is_true))
        return made

    async def _send(self, groups: list[Group], name: str) -> None:
        engine = self._engine
        reports = pack(name, ((int(engine.visited[g.trip]), int(engine.home[g.trip]), g) for g in groups))
        skewed = self._skew(reports)
        answers = await engine.send("usage", [(one.visited, one.message(engine.book)) for one in reports])
        refused = []
        for report, answer in zip(reports, answers, strict=True):
            self._settle(report, answer)
            if answer.code == "out-of-time" and report.name in skewed:
                refused.append(self._right(report))
        if refused:  # by clocks that have been put right
            repeated = await engine.send("usage", [(one.visited, one.message(engine.book)) for one in refused])
            for report, answer in zip(refused, repeated, strict=True):
                self._settle(report, answer)
        taken = [(report, answer) for report, answer in zip(reports, answers, strict=True) if answer.code is None]
        await self._double(taken)

    def _skew(self, reports: list[Report]) -> set[str]:
        """Some networks' clocks run ahead: their records begin later than they do."""
        skewed = set()
        for report, lot in zip(reports, self._draw.random(len(reports)), strict=True):
            if self._plan.skew_minutes and lot < self._plan.skewed_share:
                _shift(report, self._plan.skew_minutes)
                skewed.add(report.name)
        return skewed

    def _right(self, report: Report) -> Report:
        _shift(report, -self._plan.skew_minutes)
        return Report(f"{report.name}/again", report.visited, report.home, report.groups)

    def _settle(self, report: Report, answer: Answered) -> None:
        """What the ledger made of a report."""
        engine, journeys = self._engine, self._engine.journeys
        self.truth.add(report, engine.book, entry=answer.index, refused=answer.refused, code=answer.code)
        if answer.code is not None:
            return
        journeys.settled[report.home, report.visited] += answer.settled
        places = {engine.book.request_id(group.trip): group.trip for group in report.groups}
        for group in report.groups:
            journeys.sequence[group.trip] = group.sequence
        for refusal in answer.refused:
            journeys.barred[places[refusal.request]] = True

    async def _double(self, taken: list[tuple[Report, Answered]]) -> None:
        """Some reports are sent twice: the same octets get the first receipt, the same groups anew are refused."""
        engine, book = self._engine, self._engine.book
        lots = self._draw.random(len(taken))
        chosen: list[Any] = [pair for pair, lot in zip(taken, lots, strict=True) if lot < self._plan.doubled]
        same, anew = chosen[::2], chosen[1::2]
        answers = await engine.send("usage-doubled", [(report.visited, report.message(book)) for report, _ in same])
        for (report, first), answer in zip(same, answers, strict=True):
            if answer.code is not None or answer.index != first.index:
                raise Doubled(f"report {report.name} was sent twice: first entry {first.index}, then {answer}")
        orders = [(report.visited, report.message(book, name=f"{report.name}/anew")) for report, _ in anew]
        for (report, _), answer in zip(anew, await engine.send("usage-doubled", orders), strict=True):
            if answer.code != "out-of-sequence":
                raise Doubled(f"report {report.name} was sent anew and not refused as out of sequence: {answer}")


def imsi_of(operator: Operator, trip: int) -> str:
    """The IMSI of the profile an unsampled guest was lent: it stands in the network's files, and nowhere else."""
    return f"{operator.plmn}{trip:0{IMSI_DIGITS - len(operator.plmn)}d}"


def _shift(report: Report, minutes: int) -> None:
    for group in report.groups:
        for one in group.records:
            one.record = structs.replace(one.record, start=one.record.start + minutes)
