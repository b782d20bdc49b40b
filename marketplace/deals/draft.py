"""Drafts of deals: what the ledger's rules would refuse is told to whoever wrote it, before anything is sent.

check_draft(new, "alfa", now_ms())                     # raises Refusal
direction = direct(new.directions[0])                  # as it goes to the ledger
"""

from collections.abc import Sequence
from typing import Final

from msgspec import structs

from marketplace.deals.forecast import DAY_MS
from marketplace.deals.schemas import NewDeal, NewDirection
from marketplace.operator_problems import Refusal
from settlement.ledger.ids import new_id
from settlement.ledger.rules import VERSIONS
from settlement.ledger.rules.context import Refused
from settlement.ledger.rules.deals import DEAL_DAYS_MAX
from settlement.ledger.rules.offers import check_terms
from settlement.ledger.settling import Direction
from settlement.usage.deals import MAX_PERIODS, Calendar, Rate, bounds, period_at, periods
from settlement.usage.tariff import Metered

_MONTHS: Final = Calendar(0, 1 << 43, 1)
"""Every month there is: what `last_period` counts in."""
ONE_MONTH: Final = Calendar(*bounds(_MONTHS, 0), 1)
"""A deal of one whole period."""


def last_period(months: int, time_ms: int) -> tuple[int, int]:
    """The last `months` whole calendar months before a time, UTC: milliseconds from, and before."""
    running = period_at(_MONTHS, time_ms)
    return bounds(_MONTHS, running - months)[0], bounds(_MONTHS, running)[0]


def check_draft(new: NewDeal, own: str, time_ms: int) -> None:
    """Refuse what the ledger's rules would refuse of a draft, in words for whoever wrote it. Raises Refusal."""
    if new.partner == own:
        raise Refusal("invalid", f"partner is {new.partner}, this operator itself: a deal is between two")
    homes = [direction.home for direction in new.directions]
    if len(set(homes)) != len(homes) or not set(homes) <= {own, new.partner}:
        told = f"directions have the homes {', '.join(homes)}: name each of {own} and {new.partner} at most once"
        raise Refusal("invalid", told)
    if new.balanced and len(homes) != 2:
        raise Refusal("invalid", "balanced rates are for traffic both ways: give two directions, or leave them out")
    if not new.starts < new.ends:
        raise Refusal("invalid", f"the deal starts at {new.starts} and ends at {new.ends}: end it later")
    reach = DEAL_DAYS_MAX * DAY_MS
    if not time_ms - reach < new.starts < new.ends < time_ms + reach:
        raise Refusal("invalid", f"starts {new.starts} and ends {new.ends} are not within ten years of now")
    if (count := periods(Calendar(new.starts, new.ends, new.months))) > MAX_PERIODS:
        raise Refusal("invalid", f"the deal has {count} periods, at most {MAX_PERIODS}: give more months to a period")
    _require_once("balanced", new.balanced)
    for direction in new.directions:
        _require_once(f"volumes of {direction.home}'s direction", direction.volumes)
        _check_direction(direction, new)


def _require_once(field: str, rates: Sequence[Rate]) -> None:
    services = [rate.service for rate in rates]
    if len(set(services)) != len(services):
        raise Refusal("invalid", f"{field} names the services {', '.join(services)}: each at most once")


def _check_direction(new: NewDirection, deal: NewDeal) -> None:
    terms = new.terms
    if terms.whitelist not in ((), (new.home,)):
        raise Refusal("invalid", f"the whitelist of {new.home}'s direction is {terms.whitelist}: leave it out")
    if terms.valid_until > deal.ends:
        raise Refusal("invalid", f"valid_until is {terms.valid_until}, after the deal's end {deal.ends}")
    if new.credit_limit and not isinstance(terms.tariff, Metered):
        raise Refusal("invalid", f"credit_limit is {new.credit_limit}: only a metered tariff is used beyond its escrow")
    try:
        check_terms(terms, max(VERSIONS))
    except Refused as refused:
        raise Refusal("invalid", f"terms of {new.home}'s direction: {refused}") from None


def direct(new: NewDirection) -> Direction:
    """A direction as it goes to the ledger: its offer has an id and is for its home alone."""
    return Direction(
        home=new.home,
        offer=new_id(),
        terms=structs.replace(new.terms, whitelist=(new.home,)),
        revenue=new.revenue,
        volumes=new.volumes,
        credit_limit=new.credit_limit,
    )
