"""Deals: what two operators' traffic comes to at the end of a period. Pure arithmetic in exact integers.

    first, last = bounds(calendar, number)                     # a period, milliseconds
    part = part_of(calendar, number)                           # how much of a whole one it is
    due = shortfall(direction, traffic, part)                  # what home owes for what it did not send
    back = rebates(balanced, (traffic_there, traffic_back))    # what balanced traffic cost too much

Periods are calendar months (or several) in UTC, cut at the deal's start and end; commitments count for the part of a
period that there is, rounded down. What was charged as it was used stays charged: a period only adds to it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final, Literal

from msgspec import Struct

from settlement.sdr import Rounding, round_whole
from settlement.usage.tariff import Amount, Interval, Units

MAX_PERIODS: Final = 36
"""Periods of a deal: three years of months. Longer ones settle by the quarter or year, or are agreed anew."""
COMMITMENTS: Final = Rounding.DOWN
"""How a commitment for a part of a period becomes whole: in favour of who committed."""
REPRICED: Final = Rounding.DOWN
"""How what the balanced part of a service's traffic was charged becomes whole: in favour of who was paid."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Service = Literal["data", "voice", "message"]


class Rate(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`price` in micro-SDRt for each started `block` of a service's units: octets, seconds of voice, messages."""

    service: Service
    block: Interval = 1
    price: Amount

    def of(self, units: int) -> int:
        """What so many units cost."""
        return -(-units // self.block) * self.price


class Commitment(Rate, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Home sends at least `units` of a service a period, or pays `price` for each started block that is missing."""

    units: Interval


class Calendar(Struct, frozen=True):
    """When a deal runs, milliseconds since the epoch, from `starts` to before `ends`, and `months` of a period."""

    starts: int
    ends: int
    months: int


class Traffic(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What was used in one direction of a deal in one period, and what was charged for it, micro-SDRt.

    `octets`, `seconds`, `messages`: units that were served. `charged_*`: for them, one by one. `charged`: for all, with
    the prices of bundles and codes. A direction's home committed; its visited was paid.
    """

    octets: Units = 0
    seconds: Units = 0
    messages: Units = 0
    charged_octets: Amount = 0
    charged_seconds: Amount = 0
    charged_messages: Amount = 0
    charged: Amount = 0

    def units(self, service: Service) -> int:
        """Units of a service."""
        return {"data": self.octets, "voice": self.seconds, "message": self.messages}[service]

    def charged_for(self, service: Service) -> int:
        """What a service's units were charged."""
        return {"data": self.charged_octets, "voice": self.charged_seconds, "message": self.charged_messages}[service]

    def add(self, service: Service | None, units: int, charged: int) -> "Traffic":
        """With more: units of a service and what they were charged one by one, or (None) a fixed price."""
        return Traffic(
            self.octets + (units if service == "data" else 0),
            self.seconds + (units if service == "voice" else 0),
            self.messages + (units if service == "message" else 0),
            self.charged_octets + (charged if service == "data" else 0),
            self.charged_seconds + (charged if service == "voice" else 0),
            self.charged_messages + (charged if service == "message" else 0),
            self.charged + charged,
        )


def periods(calendar: Calendar) -> int:
    """How many periods a deal has; the first and last may be cut."""
    last = _month_of(calendar.ends - 1) - _month_of(calendar.starts)
    return last // calendar.months + 1


def period_at(calendar: Calendar, time: int) -> int:
    """Number of the period that a time falls in; before the deal the first, after it the last."""
    time = min(max(time, calendar.starts), calendar.ends - 1)
    return (_month_of(time) - _month_of(calendar.starts)) // calendar.months


def bounds(calendar: Calendar, number: int) -> tuple[int, int]:
    """First millisecond of a period and the first after it."""
    first, end = _whole(calendar, number)
    return max(first, calendar.starts), min(end, calendar.ends)


def part_of(calendar: Calendar, number: int) -> Fraction:
    """How much of a whole period it is: 1, or less where the deal's start or end cuts it."""
    (first, end), (whole_first, whole_end) = bounds(calendar, number), _whole(calendar, number)
    return Fraction(end - first, whole_end - whole_first)


def shortfall(revenue: int, volumes: Sequence[Commitment], traffic: Traffic, part: Fraction) -> int:
    """What home owes visited, micro-SDRt, because it sent less than it committed to.

    `revenue`: the least charge of a whole period. Where revenue and volumes were both committed to, the larger of the
    two shortfalls is owed, not both: one traffic would have met both.
    """
    by_revenue = max(0, round_whole(revenue * part, COMMITMENTS) - traffic.charged)
    by_volume = 0
    for commitment in volumes:
        least = round_whole(commitment.units * part, COMMITMENTS)
        by_volume += commitment.of(max(0, least - traffic.units(commitment.service)))
    return max(by_revenue, by_volume)


def rebates(balanced: Sequence[Rate], traffic: tuple[Traffic, Traffic]) -> tuple[int, int]:
    """What each direction's visited operator gives back for balanced traffic, micro-SDRt.

    Of each service as many units as both directions have are balanced: they cost the balanced rate. Their part of what
    was charged is in proportion to units; what exceeds the balanced rate is given back, and never less than nothing.
    """
    back = [0, 0]
    for rate in balanced:
        matched = min(each.units(rate.service) for each in traffic)
        for place, each in enumerate(traffic):
            if matched:
                share = Fraction(each.charged_for(rate.service) * matched, each.units(rate.service))
                back[place] += max(0, round_whole(share, REPRICED) - rate.of(matched))
    return back[0], back[1]


def _whole(calendar: Calendar, number: int) -> tuple[int, int]:
    first = _month_of(calendar.starts) + number * calendar.months
    return _month_begins(first), _month_begins(first + calendar.months)


def _month_of(time: int) -> int:
    day = EPOCH + timedelta(milliseconds=time)
    return day.year * 12 + day.month - 1


def _month_begins(month: int) -> int:
    year, rest = divmod(month, 12)
    return (datetime(year, rest + 1, 1, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)
