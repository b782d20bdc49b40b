"""What is asked of agreeing and what it tells. Amounts are micro-SDRt, times milliseconds since the epoch."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from marketplace.agreeing.model import Case, Event, Text
from settlement.ledger.messages import Cause, Digest, OperatorId
from settlement.money import MAX_AMOUNT
from settlement.reconciliation import Report, Rules

Origin = Literal["ledger", "own-records", "file"]


class NewRun(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A reconciliation to make. `period`: 2026-10, or 2026-10-01/2026-10-15. `ours`, `theirs`: digests of uploads.

    Without `theirs`, theirs is what the ledger settled between the two. Without `ours`, ours is the own records taken
    in; or, when `theirs` is a file, what the ledger settled.
    """

    partner: OperatorId
    period: Annotated[str, Meta(max_length=32)]
    ours: Digest | None = None
    theirs: Digest | None = None
    rules: Rules = Rules()


class SourceView(Struct, frozen=True, kw_only=True):
    """Where a side's records came from. `outside`: how many of its records are not in the period, and left out."""

    origin: Origin
    name: str
    digest: str | None = None
    records: int = 0
    outside: int = 0


class Upload(Struct, frozen=True):
    """A file taken in; the same octets again are the same file."""

    digest: str
    name: str
    records: int


class AgeLine(Struct, frozen=True):
    """Cases that still ask for something, so many days old, by state."""

    days: str
    cases: int
    open: int
    proposed: int
    confirmed: int
    disputed: int
    at_stake_usdr: int


class RunView(Struct, frozen=True, kw_only=True):
    """A run: counts and sums of every class add up to the input. `cases`: of its breaks; `opened`: of these are new."""

    id: UUID
    partner: str
    period: str
    from_ms: int
    to_ms: int
    made_by: str
    made_ms: int
    ours: SourceView
    theirs: SourceView
    report: Report
    cases: int
    opened: int = 0
    cleared: int = 0
    ageing: tuple[AgeLine, ...] = ()


class CaseView(Struct, frozen=True):
    """A case as it is now, its age, and its bucket."""

    case: Case
    age_days: int
    days: str


class CaseHistory(Struct, frozen=True):
    """A case with everything that happened to it."""

    case: Case
    age_days: int
    days: str
    history: tuple[Event, ...]


class Said(Struct, frozen=True, forbid_unknown_fields=True):
    """What a member of staff says with a decision."""

    text: Text = ""


class NewDispute(Struct, frozen=True, forbid_unknown_fields=True):
    """What to dispute of a confirmed case: by default all that was charged beyond what was agreed."""

    amount_usdr: Annotated[int, Meta(ge=1, le=MAX_AMOUNT)] | None = None
    cause: Cause | None = None


class OnItsWay(Struct, frozen=True):
    """A message to the ledger: its answer stands in the outbox, and in the dispute."""

    message: UUID
