"""One step's usage: what was used, what is reported instead, in whose report, and what became of each record.

    records = plan_records(…)           # what each journey's group says, honest or not
    reports = pack(…)                   # groups of a visited and a home operator into signed reports of bounded size

A record is told by journey, sequence of its group and position in it: so it is found again in the log.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec import Struct

from settlement.ledger.messages import UsageGroup, UsageRecord
from settlement.ledger.rules.context import Refusal
from simulator.book import Book

GROUPS: Final = 150
RECORDS: Final = 600
"""Most groups of a report, and most records: such a report makes an envelope of some 52 kB, of 65 that it may have.
A group by way of TAP has a record for each message, and nobody knows how many."""
SETTLED, PARTLY, REFUSED = range(3)
"""What became of a record: settled whole; refused in whole or part for a cause; its report refused."""
SERVICES: Final = ("data", "voice", "message")


class SimRecord(Struct):
    """A record as it was reported, with what was truly used: `true` units, 0 where nothing was."""

    record: UsageRecord
    true: int


class Group(Struct):
    """The records of one journey in one report. `label`: why it is not plain (late, replay)."""

    trip: int
    sequence: int
    records: list[SimRecord]
    label: str = ""


class Report(Struct):
    """Groups of one visited and one home operator, under the name their message's id is made of."""

    name: str
    visited: int
    home: int
    groups: list[Group]

    def message(self, book: Book, *, name: str = "") -> Any:
        """What is signed."""
        return book.report(
            name or self.name,
            tuple(
                UsageGroup(book.request_id(group.trip), group.sequence, tuple(one.record for one in group.records))
                for group in self.groups
            ),
        )


def pack(name: str, groups: Iterable[tuple[int, int, Group]]) -> list[Report]:
    """(visited, home, group) into reports."""
    by_pair: defaultdict[tuple[int, int], list[Group]] = defaultdict(list)
    for visited, home, group in groups:
        by_pair[visited, home].append(group)
    return [
        Report(f"{name}/{visited}/{home}/{number}", visited, home, part)
        for (visited, home), theirs in sorted(by_pair.items())
        for number, part in enumerate(_parts(theirs))
    ]


def _parts(groups: list[Group]) -> Iterator[list[Group]]:
    """In order, each within its bounds; a group alone may have more records."""
    part: list[Group] = []
    records = 0
    for group in groups:
        records += len(group.records)
        if part and (len(part) == GROUPS or records > RECORDS):
            yield part
            part, records = [], len(group.records)
        part.append(group)
    if part:
        yield part


class TruthTable:
    """The ground truth of a step, row by row, and then as Parquet."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []

    def add(self, report: Report, book: Book, *, entry: int, refused: Iterable[Refusal], code: str | None) -> None:
        """Note what became of a report's records."""
        named = {(one.request, one.record): one for one in refused}
        for group in report.groups:
            request = book.request_id(group.trip)
            for position, one in enumerate(group.records):
                refusal = named.get((request, position))
                outcome = REFUSED if code else PARTLY if refusal else SETTLED
                cause = code or (refusal.cause if refusal else None)
                self._rows.append(
                    (
                        group.trip,
                        group.sequence,
                        position,
                        SERVICES.index(one.record.service),
                        one.true,
                        one.record.units,
                        refusal.amount if refusal else 0,
                        one.record.start,
                        report.visited,
                        report.home,
                        entry,
                        outcome,
                        cause,
                        group.label,
                    )
                )

    def __len__(self) -> int:
        return len(self._rows)

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        frame = pl.DataFrame(self._rows, schema=SCHEMA, orient="row")
        draft = path.with_suffix(".new")
        frame.write_parquet(draft)
        draft.rename(path)


SCHEMA: Final = {
    "trip": pl.Int32,
    "sequence": pl.Int32,
    "position": pl.Int16,
    "service": pl.UInt8,
    "true": pl.Int64,
    "units": pl.Int64,
    "beyond": pl.Int64,
    "minute": pl.Int64,
    "visited": pl.UInt8,
    "home": pl.UInt8,
    "entry": pl.Int64,
    "outcome": pl.UInt8,
    "cause": pl.String,
    "label": pl.String,
}
