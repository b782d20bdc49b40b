"""Rating: how a session is split into records never changes what it costs, nor can it cost more than it may."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from settlement.ledger.messages import UsageRecord
from settlement.usage.rating import HOUR_MS, MINUTE_MS, Charge, Meter, affordable, call_price, charge, started
from settlement.usage.tariff import Bundle, Metered

amounts = st.integers(0, 10**6)
intervals = st.integers(1, 10**4)
metered = st.builds(
    Metered,
    block=intervals,
    block_price=amounts,
    first_interval=intervals,
    first_price=amounts,
    next_interval=intervals,
    next_price=amounts,
    event_price=amounts,
    cap=st.one_of(st.just(0), amounts),
)
bundles = st.builds(
    Bundle,
    price=amounts,
    octets=st.integers(1, 10**5),
    seconds=st.integers(1, 10**5),
    messages=st.integers(1, 10**5),
    hours=st.integers(1, 48),
    renewals=st.integers(0, 20),
)
services = st.sampled_from(("data", "voice", "message"))
pieces = st.lists(st.integers(1, 10**5), min_size=1, max_size=8)
uses = st.lists(st.tuples(services, st.integers(0, 10**5), st.integers(0, 10_000), st.booleans()), max_size=20)
START = 1_000_000


def meter_of(escrow: int, tariff: Any, renewals: int = 0) -> Meter:
    """As a request stands after its activation."""
    bundle = tariff if isinstance(tariff, Bundle) else None
    return Meter(
        escrow=escrow,
        charged=0,
        renewals=renewals,
        period_ends=START * MINUTE_MS + bundle.hours * HOUR_MS if bundle else 0,
        used_octets=0,
        used_seconds=0,
        used_messages=0,
        limit_octets=bundle.octets if bundle else 0,
        limit_seconds=bundle.seconds if bundle else 0,
        limit_messages=bundle.messages if bundle else 0,
        call_seconds=0,
    )


def record(service: Any, units: int, *, minute: int = START, continues: bool = False) -> UsageRecord:
    return UsageRecord(service, minute, 0, 0, units, "DE", continues)


def charge_all(meter: Meter, tariff: Any, records: list[UsageRecord]) -> list[Charge]:
    return [charge(meter, each, tariff) for each in records]


def total(charges: list[Charge]) -> int:
    return sum(each.settled for each in charges)


@given(metered, services, pieces, st.integers(0, 10**9))
def test_a_metered_session_costs_the_same_split_or_whole(
    tariff: Metered, service: Any, parts: list[int], escrow: int
) -> None:
    split, whole = meter_of(escrow, tariff), meter_of(escrow, tariff)
    records = [record(service, units, continues=number > 0) for number, units in enumerate(parts)]
    assert total(charge_all(split, tariff, records)) == charge(whole, record(service, sum(parts)), tariff).settled
    assert split == whole


@given(bundles, services, pieces, st.integers(0, 10**8), st.integers(0, 20), st.integers(0, 10_000))
def test_a_bundled_session_costs_the_same_split_or_whole(
    tariff: Bundle, service: Any, parts: list[int], escrow: int, renewals: int, late: int
) -> None:
    split, whole = meter_of(escrow, tariff, renewals), meter_of(escrow, tariff, renewals)
    several = charge_all(split, tariff, [record(service, units, minute=START + late) for units in parts])
    one = charge(whole, record(service, sum(parts), minute=START + late), tariff)
    assert (total(several), sum(each.refused for each in several)) == (one.settled, one.refused)
    assert split == whole


@given(metered, uses, st.integers(0, 10**7))
def test_metered_use_never_costs_more_than_escrow_and_cap(tariff: Metered, used: Any, escrow: int) -> None:
    escrow = min(escrow, tariff.cap) if tariff.cap else escrow
    meter = meter_of(escrow, tariff)
    for service, units, late, continues in used:
        before = meter.charged
        result = charge(meter, record(service, units, minute=START + late, continues=continues), tariff)
        assert result.settled == meter.charged - before >= 0
        assert meter.escrow + meter.charged == escrow
        assert meter.escrow >= 0
        assert (result.cause is None) == (result.refused == 0)
        assert result.cause is None or meter.escrow == 0, "nothing is refused while there is escrow"


@given(bundles, uses, st.integers(0, 10**7), st.integers(0, 20))
def test_a_bundle_never_renews_beyond_what_is_wanted_and_paid(
    tariff: Bundle, used: Any, escrow: int, renewals: int
) -> None:
    meter = meter_of(escrow, tariff, renewals)
    for service, units, late, continues in used:
        result = charge(meter, record(service, units, minute=START + late, continues=continues), tariff)
        assert meter.escrow >= 0
        assert meter.renewals >= 0
        assert meter.charged == (renewals - meter.renewals) * tariff.price == escrow - meter.escrow
        assert meter.used_octets <= meter.limit_octets
        assert meter.used_seconds <= meter.limit_seconds
        assert meter.used_messages <= meter.limit_messages
        assert result.cause is None or not affordable(meter, tariff), "nothing is refused while it can renew"


@given(metered, st.integers(0, 10**6))
def test_a_longer_call_never_costs_less(tariff: Metered, seconds: int) -> None:
    assert call_price(tariff, seconds) <= call_price(tariff, seconds + 1)


@given(st.integers(0, 2**53), st.integers(1, 2**53))
def test_a_started_block_is_a_whole_one(units: int, block: int) -> None:
    blocks = started(units, block)
    assert (blocks - 1) * block < units <= blocks * block or units == blocks == 0
