"""Pairing the records of two sides, in bulk.

Keys that each side uses once, and records equal in everything, are joined as columns by polars: that is nearly all of
two honest files. What is left, a small rest of them, goes through `leftovers` record by record: keys used more than
once, near records in a window of time, and sums. All pairs are then judged at once. Positions are rows of the two
frames; arrays of one entry a row hold what each was found to be, so no record can be lost or counted twice.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from settlement.reconciliation import leftovers
from settlement.reconciliation.leftovers import Record
from settlement.reconciliation.model import KINDS, Kind, Rules, Step, Via

Rows = npt.NDArray[np.int64]
_VIAS: Final = tuple(Via)
_OPEN: Final = 255
_EQUAL: Final = ["party", "request", "time", "amount", "volume", "duration"]


@dataclass(frozen=True)
class Reconciliation:
    """Both sides' records, in the order of the input, with what was found of each.

    Added columns: `record` (from 1), `kind`, `via`, and `match`, which counterparts share and which is -1 for a record
    that has none.
    """

    ours: pl.DataFrame
    theirs: pl.DataFrame
    rules: Rules
    notes: tuple[str, ...]
    seconds: float


class _Side:
    """One side's records, and what is known of each so far."""

    def __init__(self, records: pl.DataFrame, shared: frozenset[str]) -> None:
        missing = [
            pl.lit("" if name == "request" else 0, pl.String if name == "request" else pl.Int64).alias(name)
            for name in ("request", "volume", "duration")
            if name not in shared
        ]
        self.records = records
        self.frame = records.with_columns(missing).select("key", *_EQUAL).with_row_index("row")
        self.kinds = np.full(records.height, _OPEN, np.uint8)
        self.vias = np.zeros(records.height, np.uint8)
        self.matches = np.full(records.height, -1, np.int64)

    def rest(self) -> pl.DataFrame:
        """The records nothing has been found of."""
        return self.frame.filter(pl.Series(self.kinds == _OPEN))

    def column(self, name: str, rows: Rows) -> Rows:
        """A whole-number column at these rows."""
        return self.frame[name].to_numpy()[rows]

    def settle(self, rows: Iterable[int] | Rows, kind: Any, via: Via, match: Any = -1) -> None:
        """Say what these rows are; each is said once."""
        index = np.asarray(rows, np.int64)
        assert (self.kinds[index] == _OPEN).all(), "a record was settled twice"
        self.kinds[index] = kind if isinstance(kind, np.ndarray) else KINDS.index(kind)
        self.vias[index] = _VIAS.index(via)
        self.matches[index] = match

    def outcome(self) -> pl.DataFrame:
        """The records with what was found."""
        return self.records.with_columns(
            pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("record"),
            _named(KINDS).gather(self.kinds).alias("kind"),
            _named(_VIAS).gather(self.vias).alias("via"),
            pl.Series("match", self.matches),
        )


def reconcile(ours: pl.DataFrame, theirs: pl.DataFrame, rules: Rules | None = None) -> Reconciliation:
    """Pair the records of two frames as `read_records` gives them, and name what each turned out to be."""
    begin = time.perf_counter()
    rules, notes = rules or Rules(), []
    optional = {"request", "volume", "duration"}
    shared = frozenset(optional & set(ours.columns) & set(theirs.columns))
    for name in sorted((optional - shared) & (set(ours.columns) | set(theirs.columns))):
        side = "theirs" if name in ours.columns else "ours"
        notes.append(f"{name} was not compared: {side} has no such column")
    here, there = _Side(ours, shared), _Side(theirs, shared)
    pairing = _Pairing(here, there, rules)
    if Step.KEY in rules.steps:
        pairing.by_key()
    if Step.WINDOW in rules.steps:
        pairing.by_equality()
        notes += pairing.by_window()
    if Step.SUMS in rules.steps:
        notes += pairing.by_sums()
    here.settle(np.flatnonzero(here.kinds == _OPEN), Kind.MISSING_THERE, Via.NONE)
    there.settle(np.flatnonzero(there.kinds == _OPEN), Kind.MISSING_HERE, Via.NONE)
    return Reconciliation(here.outcome(), there.outcome(), rules, tuple(notes), time.perf_counter() - begin)


class _Pairing:
    """The steps, each on what the ones before it left."""

    def __init__(self, here: _Side, there: _Side, rules: Rules) -> None:
        self.here, self.there, self.rules = here, there, rules
        self.matched = 0

    def by_key(self) -> None:
        """Pair records of the same key."""
        used = [side.frame.select("row", "key").filter(pl.col("key") != "") for side in (self.here, self.there)]
        # Hashes compare three times as fast; keys that share one only go the longer way to the same pair.
        twice = pl.concat([keys.filter(pl.col("key").hash().is_duplicated()).select("key") for keys in used]).unique()
        once = [keys.join(twice, on="key", how="anti") if twice.height else keys for keys in used]
        joined = once[0].join(once[1], on="key", suffix="_there")
        self._judge(joined["row"].to_numpy(), joined["row_there"].to_numpy(), Via.KEY)
        if not twice.height:
            return
        ours, theirs = (_records(side.frame.join(twice, on="key", how="semi")) for side in (self.here, self.there))
        found = leftovers.pair_repeated_keys(ours, theirs)
        self._judge(*_columns(found.pairs), Via.KEY)
        self._sum_up(found.sums)
        self.here.settle(found.ours_duplicates, Kind.DUPLICATE, Via.KEY)
        self.there.settle(found.theirs_duplicates, Kind.DUPLICATE, Via.KEY)

    def by_equality(self) -> None:
        """Pair records equal in everything but the key, the first with the first, the second with the second."""
        ranked = [
            side.rest().with_columns(pl.int_range(pl.len()).over(_EQUAL).alias("rank"))
            for side in (self.here, self.there)
        ]
        if all(side.height for side in ranked):
            joined = ranked[0].join(ranked[1], on=[*_EQUAL, "rank"], suffix="_there")
            self._judge(joined["row"].to_numpy(), joined["row_there"].to_numpy(), Via.WINDOW)

    def by_window(self) -> list[str]:
        """Pair near records of one party and request; say where the search was cut short."""
        ours, theirs = _records(self.here.rest()), _records(self.there.rest())
        pairs, cut = leftovers.pair_in_window(ours, theirs, self.rules)
        self._judge(*_columns(pairs), Via.WINDOW)
        if not cut:
            return []
        return [
            f"{cut} records had more than {leftovers.MAX_CANDIDATES} others in their window: the nearest were tried"
        ]

    def by_sums(self) -> list[str]:
        """Pair one record with several that add up to it exactly; say where the search was cut short."""
        ours, theirs = _records(self.here.rest()), _records(self.there.rest())
        sums, complete = leftovers.pair_sums(ours, theirs, self.rules)
        self._sum_up(sums)
        return [] if complete else [f"the search for sums ended after {leftovers.MAX_SUM_STEPS} steps"]

    def _judge(self, ours: Rows, theirs: Rows, via: Via) -> None:
        if not len(ours):
            return
        here, there, rules = self.here, self.there, self.rules
        ours, theirs = ours.astype(np.int64), theirs.astype(np.int64)
        parties = here.frame["party"].gather(ours) != there.frame["party"].gather(theirs)
        apart_ms = abs(here.column("time", ours) - there.column("time", theirs))
        values = {f: (here.column(f, ours), there.column(f, theirs)) for f in ("amount", "volume", "duration")}
        unequal = (apart_ms > 0) | np.any([one != other for one, other in values.values()], axis=0)
        kinds = np.select(
            [
                parties.to_numpy(),
                *(rules.differs(field, *pair) for field, pair in values.items()),
                apart_ms > rules.time_window_s * 1000,
                unequal,
            ],
            [
                KINDS.index(kind)
                for kind in (Kind.WRONG_PARTY, Kind.AMOUNT, Kind.VOLUME, Kind.DURATION, Kind.LATE, Kind.WITHIN)
            ],
            KINDS.index(Kind.MATCHED),
        ).astype(np.uint8)
        matches = np.arange(self.matched, self.matched + len(ours))
        self.matched += len(ours)
        here.settle(ours, kinds, via, matches)
        there.settle(theirs, kinds, via, matches)

    def _sum_up(self, sums: list[leftovers.Group]) -> None:
        for ours, theirs in sums:
            self.here.settle(ours, Kind.MATCHED, Via.SUM, self.matched)
            self.there.settle(theirs, Kind.MATCHED, Via.SUM, self.matched)
            self.matched += 1


def _named(values: tuple[Kind, ...] | tuple[Via, ...]) -> pl.Series:
    names = [value.value for value in values]
    return pl.Series(names, dtype=pl.Enum(names))


def _records(frame: pl.DataFrame) -> list[Record]:
    return [Record(*row) for row in frame.select(Record._fields).iter_rows()]


def _columns(pairs: list[tuple[int, int]]) -> tuple[Rows, Rows]:
    both = np.asarray(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]
