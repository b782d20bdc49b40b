"""Proposals take effect with the last consent, refuse and lapse; invoices become obligations; obligations are paid."""

from typing import Any

import pytest

from settlement.ledger.rejections import Rejection
from settlement.ledger.rules import Effects
from settlement.ledger.settling import Consent, ExpireProposal, Pay, ProposeInvoice, RefuseProposal
from settlement.ledger.state import Obligation, Proposal
from tests.ledger_model import DAY, SDRT, Member, World, refused

AMOUNT = 5 * SDRT


class Scene:
    """Alfa owes Bravo; Charly looks on."""

    def __init__(self) -> None:
        self.world = World()
        self.alfa = self.world.admit("alfa", funds=10 * SDRT)
        self.bravo = self.world.admit("bravo")
        self.charly = self.world.admit("charly", funds=10 * SDRT)

    def invoice(self, sender: Member | None = None, **fields: Any) -> Effects | Rejection:
        good = {"debtor": "alfa", "amount": AMOUNT, "due": self.world.time + DAY, "document": "ab" * 32}
        return self.world.send(
            sender or self.bravo, ProposeInvoice, **{**good, "until": self.world.time + DAY, **fields}
        )

    def invoiced(self) -> tuple[Proposal, Obligation]:
        effects = self.invoice(number="R-2026/17")
        assert isinstance(effects, Effects)
        proposal, obligation = effects.rows
        assert isinstance(proposal, Proposal)
        assert isinstance(obligation, Obligation)
        return proposal, obligation

    def find(self, proposal: Proposal) -> Proposal:
        row = self.world.state.get(Proposal, proposal.leaf)
        assert row is not None
        return row

    def owed(self, obligation: Obligation) -> Obligation:
        row = self.world.state.get(Obligation, obligation.id)
        assert row is not None
        return row


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_an_invoice_becomes_an_obligation_when_its_debtor_consents(scene: Scene) -> None:
    proposal, obligation = scene.invoiced()
    assert (proposal.proposer, proposal.parties, proposal.state) == ("bravo", ("alfa",), "open")
    assert obligation.state == "proposed"
    effects = scene.world.must(scene.alfa, Consent, proposal=proposal.leaf)
    assert effects.counterparty == "bravo"
    assert scene.find(proposal).state == "effective"
    owed = scene.owed(obligation)
    assert (owed.state, owed.debtor, owed.creditor, owed.remaining) == ("open", "alfa", "bravo", AMOUNT)
    assert (owed.document, owed.number) == ("ab" * 32, "R-2026/17")


def test_a_proposal_is_named_by_the_leaf_hash_of_its_entry(scene: Scene) -> None:
    from settlement.ledger.log import leaf_data
    from settlement.ledger.merkle import leaf_hash

    proposal, _ = scene.invoiced()
    assert proposal.leaf == leaf_hash(leaf_data(*scene.world.entries[-1])).hex()


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("not-permitted", {"debtor": "bravo"}),
        ("unknown-operator", {"debtor": "nobody"}),
        ("not-permitted", {"debtor": "issuer"}),
        ("invalid-terms", {"until": 0}),
        ("invalid-terms", {"until": 253_402_300_799_999}),
    ],
)
def test_a_wrong_invoice_is_refused(scene: Scene, code: str, changes: dict[str, Any]) -> None:
    assert scene.invoice(**changes) == refused(code)


def test_only_operators_send_invoices_and_each_id_once(scene: Scene) -> None:
    assert scene.invoice(scene.world.issuer) == refused("not-permitted")
    _, obligation = scene.invoiced()
    assert scene.invoice(scene.charly, id=obligation.id) == refused("already-exists")


def test_strangers_do_not_learn_of_a_proposal_and_its_proposer_cannot_consent(scene: Scene) -> None:
    proposal, _ = scene.invoiced()
    for kind, fields in ((Consent, {}), (RefuseProposal, {"reason": "no"})):
        for leaf in (proposal.leaf, "00" * 32):
            assert scene.world.send(scene.charly, kind, proposal=leaf, **fields) == refused("unknown-proposal")
    assert scene.world.send(scene.bravo, Consent, proposal=proposal.leaf) == refused("wrong-state")


def test_a_consent_in_the_last_millisecond_counts_and_none_after_it(scene: Scene) -> None:
    (first, _), (second, owed) = scene.invoiced(), scene.invoiced()
    scene.world.time = first.until
    scene.world.must(scene.alfa, Consent, proposal=first.leaf)
    assert scene.world.send(scene.charly, ExpireProposal, proposal=second.leaf) == refused("too-early")
    scene.world.wait(1)
    assert scene.world.send(scene.alfa, Consent, proposal=second.leaf) == refused("too-late")
    effects = scene.world.must(scene.charly, ExpireProposal, proposal=second.leaf)
    assert {effects.counterparty, *effects.readers} == {"alfa", "bravo"}
    assert scene.find(second).state == "lapsed"
    assert scene.owed(owed).state == "dropped"
    assert scene.world.send(scene.charly, ExpireProposal, proposal="00" * 32) == refused("unknown-proposal")


@pytest.mark.parametrize("who", ["alfa", "bravo"])
def test_a_party_refuses_and_the_proposer_withdraws(scene: Scene, who: str) -> None:
    proposal, obligation = scene.invoiced()
    scene.world.must(scene.world.members[who], RefuseProposal, proposal=proposal.leaf, reason="wrong-amount")
    ended = scene.find(proposal)
    assert (ended.state, ended.refused_by, ended.reason) == ("refused", who, "wrong-amount")
    assert scene.owed(obligation).remaining == 0
    assert scene.world.send(scene.alfa, Consent, proposal=proposal.leaf) == refused("wrong-state")


def test_an_obligation_is_paid_in_parts_and_then_settled(scene: Scene) -> None:
    world = scene.world
    obligation = world.owe(scene.alfa, scene.bravo, AMOUNT)
    world.must(scene.alfa, Pay, obligation=obligation, amount=SDRT)
    assert (world.balance(scene.alfa).available, world.balance(scene.bravo).available) == (9 * SDRT, SDRT)
    assert world.remaining(obligation) == 4 * SDRT
    assert world.send(scene.alfa, Pay, obligation=obligation, amount=AMOUNT) == refused("too-much")
    assert world.must(scene.alfa, Pay, obligation=obligation, amount=4 * SDRT).settled == 4 * SDRT
    assert world.send(scene.alfa, Pay, obligation=obligation, amount=1) == refused("wrong-state")
    world.check_money()


def test_only_the_debtor_pays_only_what_it_owes_and_has(scene: Scene) -> None:
    world = scene.world
    obligation = world.owe(scene.alfa, scene.bravo, 20 * SDRT)
    assert world.send(scene.charly, Pay, obligation=obligation, amount=1) == refused("unknown-obligation")
    assert world.send(scene.bravo, Pay, obligation=obligation, amount=1) == refused("not-permitted")
    assert world.send(scene.alfa, Pay, obligation=obligation, amount=11 * SDRT) == refused("insufficient-funds")
    assert world.send(scene.alfa, Pay, obligation=world.new_id(), amount=1) == refused("unknown-obligation")
    _, proposed = scene.invoiced()
    assert world.send(scene.alfa, Pay, obligation=proposed.id, amount=1) == refused("wrong-state")
