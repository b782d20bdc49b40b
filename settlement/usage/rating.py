"""Rating: what records cost, as the difference of cumulative prices, in exact integers.

    charge = price(cumulative after) - price(cumulative before)

so how a session is split into records never changes its cost. A caller takes a request's `Meter`, gives it records
one by one with `charge()`, and puts the meter back into the request. No clock, no I/O, no floats.

A tariff with a grading (tiers, zones, taxes …; rules version 2) is counted and priced by `settlement.usage.grading`;
all others as in version 1.
"""

from typing import Final, Literal

from msgspec import UNSET, Struct, UnsetType, structs

from settlement.ledger.messages import UsageRecord
from settlement.ledger.state import Request
from settlement.usage.grading import Cumulative, count, price
from settlement.usage.tariff import Bundle, Grading, Metered, Tariff

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000

Cause = Literal["allowance-exhausted", "beyond-escrow"]


class Meter(Struct, kw_only=True):
    """The running part of a request (see `Request` for units): what records move.

    `cumulative`: what a graded tariff counts, zone by zone; UNSET with any other. `priced`: what all of that costs,
    once it was worked out, else -1: the next record's "before" is this one's "after".
    """

    escrow: int
    charged: int = 0
    renewals: int
    period_ends: int = 0
    used_octets: int = 0
    used_seconds: int = 0
    used_messages: int = 0
    limit_octets: int = 0
    limit_seconds: int = 0
    limit_messages: int = 0
    call_seconds: int = 0
    cumulative: Cumulative | UnsetType = UNSET
    priced: int = -1

    @classmethod
    def read(cls, request: Request) -> "Meter":
        """The request's marks as they stand."""
        return cls(**{field: getattr(request, field) for field in _MARKS})

    def activate(self, tariff: Tariff, at_ms: int) -> "Meter":
        """Move it as a request's activation does; this meter, as it is then.

        A price is paid from escrow, and a bundle's first period begins at `at_ms`, milliseconds since the epoch.
        """
        if isinstance(tariff, Metered):
            return self
        self.escrow -= tariff.price
        self.charged = tariff.price
        if isinstance(tariff, Bundle):
            self.period_ends = at_ms + tariff.hours * HOUR_MS
            self.limit_octets = tariff.octets
            self.limit_seconds = tariff.seconds
            self.limit_messages = tariff.messages
        return self

    def put_back(self, request: Request) -> Request:
        """The request with the marks moved to where the meter stands."""
        return structs.replace(request, **{field: getattr(self, field) for field in _MARKS})


_MARKS: Final = tuple(field for field in Meter.__struct_fields__ if field in Request.__struct_fields__)


class Charge(Struct, frozen=True):
    """One record's end: `settled` micro-SDRt moved; `refused`, with `cause`, is units of a bundle, micro-SDRt of a
    metered offer.
    """

    settled: int
    refused: int = 0
    cause: Cause | None = None


def charge(meter: Meter, record: UsageRecord, tariff: Tariff) -> Charge:
    """Price one record and move the meter."""
    if isinstance(tariff, Bundle):
        return charge_bundle(meter, record, tariff)
    if isinstance(tariff, Metered):
        return charge_metered(meter, record, tariff)
    raise AssertionError("a code is redeemed, not used: the rules refuse its records before rating")


def started(units: int, block: int) -> int:
    """How many blocks `units` have started."""
    return -(-units // block)


def call_price(tariff: Metered, seconds: int) -> int:
    """Price of one voice call of so many seconds: the first interval, then the next ones; 0 for no call."""
    if seconds <= 0:
        return 0
    rest = max(0, seconds - tariff.first_interval)
    return tariff.first_price + started(rest, tariff.next_interval) * tariff.next_price


def charge_metered(meter: Meter, record: UsageRecord, tariff: Metered) -> Charge:
    """Charge by blocks, intervals or events. The cap frees what exceeds it; the escrow limits (`beyond-escrow`)."""
    units = record.units
    if tariff.grading is not UNSET:
        due = advance(meter, record, tariff, tariff.grading)
    elif record.service == "data":
        before = meter.used_octets
        meter.used_octets = before + units
        due = (started(before + units, tariff.block) - started(before, tariff.block)) * tariff.block_price
    elif record.service == "voice":
        before = meter.call_seconds if record.continues else 0
        meter.call_seconds = before + units
        meter.used_seconds += units
        due = call_price(tariff, before + units) - call_price(tariff, before)
    else:
        meter.used_messages += units
        due = units * tariff.event_price
    if tariff.cap:
        due = min(due, tariff.cap - meter.charged)
    settled = min(due, meter.escrow)
    meter.escrow -= settled
    meter.charged += settled
    return Charge(settled) if settled == due else Charge(settled, due - settled, "beyond-escrow")


def advance(meter: Meter, record: UsageRecord, tariff: Metered, grading: Grading) -> int:
    """Count a record on a graded tariff; returns by how much the price of all that was used has grown."""
    before = Cumulative() if meter.cumulative is UNSET else meter.cumulative
    call_seconds = meter.call_seconds if record.continues and record.service == "voice" else 0
    after = count(before, record, call_seconds, tariff, grading)
    if record.service == "data":
        meter.used_octets += record.units
    elif record.service == "voice":
        meter.call_seconds = call_seconds + record.units
        meter.used_seconds += record.units
    else:
        meter.used_messages += record.units
    earlier = price(before, tariff) if meter.priced < 0 else meter.priced
    meter.cumulative, meter.priced = after, price(after, tariff)
    return meter.priced - earlier


def charge_bundle(meter: Meter, record: UsageRecord, tariff: Bundle) -> Charge:
    """Take from the allowance, renewing while the request wants it and its escrow covers it.

    After the period's end a renewal starts a new period at the record and what was left of the old one is lost;
    before it, renewals top the allowance up and lengthen the period. What is left over is refused, in units.
    """
    if not record.units:  # no use, so no period begins
        return Charge(0)
    start = record.start * MINUTE_MS
    charged = meter.charged
    if start >= meter.period_ends:
        if not affordable(meter, tariff):
            return Charge(0, record.units, "allowance-exhausted")
        meter.limit_octets, meter.limit_seconds, meter.limit_messages = (
            meter.used_octets,
            meter.used_seconds,
            meter.used_messages,
        )
        meter.period_ends = start
        renew(meter, tariff, 1)
    included, used, limit = allowance(meter, record, tariff)
    if included and used + record.units > limit:
        wanted = started(used + record.units - limit, included)
        renew(meter, tariff, min(wanted, affordable(meter, tariff)))
        included, used, limit = allowance(meter, record, tariff)
    taken = min(record.units, limit - used)
    if record.service == "data":
        meter.used_octets += taken
    elif record.service == "voice":
        meter.used_seconds += taken
    else:
        meter.used_messages += taken
    settled = meter.charged - charged
    if taken == record.units:
        return Charge(settled)
    return Charge(settled, record.units - taken, "allowance-exhausted")


def affordable(meter: Meter, tariff: Bundle) -> int:
    """How many more periods the request wants and its escrow pays."""
    return min(meter.renewals, meter.escrow // tariff.price) if tariff.price else meter.renewals


def renew(meter: Meter, tariff: Bundle, periods: int) -> None:
    """Pay `periods` periods from the escrow and add them to allowance and time."""
    meter.escrow -= periods * tariff.price
    meter.charged += periods * tariff.price
    meter.renewals -= periods
    meter.period_ends += periods * tariff.hours * HOUR_MS
    meter.limit_octets += periods * tariff.octets
    meter.limit_seconds += periods * tariff.seconds
    meter.limit_messages += periods * tariff.messages


def allowance(meter: Meter, record: UsageRecord, tariff: Bundle) -> tuple[int, int, int]:
    """(included a period, used, limit) of the record's service, in its units."""
    if record.service == "data":
        return tariff.octets, meter.used_octets, meter.limit_octets
    if record.service == "voice":
        return tariff.seconds, meter.used_seconds, meter.limit_seconds
    return tariff.messages, meter.used_messages, meter.limit_messages


def sells(tariff: Tariff, service: str) -> bool:
    """Whether the tariff sells the service: a bundle what it includes, a metered tariff all, a code none."""
    if isinstance(tariff, Metered):
        return True
    if isinstance(tariff, Bundle):
        return {"data": tariff.octets, "voice": tariff.seconds, "message": tariff.messages}[service] > 0
    return False
