"""Deals: agreed by two, used like offers, counted by period, settled into obligations."""

from typing import Any

import pytest

from settlement.ledger.ids import credit_id, settlement_ids
from settlement.ledger.messages import PublishOffer, ReportUsage, UsageGroup, UsageRecord, WithdrawOffer
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules import Effects
from settlement.ledger.rules.context import Refusal
from settlement.ledger.settling import (
    Change,
    Consent,
    Direction,
    Pay,
    ProposeCycle,
    ProposeDeal,
    RefuseProposal,
    SettleDeal,
)
from settlement.ledger.state import Deal, DealPeriod, Obligation, Offer, Proposal, period_key
from settlement.usage.deals import Commitment, Rate
from settlement.usage.tariff import Metered
from tests.ledger_model import DAY, MB, MINUTE, START, Member, World, bundle, data, refused, terms

FUNDS = 10_000
MARCH, MAY = 1_740_787_200_000, 1_746_057_600_000
"""2025-03-01 and 2025-05-01, both 00:00 UTC; worlds begin at 2025-02-19."""
METERED = Metered(block=MB, block_price=2)


class Scene:
    """Alfa and Bravo, and ids for what they would agree on."""

    def __init__(self) -> None:
        self.world = World()
        self.alfa, self.bravo, self.charly = (
            self.world.admit(name, funds=FUNDS) for name in ("alfa", "bravo", "charly")
        )
        self.deal, self.there, self.back = (self.world.new_id() for _ in range(3))

    def direction(self, home: str = "alfa", **fields: Any) -> Direction:
        offer = self.there if home == "alfa" else self.back
        given = {"tariff": METERED, "valid_until": MAY, "whitelist": (home,), **fields.pop("terms", {})}
        return Direction(**{"home": home, "offer": offer, "terms": terms(given.pop("tariff"), **given), **fields})

    def both(self, **fields: Any) -> dict[str, Any]:
        return {"directions": (self.direction("alfa", **fields), self.direction("bravo", **fields))}

    def propose(self, sender: Member | None = None, **fields: Any) -> Effects | Rejection:
        good = {"id": self.deal, "partner": "bravo", "directions": (self.direction(),), "until": START + DAY}
        good |= {"starts": START, "ends": MAY, "due_days": 10}
        return self.world.send(sender or self.alfa, ProposeDeal, **good | fields)

    def proposed(self, **fields: Any) -> str:
        effects = self.propose(**fields)
        assert isinstance(effects, Effects), effects
        [leaf] = [row.leaf for row in effects.rows if isinstance(row, Proposal)]
        return leaf

    def agreed(self, **fields: Any) -> "Scene":
        self.world.must(self.bravo, Consent, proposal=self.proposed(**fields))
        return self

    def use(self, octets: int, *, back: bool = False, escrow: int = 100, minute: int | None = None) -> Effects:
        """A request under the deal, in use, with one record reported."""
        home, visited = (self.bravo, self.alfa) if back else (self.alfa, self.bravo)
        request = self.world.active(home, visited, self.back if back else self.there, escrow=escrow)
        effects = self.world.report(visited, request, 1, data(minute or self.world.minute, octets))
        assert isinstance(effects, Effects), effects
        self.world.check_money()
        return effects

    def settle(self, period: int = 0, sender: Member | None = None) -> Effects | Rejection:
        return self.world.send(sender or self.bravo, SettleDeal, deal=self.deal, period=period)

    def row(self) -> Deal:
        found = self.world.state.get(Deal, self.deal)
        assert found is not None
        return found

    def period(self, number: int) -> DealPeriod:
        found = self.world.state.get(DealPeriod, period_key(self.deal, number))
        assert found is not None
        return found

    def owed(self, cause: str) -> list[tuple[str, str, int]]:
        rows = [row for row in self.world.state.all(Obligation) if row.cause == cause]
        return [(row.debtor, row.creditor, row.remaining) for row in rows]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_deal_becomes_offers_when_its_partner_consents(scene: Scene) -> None:
    leaf = scene.proposed(**scene.both())
    assert scene.world.state.get(Offer, scene.there) is None
    scene.world.must(scene.bravo, Consent, proposal=leaf)
    assert scene.row().state == "agreed"
    there, back = (scene.world.state.get(Offer, offer) for offer in (scene.there, scene.back))
    assert there is not None
    assert back is not None
    assert (there.publisher, there.terms.whitelist, there.deal) == ("bravo", ("alfa",), scene.deal)
    assert (back.publisher, back.terms.whitelist) == ("alfa", ("bravo",))
    assert scene.world.send(scene.bravo, WithdrawOffer, offer=scene.there) == refused("not-permitted")


def test_a_refused_deal_makes_no_offer(scene: Scene) -> None:
    leaf = scene.proposed()
    scene.world.must(scene.bravo, RefuseProposal, proposal=leaf, reason="too-dear")
    assert scene.row().state == "dropped"
    assert scene.world.state.get(Offer, scene.there) is None
    assert scene.settle() == refused("wrong-state")


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("not-permitted", {"partner": "alfa"}),
        ("unknown-operator", {"partner": "nobody"}),
        ("not-permitted", {"partner": "issuer"}),
        ("invalid-terms", {"starts": MAY}),
        ("invalid-terms", {"ends": START + 4_000 * DAY}),
        ("invalid-terms", {"starts": START - 4_000 * DAY}),
        ("invalid-terms", {"ends": START + DAY}),
        ("invalid-terms", {"ends": START + 1_200 * DAY}),
        ("invalid-terms", {"until": START}),
        ("invalid-terms", {"balanced": (Rate(service="data", price=1),)}),
    ],
)
def test_a_wrong_deal_is_refused(scene: Scene, code: str, fields: dict[str, Any]) -> None:
    assert scene.propose(**fields) == refused(code)


@pytest.mark.parametrize(
    "fields",
    [
        {"home": "charly"},
        {"terms": {"whitelist": ()}},
        {"terms": {"valid_until": MAY + 1}},
        {"terms": {"delivery": "code"}},
        {"terms": {"tariff": bundle()}, "credit_limit": 1},
        {"volumes": (Commitment(service="data", units=1, price=1), Commitment(service="data", units=2, price=1))},
    ],
)
def test_a_wrong_direction_is_refused(scene: Scene, fields: dict[str, Any]) -> None:
    assert scene.propose(directions=(scene.direction(**fields),)) == refused("invalid-terms")


def test_directions_are_one_a_party_with_an_offer_of_their_own(scene: Scene) -> None:
    one, other = scene.direction(), scene.direction("bravo")
    twice = (Rate(service="data", price=1), Rate(service="data", price=2))
    assert scene.propose(directions=(one, one)) == refused("invalid-terms")
    same = scene.direction("bravo", offer=scene.there)
    assert scene.propose(directions=(one, same)) == refused("invalid-terms")
    assert scene.propose(directions=(one, other), balanced=twice) == refused("invalid-terms")
    taken = scene.world.publish(scene.bravo, terms(METERED))
    assert scene.propose(directions=(scene.direction(offer=taken),)) == refused("already-exists")
    leaf = scene.proposed()
    assert scene.propose() == refused("already-exists")
    scene.world.must(scene.bravo, Consent, proposal=leaf)


def test_an_offer_id_that_was_taken_in_between_stops_the_deal(scene: Scene) -> None:
    leaf = scene.proposed()
    scene.world.must(scene.charly, PublishOffer, id=scene.there, terms=terms(METERED))
    assert scene.world.send(scene.bravo, Consent, proposal=leaf) == refused("already-exists")


def test_use_is_counted_in_the_period_it_began_in(scene: Scene) -> None:
    scene.agreed()
    scene.use(10 * MB)
    scene.world.time = MARCH + DAY
    scene.use(3 * MB)
    assert scene.period(0).traffic[0].octets == 10 * MB
    assert scene.period(0).traffic[0].charged == 20
    assert (scene.period(1).traffic[0].charged_octets, scene.period(1).traffic[0].messages) == (6, 0)


def test_what_comes_after_a_settlement_counts_in_the_next_open_period(scene: Scene) -> None:
    scene.agreed()
    request = scene.world.active(scene.alfa, scene.bravo, scene.there, escrow=100)
    early = scene.world.minute
    scene.world.time = MARCH
    assert isinstance(scene.settle(0), Effects)
    assert isinstance(scene.world.report(scene.bravo, request, 1, data(early, MB)), Effects)
    assert scene.period(0).traffic[0].charged == 0
    assert scene.period(1).traffic[0].charged == 2


def test_a_bundles_price_counts_when_it_is_earned_and_its_units_when_served(scene: Scene) -> None:
    scene.agreed(directions=(scene.direction(terms={"tariff": bundle(price=50, octets=10 * MB, renewals=1)}),))
    request = scene.world.active(scene.alfa, scene.bravo, scene.there, renewals=1)
    assert scene.period(0).traffic[0].charged == 50
    effects = scene.world.report(scene.bravo, request, 1, data(scene.world.minute, 25 * MB))
    assert isinstance(effects, Effects)
    assert effects.settled == 50
    traffic = scene.period(0).traffic[0]
    assert (traffic.octets, traffic.charged, traffic.charged_octets) == (20 * MB, 100, 0)


def test_use_beyond_escrow_is_owed_up_to_the_credit_limit(scene: Scene) -> None:
    scene.agreed(directions=(scene.direction(credit_limit=30),))
    effects = scene.use(100 * MB, escrow=150)
    assert effects.settled == 150
    assert [refusal.amount for refusal in effects.refused] == [20]
    assert isinstance(effects.refused[0], Refusal)
    assert scene.owed("credit") == [("alfa", "bravo", 30)]
    assert scene.row().credit == (30,)
    key = credit_id(scene.deal, 0, 0)
    owed = scene.world.state.get(Obligation, key)
    assert owed is not None
    assert (owed.due, owed.source) == (MARCH + 10 * DAY, scene.deal)
    assert scene.use(MB, escrow=1).refused, "the credit is used up"
    scene.world.must(scene.alfa, Pay, obligation=key, amount=25)
    assert scene.row().credit == (5,)
    assert not scene.use(3 * MB, escrow=1).refused
    assert scene.owed("credit") == [("alfa", "bravo", 10)], "one obligation a period"
    scene.world.time = MARCH
    scene.use(3 * MB, escrow=1)
    assert len(scene.owed("credit")) == 2


def test_two_requests_of_one_report_share_the_credit(scene: Scene) -> None:
    scene.agreed(directions=(scene.direction(credit_limit=30),))
    first, second = (scene.world.active(scene.alfa, scene.bravo, scene.there, escrow=10) for _ in range(2))
    line = data(scene.world.minute, 15 * MB)
    groups = (UsageGroup(first, 1, (line,)), UsageGroup(second, 1, (line,)))
    effects = scene.world.must(scene.bravo, ReportUsage, groups=groups)
    assert effects.settled == 20
    assert [(refusal.request, refusal.amount) for refusal in effects.refused] == [(second, 10)]
    assert scene.row().credit == (30,)
    scene.world.check_money()


def test_credit_that_is_netted_is_free_again(scene: Scene) -> None:
    scene.agreed(directions=(scene.direction(credit_limit=30),))
    scene.use(30 * MB, escrow=40)
    key = credit_id(scene.deal, 0, 0)
    other = scene.world.owe(scene.bravo, scene.alfa, 50)
    changes = (Change(key, 20, 15), Change(other, 50, 15))
    leaf = scene.world.propose(scene.alfa, ProposeCycle, method="setoff", changes=changes)
    scene.world.agree(leaf, scene.bravo)
    assert scene.row().credit == (5,)
    assert scene.world.remaining(key) == 5


def test_a_period_is_settled_after_its_end_once_by_a_party(scene: Scene) -> None:
    scene.agreed(settle_after_days=2)
    scene.world.time = MARCH + 2 * DAY - 1
    assert scene.settle() == refused("too-early")
    scene.world.wait(1)
    assert scene.settle(sender=scene.charly) == refused("unknown-deal")
    assert scene.settle(period=3) == refused("invalid-terms")
    assert isinstance(scene.settle(sender=scene.alfa), Effects)
    assert scene.settle() == refused("wrong-state")
    assert scene.world.send(scene.alfa, SettleDeal, deal=scene.world.new_id(), period=0) == refused("unknown-deal")
    assert scene.period(0).settled == scene.world.time


def test_a_shortfall_becomes_an_obligation_for_the_part_of_the_month(scene: Scene) -> None:
    volumes = (Commitment(service="data", units=100 * MB, block=MB, price=3),)
    scene.agreed(directions=(scene.direction(revenue=1_000, volumes=volumes),))
    scene.world.time = MARCH
    scene.use(10 * MB)
    scene.world.time = MAY
    for period in range(3):
        assert isinstance(scene.settle(period), Effects)
    ids = [settlement_ids(scene.deal, period)[0][0] for period in range(3)]
    february, march, april = (scene.world.remaining(key) for key in ids)
    part = (MARCH - START) * 1_000 // (28 * DAY)
    assert (february, march, april) == (part, 980, 1_000)
    row = scene.world.state.get(Obligation, ids[1])
    assert row is not None
    assert (row.debtor, row.creditor, row.due) == ("alfa", "bravo", MAY + 10 * DAY)


def test_balanced_traffic_is_given_back_what_exceeds_its_rate(scene: Scene) -> None:
    scene.agreed(**scene.both(), balanced=(Rate(service="data", block=MB, price=1),))
    scene.use(40 * MB)
    scene.use(30 * MB, back=True)
    scene.world.time = MARCH
    scene.settle()
    assert sorted(scene.owed("rebate")) == [("alfa", "bravo", 30), ("bravo", "alfa", 30)]
    assert scene.owed("shortfall") == []


def test_an_ended_deal_counts_in_what_is_left_and_then_nowhere(scene: Scene) -> None:
    scene.agreed(ends=MARCH, directions=(scene.direction(terms={"valid_until": MARCH}),))
    request = scene.world.active(scene.alfa, scene.bravo, scene.there, escrow=100, ends=MARCH + DAY)
    scene.world.time = MARCH + MINUTE
    assert isinstance(scene.world.report(scene.bravo, request, 1, data(scene.world.minute, MB)), Effects)
    assert scene.period(0).traffic[0].octets == MB
    assert isinstance(scene.settle(0), Effects)
    late = scene.world.report(scene.bravo, request, 2, UsageRecord("data", scene.world.minute, 0, 0, MB, "DE"))
    assert isinstance(late, Effects)
    assert late.settled == 2
    assert scene.period(0).traffic[0].octets == MB
