"""What staff say and see of deals. Amounts are micro-SDRt, times milliseconds since the epoch."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from marketplace.deals.forecast import PeriodCost, Progress, Rated
from marketplace.wholesale.schemas import Policy
from settlement.ledger.messages import OperatorId, Terms, Time
from settlement.ledger.settling import Direction
from settlement.ledger.state import Obligation
from settlement.usage.deals import MAX_PERIODS, Commitment, Rate
from settlement.usage.tariff import Amount


class NewDirection(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `home` may order of the other, and what it commits to for each whole period.

    `terms`: of an offer; its whitelist is `home`, and may be left out. `revenue`: the least charge.
    """

    home: OperatorId
    terms: Terms
    revenue: Amount = 0
    volumes: Annotated[tuple[Commitment, ...], Meta(max_length=3)] = ()
    credit_limit: Amount = 0


class NewDeal(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A deal to propose to `partner`, who may answer for `answer_days` or `until`.

    `policy`: what becomes of requests on what this operator sells under it: answered at once, or held for staff.
    """

    partner: OperatorId
    directions: Annotated[tuple[NewDirection, ...], Meta(min_length=1, max_length=2)]
    balanced: Annotated[tuple[Rate, ...], Meta(max_length=3)] = ()
    starts: Time
    ends: Time
    months: Annotated[int, Meta(ge=1, le=12)] = 1
    settle_after_days: Annotated[int, Meta(ge=0, le=90)] = 0
    due_days: Annotated[int, Meta(ge=0, le=366)] = 30
    answer_days: Annotated[int, Meta(ge=1, le=90)] = 14
    until: Time | None = None
    policy: Policy = "auto"


class Consenting(Struct, frozen=True, forbid_unknown_fields=True):
    """`policy`: as of `NewDeal`, for what the consenting operator sells."""

    policy: Policy = "auto"


class Settling(Struct, frozen=True, forbid_unknown_fields=True):
    """Which period to settle, from 0; absent: every one that is over and not settled."""

    period: Annotated[int, Meta(ge=0, lt=MAX_PERIODS)] | None = None


DealStatus = Literal["proposing", "proposed", "agreed", "dropped", "rejected"]


class DealView(Struct, frozen=True, kw_only=True):
    """A deal of this operator's. `state`: proposing until the ledger has taken it (or rejected), proposed, then agreed
    or dropped; `cause` why. `leaf`: of the entry that proposed, which a consent cites. `asked`: it waits for us.
    """

    id: UUID
    proposer: str
    partner: str
    state: DealStatus
    cause: str | None
    asked: bool
    leaf: str | None
    policy: Policy
    proposed_by: str | None
    answered_by: str | None
    directions: tuple[Direction, ...]
    balanced: tuple[Rate, ...]
    starts: int
    ends: int
    months: int
    settle_after_days: int
    due_days: int
    until_ms: int


class Credit(Struct, frozen=True, kw_only=True):
    """What a direction's home owes now for use beyond escrow, and how much it may."""

    home: str
    used_usdr: int
    limit_usdr: int


class DealProgress(Struct, frozen=True, kw_only=True):
    """A deal with what it has come to. `now`: the number of the period that runs; the first before, the last after."""

    deal: DealView
    now: int = 0
    credit: tuple[Credit, ...] = ()
    periods: tuple[Progress, ...] = ()
    obligations: tuple[Obligation, ...] = ()


class DirectionForecast(Struct, frozen=True, kw_only=True):
    """A direction over the whole deal: what its use cost in the past, and what its home would pay under the deal."""

    home: str
    visited: str
    past: Rated
    whole_period_usdr: int
    cost_usdr: int
    shortfall_usdr: int
    rebate_usdr: int


class Forecast(Struct, frozen=True, kw_only=True):
    """What a deal would cost if every whole period had the use of `from_ms` to before `to_ms`."""

    partner: str
    from_ms: int
    to_ms: int
    directions: tuple[DirectionForecast, ...]
    periods: tuple[PeriodCost, ...]
