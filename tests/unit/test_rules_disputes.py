"""Disputes hold what there is, and end with a transfer, an obligation, or nothing."""

from typing import Any

import pytest

from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.messages import CloseRequest, Mint, Parameters, Redeem, SettlementParameters
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules import Effects
from settlement.ledger.settling import (
    AcceptDispute,
    DecideDispute,
    EscalateDispute,
    ExpireDispute,
    RaiseDispute,
    RejectDispute,
    WithdrawDispute,
)
from settlement.ledger.state import Contested, Dispute, Obligation
from settlement.usage.tariff import Metered
from tests.ledger_model import DAY, MB, Balance, Member, World, data, refused, terms

CHARGE, FUNDS = 30, 1_000
ANSWER, WINDOW = 3 * DAY, 20 * DAY
EVIDENCE = "ee" * 32


class Scene:
    """A metered request of which two records of 10 MB and 20 MB were charged 30, all of it disputable."""

    def __init__(self) -> None:
        self.world = World(Parameters(settlement=SettlementParameters(dispute_days=20, answer_days=3)))
        self.home = self.world.admit("home", funds=FUNDS)
        self.visited = self.world.admit("visited")
        self.other = self.world.admit("other")
        offer = self.world.publish(self.visited, terms(Metered(block=MB, block_price=1)))
        self.request = self.world.active(self.home, self.visited, offer, escrow=100)
        minute = self.world.minute
        self.world.report(self.visited, self.request, 1, data(minute, 10 * MB), data(minute, 20 * MB))
        self.entry = len(self.world.entries) - 1
        self.reported = self.world.time

    def leaf(self, index: int) -> str:
        return leaf_hash(leaf_data(*self.world.entries[index])).hex()

    def dispute(self, sender: Member | None = None, **fields: Any) -> Effects | Rejection:
        entry = fields.get("entry", self.entry)
        good = {"entry": entry, "request": self.request, "record": 1, "amount": 20, "cause": "not-used"}
        leaf = self.leaf(entry) if entry < len(self.world.entries) else "00" * 32
        return self.world.send(sender or self.home, RaiseDispute, **{**good, "leaf": leaf, **fields})

    def raised(self, **fields: Any) -> Dispute:
        effects = self.dispute(**fields)
        assert isinstance(effects, Effects), effects
        [dispute] = [row for row in effects.rows if isinstance(row, Dispute)]
        return dispute

    def find(self, dispute: Dispute) -> Dispute:
        row = self.world.state.get(Dispute, dispute.id)
        assert row is not None
        return row

    def contested(self) -> int:
        row = self.world.state.get(Contested, self.request)
        assert row is not None
        return row.amount

    def spend(self, left: int) -> None:
        """The visited operator has redeemed all but `left`."""
        self.world.must(self.visited, Redeem, amount=self.world.balance(self.visited).available - left, payout="-")

    def rejected(self) -> Dispute:
        dispute = self.raised()
        self.world.must(self.visited, RejectDispute, dispute=dispute.id, evidence=EVIDENCE)
        return dispute

    def escalated(self) -> Dispute:
        dispute = self.rejected()
        self.world.must(self.home, EscalateDispute, dispute=dispute.id)
        return dispute


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_dispute_holds_what_the_visited_operator_has(scene: Scene) -> None:
    dispute = scene.raised(evidence=EVIDENCE)
    assert (dispute.held, dispute.deadline, dispute.evidence) == (20, scene.world.time + ANSWER, EVIDENCE)
    assert scene.world.balance(scene.visited) == Balance(10, 0, 20)
    assert scene.contested() == 20
    scene.world.check_money()


def test_a_conceded_dispute_pays_from_what_is_held(scene: Scene) -> None:
    dispute = scene.raised()
    before = scene.world.balance(scene.home).available
    effects = scene.world.must(scene.visited, AcceptDispute, dispute=dispute.id)
    assert effects.settled == 20
    assert scene.world.balance(scene.visited) == Balance(10, 0, 0)
    assert scene.world.balance(scene.home).available == before + 20
    assert (scene.find(dispute).state, scene.find(dispute).award) == ("upheld", 20)
    assert not list(scene.world.state.all(Obligation))
    assert scene.world.send(scene.visited, AcceptDispute, dispute=dispute.id) == refused("wrong-state")


def test_what_is_not_there_to_be_held_becomes_an_obligation(scene: Scene) -> None:
    scene.spend(left=5)
    dispute = scene.raised()
    assert dispute.held == 5
    scene.world.must(scene.visited, AcceptDispute, dispute=dispute.id)
    [owed] = scene.world.state.all(Obligation)
    assert (owed.debtor, owed.creditor, owed.remaining, owed.cause) == ("visited", "home", 15, "dispute")
    assert (owed.source, owed.due) == (dispute.id, scene.world.time + ANSWER)
    scene.world.check_money()


def test_silence_concedes_and_not_going_on_lets_go(scene: Scene) -> None:
    silent, dropped = scene.raised(amount=5), scene.raised(amount=6)
    scene.world.must(scene.visited, RejectDispute, dispute=dropped.id, evidence=EVIDENCE, cause="seen-in-network")
    assert scene.world.send(scene.other, ExpireDispute, dispute=silent.id) == refused("too-early")
    scene.world.wait(ANSWER + 1)
    assert scene.world.send(scene.visited, RejectDispute, dispute=silent.id, evidence=EVIDENCE) == refused("too-late")
    assert scene.world.send(scene.home, EscalateDispute, dispute=dropped.id) == refused("too-late")
    effects = scene.world.must(scene.other, ExpireDispute, dispute=silent.id)
    assert {effects.counterparty, *effects.readers} == {"home", "visited"}
    scene.world.must(scene.home, ExpireDispute, dispute=dropped.id)
    assert scene.find(silent).state == "upheld"
    assert (scene.find(dropped).state, scene.find(dropped).award) == ("dismissed", 0)
    assert scene.contested() == 11
    assert scene.world.balance(scene.visited) == Balance(25, 0, 0)


@pytest.mark.parametrize(("award", "state"), [(0, "dismissed"), (7, "upheld"), (20, "upheld")])
def test_the_issuer_decides_an_escalated_dispute(scene: Scene, award: int, state: str) -> None:
    dispute = scene.escalated()
    assert scene.world.send(scene.home, DecideDispute, dispute=dispute.id, award=1) == refused("not-permitted")
    assert scene.world.send(scene.world.issuer, DecideDispute, dispute=dispute.id, award=21) == refused("too-much")
    effects = scene.world.must(scene.world.issuer, DecideDispute, dispute=dispute.id, award=award)
    assert {effects.counterparty, *effects.readers} == {"home", "visited"}
    assert scene.find(dispute).state == state
    assert scene.world.balance(scene.visited) == Balance(CHARGE - award, 0, 0)
    assert scene.contested() == 20, "however it ends, a charge is disputed once"
    scene.world.check_money()


def test_an_arbiter_who_is_silent_leaves_things_as_they_are(scene: Scene) -> None:
    dispute = scene.escalated()
    scene.world.wait(ANSWER + 1)
    scene.world.must(scene.home, ExpireDispute, dispute=dispute.id)
    assert scene.find(dispute).state == "dismissed"


@pytest.mark.parametrize("stage", ["raised", "rejected", "escalated"])
def test_a_dispute_is_withdrawn_at_any_stage(scene: Scene, stage: str) -> None:
    dispute = getattr(scene, stage)()
    scene.world.must(scene.home, WithdrawDispute, dispute=dispute.id)
    assert scene.find(dispute).state == "withdrawn"
    assert scene.world.balance(scene.visited) == Balance(CHARGE, 0, 0)
    assert scene.dispute(amount=11) == refused("too-much"), "a charge is disputed once"


def test_no_more_is_disputed_than_was_charged(scene: Scene) -> None:
    assert scene.dispute(amount=CHARGE + 1) == refused("too-much")
    first = scene.raised(amount=20)
    assert scene.dispute(amount=11) == refused("too-much")
    scene.world.must(scene.visited, AcceptDispute, dispute=first.id)
    assert scene.dispute(amount=11) == refused("too-much"), "what was given back is not disputed again"
    assert isinstance(scene.dispute(amount=10, record=None), Effects)


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("unknown-entry", {"leaf": "ab" * 32}),
        ("unknown-entry", {"entry": 10_000}),
        ("unknown-entry", {"entry": 3}),
        ("unknown-entry", {"record": 2}),
        ("malformed", {"record": 2_000}),
    ],
)
def test_a_dispute_cites_the_report_that_charged_it(scene: Scene, code: str, fields: dict[str, Any]) -> None:
    assert scene.dispute(**fields) == refused(code)


def test_a_report_on_another_request_is_no_ground(scene: Scene) -> None:
    offer = scene.world.publish(scene.visited, terms(Metered(block=MB, block_price=1)))
    another = scene.world.active(scene.home, scene.visited, offer, escrow=100)
    assert scene.dispute(request=another) == refused("unknown-entry")


def test_only_the_home_operator_disputes_and_an_id_is_used_once(scene: Scene) -> None:
    assert scene.dispute(scene.visited) == refused("not-permitted")
    assert scene.dispute(scene.other) == refused("unknown-request")
    assert scene.dispute(request=scene.world.new_id()) == refused("unknown-request")
    assert scene.dispute(id=scene.raised(amount=1).id, amount=1) == refused("already-exists")


def test_an_old_report_stands(scene: Scene) -> None:
    scene.world.must(scene.visited, CloseRequest, request=scene.request)
    scene.world.time = scene.reported + WINDOW
    scene.raised(amount=1)
    scene.world.wait(1)
    assert scene.dispute(amount=1) == refused("too-late")


def test_only_the_party_whose_turn_it_is_acts(scene: Scene) -> None:
    dispute = scene.raised()
    for kind, wrong, fields in (
        (AcceptDispute, scene.home, {}),
        (RejectDispute, scene.home, {"evidence": EVIDENCE}),
        (EscalateDispute, scene.visited, {}),
        (WithdrawDispute, scene.visited, {}),
    ):
        assert scene.world.send(wrong, kind, dispute=dispute.id, **fields) == refused("not-permitted")
        assert scene.world.send(scene.other, kind, dispute=dispute.id, **fields) == refused("unknown-dispute")
    unknown = scene.world.new_id()
    assert scene.world.send(scene.home, EscalateDispute, dispute=dispute.id) == refused("wrong-state")
    assert scene.world.send(scene.world.issuer, DecideDispute, dispute=dispute.id, award=0) == refused("wrong-state")
    assert scene.world.send(scene.world.issuer, DecideDispute, dispute=unknown, award=0) == refused("unknown-dispute")
    assert scene.world.send(scene.other, ExpireDispute, dispute=unknown) == refused("unknown-dispute")


def test_redemptions_and_disputes_hold_side_by_side(scene: Scene) -> None:
    scene.spend(left=20)
    dispute = scene.raised()
    assert scene.world.balance(scene.visited) == Balance(0, 0, CHARGE)
    scene.world.must(scene.world.issuer, Mint, to="visited", amount=1, deposit="more")
    scene.world.must(scene.visited, AcceptDispute, dispute=dispute.id)
    assert scene.world.balance(scene.visited) == Balance(1, 0, 10)
    scene.world.check_money()
