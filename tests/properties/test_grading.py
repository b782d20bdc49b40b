"""Graded tariffs: splitting changes no cost, use lowers none, and an independent sum in fractions agrees."""

import math
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.ledger.messages import UsageRecord
from settlement.sdr import Rounding
from settlement.usage.derivation import derive
from settlement.usage.grading import Cumulative, Tally, divide, rates_of, zone_of
from settlement.usage.rating import Meter, charge
from settlement.usage.tariff import (
    DAY,
    WEEK,
    Grading,
    Metered,
    Scale,
    Tariff,
    Tax,
    Tier,
    Window,
    Zone,
    find_fault,
    version_needed,
)

BLOCK, NEXT, FIRST = 100, 6, 30
ESCROW = 2**53 - 1
PYTHON = {
    Rounding.HALF_UP: ROUND_HALF_UP,
    Rounding.HALF_EVEN: ROUND_HALF_EVEN,
    Rounding.UP: ROUND_UP,
    Rounding.DOWN: ROUND_DOWN,
}

prices = st.integers(0, 10**5)


@st.composite
def scales(draw: Any, size: int) -> Scale:
    bounds = sorted(draw(st.sets(st.integers(1, 200), max_size=4)))
    tiers = tuple(Tier(above * size, draw(prices)) for above in (0, *bounds))
    return Scale(draw(st.sampled_from(("linear", "fixed", "back-to-first"))), tiers)


@st.composite
def rates(draw: Any) -> dict[str, Any]:
    data, voice, messages = (draw(st.none() | scales(size)) for size in (BLOCK, NEXT, 1))
    return {
        "block_price": 0 if data else draw(prices),
        "first_price": 0 if voice else draw(prices),
        "next_price": 0 if voice else draw(prices),
        "event_price": 0 if messages else draw(prices),
        "data": data,
        "voice": voice,
        "messages": messages,
    }


windows = st.builds(
    Window,
    days=st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True).map(tuple),
    starts=st.integers(0, DAY - 1),
    ends=st.integers(1, DAY),
).filter(lambda window: window.starts != window.ends)
taxes = st.builds(
    Tax,
    name=st.sampled_from(("VAT", "levy", "city")),
    rate=st.integers(0, 10**6),
    rounding=st.sampled_from(Rounding),
    inclusive=st.booleans(),
)


@st.composite
def graded(draw: Any, cap: bool = True) -> Metered:
    base = draw(rates())
    zones = tuple(
        Zone(name=f"zone-{number}", windows=(draw(windows),), **draw(rates()))
        for number in range(draw(st.integers(0, 3)))
    )
    ceiling = draw(st.integers(0, 10**7)) if cap else 0
    tariff = Metered(
        block=BLOCK,
        first_interval=FIRST,
        next_interval=NEXT,
        **{name: base.pop(name) for name in list(base) if name.endswith("price")},
        cap=ceiling,
        grading=Grading(
            **base,
            zones=zones,
            divisor=draw(st.integers(1, 5000)),
            rounding=draw(st.sampled_from(Rounding)),
            minimum=draw(st.integers(0, ceiling or 10**5)),
            taxes=tuple(draw(st.lists(taxes, max_size=2, unique_by=lambda tax: tax.name))),
        ),
    )
    assert find_fault(tariff) is None
    return tariff


services = st.sampled_from(("data", "voice", "message"))
records = st.builds(
    UsageRecord,
    service=services,
    start=st.integers(29_000_000, 29_000_000 + 2 * WEEK),
    offset=st.integers(-840, 840),
    duration=st.just(0),
    units=st.integers(0, 30_000),
    place=st.just("DE"),
    continues=st.booleans(),
)
sessions = st.lists(records, max_size=12)


def meter(escrow: int = ESCROW) -> Meter:
    marks: dict[str, Any] = dict.fromkeys(Meter.__struct_fields__, 0)
    marks |= {"escrow": escrow, "cumulative": msgspec.UNSET}
    return Meter(**marks)


def cost(used: list[UsageRecord], tariff: Metered, escrow: int = ESCROW) -> tuple[int, Meter]:
    running = meter(escrow)
    return sum(charge(running, record, tariff).settled for record in used), running


@given(graded(), sessions, st.lists(st.integers(1, 30_000), min_size=1, max_size=6), services, st.data())
def test_a_graded_session_costs_the_same_split_or_whole(
    tariff: Metered, before: list[UsageRecord], parts: list[int], service: Any, data: Any
) -> None:
    start = data.draw(st.integers(29_000_000, 29_000_000 + WEEK))
    later = data.draw(st.integers(0, 600)) if service == "voice" else 0  # a call stays in the zone it began in
    pieces = [
        UsageRecord(service, start + number * later, 0, 0, units, "DE", number > 0)
        for number, units in enumerate(parts)
    ]
    whole = UsageRecord(service, start, 0, 0, sum(parts), "DE")
    assert cost([*before, *pieces], tariff) == cost([*before, whole], tariff)


@given(graded(cap=False), sessions)
def test_the_charges_agree_with_an_independent_sum_in_fractions(tariff: Metered, used: list[UsageRecord]) -> None:
    assert cost(used, tariff)[0] == expected(used, tariff)


@given(graded(), sessions, st.integers(0, 10**7))
def test_use_never_lowers_a_cost_nor_raises_it_past_cap_and_escrow(
    tariff: Metered, used: list[UsageRecord], escrow: int
) -> None:
    running = meter(escrow)
    for record in used:
        result = charge(running, record, tariff)
        assert result.settled >= 0
        assert result.refused >= 0
        assert running.charged + running.escrow == escrow
        assert running.escrow >= 0
        assert not tariff.cap or running.charged <= tariff.cap


@given(graded(), sessions)
def test_what_a_request_must_keep_survives_being_stored(tariff: Metered, used: list[UsageRecord]) -> None:
    kept = cost(used, tariff)[1].cumulative
    if used:
        assert isinstance(kept, Cumulative)
        assert len(kept.tallies) <= 4
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=Cumulative) == kept
        assert not kept.tallies or kept.tallies[-1] != Tally()


@given(graded(), sessions)
def test_records_cost_the_same_in_one_report_or_in_many(tariff: Metered, used: list[UsageRecord]) -> None:
    running = meter()
    for record in used:
        running.priced = -1  # as a meter read from its request stands
        charge(running, record, tariff)
    assert running.charged == cost(used, tariff)[0]


@given(rates(), sessions)
def test_an_empty_grading_costs_what_version_1_does(prices: dict[str, Any], used: list[UsageRecord]) -> None:
    plain = Metered(
        block=BLOCK,
        first_interval=FIRST,
        next_interval=NEXT,
        **{name: value for name, value in prices.items() if name.endswith("price")},
    )
    graded = msgspec.structs.replace(plain, grading=Grading())
    assert cost(used, graded)[0] == cost(used, plain)[0]
    assert (version_needed(plain), version_needed(graded)) == (1, 2)


@given(graded(), sessions, st.integers(0, 10**7))
def test_a_derivation_ends_in_what_is_charged(tariff: Metered, used: list[UsageRecord], escrow: int) -> None:
    plain = msgspec.structs.replace(tariff, grading=msgspec.UNSET)
    for each in (tariff, plain):
        derivation = derive(each, used, escrow=escrow)
        assert derivation.charge == cost(used, each, escrow)[0]
        assert Fraction(derivation.steps[0].total) == sum(Fraction(line.amount) for line in derivation.lines)


@given(records, windows)
def test_a_zone_is_found_by_the_calendar_of_the_place(record: UsageRecord, window: Window) -> None:
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=record.start + record.offset)
    minute = local.hour * 60 + local.minute
    if window.starts < window.ends:
        inside = local.isoweekday() in window.days and window.starts <= minute < window.ends
    else:
        today = local.isoweekday() in window.days and minute >= window.starts
        yesterday = (local - timedelta(days=1)).isoweekday() in window.days and minute < window.ends
        inside = today or yesterday
    assert zone_of(record, Grading(zones=(Zone(name="z", windows=(window,)),))) == int(inside)


@given(st.integers(0, 2**100), st.integers(1, 10**9), st.sampled_from(Rounding))
def test_rounding_is_what_its_name_says(amount: int, by: int, rounding: Rounding) -> None:
    with localcontext(prec=200):
        assert divide(amount, by, rounding) == (Decimal(amount) / by).quantize(Decimal(1), PYTHON[rounding])


@given(graded())
def test_a_tariff_reads_back_as_it_was_written(tariff: Metered) -> None:
    assert msgspec.json.decode(msgspec.json.encode(tariff), type=Tariff) == tariff


def expected(used: list[UsageRecord], tariff: Metered) -> int:
    """Price of all records in another way: units gathered by zone, every block looked up in its tier, in fractions."""
    grading = tariff.grading
    assert grading is not msgspec.UNSET
    octets: dict[int, int] = {}
    messages: dict[int, int] = {}
    calls: list[list[int]] = []  # zone, seconds
    for record in used:
        zone = zone_of(record, grading)
        if record.service == "data":
            octets[zone] = octets.get(zone, 0) + record.units
        elif record.service == "message":
            messages[zone] = messages.get(zone, 0) + record.units
        elif record.continues and calls:
            calls[-1][1] += record.units
        else:
            calls.append([zone, record.units])
    total = Fraction(0)
    for number in range(1 + len(grading.zones)):
        rates, scale_of = rates_of(tariff, number)
        blocks = math.ceil(Fraction(octets.get(number, 0), tariff.block))
        talked = [seconds for zone, seconds in calls if zone == number and seconds]
        beyond = sum(math.ceil(Fraction(max(0, seconds - FIRST), NEXT)) for seconds in talked)
        total += look_up(scale_of.data, blocks, BLOCK) if scale_of.data else blocks * rates.block_price
        if scale_of.voice:
            total += look_up(scale_of.voice, len(talked) * (FIRST // NEXT) + beyond, NEXT)
        else:
            total += len(talked) * rates.first_price + beyond * rates.next_price
        sent = messages.get(number, 0)
        total += look_up(scale_of.messages, sent, 1) if scale_of.messages else sent * rates.event_price
    anything = any(octets.values()) or any(messages.values()) or any(seconds for _, seconds in calls)
    net = round_fraction(total / grading.divisor, grading.rounding)
    net = max(net, grading.minimum) if anything else net
    return net + sum(
        round_fraction(Fraction(net * tax.rate, 10**6), tax.rounding) for tax in grading.taxes if not tax.inclusive
    )


def look_up(scale: Scale, blocks: int, size: int) -> int:
    """Block by block: the tier a block is in is the last that begins below its end."""
    highest = running = 0
    entered: set[int] = set()
    for block in range(1, blocks + 1):
        tier = max(number for number, each in enumerate(scale.tiers) if each.above < block * size)
        price = scale.tiers[tier].price
        if scale.method == "linear":
            running += price
        elif scale.method == "fixed":
            running += 0 if tier in entered else price
            entered.add(tier)
        else:
            running = block * price
        highest = max(highest, running)
    return highest


def round_fraction(value: Fraction, rounding: Rounding) -> int:
    with localcontext(prec=200):
        return int((Decimal(value.numerator) / value.denominator).quantize(Decimal(1), PYTHON[rounding]))


@pytest.mark.parametrize(
    ("tariff", "told"),
    [
        (Metered(block_price=1, grading=Grading(data=Scale("linear", (Tier(0, 1),)))), "has a price of 1 and tiers"),
        (Metered(grading=Grading(data=Scale("linear", (Tier(1024, 1),)))), "must begin at 0"),
        (Metered(grading=Grading(data=Scale("linear", (Tier(0, 1), Tier(1000, 1))))), "no multiple of 1024"),
        (Metered(grading=Grading(data=Scale("linear", (Tier(0, 1), Tier(0, 1))))), "and rise"),
        (Metered(next_interval=7, grading=Grading(voice=Scale("fixed", (Tier(0, 1),)))), "must be a multiple of 7"),
        (Metered(cap=5, grading=Grading(minimum=6)), "more than the cap"),
        (Metered(grading=Grading(zones=(Zone(name="base", windows=(Window((1,), 0, 1),)),))), "none is 'base'"),
        (Metered(grading=Grading(zones=(Zone(name="z", windows=(Window((1,), 9, 9),)),))), "is empty"),
        (Metered(grading=Grading(taxes=(Tax(name="VAT", rate=1), Tax(name="VAT", rate=2)))), "name of its own"),
    ],
)
def test_a_tariff_that_means_nothing_is_told_why(tariff: Metered, told: str) -> None:
    assert told in (find_fault(tariff) or "")
