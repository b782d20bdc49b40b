"""Usage: signed records move escrow to the visited operator, record by record; one wrong group refuses the report."""

from typing import Any

import pytest
from msgspec import UNSET

from settlement.ledger.messages import CloseRequest, ReportUsage, UsageGroup, UsageRecord
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules import Effects
from settlement.ledger.rules.context import Refusal
from settlement.usage.tariff import MAX_UNITS, Grading, Metered, Scale, Tax, Tier
from tests.ledger_model import (
    DAY,
    GB,
    HOUR,
    MB,
    MINUTE,
    REPORT_WITHIN,
    SDRT,
    Balance,
    World,
    bundle,
    data,
    refused,
    terms,
    voice,
)

PRICE, FUNDS = 5 * SDRT, 1_000 * SDRT
METERED = Metered(
    block=MB, block_price=2_000, first_interval=60, first_price=9_000, next_interval=6, next_price=900, event_price=50
)


class Scene:
    """A bundle and a metered request in use."""

    def __init__(self) -> None:
        self.world = World()
        self.home = self.world.admit("home", funds=FUNDS)
        self.visited = self.world.admit("visited")
        self.offer = self.world.publish(self.visited, terms(bundle(PRICE, seconds=600, renewals=3)))
        self.metered = self.world.publish(self.visited, terms(METERED))

    def bundle(self, renewals: int = 0) -> Any:
        return self.world.active(self.home, self.visited, self.offer, renewals=renewals)

    def counted(self, escrow: int = 10 * SDRT) -> Any:
        return self.world.active(self.home, self.visited, self.metered, escrow=escrow)

    def report(self, request: Any, sequence: int, *records: UsageRecord) -> Any:
        answer = self.world.report(self.visited, request, sequence, *records)
        self.world.check_money()
        return answer

    @property
    def now(self) -> int:
        return self.world.minute


@pytest.fixture
def scene() -> Scene:
    return Scene()


def text(record: UsageRecord) -> UsageRecord:
    return UsageRecord("message", record.start, 0, 0, record.units, record.place)


# what metered use costs


@pytest.mark.parametrize(
    ("records", "price"),
    [
        ([("data", 1)], 2_000),
        ([("data", MB)], 2_000),
        ([("data", MB + 1)], 4_000),
        ([("data", 0)], 0),
        ([("data", 1), ("data", MB - 1)], 2_000),
        ([("data", MB), ("data", 1)], 4_000),
        ([("voice", 1)], 9_000),
        ([("voice", 60)], 9_000),
        ([("voice", 61)], 9_900),
        ([("voice", 66)], 9_900),
        ([("voice", 67)], 10_800),
        ([("voice", 0)], 0),
        ([("voice", 30), ("voice", 30)], 18_000),
        ([("voice", 30), ("more", 30)], 9_000),
        ([("voice", 59), ("more", 2), ("more", 6)], 10_800),
        ([("more", 61)], 9_900),
        ([("message", 3)], 150),
    ],
)
def test_blocks_intervals_and_events_are_charged_when_started(
    scene: Scene, records: list[tuple[str, int]], price: int
) -> None:
    made = {
        "data": lambda units: data(scene.now, units),
        "voice": lambda units: voice(scene.now, units),
        "more": lambda units: voice(scene.now, units, continues=True),
        "message": lambda units: text(data(scene.now, units)),
    }
    request = scene.counted()
    answer = scene.report(request, 1, *(made[service](units) for service, units in records))
    assert answer.settled == price
    assert scene.world.get(request).charged == price
    assert scene.world.balance(scene.visited).available == price


def test_a_session_split_over_reports_costs_what_it_costs_whole(scene: Scene) -> None:
    whole, split = scene.counted(), scene.counted()
    settled = scene.report(whole, 1, data(scene.now, 5 * MB + 7), voice(scene.now, 125)).settled
    parts = [(data(scene.now, 3 * MB), voice(scene.now, 61)), (data(scene.now, 2 * MB + 7),)]
    parts += [(voice(scene.now, 60, continues=True),), (voice(scene.now, 4, continues=True),)]
    assert sum(scene.report(split, number, *records).settled for number, records in enumerate(parts, 1)) == settled


def test_a_cap_frees_what_exceeds_it(scene: Scene) -> None:
    capped = scene.world.publish(scene.visited, terms(Metered(block=MB, block_price=2_000, cap=5_000)))
    request = scene.world.active(scene.home, scene.visited, capped, escrow=5_000)
    answer = scene.report(request, 1, data(scene.now, 2 * MB), data(scene.now, 2 * MB), data(scene.now, GB))
    assert answer.settled == 5_000
    assert answer.refused == ()


def test_beyond_the_escrow_the_rest_is_refused_by_name_and_the_next_report_is_taken(scene: Scene) -> None:
    request = scene.counted(escrow=5_000)
    answer = scene.report(request, 1, data(scene.now, 2 * MB), data(scene.now, 2 * MB), data(scene.now, 1))
    assert answer.settled == 5_000
    assert answer.refused == (
        Refusal(request, 1, "beyond-escrow", 3_000),
        Refusal(request, 2, "beyond-escrow", 2_000),
    )
    assert scene.world.get(request).escrow == 0
    assert isinstance(scene.report(request, 2, data(scene.now, 1)), Effects)


# bundles


def test_a_bundle_runs_down_and_what_exceeds_it_is_refused_by_name(scene: Scene) -> None:
    request = scene.bundle()
    answer = scene.report(request, 1, data(scene.now, GB - 10), voice(scene.now, 600), data(scene.now, 25))
    assert answer.settled == 0, "its price was paid at activation"
    assert answer.refused == (Refusal(request, 2, "allowance-exhausted", 15),)
    assert scene.report(request, 2, voice(scene.now, 1)).refused == (Refusal(request, 0, "allowance-exhausted", 1),)


def test_a_bundle_renews_as_often_as_was_paid_for(scene: Scene) -> None:
    request = scene.bundle(renewals=1)
    assert scene.world.balance(scene.home).escrow == PRICE, "one of two periods was paid at activation"
    ends = scene.world.get(request).period_ends
    answer = scene.report(request, 1, data(scene.now, GB), data(scene.now, GB), data(scene.now, 1))
    assert answer.settled == PRICE
    assert answer.refused == (Refusal(request, 2, "allowance-exhausted", 1),)
    row = scene.world.get(request)
    assert (row.renewals, row.escrow, row.charged, row.period_ends) == (0, 0, 2 * PRICE, ends + DAY)


def test_one_record_may_need_several_periods(scene: Scene) -> None:
    request = scene.bundle(renewals=3)
    assert scene.report(request, 1, data(scene.now, 3 * GB + 1)).settled == 3 * PRICE
    assert scene.world.get(request).renewals == 0


def test_after_its_hours_a_period_is_over_and_its_rest_is_lost(scene: Scene) -> None:
    request = scene.bundle(renewals=1)
    scene.world.wait(DAY)
    answer = scene.report(request, 1, data(scene.now, 1))
    assert answer.settled == PRICE
    assert scene.report(request, 2, data(scene.now, GB)).refused == (Refusal(request, 0, "allowance-exhausted", 1),)
    scene.world.wait(DAY)
    assert scene.report(request, 3, voice(scene.now, 1)).refused == (Refusal(request, 0, "allowance-exhausted", 1),)


def test_use_within_the_hours_may_be_reported_after_them(scene: Scene) -> None:
    request = scene.bundle(renewals=1)
    last = scene.now + 24 * 60 - 1
    scene.world.wait(2 * DAY)
    assert scene.report(request, 1, data(last, GB)).settled == 0


def test_a_record_of_nothing_opens_no_paid_period(scene: Scene) -> None:
    request = scene.bundle(renewals=1)
    scene.world.wait(DAY)
    assert scene.report(request, 1, data(scene.now, 0)).settled == 0
    assert scene.world.get(request).renewals == 1


def test_what_was_not_used_of_renewals_returns_at_the_close(scene: Scene) -> None:
    request = scene.bundle(renewals=3)
    scene.report(request, 1, data(scene.now, GB + 1))
    scene.world.must(scene.visited, CloseRequest, request=request)
    assert scene.world.balance(scene.home) == Balance(FUNDS - 2 * PRICE, 0, 0)
    assert scene.world.balance(scene.visited) == Balance(2 * PRICE, 0, 0)


# what refuses a report whole


def test_sequences_count_without_gaps(scene: Scene) -> None:
    request = scene.counted()
    scene.report(request, 1, data(scene.now, 1))
    for sequence, what in ((1, "was reported before"), (3, "leaves a gap")):
        answer = scene.report(request, sequence, data(scene.now, 1))
        assert answer == refused("out-of-sequence")
        assert what in answer.detail
        assert "the next is 2" in answer.detail
    assert isinstance(scene.report(request, 2, data(scene.now, 1)), Effects)


@pytest.mark.parametrize(
    ("code", "record"),
    [
        ("not-sold", lambda now: text(data(now, 1))),
        ("out-of-coverage", lambda now: data(now, 1, "FR")),
        ("out-of-coverage", lambda now: data(now, 1, "26202")),
        ("out-of-time", lambda now: data(now - 1, 1)),
        ("out-of-time", lambda now: data(now + 16, 1)),
    ],
)
def test_a_record_that_was_not_sold_refuses_the_report(scene: Scene, code: str, record: Any) -> None:
    request = scene.bundle()
    answer = scene.report(request, 1, data(scene.now, 1), record(scene.now))
    assert answer == refused(code)
    assert "record 1" in answer.detail
    assert scene.world.get(request).used_octets == 0, "the good record moved nothing either"


def test_a_record_after_the_requests_end_is_refused(scene: Scene) -> None:
    request = scene.bundle()
    scene.world.wait(10 * DAY + MINUTE)
    assert scene.report(request, 1, data(scene.now, 1)) == refused("out-of-time")


def test_a_place_is_a_country_or_a_plmn_of_the_offer(scene: Scene) -> None:
    assert isinstance(scene.report(scene.bundle(), 1, data(scene.now, 1, "26201"), data(scene.now, 1, "DE")), Effects)


def test_reports_are_taken_until_their_time_is_over(scene: Scene) -> None:
    request, now = scene.counted(), scene.now
    scene.world.time = scene.world.get(request).report_by
    assert isinstance(scene.report(request, 1, data(now, 1)), Effects)
    scene.world.wait(1)
    assert scene.report(request, 2, data(now, 1)) == refused("too-late")
    assert scene.world.time > REPORT_WITHIN


def test_nobody_reports_on_foreign_requests(scene: Scene) -> None:
    request, other = scene.counted(), scene.world.admit("other")
    for sender in (other, scene.home):
        assert scene.world.report(sender, request, 1, data(scene.now, 1)) == refused("unknown-request")


def send(scene: Scene, *groups: UsageGroup) -> Effects | Rejection:
    return scene.world.send(scene.visited, ReportUsage, groups=groups)


def test_one_report_is_about_one_home_operator(scene: Scene) -> None:
    second = scene.world.admit("second", funds=FUNDS)
    theirs = scene.world.active(second, scene.visited, scene.metered)
    one = (data(scene.now, 1),)
    answer = send(scene, UsageGroup(scene.counted(), 1, one), UsageGroup(theirs, 1, one))
    assert answer == refused("mixed-homes")


def test_one_report_names_a_request_once(scene: Scene) -> None:
    request, one = scene.counted(), (data(scene.now, 1),)
    assert send(scene, UsageGroup(request, 1, one), UsageGroup(request, 1, one)) == refused("duplicate-request")


def test_a_bad_group_among_good_ones_moves_nothing(scene: Scene) -> None:
    first, second = scene.counted(), scene.counted()
    balance = scene.world.balance(scene.visited)
    answer = send(scene, UsageGroup(first, 1, (data(scene.now, GB),)), UsageGroup(second, 2, (data(scene.now, 1),)))
    assert answer == refused("out-of-sequence")
    assert scene.world.balance(scene.visited) == balance
    assert scene.world.get(first).sequence == 0


def test_units_beyond_what_can_be_counted_are_refused(scene: Scene) -> None:
    free = scene.world.publish(scene.visited, terms(Metered()))
    request = scene.world.active(scene.home, scene.visited, free, escrow=1)
    assert isinstance(scene.report(request, 1, data(scene.now, MAX_UNITS)), Effects)
    assert scene.report(request, 2, data(scene.now, 1)) == refused("overflow")


def test_a_price_beyond_what_an_amount_can_hold_is_refused(scene: Scene) -> None:
    assert scene.report(scene.counted(), 1, text(data(scene.now, MAX_UNITS))) == refused("overflow")


def test_a_closed_request_takes_no_usage(scene: Scene) -> None:
    request = scene.counted()
    scene.world.must(scene.visited, CloseRequest, request=request)
    scene.world.wait(HOUR)
    assert scene.report(request, 1, data(scene.now - 60, 1)) == refused("wrong-state")


def test_a_graded_tariff_counts_across_reports_as_in_one() -> None:
    tiers = Scale("back-to-first", (Tier(0, 3), Tier(10 * MB, 2)))
    graded = Metered(block=MB, grading=Grading(data=tiers, taxes=(Tax(name="vat", rate=190_000),)))
    charged = []
    for split in ((25,), (5, 15, 5), (1,) * 25):
        scene = Scene()
        offer = scene.world.publish(scene.visited, terms(graded))
        request = scene.world.active(scene.home, scene.visited, offer, escrow=10_000)
        for sequence, octets in enumerate(split, 1):
            scene.world.report(scene.visited, request, sequence, data(scene.world.minute, octets * MB))
        charged.append(scene.world.get(request).charged)
        assert scene.world.get(request).cumulative is not UNSET
    assert charged == [60, 60, 60], "25 blocks at 2 and 19 % tax, rounded"
