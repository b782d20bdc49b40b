"""From what was found to a report: counts and sums that add up to the input, ages, and the breaks themselves."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from settlement.reconciliation.matching import Reconciliation
from settlement.reconciliation.model import BREAKS, KINDS, Age, Break, Kind, ReconciliationError, Report, Side, Tally

AGES: Final = ((7, "0–7"), (30, "8–30"), (60, "31–60"), (90, "61–90"))
"""Days a difference is old, in the steps in which finance departments report; then older."""
OLDER: Final = "over 90"
MAX_BREAKS: Final = 10_000
"""Breaks one report shows: what a person can page through. A file of all is `list_breaks`."""

_DAY_MS: Final = 86_400_000
_TIMESTAMP: Final = pl.Datetime("ms", "UTC")
_SINGLE_STAKES: Final = (Kind.WRONG_PARTY, Kind.LATE)


def summarise(found: Reconciliation, *, as_of: datetime | None = None, most: int = MAX_BREAKS) -> Report:
    """Count, add up and age what was found, with the `most` breaks that have most at stake.

    Ages are counted to `as_of`; without it to the latest record of either side, so that the same files make the same
    report. Raises `ReconciliationError` for a moment without a zone.
    """
    moment = _moment(found, as_of)
    breaks = list_breaks(found, as_of=as_of)
    report = Report(
        as_of=_iso(datetime.fromtimestamp(moment // 1000, UTC)),
        rules=found.rules,
        ours=Side(found.ours.height, int(found.ours["amount"].sum())),
        theirs=Side(found.theirs.height, int(found.theirs["amount"].sum())),
        kinds=tuple(_tally(found)),
        ageing=tuple(_ages(breaks)),
        breaks_in_all=breaks.height,
        breaks=tuple(Break(**row) for row in _shown(breaks.head(most))),
        notes=found.notes,
        seconds=round(found.seconds, 3),
    )
    for side, total in (("ours", report.ours), ("theirs", report.theirs)):
        assert sum(getattr(tally, side) for tally in report.kinds) == total.records, "a record is in no kind, or in two"
        assert sum(getattr(tally, f"{side}_amount") for tally in report.kinds) == total.amount
    return report


def list_breaks(found: Reconciliation, *, as_of: datetime | None = None) -> pl.DataFrame:
    """Every break, the largest at stake first; the columns of `Break`, times as UTC timestamps."""
    ours, theirs = (_side_of_breaks(side, name) for side, name in ((found.ours, "ours"), (found.theirs, "theirs")))
    pairs = ours.filter(pl.col("match") >= 0).join(theirs.drop("kind", "key"), on="match")
    alone = [side.filter(pl.col("match") < 0) for side in (ours, theirs)]
    every = pl.concat([pairs, *alone], how="diagonal")
    party, time = pl.coalesce("ours_party", "theirs_party"), pl.coalesce("ours_time", "theirs_time")
    larger = pl.max_horizontal("ours_amount", "theirs_amount")
    gap = (pl.col("ours_amount") - pl.col("theirs_amount")).abs()
    whole = pl.col("kind").is_in([kind.value for kind in _SINGLE_STAKES])
    paired = pl.col("match") >= 0
    return every.select(
        pl.col("kind").cast(pl.String),
        "key",
        party.alias("party"),
        time.cast(_TIMESTAMP).alias("time"),
        ((_moment(found, as_of) - time) // _DAY_MS).clip(lower_bound=0).alias("age_days"),
        pl.when(whole | gap.is_null()).then(larger).otherwise(gap).alias("at_stake"),
        *(
            f"{side}_{name}"
            for name in ("record", "amount", "volume", "duration")
            for side in ("ours", "theirs")
            if f"{side}_{name}" in every.columns
        ),
        pl.when(paired & (pl.col("ours_party") != pl.col("theirs_party"))).then("theirs_party").alias("theirs_party"),
        pl.when(paired & (pl.col("ours_time") != pl.col("theirs_time")))
        .then("theirs_time")
        .cast(_TIMESTAMP)
        .alias("theirs_time"),
    ).sort("at_stake", "kind", "ours_record", "theirs_record", descending=[True, False, False, False])


def _side_of_breaks(side: pl.DataFrame, name: str) -> pl.DataFrame:
    fields = [field for field in ("record", "party", "time", "amount", "volume", "duration") if field in side.columns]
    return side.filter(pl.col("kind").cast(pl.String).is_in([kind.value for kind in BREAKS])).select(
        "kind", "key", "match", *(pl.col(field).alias(f"{name}_{field}") for field in fields)
    )


def _tally(found: Reconciliation) -> Iterator[Tally]:
    sides = [
        {
            row[0]: row[1:]
            for row in side.group_by(pl.col("kind").cast(pl.String)).agg(pl.len(), pl.col("amount").sum()).iter_rows()
        }
        for side in (found.ours, found.theirs)
    ]
    for kind in KINDS:
        yield Tally(kind, *sides[0].get(kind.value, (0, 0)), *sides[1].get(kind.value, (0, 0)))


def _ages(breaks: pl.DataFrame) -> Iterator[Age]:
    bucket = pl.lit(OLDER)
    for days, name in reversed(AGES):
        bucket = pl.when(pl.col("age_days") <= days).then(pl.lit(name)).otherwise(bucket)
    rows = breaks.group_by("kind", bucket.alias("days")).agg(pl.len(), pl.col("at_stake").sum()).rows()
    order = [name for _, name in AGES] + [OLDER]
    for kind, days, count, stake in sorted(rows, key=lambda row: (BREAKS.index(Kind(row[0])), order.index(row[1]))):
        yield Age(Kind(kind), days, count, stake)


def _shown(breaks: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for row in breaks.iter_rows(named=True):
        late = row["theirs_time"]
        yield {**row, "kind": Kind(row["kind"]), "time": _iso(row["time"]), "theirs_time": late and _iso(late)}


def _moment(found: Reconciliation, as_of: datetime | None) -> int:
    if as_of is not None:
        if as_of.tzinfo is None:
            raise ReconciliationError(f"--as-of {as_of.isoformat()} has no zone: write it as 2026-11-01T00:00:00Z")
        return int(as_of.timestamp()) * 1000
    latest = [side["time"].max() for side in (found.ours, found.theirs) if side.height]
    return max((time for time in latest if isinstance(time, int)), default=0)


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
