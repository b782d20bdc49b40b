"""Deal arithmetic: periods tile the deal, commitments shrink with their part, rebates stay within what was paid."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from settlement.usage.deals import (
    Calendar,
    Commitment,
    Rate,
    Traffic,
    bounds,
    part_of,
    period_at,
    periods,
    rebates,
    shortfall,
)

DAY = 86_400_000
OCT_2026 = 1_790_812_800_000
"""2026-10-01T00:00Z."""

calendars = st.builds(
    lambda starts, length, months: Calendar(starts, starts + length, months),
    st.integers(0, 4_000_000_000_000),
    st.integers(1, 3 * 366 * DAY),
    st.integers(1, 12),
)
services = st.sampled_from(("data", "voice", "message"))
small = st.integers(0, 10_000)
traffics = st.builds(Traffic, small, small, small, small, small, small, small)
rates = st.lists(st.builds(Rate, service=services, block=st.integers(1, 100), price=st.integers(0, 50)), max_size=3)
commitments = st.builds(
    Commitment, service=services, block=st.integers(1, 100), price=st.integers(0, 50), units=st.integers(1, 20_000)
)
parts = st.fractions(0, 1)


@given(calendars)
def test_periods_follow_each_other_from_the_first_to_the_last_millisecond(calendar: Calendar) -> None:
    at = calendar.starts
    for number in range(periods(calendar)):
        first, end = bounds(calendar, number)
        assert first == at < end
        assert period_at(calendar, first) == period_at(calendar, end - 1) == number
        assert 0 < part_of(calendar, number) <= 1
        at = end
    assert at == calendar.ends


@given(calendars, st.integers(0, 5_000_000_000_000))
def test_every_time_has_a_period(calendar: Calendar, time: int) -> None:
    number = period_at(calendar, time)
    assert 0 <= number < periods(calendar)
    first, end = bounds(calendar, number)
    if calendar.starts <= time < calendar.ends:
        assert first <= time < end


def test_a_deal_from_mid_october_has_half_an_october() -> None:
    calendar = Calendar(OCT_2026 + 31 * DAY // 2, OCT_2026 + 61 * DAY, 1)
    assert periods(calendar) == 2
    assert part_of(calendar, 0) == Fraction(1, 2)
    assert bounds(calendar, 1) == (OCT_2026 + 31 * DAY, OCT_2026 + 61 * DAY)
    assert part_of(calendar, 1) == 1
    assert periods(Calendar(OCT_2026, OCT_2026 + 92 * DAY, 3)) == 1


def test_a_shortfall_is_what_is_missing_of_the_part_rounded_down() -> None:
    sent = Traffic(octets=700, charged=30)
    data = Commitment(service="data", block=100, price=7, units=1_001)
    assert shortfall(101, (), sent, Fraction(1)) == 71
    assert shortfall(101, (), sent, Fraction(1, 2)) == 20
    assert shortfall(0, (data,), sent, Fraction(1)) == 4 * 7, "301 octets are four started blocks"
    assert shortfall(0, (data,), sent, Fraction(1, 2)) == 0
    assert shortfall(101, (data,), sent, Fraction(1)) == 71, "the larger, not both"


def test_balanced_traffic_is_priced_at_the_balanced_rate() -> None:
    there, back = Traffic(octets=1_000, charged_octets=5_000), Traffic(octets=400, charged_octets=1_000)
    rate = Rate(service="data", block=100, price=200)
    assert rebates((rate,), (there, back)) == (2_000 - 800, 1_000 - 800)
    dear = Rate(service="data", block=1, price=100)
    assert rebates((dear,), (there, back)) == (0, 0), "a balanced rate above what was charged takes nothing more"
    assert rebates((rate,), (there, Traffic())) == (0, 0)


@given(st.integers(0, 20_000), st.lists(commitments, max_size=3), traffics, services, small, small, parts)
def test_more_traffic_and_a_smaller_part_never_owe_more(
    revenue: int, volumes: list[Commitment], traffic: Traffic, service: str, units: int, charged: int, part: Fraction
) -> None:
    whole = shortfall(revenue, volumes, traffic, Fraction(1))
    assert 0 <= shortfall(revenue, volumes, traffic, part) <= whole
    more = traffic.add(service, units, charged)  # type: ignore[arg-type]
    assert shortfall(revenue, volumes, more, Fraction(1)) <= whole


@given(rates, traffics, traffics)
def test_nobody_gives_back_more_than_it_was_paid(balanced: list[Rate], there: Traffic, back: Traffic) -> None:
    once = [next(rate for rate in balanced if rate.service == name) for name in {rate.service for rate in balanced}]
    for each, rebate in zip((there, back), rebates(once, (there, back)), strict=True):
        assert 0 <= rebate <= each.charged_octets + each.charged_seconds + each.charged_messages
    assert rebates(once, (back, there)) == rebates(once, (there, back))[::-1]


@given(st.lists(st.tuples(services, small, small), max_size=8))
def test_traffic_adds_up_in_any_order(lines: list[tuple[str, int, int]]) -> None:
    def total(records: list[tuple[str, int, int]]) -> Traffic:
        traffic = Traffic()
        for record in records:
            traffic = traffic.add(*record)  # type: ignore[arg-type]
        return traffic

    assert total(lines) == total(list(reversed(lines)))
    assert total(lines).charged == sum(charged for _, _, charged in lines)
