"""Grading: prices in tiers and zones, with a least charge, named rounding and taxes; as rules version 2 has them.

    tallies = count(tallies, record, call_seconds, tariff)     # what was used, zone by zone
    price(tallies, tariff)                                     # what all of it costs, µSDRt with taxes

A record's charge is the price after it less the price before it (`rating.charge`): a session costs the same however
it is split. All sums are exact: prices are added in 1/divisor µSDRt and rounded once, over all that was used; each
tax is rounded once, over the rounded net amount. Nothing here looks at a clock.
"""

from functools import lru_cache
from typing import Final

from msgspec import UNSET, Struct, structs

from settlement.ledger.messages import UsageRecord
from settlement.sdr import Rounding
from settlement.usage.tariff import DAY, PPM, WEEK, Grading, Metered, Scale, Tax, Window, Zone

THURSDAY: Final = 3 * DAY
"""Minute of the week (from Monday) at which the epoch begins: 1970-01-01 was a Thursday."""
NO_CALL: Final = -1


class Tally(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What was used in one zone: octets, calls begun, next intervals begun beyond the calls' first, messages."""

    octets: int = 0
    calls: int = 0
    intervals: int = 0
    messages: int = 0


class Cumulative(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the row of a request on a graded tariff must keep beside its marks: at most four tallies and a zone.

    A JSON or MessagePack array `[shape, call_zone, [[octets, calls, intervals, messages], …]]`. `shape` is 1: another
    layout has another number. `call_zone`: zone of the call that the last voice record belongs to, -1 before any.
    `tallies`: the week outside the zones first, then the tariff's zones in their order; zones at the end in which
    nothing was used are left out.

    For the rules: give `Request` a field `cumulative: Cumulative | UnsetType = UNSET`, and nothing else; a `Meter`
    reads it and puts it back when it is there. `UNSET` writes no octet, so rows of version 1 stay as they are.
    """

    shape: int = 1
    call_zone: int = NO_CALL
    tallies: tuple[Tally, ...] = ()


def zone_of(record: UsageRecord, grading: Grading) -> int:
    """Number of the zone the record starts in, by its own local time: 0 outside all, else the zone's place from 1."""
    if not grading.zones:
        return 0
    minute = (record.start + record.offset + THURSDAY) % WEEK
    for number, zone in enumerate(grading.zones, 1):
        for start, end in spans_of(zone.windows):
            if start <= minute < end:
                return number
    return 0


@lru_cache(maxsize=1024)
def spans_of(windows: tuple[Window, ...]) -> tuple[tuple[int, int], ...]:
    """Windows as minutes of the week; one that goes on past Sunday's midnight is cut in two."""
    spans = []
    for window in windows:
        length = (window.ends - window.starts) % DAY or DAY
        for day in window.days:
            start = (day - 1) * DAY + window.starts
            spans.append((start, min(start + length, WEEK)))
            if start + length > WEEK:
                spans.append((0, start + length - WEEK))
    return tuple(spans)


def count(
    cumulative: Cumulative, record: UsageRecord, call_seconds: int, tariff: Metered, grading: Grading
) -> Cumulative:
    """Add a record to the tally of its zone. `call_seconds`: length so far of the call it continues, else 0."""
    zone, units, call_zone = zone_of(record, grading), record.units, cumulative.call_zone
    if record.service == "voice":
        zone = call_zone if record.continues and call_zone != NO_CALL else zone
        call_zone = zone
    tallies = list(cumulative.tallies)
    tallies += [Tally()] * (zone + 1 - len(tallies))
    tally = tallies[zone]
    if record.service == "data":
        tally = structs.replace(tally, octets=tally.octets + units)
    elif record.service == "voice":
        begun = bool(call_seconds + units) - bool(call_seconds)
        more = next_intervals(tariff, call_seconds + units) - next_intervals(tariff, call_seconds)
        tally = structs.replace(tally, calls=tally.calls + begun, intervals=tally.intervals + more)
    else:
        tally = structs.replace(tally, messages=tally.messages + units)
    tallies[zone] = tally
    while tallies and not any_use(tallies[-1]):
        tallies.pop()
    return Cumulative(cumulative.shape, call_zone, tuple(tallies))


def any_use(tally: Tally) -> bool:
    """Whether anything was used."""
    return bool(tally.octets or tally.calls or tally.messages)


def next_intervals(tariff: Metered, seconds: int) -> int:
    """How many next intervals a call of so many seconds has begun beyond its first interval."""
    return -(-max(0, seconds - tariff.first_interval) // tariff.next_interval)


def price(cumulative: Cumulative, tariff: Metered) -> int:
    """What all that was used costs, µSDRt with its taxes, before cap and escrow; it never falls as use grows."""
    net = net_price(cumulative, tariff)
    assert tariff.grading is not UNSET
    return net + sum(tax_on(net, tax) for tax in tariff.grading.taxes if not tax.inclusive)


def net_price(cumulative: Cumulative, tariff: Metered) -> int:
    """Price of blocks, intervals and events in all zones, rounded once, at least the minimum if anything was used."""
    grading = tariff.grading
    assert grading is not UNSET
    parts = sum(sum(price_zone(tally, tariff, zone)) for zone, tally in enumerate(cumulative.tallies))
    net = divide(parts, grading.divisor, grading.rounding)
    return max(net, grading.minimum) if any(map(any_use, cumulative.tallies)) else net


def price_zone(tally: Tally, tariff: Metered, zone: int) -> tuple[int, int, int]:
    """Prices of data, voice and messages in one zone, in 1/divisor µSDRt."""
    rates, scales = rates_of(tariff, zone)
    blocks = -(-tally.octets // tariff.block)
    data = blocks * rates.block_price if scales.data is None else price_scale(scales.data, blocks, tariff.block)
    if scales.voice is None:
        voice = tally.calls * rates.first_price + tally.intervals * rates.next_price
    else:
        voice = price_scale(scales.voice, chargeable_intervals(tally, tariff), tariff.next_interval)
    if scales.messages is None:
        messages = tally.messages * rates.event_price
    else:
        messages = price_scale(scales.messages, tally.messages, 1)
    return data, voice, messages


def rates_of(tariff: Metered, zone: int) -> tuple[Metered | Zone, Grading | Zone]:
    """Where prices and where scales of a zone stand."""
    assert tariff.grading is not UNSET
    if not zone:
        return tariff, tariff.grading
    return tariff.grading.zones[zone - 1], tariff.grading.zones[zone - 1]


def chargeable_intervals(tally: Tally, tariff: Metered) -> int:
    """Calls in next intervals, each call's first interval counted whole."""
    return tally.calls * (tariff.first_interval // tariff.next_interval) + tally.intervals


def price_scale(scale: Scale, blocks: int, size: int) -> int:
    """Price of `blocks` of `size` units; the highest it has been on the way there, so that nothing is given back."""
    if scale.method == "back-to-first":
        return max((part for _, _, part in split_scale(scale, blocks, size)), default=0)
    return sum(part for _, _, part in split_scale(scale, blocks, size))


def split_scale(scale: Scale, blocks: int, size: int) -> list[tuple[int, int, int]]:
    """Tiers that were reached, as (number from 0, blocks, price).

    Linear and fixed: the blocks in each tier, prices to be added. Back to first: all blocks up to the tier's end at
    its price, of which the highest is charged.
    """
    reached = []
    for number, tier in enumerate(scale.tiers):
        start = tier.above // size
        if blocks <= start:
            break
        last = number + 1 == len(scale.tiers)
        end = blocks if last else min(blocks, scale.tiers[number + 1].above // size)
        if scale.method == "back-to-first":
            reached.append((number, end, end * tier.price))
        else:
            reached.append((number, end - start, tier.price if scale.method == "fixed" else (end - start) * tier.price))
    return reached


def tax_on(net: int, tax: Tax) -> int:
    """An exclusive tax on a net amount, µSDRt."""
    return divide(net * tax.rate, PPM, tax.rounding)


def tax_within(net: int, tax: Tax, taxes: tuple[Tax, ...]) -> int:
    """How much of an amount with its inclusive taxes is this one, µSDRt."""
    return divide(net * tax.rate, PPM + sum(each.rate for each in taxes if each.inclusive), tax.rounding)


def divide(amount: int, by: int, rounding: Rounding) -> int:
    """`amount / by` as a whole number, exactly rounded. Neither is negative."""
    whole, rest = divmod(amount, by)
    if not rest or rounding is Rounding.DOWN:
        return whole
    if rounding is Rounding.UP or 2 * rest > by:
        return whole + 1
    if 2 * rest == by:
        return whole + 1 if rounding is Rounding.HALF_UP else whole + (whole & 1)
    return whole
