"""A case: one difference with a partner, and everything that ever happened to it. Pure; no clock, no database.

    open ─propose─▶ proposed ─confirm (somebody else)─▶ confirmed ─raise─▶ disputed ─(the ledger)─▶ ended
      ▲  ◀───────────reopen, or the records changed───────────┘
      └─ found again ─ cleared ◀─ a later run of its period no longer finds it

Each decision makes an `Event`; `apply` makes the next case of it, so that a case is its events folded (`replay`) and
the history cannot be less than the whole. Amounts are micro-SDRt, times milliseconds since the epoch.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Meta, Struct, structs

from marketplace.operator_problems import Refusal

State = Literal["open", "cleared", "proposed", "confirmed", "disputed", "ended"]
Resolution = Literal["accept-ours", "accept-theirs", "split", "write-off"]
Reason = Literal[
    "timing",
    "rating",
    "rounding",
    "duplicate",
    "lost-record",
    "wrong-party",
    "out-of-scope",
    "too-small",
    "evidence",
    "agreed-with-partner",
    "other",
]
REASONS: Final[tuple[str, ...]] = get_args(Reason)
RESOLUTIONS: Final[tuple[str, ...]] = get_args(Resolution)
Source = Literal["reconciliation", "evidence"]
What = Literal["found", "found-again", "changed", "cleared", "proposed", "confirmed", "reopened", "disputed", "ledger"]
MAX_TEXT: Final = 2000
"""Characters of an explanation: a page."""
Text = Annotated[str, Meta(max_length=MAX_TEXT)]

AGES: Final = ((30, "0–30"), (60, "31–60"), (90, "61–90"))
"""Days a difference is old, in the steps of an ageing report; then older."""
OLDER: Final = "over 90"
DAY_MS: Final = 86_400_000
LIVE: Final[tuple[State, ...]] = ("open", "proposed", "confirmed", "disputed")
"""States in which a case still asks for something."""


class Sighting(Struct, frozen=True, kw_only=True):
    """A difference as a run or a check found it. `mark` is the same whenever it is found again.

    `basis`: what was compared with what, as `own-records/ledger`. `records`: both sides' fields, or the
    finding, as JSON.
    """

    mark: str
    partner: str
    source: Source
    basis: str
    kind: str
    key: str
    time_ms: int
    request: UUID | None
    at_stake_usdr: int
    ours_usdr: int | None
    theirs_usdr: int | None
    records: dict[str, Any]


class Case(Struct, frozen=True, kw_only=True):
    """A difference and how far it has come. `agreed_usdr`: what the charge should be, by the resolution.

    `award_usdr`: what the last dispute brought; `awarded_usdr`: what all did.
    """

    id: UUID
    mark: str
    partner: str
    source: Source
    basis: str
    kind: str
    key: str
    time_ms: int
    request: UUID | None
    at_stake_usdr: int
    ours_usdr: int | None
    theirs_usdr: int | None
    records: dict[str, Any]
    state: State = "open"
    resolution: Resolution | None = None
    agreed_usdr: int | None = None
    reason: Reason | None = None
    text: str = ""
    proposed_by: str | None = None
    confirmed_by: str | None = None
    dispute: UUID | None = None
    dispute_state: str | None = None
    award_usdr: int | None = None
    awarded_usdr: int = 0
    opened_ms: int = 0
    changed_ms: int = 0
    events: int = 0

    def age_days(self, now_ms: int) -> int:
        """Whole days since the record's own time."""
        return max(0, (now_ms - self.time_ms) // DAY_MS)


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened to a case: who did it, what, and the fields it set."""

    case: UUID
    number: int
    at_ms: int
    by: str
    what: What
    sets: dict[str, Any]


class Proposal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a case should end. `amount_usdr`: with `split` alone, what the charge should be."""

    resolution: Resolution
    reason: Reason
    text: Text = ""
    amount_usdr: Annotated[int, Meta(ge=0)] | None = None


def bucket(days: int) -> str:
    """The step of the ageing report."""
    return next((name for limit, name in AGES if days <= limit), OLDER)


def apply(case: Case, event: Event) -> Case:
    """The case after an event."""
    assert event.case == case.id, "an event of another case"
    assert event.number == case.events + 1, "an event is missing"
    sets = msgspec.to_builtins(structs.asdict(case)) | event.sets
    return msgspec.convert({**sets, "changed_ms": event.at_ms, "events": event.number}, Case)


def replay(events: Sequence[Event]) -> Case:
    """A case from its history alone; the first event opened it."""
    first = events[0]
    assert (first.number, first.what) == (1, "found"), "a history begins with the first sighting"
    fields = {**first.sets, "opened_ms": first.at_ms, "changed_ms": first.at_ms, "events": 1}
    case = msgspec.convert({"id": str(first.case), **fields}, Case)
    for event in events[1:]:
        case = apply(case, event)
    return case


def find(case_id: UUID, sighting: Sighting, *, by: str, at_ms: int) -> Event:
    """A difference that was not seen before opens a case."""
    sets = {**msgspec.to_builtins(sighting), "state": "open"}
    return Event(case=case_id, number=1, at_ms=at_ms, by=by, what="found", sets=sets)


def find_again(case: Case, sighting: Sighting, *, by: str, at_ms: int) -> Event | None:
    """A difference that has a case already: None if nothing is new. Other amounts undo what was proposed on the old."""
    assert case.mark == sighting.mark, "another difference"
    new = msgspec.to_builtins(sighting)
    old = {name: value for name, value in msgspec.to_builtins(case).items() if name in new}
    changed = {name: value for name, value in new.items() if old[name] != value}
    if changed.keys() & {"at_stake_usdr", "ours_usdr", "theirs_usdr"}:
        undone = {} if case.state == "disputed" else _FRESH
        return _next(case, "changed", by, at_ms, {**changed, **undone})
    if case.state == "cleared":
        return _next(case, "found-again", by, at_ms, {**changed, "state": "open"})
    return None


def clear(case: Case, *, by: str, at_ms: int) -> Event | None:
    """A run over the case's period did not find it: one that nobody has taken up is done with."""
    return _next(case, "cleared", by, at_ms, {"state": "cleared"}) if case.state == "open" else None


def propose(case: Case, proposal: Proposal, *, by: str, at_ms: int) -> Event:
    """A member of staff says how it should end. Raises Refusal."""
    _require(case, "open")
    if proposal.reason == "other" and not proposal.text.strip():
        raise Refusal("invalid", "the reason `other` says nothing by itself: add a text")
    sets = {
        "state": "proposed",
        "resolution": proposal.resolution,
        "agreed_usdr": _agree(case, proposal),
        "reason": proposal.reason,
        "text": proposal.text,
        "proposed_by": by,
    }
    return _next(case, "proposed", by, at_ms, sets)


def confirm(case: Case, *, by: str, at_ms: int, text: str = "") -> Event:
    """Another member agrees. Raises Refusal `four-eyes` for the proposer."""
    _require(case, "proposed")
    if by == case.proposed_by:
        raise Refusal("four-eyes", f"{by} proposed this; somebody else must confirm it")
    told = f"{case.text}\n{by}: {text}".strip() if text.strip() else case.text
    return _next(case, "confirmed", by, at_ms, {"state": "confirmed", "confirmed_by": by, "text": told})


def reopen(case: Case, *, by: str, at_ms: int, text: str) -> Event:
    """Any member takes a case up again, and says why. Raises Refusal."""
    _require(case, "proposed", "confirmed", "cleared", "ended")
    if not text.strip():
        raise Refusal("invalid", "say why the case is taken up again: text is empty")
    return _next(case, "reopened", by, at_ms, {**_FRESH, "text": text})


def dispute(case: Case, dispute_id: UUID, *, by: str, at_ms: int) -> Event:
    """A confirmed case is raised on the ledger. Raises Refusal."""
    _require(case, "confirmed")
    sets = {"state": "disputed", "dispute": str(dispute_id), "dispute_state": "raising"}
    return _next(case, "disputed", by, at_ms, sets)


def follow(case: Case, state: str, award_usdr: int, *, at_ms: int, ended: bool) -> Event | None:
    """What the ledger says of the case's dispute; None if it is known. One the ledger rejected is confirmed again."""
    if case.state != "disputed" or case.dispute_state == state:
        return None
    sets: dict[str, Any] = {"dispute_state": state, "award_usdr": award_usdr if ended else None}
    if ended:
        sets |= {"state": "ended", "awarded_usdr": case.awarded_usdr + award_usdr}
    elif state.startswith("refused:"):
        sets |= {"state": "confirmed", "dispute": None}
    return _next(case, "ledger", "ledger", at_ms, sets)


_FRESH: Final[dict[str, Any]] = {
    "state": "open",
    "resolution": None,
    "agreed_usdr": None,
    "reason": None,
    "text": "",
    "proposed_by": None,
    "confirmed_by": None,
}


def _agree(case: Case, proposal: Proposal) -> int:
    ours, theirs = case.ours_usdr or 0, case.theirs_usdr or 0
    if proposal.resolution == "split":
        low, high = sorted((ours, theirs))
        if proposal.amount_usdr is None or not low <= proposal.amount_usdr <= high:
            raise Refusal("invalid", f"a split lies between the two sides' amounts: name one of {low} to {high}")
        return proposal.amount_usdr
    if proposal.amount_usdr is not None:
        raise Refusal("invalid", f"an amount goes with split alone, not with {proposal.resolution}")
    return ours if proposal.resolution == "accept-ours" else theirs


def _require(case: Case, *states: State) -> None:
    if case.state not in states:
        raise Refusal("wrong-state", f"case {case.id} is {case.state}, it must be {' or '.join(states)}")


def _next(case: Case, what: What, by: str, at_ms: int, sets: dict[str, Any]) -> Event:
    return Event(case=case.id, number=case.events + 1, at_ms=at_ms, by=by, what=what, sets=sets)
