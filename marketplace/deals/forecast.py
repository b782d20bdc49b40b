"""What a deal would cost on past use, and how far a running one is. Pure: the same numbers the ledger's rules come to.

    rated = rate_use(terms, used)                          # past records, priced by a direction's terms
    seen = forecast(directions, balanced, calendar, rated) # cost of each period, commitments and rebates included
    now = measure(deal, period, number, now_ms)            # used against committed, shortfall if nothing more comes

A forecast takes the past use as that of one whole period; a period that the deal's start or end cuts is given the same
part of it, rounded down, as of its commitments. Of the records only those count that the terms cover and sell.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from settlement.ledger.messages import Terms, UsageRecord
from settlement.ledger.settling import Direction
from settlement.ledger.state import Deal, DealPeriod
from settlement.money import MAX_AMOUNT
from settlement.sdr import Rounding, round_whole
from settlement.usage.deals import (
    COMMITMENTS,
    Calendar,
    Commitment,
    Rate,
    Service,
    Traffic,
    bounds,
    part_of,
    periods,
    rebates,
    shortfall,
)
from settlement.usage.rating import MINUTE_MS, Meter, charge, sells
from settlement.usage.tariff import Bundle, Metered

DAY_MS: Final = 86_400_000
Measured = Literal["revenue", "data", "voice", "message"]
PeriodState = Literal["future", "running", "over", "settled"]


class Used(Struct, frozen=True, kw_only=True):
    """A request's use in the past, in the order it was reported: records, and all it was charged, micro-SDRt."""

    request: UUID
    records: tuple[UsageRecord, ...]
    charged_usdr: int


class Rated(Struct, frozen=True, kw_only=True):
    """Past use by a direction's terms. `before_usdr`: what all of it cost. `outside`: records the terms do not cover.

    `unserved`: units that a bundle's allowance and renewals would not have held.
    """

    requests: int = 0
    records: int = 0
    outside: int = 0
    unserved: int = 0
    before_usdr: int = 0
    traffic: Traffic = Traffic()


class DirectionCost(Struct, frozen=True, kw_only=True):
    """What a direction costs its home in one period: charged + shortfall − rebate. `least_usdr`: revenue committed."""

    home: str
    charged_usdr: int
    least_usdr: int
    shortfall_usdr: int
    rebate_usdr: int
    cost_usdr: int


class PeriodCost(Struct, frozen=True, kw_only=True):
    """One period; `part` of a whole one, as 1 or 12/31."""

    number: int
    from_ms: int
    to_ms: int
    part: str
    directions: tuple[DirectionCost, ...]


class Measure(Struct, frozen=True, kw_only=True):
    """Used against committed, for this part of a period: micro-SDRt, or the service's units."""

    what: Measured
    used: int
    committed: int


class DirectionProgress(Struct, frozen=True, kw_only=True):
    """Where a direction is in a period; `shortfall_usdr`: what its home owes if nothing more comes."""

    home: str
    visited: str
    traffic: Traffic
    measures: tuple[Measure, ...]
    shortfall_usdr: int
    rebate_usdr: int


class Progress(Struct, frozen=True, kw_only=True):
    """Where a deal is in a period. `elapsed_percent`: of its time, rounded down. `settled_from_ms`: settled then."""

    number: int
    from_ms: int
    to_ms: int
    part: str
    state: PeriodState
    settled_from_ms: int
    days_left: int
    elapsed_percent: int
    directions: tuple[DirectionProgress, ...]


def rate_use(terms: Terms, used: Sequence[Used]) -> Rated:
    """Price past use by a direction's terms, as if every request had been placed on its offer."""
    traffic = Traffic()
    records = outside = unserved = 0
    for request in used:
        fits = [one for one in request.records if _covers(terms, one)]
        outside += len(request.records) - len(fits)
        records += len(fits)
        if terms.delivery == "code":
            assert not isinstance(terms.tariff, Metered), "rules of offers: codes have a price"
            traffic = traffic if request.records else traffic.add(None, 0, terms.tariff.price)
        elif fits:
            traffic, missing = _rate_request(terms, fits, traffic)
            unserved += missing
    return Rated(
        requests=len(used),
        records=records,
        outside=outside,
        unserved=unserved,
        before_usdr=sum(request.charged_usdr for request in used),
        traffic=traffic,
    )


def _covers(terms: Terms, record: UsageRecord) -> bool:
    return sells(terms.tariff, record.service) and (record.place in terms.plmns or record.place in terms.countries)


def _rate_request(terms: Terms, records: Sequence[UsageRecord], traffic: Traffic) -> tuple[Traffic, int]:
    """The traffic with a request's added, counted as the rules do (`rules.usage`), and units that were not served."""
    tariff, unserved = terms.tariff, 0
    bundle = tariff if isinstance(tariff, Bundle) else None
    meter = Meter(escrow=MAX_AMOUNT, renewals=bundle.renewals if bundle else 0)
    meter = meter.activate(tariff, records[0].start * MINUTE_MS)
    if bundle:
        traffic = traffic.add(None, 0, bundle.price)
    for record in records:
        result = charge(meter, record, tariff)
        if bundle is None:
            traffic = traffic.add(record.service, record.units, result.settled)
            continue
        unserved += result.refused
        traffic = traffic.add(record.service, record.units - result.refused, 0).add(None, 0, result.settled)
    return traffic, unserved


def scale(traffic: Traffic, part: Fraction) -> Traffic:
    """A part of a period's traffic, each number rounded down."""
    return Traffic(*(round_whole(getattr(traffic, name) * part, Rounding.DOWN) for name in Traffic.__struct_fields__))


def forecast(
    directions: Sequence[Direction], balanced: Sequence[Rate], calendar: Calendar, rated: Sequence[Rated]
) -> tuple[PeriodCost, ...]:
    """What each period of a deal would come to, if every whole one had this use; `rated` in the directions' order."""
    costs = []
    for number in range(periods(calendar)):
        part = part_of(calendar, number)
        traffic = [scale(one.traffic, part) for one in rated]
        back = _rebates(balanced, traffic)
        first, end = bounds(calendar, number)
        costs.append(
            PeriodCost(
                number=number,
                from_ms=first,
                to_ms=end,
                part=str(part),
                directions=tuple(
                    _cost(direction, traffic[place], back[place], part) for place, direction in enumerate(directions)
                ),
            )
        )
    return tuple(costs)


def _cost(direction: Direction, traffic: Traffic, back: int, part: Fraction) -> DirectionCost:
    missing = shortfall(direction.revenue, direction.volumes, traffic, part)
    return DirectionCost(
        home=direction.home,
        charged_usdr=traffic.charged,
        least_usdr=round_whole(direction.revenue * part, COMMITMENTS),
        shortfall_usdr=missing,
        rebate_usdr=back,
        cost_usdr=traffic.charged + missing - back,
    )


def measure(deal: Deal, period: DealPeriod, now_ms: int) -> Progress:
    """Where a deal is in a period, at a time."""
    first, end = bounds(deal.calendar, period.number)
    part = part_of(deal.calendar, period.number)
    back = _rebates(deal.balanced, period.traffic)
    state: PeriodState = "future" if now_ms < first else "running" if now_ms < end else "over"
    gone = min(max(now_ms - first, 0), end - first)
    return Progress(
        number=period.number,
        from_ms=first,
        to_ms=end,
        part=str(part),
        state="settled" if period.settled is not None else state,
        settled_from_ms=end + deal.settle_after_days * DAY_MS,
        days_left=-(-(end - first - gone) // DAY_MS),
        elapsed_percent=gone * 100 // (end - first),
        directions=tuple(
            DirectionProgress(
                home=direction.home,
                visited=deal.visited_of(place),
                traffic=period.traffic[place],
                measures=_measures(direction, period.traffic[place], part),
                shortfall_usdr=shortfall(direction.revenue, direction.volumes, period.traffic[place], part),
                rebate_usdr=back[place],
            )
            for place, direction in enumerate(deal.directions)
        ),
    )


def _measures(direction: Direction, traffic: Traffic, part: Fraction) -> tuple[Measure, ...]:
    """Revenue always, and each service that was used or committed to."""
    committed: dict[Service, Commitment] = {one.service: one for one in direction.volumes}
    services: tuple[Service, ...] = ("data", "voice", "message")
    least = round_whole(direction.revenue * part, COMMITMENTS)
    return (
        Measure(what="revenue", used=traffic.charged, committed=least),
        *(
            Measure(
                what=service,
                used=traffic.units(service),
                committed=round_whole(committed[service].units * part, COMMITMENTS) if service in committed else 0,
            )
            for service in services
            if service in committed or traffic.units(service)
        ),
    )


def _rebates(balanced: Sequence[Rate], traffic: Sequence[Traffic]) -> tuple[int, int]:
    if not balanced:
        return 0, 0
    there, here = traffic
    return rebates(balanced, (there, here))
