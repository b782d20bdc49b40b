"""What the node makes of its evidence before the detector sees it, and what it makes of a finding after."""

from typing import Any
from uuid import UUID

import msgspec

from marketplace.agreeing.evidence import _Known as Known
from marketplace.agreeing.evidence import _list_reported, _list_stays, _Switch, value
from marketplace.agreeing.meters import Stored
from marketplace.agreeing.reported import Group, trace
from settlement.evidence import Finding, Ordered, Switched
from settlement.ledger.messages import UsageGroup, UsageRecord
from settlement.ledger.rules.context import Refusal
from settlement.usage.rating import Meter
from settlement.usage.tariff import Bundle, Metered

REQUEST, OTHER = UUID(int=1), UUID(int=2)
MINUTE = 29_900_000


def data(units: int, start: int = MINUTE) -> UsageRecord:
    return UsageRecord("data", start, 0, 60, units, "DE")


def group(*pairs: tuple[UsageRecord, int], sequence: int = 1) -> Group:
    records, charges = zip(*pairs, strict=True)
    return Group(
        entry=sequence + 10,
        request=REQUEST,
        partner="bravo",
        visited="bravo",
        sequence=sequence,
        time_ms=0,
        leaf="ab" * 32,
        records=msgspec.json.encode(records).decode(),
        charges=msgspec.json.encode(charges).decode(),
        from_ms=0,
        to_ms=0,
    )


def test_stays_are_from_the_first_report_of_a_profile_to_the_next_of_another() -> None:
    switches = [
        _Switch(request, minute * 60_000)
        for request, minute in ((None, 1), (REQUEST, 5), (REQUEST, 7), (OTHER, 9), (REQUEST, 20))
    ]
    assert _list_stays(REQUEST, switches) == [
        Switched(request=REQUEST, on=5, off=9),
        Switched(request=REQUEST, on=20),
    ]
    assert _list_stays(UUID(int=3), switches) == []


def test_what_the_meter_has_not_reached_waits() -> None:
    meter = Stored(request=REQUEST, minute=MINUTE, octets=5, seconds=0, messages=0, signature=bytes(64), key=bytes(32))
    ordered = Ordered(request=REQUEST, visited="bravo", offer=OTHER, reports=False)
    groups = {REQUEST: [group((data(5), 1), (data(9, MINUTE + 1), 2)), group((data(9, MINUTE + 9), 2), sequence=2)]}
    reports, unmetered = _list_reported(groups, {REQUEST: Known(ordered=ordered, pieces=[], meter=meter)})
    assert [report.records for report in reports] == [(data(5),)]
    assert unmetered == 2
    reports, unmetered = _list_reported(groups, {REQUEST: Known(ordered=ordered, pieces=[])})
    assert (sum(len(report.records) for report in reports), unmetered) == (3, 0)


def test_an_excess_costs_its_share_of_its_services_charges_and_never_more() -> None:
    call = UsageRecord("voice", MINUTE, 0, 60, 60, "DE")
    groups = [group((data(100), 30), (call, 7)), group((data(200), 60), sequence=2)]
    fields: dict[str, Any] = {"request": REQUEST, "visited": "bravo", "entries": (11,), "why": ""}
    assert value(Finding(**fields, fraud="over-report", excess={"data": 100}), groups) == (97, 30)
    assert value(Finding(**fields, fraud="phantom-usage", excess={"data": 300, "voice": 60}), groups) == (97, 97)
    assert value(Finding(**fields, fraud="over-report", excess={"data": 999, "message": 1}), groups) == (97, 90)


def test_charges_are_traced_as_the_ledger_made_them_and_named_refusals_taken_off() -> None:
    tariff = Metered(block=10, block_price=20)
    meter = Meter(escrow=50, renewals=0).activate(tariff, MINUTE * 60_000)
    first = UsageGroup(REQUEST, 1, (data(5), data(6), data(9)))
    assert trace(meter, first, tariff, {}) == [20, 20, 0]
    last = UsageGroup(REQUEST, 2, (data(30),))
    assert trace(meter, last, tariff, {0: Refusal(REQUEST, 0, "beyond-escrow", 50)}) == [10]
    assert (meter.charged, meter.escrow) == (50, 0)


def test_a_bundles_price_is_charged_at_activation_and_its_use_is_free() -> None:
    tariff = Bundle(price=50, octets=100, hours=24)
    meter = Meter(escrow=50, renewals=0).activate(tariff, MINUTE * 60_000)
    assert (meter.charged, meter.escrow) == (50, 0)
    assert trace(meter, UsageGroup(REQUEST, 1, (data(60), data(40))), tariff, {}) == [0, 0]
    exhausted = {0: Refusal(REQUEST, 0, "allowance-exhausted", 5)}
    assert trace(meter, UsageGroup(REQUEST, 2, (data(5),)), tariff, exhausted) == [0]
