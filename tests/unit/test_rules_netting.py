"""Netting cycles: executed whole with the last consent, or not at all; nobody's position changes."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from settlement.ledger.cycles import CycleError, cycle_of
from settlement.ledger.envelope import EnvelopeError
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules import Effects
from settlement.ledger.settling import (
    MAX_CHANGES,
    Change,
    Consent,
    Debt,
    ExpireProposal,
    Pay,
    ProposeCycle,
    RefuseProposal,
)
from settlement.ledger.state import Cycle, Obligation, Proposal
from settlement.netting import Debt as Owed
from settlement.netting import Method, Terms, net
from tests.ledger_model import DAY, SDRT, Member, World, refused

NAMES = ("alfa", "bravo", "charly")


class Scene:
    """A ring: Alfa owes Bravo 5, Bravo Charly 4, Charly Alfa 3 SDRt. A hub, and somebody beside."""

    def __init__(self) -> None:
        self.world = World()
        self.alfa, self.bravo, self.charly = (self.world.admit(name, funds=10 * SDRT) for name in NAMES)
        self.hub, self.other = self.world.admit("hub"), self.world.admit("other")
        self.ring = [
            self.world.owe(self.alfa, self.bravo, 5 * SDRT),
            self.world.owe(self.bravo, self.charly, 4 * SDRT),
            self.world.owe(self.charly, self.alfa, 3 * SDRT),
        ]

    def changes(self, *reductions: int) -> tuple[Change, ...]:
        pairs = zip(self.ring, (5, 4, 3), reductions, strict=False)
        return tuple(Change(row, owed * SDRT, reduction * SDRT) for row, owed, reduction in pairs)

    def propose(self, sender: Member | None = None, **fields: Any) -> Effects | Rejection:
        good = {"method": "setoff", "changes": self.changes(3, 3, 3), "until": self.world.time + DAY}
        return self.world.send(sender or self.alfa, ProposeCycle, **good | fields)

    def proposed(self, sender: Member | None = None, **fields: Any) -> Proposal:
        effects = self.propose(sender, **fields)
        assert isinstance(effects, Effects), effects
        proposal = effects.rows[0]
        assert isinstance(proposal, Proposal)
        assert {effects.counterparty, *effects.readers} == set(proposal.parties)
        return proposal

    def left(self) -> list[int]:
        return [self.world.remaining(row) // SDRT for row in self.ring]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_set_off_executes_with_the_last_consent_and_not_before(scene: Scene) -> None:
    proposal = scene.proposed()
    assert proposal.parties == ("bravo", "charly")
    scene.world.must(scene.bravo, Consent, proposal=proposal.leaf)
    assert scene.left() == [5, 4, 3]
    effects = scene.world.must(scene.charly, Consent, proposal=proposal.leaf)
    assert scene.left() == [2, 1, 0]
    assert {effects.counterparty, *effects.readers} == {"alfa", "bravo"}
    cycle = scene.world.state.get(Cycle, proposal.subject)
    assert cycle is not None
    assert cycle.state == "executed"
    scene.world.check_money()


def test_a_novation_leaves_one_debt_a_party_with_the_hub(scene: Scene) -> None:
    added = (Debt("alfa", "hub", 2 * SDRT), Debt("hub", "bravo", 1 * SDRT), Debt("hub", "charly", 1 * SDRT))
    proposal = scene.proposed(
        scene.world.issuer,
        method="novation",
        changes=scene.changes(5, 4, 3),
        hub="hub",
        added=added,
        due=scene.world.time + 9 * DAY,
    )
    assert proposal.parties == ("alfa", "bravo", "charly", "hub")
    scene.world.agree(proposal.leaf, scene.hub, scene.charly, scene.bravo, scene.alfa)
    assert scene.left() == [0, 0, 0]
    rows = scene.world.state.all(Obligation)
    new = {(row.debtor, row.creditor): row for row in rows if row.cause == "netting"}
    assert {pair: row.remaining for pair, row in new.items()} == {(d.debtor, d.creditor): d.amount for d in added}
    assert all(row.source == proposal.subject and row.state == "open" for row in new.values())


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("not-balanced", {"reductions": (3, 3, 2)}),
        ("not-balanced", {"reductions": (3, 3)}),
        ("too-much", {"reductions": (4, 4, 4)}),
        ("beyond-cap", {"caps": (Debt("alfa", "bravo", 2 * SDRT),)}),
        ("beyond-cap", {"caps": (Debt("bravo", "charly", 0),)}),
        ("invalid-terms", {"caps": (Debt("alfa", "bravo", 9 * SDRT), Debt("alfa", "bravo", 8 * SDRT))}),
        ("invalid-terms", {"added": (Debt("alfa", "hub", 1),)}),
        ("invalid-terms", {"hub": "hub"}),
        ("invalid-terms", {"method": "novation"}),
        ("invalid-terms", {"method": "novation", "hub": "alfa", "due": 2**45}),
        ("invalid-terms", {"method": "novation", "hub": "hub", "added": (Debt("alfa", "bravo", 1),), "due": 2**45}),
        ("invalid-terms", {"method": "novation", "hub": "hub", "added": (Debt("alfa", "hub", 0),), "due": 2**45}),
        ("invalid-terms", {"method": "novation", "hub": "hub", "added": (Debt("other", "hub", 1),), "due": 2**45}),
        ("invalid-terms", {"method": "novation", "hub": "hub"}),
        ("unknown-operator", {"method": "novation", "hub": "nobody", "due": 2**45}),
        ("not-permitted", {"method": "novation", "hub": "issuer", "due": 2**45}),
        ("not-balanced", {"method": "novation", "hub": "hub", "added": (Debt("alfa", "hub", 1),), "due": 2**45}),
        ("invalid-terms", {"until": 1}),
    ],
)
def test_a_wrong_cycle_is_refused(scene: Scene, code: str, fields: dict[str, Any]) -> None:
    if "reductions" in fields:
        fields = {"changes": scene.changes(*fields["reductions"])}
    assert scene.propose(**fields) == refused(code)


def test_obligations_of_a_cycle_are_open_as_stated_and_named_once(scene: Scene) -> None:
    first, *rest = scene.changes(3, 3, 3)
    missing = Change(scene.world.new_id(), 1, 1)
    assert scene.propose(changes=(first, missing)) == refused("unknown-obligation")
    assert scene.propose(changes=(Change(first.obligation, 1, 1), *rest)) == refused("obligation-changed")
    half = Change(first.obligation, 5 * SDRT, 1)
    assert scene.propose(changes=(half, half)) == refused("invalid-terms")
    scene.world.must(scene.charly, Pay, obligation=scene.ring[2], amount=3 * SDRT)
    assert scene.propose() == refused("wrong-state")


def test_a_cycle_id_is_used_once_and_auditors_propose_none(scene: Scene) -> None:
    proposal = scene.proposed()
    assert scene.propose(id=proposal.subject) == refused("already-exists")
    assert scene.propose(scene.world.admit("watchdog", role="auditor")) == refused("not-permitted")


def test_one_refusal_ends_a_cycle_and_leaves_everything(scene: Scene) -> None:
    proposal = scene.proposed()
    scene.world.agree(proposal.leaf, scene.bravo)
    scene.world.must(scene.charly, RefuseProposal, proposal=proposal.leaf, reason="not-now")
    assert scene.left() == [5, 4, 3]
    assert scene.world.send(scene.charly, Consent, proposal=proposal.leaf) == refused("wrong-state")


def test_a_cycle_lapses_at_its_date(scene: Scene) -> None:
    proposal = scene.proposed()
    scene.world.agree(proposal.leaf, scene.bravo)
    scene.world.wait(DAY + 1)
    assert scene.world.send(scene.charly, Consent, proposal=proposal.leaf) == refused("too-late")
    scene.world.must(scene.other, ExpireProposal, proposal=proposal.leaf)
    cycle = scene.world.state.get(Cycle, proposal.subject)
    assert cycle is not None
    assert cycle.state == "dropped"


def test_a_payment_in_between_is_fine_while_enough_remains(scene: Scene) -> None:
    proposal = scene.proposed()
    scene.world.must(scene.alfa, Pay, obligation=scene.ring[0], amount=2 * SDRT)
    scene.world.agree(proposal.leaf, scene.bravo, scene.charly)
    assert scene.left() == [0, 1, 0]


def test_a_payment_in_between_that_leaves_too_little_stops_the_whole_cycle(scene: Scene) -> None:
    proposal = scene.proposed()
    scene.world.must(scene.charly, Pay, obligation=scene.ring[2], amount=1)
    scene.world.agree(proposal.leaf, scene.bravo)
    assert scene.world.send(scene.charly, Consent, proposal=proposal.leaf) == refused("obligation-changed")
    assert scene.left()[:2] == [5, 4]


def test_the_largest_cycle_fits_an_entry_and_a_larger_is_no_message() -> None:
    world = World()
    alfa = world.admit("a" * 32)
    largest = tuple(Change(UUID(int=7 << 76 | 2 << 62 | n), 2**40, 2**40) for n in range(MAX_CHANGES))
    fields = {"method": "setoff", "until": world.time + DAY}
    assert world.send(alfa, ProposeCycle, changes=largest, **fields) == refused("unknown-obligation")
    assert world.send(alfa, ProposeCycle, changes=(*largest, largest[0]), **fields) == refused("malformed")
    with pytest.raises(EnvelopeError):
        world.send(alfa, ProposeCycle, changes=largest * 2, **fields)


debts = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(1, 50)).filter(
        lambda debt: debt[0] != debt[1]
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(debts=debts, method=st.sampled_from(Method), cap=st.none() | st.integers(0, 40))
def test_what_netting_finds_the_ledger_executes(
    debts: list[tuple[str, str, int]], method: Method, cap: int | None
) -> None:
    world = World()
    members = {name: world.admit(name) for name in (*NAMES, "hub")}
    for debtor, creditor, amount in debts:
        world.owe(members[debtor], members[creditor], amount)
    terms = Terms(caps={} if cap is None else {("alfa", "bravo"): cap})
    owed = list(world.state.all(Obligation))
    netting = net((Owed(row.debtor, row.creditor, row.remaining) for row in owed), method, terms)
    try:
        fields = cycle_of(owed, netting, terms)
    except CycleError:
        assert netting.gross_after == netting.gross_before
        return
    due = world.time + 9 * DAY if method is Method.NOVATION else None
    leaf = world.propose(world.issuer, ProposeCycle, due=due, **fields)
    proposal = world.state.get(Proposal, leaf)
    assert proposal is not None
    world.agree(leaf, *(members[name] for name in proposal.parties))
    left: dict[tuple[str, str], int] = {}
    for row in world.state.all(Obligation):
        if row.remaining:
            left[row.debtor, row.creditor] = left.get((row.debtor, row.creditor), 0) + row.remaining
    assert left == {(debt.debtor, debt.creditor): debt.amount for debt in netting.remaining}
