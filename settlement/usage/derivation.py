"""How an amount came about: blocks, intervals and events by zone and tier, then rounding, least charge, taxes, cap.

    derivation = derive(tariff, records, escrow=…, renewals=…)
    derivation.charge                # µSDRt, what `rating.charge` takes for these records one by one
    for line in derivation.lines: …  # what each tier of each zone adds
    for step in derivation.steps: …  # from their sum to the charge

Records are those of one request, in the order they are reported in. The two ways of reaching the amount, record by
record and all at once, are compared before anything is told.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import groupby
from typing import Any

from msgspec import UNSET, Struct, structs

from settlement.ledger.messages import UsageRecord
from settlement.money import MAX_AMOUNT
from settlement.usage.grading import (
    Cumulative,
    Tally,
    chargeable_intervals,
    divide,
    net_price,
    rates_of,
    split_scale,
    tax_on,
    tax_within,
)
from settlement.usage.rating import HOUR_MS, MINUTE_MS, Meter, charge
from settlement.usage.tariff import PPM, Bundle, Code, Grading, Metered, Scale, Tariff


class Line(Struct, frozen=True, kw_only=True):
    """What one price contributed: `count` blocks, calls, intervals or messages in a zone (and tier) at `price`.

    `units` of the service are what was counted. `price` and `amount` are µSDRt, exact, as text.
    """

    zone: str
    service: str
    what: str
    count: int
    price: str
    amount: str


class Step(Struct, frozen=True):
    """A step from the lines' sum to the charge: what it is, and the amount after it, µSDRt (exact, as text)."""

    step: str
    how: str
    total: str


class Refusal(Struct, frozen=True):
    """What was not covered: the record's place from 0, why, and how much (units of a bundle, else µSDRt)."""

    record: int
    cause: str
    amount: int


class Derivation(Struct, frozen=True, kw_only=True):
    """An amount with its derivation. `refused`: records, or parts of them, that escrow or allowance did not cover."""

    charge: int
    records: int
    lines: tuple[Line, ...]
    steps: tuple[Step, ...]
    refused: tuple[Refusal, ...]


def derive(
    tariff: Tariff, records: Sequence[UsageRecord], *, escrow: int | None = None, renewals: int = 0
) -> Derivation:
    """Rate the records of one request and tell how. `escrow`: µSDRt; without it all there can be, or a bundle's due.

    A bundle's first period begins with the first record. Raises ValueError for a code, which has no use to rate.
    """
    if isinstance(tariff, Code):
        raise ValueError("a code is paid when it is redeemed: there is no use to rate")
    if isinstance(tariff, Bundle):
        return _derive_bundle(tariff, records, escrow, renewals)
    meter = new_meter(min(MAX_AMOUNT, tariff.cap or MAX_AMOUNT) if escrow is None else escrow)
    refused = tuple(_charge_all(meter, records, tariff))
    graded = structs.replace(tariff, grading=Grading()) if tariff.grading is UNSET else tariff
    everything = meter.cumulative
    if tariff.grading is UNSET or everything is UNSET:  # an empty grading costs what version 1 does, and tells zones
        again = new_meter(MAX_AMOUNT)
        for record in records:
            charge(again, record, graded)
        everything = Cumulative() if again.cumulative is UNSET else again.cumulative
    lines = tuple(line for zone, tally in enumerate(everything.tallies) for line in _zone_lines(tally, graded, zone))
    steps = tuple(_steps(everything, graded, meter))
    assert steps[-1].total == str(meter.charged), f"{steps[-1]} was derived, {meter.charged} charged"
    return Derivation(charge=meter.charged, records=len(records), lines=lines, steps=steps, refused=refused)


def new_meter(escrow: int) -> Meter:
    """The meter of a request with so much escrow, µSDRt, of which nothing was used."""
    marks: dict[str, Any] = {name: 0 for name in Meter.__struct_fields__ if name != "cumulative"}
    return Meter(**marks | {"escrow": escrow})


def _charge_all(meter: Meter, records: Sequence[UsageRecord], tariff: Tariff) -> Iterator[Refusal]:
    for number, record in enumerate(records):
        result = charge(meter, record, tariff)
        if result.cause is not None:
            yield Refusal(number, result.cause, result.refused)


def _zone_lines(tally: Tally, tariff: Metered, zone: int) -> Iterator[Line]:
    grading = tariff.grading
    assert grading is not UNSET
    name = grading.zones[zone - 1].name if zone else "base"
    rates, scales = rates_of(tariff, zone)

    def line(service: str, what: str, count: int, price: int, parts: int) -> Line:
        unit = grading.divisor
        return Line(
            zone=name, service=service, what=what, count=count, price=exact(price, unit), amount=exact(parts, unit)
        )

    def scaled(service: str, scale: Scale, count: int, size: int, unit: str) -> Iterator[Line]:
        reached = split_scale(scale, count, size)
        if scale.method == "back-to-first" and reached:
            reached = [max(reached, key=lambda tier: tier[2])]
        for number, blocks, parts in reached:
            tier = scale.tiers[number]
            what = f"tier {number + 1} ({scale.method}) above {tier.above} {unit}"
            yield line(service, what, blocks, tier.price, parts)

    blocks = -(-tally.octets // tariff.block)
    if scales.data is not None:
        yield from scaled("data", scales.data, blocks, tariff.block, "octets")
    elif blocks:
        what = f"blocks of {tariff.block} octets begun by {tally.octets}"
        yield line("data", what, blocks, rates.block_price, blocks * rates.block_price)
    if scales.voice is not None:
        yield from scaled("voice", scales.voice, chargeable_intervals(tally, tariff), tariff.next_interval, "seconds")
    elif tally.calls:
        first = f"calls, {tariff.first_interval} s first"
        yield line("voice", first, tally.calls, rates.first_price, tally.calls * rates.first_price)
        after = f"intervals of {tariff.next_interval} s after"
        yield line("voice", after, tally.intervals, rates.next_price, tally.intervals * rates.next_price)
    if scales.messages is not None:
        yield from scaled("message", scales.messages, tally.messages, 1, "messages")
    elif tally.messages:
        yield line("message", "messages", tally.messages, rates.event_price, tally.messages * rates.event_price)


def _steps(everything: Cumulative, tariff: Metered, meter: Meter) -> Iterator[Step]:
    grading = tariff.grading
    assert grading is not UNSET
    lines = [line for zone, tally in enumerate(everything.tallies) for line in _zone_lines(tally, tariff, zone)]
    parts = sum((Fraction(line.amount) for line in lines), Fraction(0)) * grading.divisor
    assert parts.denominator == 1
    rounded = divide(int(parts), grading.divisor, grading.rounding)
    yield Step("sum", f"of {len(lines)} lines", exact(int(parts), grading.divisor))
    yield Step("rounded", f"{grading.rounding.value}, to whole µSDRt", str(rounded))
    net = net_price(everything, tariff)
    if net > rounded:
        yield Step("minimum", f"at least {grading.minimum} once anything is used", str(net))
    total = net
    for tax in grading.taxes:
        rate = f"{exact(tax.rate * 100, PPM)} %"
        if tax.inclusive:
            within = tax_within(net, tax, grading.taxes)
            yield Step(f"tax {tax.name}", f"{rate} is within: {within}, rounded {tax.rounding.value}", str(total))
            continue
        added = tax_on(net, tax)
        total += added
        yield Step(f"tax {tax.name}", f"{rate} of {net}: {added}, rounded {tax.rounding.value}", str(total))
    if tariff.cap and total > tariff.cap:
        total = tariff.cap
        yield Step("cap", "what exceeds it is free", str(total))
    if total > meter.charged:
        yield Step("escrow", f"covers no more; {total - meter.charged} beyond it", str(meter.charged))


def _derive_bundle(tariff: Bundle, records: Sequence[UsageRecord], escrow: int | None, renewals: int) -> Derivation:
    start = min((record.start for record in records), default=0) * MINUTE_MS
    meter = new_meter(tariff.price * renewals if escrow is None else max(0, escrow - tariff.price))
    meter.renewals, meter.charged = renewals, tariff.price
    meter.period_ends = start + tariff.hours * HOUR_MS
    meter.limit_octets, meter.limit_seconds, meter.limit_messages = tariff.octets, tariff.seconds, tariff.messages
    refused = tuple(_charge_all(meter, records, tariff))
    renewed = renewals - meter.renewals
    price = str(tariff.price)
    included = f"{tariff.octets} octets, {tariff.seconds} s, {tariff.messages} messages for {tariff.hours} h"
    lines = [Line(zone="base", service="bundle", what=f"first period: {included}", count=1, price=price, amount=price)]
    if renewed:
        amount = str(renewed * tariff.price)
        lines.append(Line(zone="base", service="bundle", what="renewals", count=renewed, price=price, amount=amount))
    steps = (Step("sum", f"of {1 + renewed} periods", str(meter.charged)),)
    return Derivation(charge=meter.charged, records=len(records), lines=tuple(lines), steps=steps, refused=refused)


def exact(parts: int, divisor: int) -> str:
    """`parts / divisor` as it is: a whole number, a decimal fraction where it ends, else a fraction."""
    value = Fraction(parts, divisor)
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    with localcontext(prec=100):
        return format(Decimal(value.numerator) / value.denominator, "f")


def group_requests(records: Sequence[tuple[str, UsageRecord]]) -> dict[str, list[UsageRecord]]:
    """Records by the request (or subscriber) they belong to, in their order."""
    grouped: dict[str, list[UsageRecord]] = {}
    for name, several in groupby(records, key=lambda item: item[0]):
        grouped.setdefault(name, []).extend(record for _, record in several)
    return grouped
