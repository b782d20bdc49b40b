"""What is asked of a closing, and what is told of it. Amounts are micro-SDRt, times milliseconds since the epoch."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from marketplace.operator_problems import Refusal

MONTH: Final = re.compile(r"([0-9]{4})-([0-9]{2})", re.ASCII)
DAYS: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[/_]([0-9]{4}-[0-9]{2}-[0-9]{2})", re.ASCII)

State = Literal["running", "failed", "done"]


class Span(Struct, frozen=True):
    """A period: entries of `from_ms` ≤ time < `to_ms`. `id` names it in paths, `name` on the ledger."""

    id: str
    name: str
    from_ms: int
    to_ms: int

    @property
    def first(self) -> date:
        """Its first day, UTC."""
        return datetime.fromtimestamp(self.from_ms / 1000, UTC).date()

    @property
    def last(self) -> date:
        """Its last day, UTC."""
        return datetime.fromtimestamp((self.to_ms - 1) / 1000, UTC).date()


class NewClosing(Struct, frozen=True, forbid_unknown_fields=True):
    """A month (`2026-10`) or first and last day (`2026-10-01/2026-10-15`) in UTC; or two moments, the last excluded."""

    period: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def span(self) -> Span:
        """The period it names. Raises Refusal `invalid`."""
        if self.period is None:
            if self.from_ms is None or self.to_ms is None or not 0 <= self.from_ms < self.to_ms:
                raise Refusal("invalid", "name a period, as 2026-10, or from_ms and a later to_ms")
            return _moments(self.from_ms, self.to_ms)
        if self.from_ms is not None or self.to_ms is not None:
            raise Refusal("invalid", "name a period or two moments, not both")
        try:
            if found := MONTH.fullmatch(self.period):
                year, month = int(found[1]), int(found[2])
                first, after = date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
                return Span(self.period, self.period, _begin(first), _begin(after))
            if found := DAYS.fullmatch(self.period):
                first, last = date.fromisoformat(found[1]), date.fromisoformat(found[2])
                if first <= last:
                    return Span(f"{first}_{last}", f"{first}/{last}", _begin(first), _begin(last + timedelta(days=1)))
        except ValueError:
            pass
        raise Refusal("invalid", f"{self.period!r} is no period: write a month as 2026-10, or 2026-10-01/2026-10-15")


def _moments(from_ms: int, to_ms: int) -> Span:
    texts = [
        datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y%m%dT%H%M%S") + f"{ms % 1000:03d}Z"
        for ms in (from_ms, to_ms)
    ]
    named = Span("_".join(texts), "", from_ms, to_ms)
    return Span(named.id, f"{named.first}/{named.last}", from_ms, to_ms)


def _begin(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


class StepView(Struct, frozen=True):
    """One step: `done` of `total` where it counts; `told` is what came of it, in words."""

    name: str
    state: Literal["waiting", "running", "done"]
    done: int
    total: int | None
    told: str


class FileView(Struct, frozen=True):
    """One file, which `name` downloads; `digest` is its SHA-256, `recorded` whether the ledger has it."""

    name: str
    digest: str
    size: int
    recorded: bool


class DocumentView(Struct, frozen=True):
    """A document that a closing made: `amount_usdr` is what it comes to."""

    closing: str
    kind: str
    number: str
    counterparty: str | None
    amount_usdr: int
    issued_on: date
    files: tuple[FileView, ...]


class ClosingView(Struct, frozen=True):
    """A closing and how far it is. `progress` is in per cent of its steps."""

    id: str
    period: str
    from_ms: int
    to_ms: int
    state: State
    progress: int
    steps: tuple[StepView, ...]
    issued_on: date
    done_ms: int | None
    error: str | None


class DraftDocument(Struct, frozen=True):
    """A document as it would be, without a number."""

    kind: str
    counterparty: str | None
    amount_usdr: int


class Draft(Struct, frozen=True):
    """What closing a period would make now; nothing of it was issued or sent."""

    period: str
    from_ms: int
    to_ms: int
    over: bool
    documents: tuple[DraftDocument, ...]
