"""The values of reconciliation: kinds, rules, and the report. Amounts are whole micro-SDRt, volumes octets."""

from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec

from landfall.errors import LandfallError

PARTS_PER_MILLION: Final = 1_000_000
MAX_WINDOW_S: Final = 7 * 86_400
"""Widest window of time in which records are taken for the same: wider ones pair strangers."""


class ReconciliationError(LandfallError):
    """Records or rules that cannot be read; the message names file, record and field."""


class Kind(StrEnum):
    """What a record turned out to be. Of a pair that differs in several ways, the first in this order."""

    MATCHED = "matched"
    WITHIN = "within tolerance"
    WRONG_PARTY = "wrong party"
    AMOUNT = "amount"
    VOLUME = "volume"
    DURATION = "duration"
    LATE = "late"
    """Paired by key, further apart in time than the window."""
    DUPLICATE = "duplicate"
    """Its key was used before on the same side, and the other side does not have it as often."""
    MISSING_HERE = "missing here"
    """They have it, we do not."""
    MISSING_THERE = "missing there"
    """We have it, they do not."""


KINDS: Final = tuple(Kind)
BREAKS: Final = KINDS[2:]
"""The kinds somebody has to look at."""


class Via(StrEnum):
    """How a record found its counterpart."""

    NONE = "none"
    KEY = "key"
    WINDOW = "window"
    SUM = "sum"


class Step(StrEnum):
    """A way of pairing records; steps are taken in this order."""

    KEY = "key"
    WINDOW = "window"
    SUMS = "sums"


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When two records are the same. A difference passes if it is within the absolute *or* the relative tolerance.

    steps: how records are paired. time_window_s: seconds two times may be apart.
    …_tolerance: in µSDRt, octets, seconds. …_tolerance_ppm: in parts per million of the larger of the two.
    """

    steps: tuple[Step, ...] = tuple(Step)
    time_window_s: Annotated[int, msgspec.Meta(ge=0, le=MAX_WINDOW_S)] = 300
    amount_tolerance: Annotated[int, msgspec.Meta(ge=0)] = 0
    amount_tolerance_ppm: Annotated[int, msgspec.Meta(ge=0, le=PARTS_PER_MILLION)] = 0
    volume_tolerance: Annotated[int, msgspec.Meta(ge=0)] = 0
    volume_tolerance_ppm: Annotated[int, msgspec.Meta(ge=0, le=PARTS_PER_MILLION)] = 0
    duration_tolerance: Annotated[int, msgspec.Meta(ge=0)] = 0
    duration_tolerance_ppm: Annotated[int, msgspec.Meta(ge=0, le=PARTS_PER_MILLION)] = 0

    def differs(self, field: str, one: Any, other: Any) -> Any:
        """Whether values of `field` differ by more than its tolerances; for ints, or element by element for arrays."""
        gap = abs(one - other)
        larger = (one + other + gap) // 2
        ppm = getattr(self, f"{field}_tolerance_ppm")
        share = larger // PARTS_PER_MILLION * ppm + larger % PARTS_PER_MILLION * ppm // PARTS_PER_MILLION  # in 64 bits
        return (gap > getattr(self, f"{field}_tolerance")) & (gap > share)


class Side(msgspec.Struct, frozen=True):
    """One side's input: records, and what they add up to."""

    records: int
    amount: int


class Tally(msgspec.Struct, frozen=True):
    """How many records of each side are of a kind, and what they add up to."""

    kind: Kind
    ours: int
    ours_amount: int
    theirs: int
    theirs_amount: int


class Age(msgspec.Struct, frozen=True):
    """Breaks of a kind whose record is so many days old."""

    kind: Kind
    days: str
    breaks: int
    at_stake: int


class Break(msgspec.Struct, frozen=True):
    """One difference: the pair, or the record without one. Record numbers count from 1 in their file.

    at_stake: the difference of the amounts of a pair of one party and in time; otherwise the larger amount.
    """

    kind: Kind
    key: str
    party: str
    time: str
    age_days: int
    at_stake: int
    ours_record: int | None = None
    theirs_record: int | None = None
    ours_amount: int | None = None
    theirs_amount: int | None = None
    ours_volume: int | None = None
    theirs_volume: int | None = None
    ours_duration: int | None = None
    theirs_duration: int | None = None
    theirs_party: str | None = None
    theirs_time: str | None = None


class Report(msgspec.Struct, frozen=True):
    """What a reconciliation found.

    as_of: the moment ages are counted to. kinds: all ten, empty ones too; they add up to `ours` and `theirs`.
    breaks: the largest at stake first, at most as many as were asked for; `breaks_in_all` says how many there are.
    notes: what was not compared or not searched, and why.
    """

    as_of: str
    rules: Rules
    ours: Side
    theirs: Side
    kinds: tuple[Tally, ...]
    ageing: tuple[Age, ...]
    breaks_in_all: int
    breaks: tuple[Break, ...]
    notes: tuple[str, ...]
    seconds: float
