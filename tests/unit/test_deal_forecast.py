"""What a deal would cost on past use, and how far a running one is: the ledger's own numbers, before they are due."""

import io
from fractions import Fraction
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from marketplace.deals.draft import last_period
from marketplace.deals.forecast import Rated, Used, forecast, measure, rate_use, scale
from marketplace.operator_cli.deals import draw_period
from settlement.ledger.messages import Terms, UsageRecord
from settlement.ledger.settling import Direction
from settlement.ledger.state import Deal, DealPeriod, period_key
from settlement.usage.deals import Calendar, Commitment, Rate, Traffic, bounds, part_of, rebates, shortfall
from settlement.usage.tariff import Bundle, Code, Metered, Tariff

DAY = 86_400_000
OCT, NOV, DEC = 1_790_812_800_000, 1_793_491_200_000, 1_796_083_200_000
MB = 1_000_000
MINUTE = OCT // 60_000


def terms(tariff: Tariff, **fields: object) -> Terms:
    given = {
        "name": {"en": "A deal"},
        "description": {"en": "A deal"},
        "category": "telecom",
        "countries": ("DE",),
        "delivery": "profile",
        "tariff": tariff,
        "valid_until": DEC,
        "accept_within_s": 60,
        "report_within_s": 60,
    }
    return Terms(**{**given, **fields})  # type: ignore[arg-type]


def data(octets: int, *, at: int = MINUTE, place: str = "DE") -> UsageRecord:
    return UsageRecord("data", at, 0, 60, octets, place)


def used(*records: UsageRecord, charged: int = 0, number: int = 1) -> Used:
    return Used(request=UUID(int=number), records=records, charged_usdr=charged)


def direction(home: str = "alfa", tariff: Tariff | None = None, **fields: object) -> Direction:
    tariff = tariff or Metered(block=MB, block_price=10)
    return Direction(home=home, offer=UUID(int=9), terms=terms(tariff), **fields)  # type: ignore[arg-type]


def test_past_use_is_rated_request_by_request_in_started_blocks() -> None:
    seen = rate_use(
        terms(Metered(block=MB, block_price=10)),
        [used(data(MB // 2), data(MB // 2), charged=70), used(data(1), charged=50, number=2)],
    )
    assert (seen.requests, seen.records, seen.before_usdr) == (2, 3, 120)
    assert (seen.traffic.octets, seen.traffic.charged) == (MB + 1, 20)


def test_what_the_terms_do_not_cover_or_sell_is_counted_outside() -> None:
    call = UsageRecord("voice", MINUTE, 0, 60, 60, "DE")
    seen = rate_use(terms(Bundle(price=5, octets=MB, hours=24)), [used(data(7, place="FR"), call, data(8))])
    assert (seen.outside, seen.records, seen.traffic) == (2, 1, Traffic(octets=8, charged=5))


def test_a_bundle_renews_while_it_may_and_tells_what_it_would_not_serve() -> None:
    seen = rate_use(terms(Bundle(price=5, octets=MB, hours=24, renewals=1)), [used(data(3 * MB))])
    assert (seen.traffic.charged, seen.traffic.octets, seen.unserved) == (10, 2 * MB, MB)


def test_codes_cost_their_price_each() -> None:
    seen = rate_use(terms(Code(price=7), delivery="code"), [used(charged=9), used(charged=9, number=2)])
    assert (seen.traffic.charged, seen.before_usdr) == (14, 18)


def test_a_commitment_that_past_use_does_not_reach_is_a_shortfall_pro_rata() -> None:
    calendar = Calendar(OCT + 15 * DAY, DEC, 1)  # 16 of 31 days, then a whole month
    rated = Rated(traffic=Traffic(octets=10 * MB, charged=100))
    first, second = forecast([direction(revenue=310)], (), calendar, [rated])
    part = Fraction(16, 31)
    assert (first.part, second.part) == ("16/31", "1")
    cost = first.directions[0]
    assert (cost.least_usdr, cost.charged_usdr) == (160, int(100 * part))
    assert cost.shortfall_usdr == 160 - int(100 * part)
    assert cost.cost_usdr == 160
    assert second.directions[0].shortfall_usdr == 210


def test_what_is_sent_over_the_commitment_costs_what_it_costs() -> None:
    [only] = forecast([direction(revenue=50)], (), Calendar(OCT, NOV, 1), [Rated(traffic=Traffic(charged=100))])
    assert (only.directions[0].shortfall_usdr, only.directions[0].cost_usdr) == (0, 100)


def test_balanced_traffic_is_given_back_what_exceeds_the_balanced_rate() -> None:
    there = Rated(traffic=Traffic(octets=10 * MB, charged_octets=100, charged=100))
    back = Rated(traffic=Traffic(octets=4 * MB, charged_octets=40, charged=40))
    balanced = (Rate(service="data", block=MB, price=6),)
    [only] = forecast([direction("alfa"), direction("bravo")], balanced, Calendar(OCT, NOV, 1), [there, back])
    assert [(one.rebate_usdr, one.cost_usdr) for one in only.directions] == [(16, 84), (16, 24)]


small = st.integers(0, 10_000)
traffics = st.builds(Traffic, small, small, small, small, small, small, small)


@given(traffics, traffics, st.integers(0, 20_000), st.integers(1, 400), st.integers(0, 50))
def test_the_forecast_is_what_the_rules_would_settle(
    there: Traffic, back: Traffic, revenue: int, days: int, price: int
) -> None:
    volumes = (Commitment(service="data", units=5_000, block=10, price=3),)
    balanced = (Rate(service="data", block=7, price=price),)
    directions = [direction("alfa", revenue=revenue, volumes=volumes), direction("bravo")]
    calendar = Calendar(OCT + DAY, OCT + (days + 1) * DAY, 1)
    for cost in forecast(directions, balanced, calendar, [Rated(traffic=there), Rated(traffic=back)]):
        part = part_of(calendar, cost.number)
        traffic = scale(there, part), scale(back, part)
        assert (cost.from_ms, cost.to_ms) == bounds(calendar, cost.number)
        assert [one.rebate_usdr for one in cost.directions] == list(rebates(balanced, traffic))
        assert cost.directions[0].shortfall_usdr == shortfall(revenue, volumes, traffic[0], part)
        for one in cost.directions:
            assert one.cost_usdr == one.charged_usdr + one.shortfall_usdr - one.rebate_usdr
            assert one.cost_usdr >= one.least_usdr - one.rebate_usdr


@given(traffics, st.fractions(0, 1))
def test_a_part_of_traffic_is_never_more_than_its_share(traffic: Traffic, part: Fraction) -> None:
    for name in Traffic.__struct_fields__:
        whole = getattr(traffic, name)
        assert whole * part - 1 < getattr(scale(traffic, part), name) <= whole * part


def deal(**fields: object) -> Deal:
    given = {
        "id": UUID(int=1),
        "proposer": "alfa",
        "partner": "bravo",
        "directions": (
            direction(revenue=300, volumes=(Commitment(service="voice", units=620, price=1),), credit_limit=40),
        ),
        "balanced": (),
        "starts": OCT,
        "ends": DEC,
        "months": 1,
        "settle_after_days": 2,
        "due_days": 10,
        "credit": (30,),
        "state": "agreed",
    }
    return Deal(**{**given, **fields})  # type: ignore[arg-type]


def period(traffic: Traffic, *, settled: int | None = None) -> DealPeriod:
    return DealPeriod(id=period_key(UUID(int=1), 0), deal=UUID(int=1), number=0, traffic=(traffic,), settled=settled)


def test_progress_tells_used_against_committed_and_what_would_be_missing() -> None:
    seen = measure(deal(), period(Traffic(octets=MB, charged_octets=120, charged=120)), OCT + 15 * DAY + 1)
    assert (seen.state, seen.days_left, seen.elapsed_percent) == ("running", 16, 48)
    [one] = seen.directions
    assert [(each.what, each.used, each.committed) for each in one.measures] == [
        ("revenue", 120, 300),
        ("data", MB, 0),
        ("voice", 0, 620),
    ]
    assert (one.visited, one.shortfall_usdr) == ("bravo", 620)


def test_a_period_is_drawn_with_what_was_used_of_what_is_committed() -> None:
    agreed = deal(directions=(direction(revenue=900_000_000, credit_limit=50_000_000),))
    seen = measure(agreed, period(Traffic(octets=MB, charged_octets=450_000_000, charged=450_000_000)), OCT + 20 * DAY)
    credit = [{"home": "alfa", "used_usdr": 60_000_000, "limit_usdr": 50_000_000}]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(draw_period(msgspec.to_builtins(seen), credit, 2))
    drawn = console.export_text()
    assert "11 days left, 64 % of its time gone" in drawn
    assert f"{'█' * 16}{'░' * 16}  50 % 450.000000 SDRt of 900.000000 SDRt" in drawn
    assert "1.0 MB of nothing committed" in drawn
    assert f"{'█' * 32} 120 %" in drawn
    assert "shortfall owed if nothing more comes: 450.000000 SDRt" in drawn


@pytest.mark.parametrize(
    ("time", "settled", "state", "days"),
    [
        (OCT - 1, None, "future", 31),
        (OCT, None, "running", 31),
        (NOV - 1, None, "running", 1),
        (NOV, None, "over", 0),
        (NOV + 3 * DAY, NOV + 2 * DAY, "settled", 0),
    ],
)
def test_a_period_is_future_running_over_or_settled(time: int, settled: int | None, state: str, days: int) -> None:
    seen = measure(deal(), period(Traffic(), settled=settled), time)
    assert (seen.state, seen.days_left, seen.settled_from_ms) == (state, days, NOV + 2 * DAY)


def test_the_last_period_is_of_whole_calendar_months() -> None:
    assert last_period(1, NOV + 5 * DAY) == (OCT, NOV)
    assert last_period(1, NOV) == (OCT, NOV)
    assert last_period(2, DEC - 1)[1] == NOV
