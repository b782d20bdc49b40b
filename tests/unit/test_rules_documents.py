"""Documents by their digest, and the deposits behind the SDRt as they were stated."""

from pathlib import Path

import pytest

from settlement.ledger.audit import Reserve, audit
from settlement.ledger.messages import Mint, Redeem, Redeemed
from settlement.ledger.note import Signer as NoteSigner
from settlement.ledger.settling import AttestReserves, RecordDocument
from settlement.ledger.state import Attestation, Document
from tests.ledger_model import DAY, ORIGIN, SDRT, World, export_from_entries, refused, seed_of

DIGEST = "ab" * 32


@pytest.fixture
def world() -> World:
    world = World()
    world.admit("alfa", funds=100 * SDRT)
    world.admit("bravo")
    return world


def test_a_document_is_recorded_for_its_counterparty(world: World) -> None:
    alfa = world.members["alfa"]
    fields = {"kind": "invoice", "digest": DIGEST, "period": "2026-10-01/2026-10-31"}
    effects = world.must(alfa, RecordDocument, counterparty="bravo", **fields)
    assert effects.counterparty == "bravo"
    [row] = world.state.all(Document)
    assert (row.sender, row.counterparty, row.kind, row.digest) == ("alfa", "bravo", "invoice", DIGEST)
    assert (row.period, row.recorded) == (fields["period"], world.time)
    assert world.must(alfa, RecordDocument, kind="statement", digest=DIGEST).counterparty is None


def test_a_document_that_concerns_nobody_else_is_refused(world: World) -> None:
    alfa, fields = world.members["alfa"], {"kind": "invoice", "digest": DIGEST}
    assert world.send(alfa, RecordDocument, counterparty="alfa", **fields) == refused("invalid-terms")
    assert world.send(alfa, RecordDocument, counterparty="nobody", **fields) == refused("unknown-operator")
    assert world.send(alfa, RecordDocument, kind="invoice", digest=DIGEST, period="October") == refused("malformed")
    [document] = world.must(alfa, RecordDocument, **fields).rows
    again = world.send(world.members["bravo"], RecordDocument, id=document.key, **fields)
    assert again == refused("already-exists")


def test_the_issuer_and_auditors_attest_reserves_of_the_past(world: World) -> None:
    auditor = world.admit("watchdog", role="auditor")
    fields = {"as_of": world.time, "deposits": 5, "digest": DIGEST}
    assert world.must(auditor, AttestReserves, **fields).counterparty == "issuer"
    [row] = world.must(world.issuer, AttestReserves, **fields).rows
    assert isinstance(row, Attestation)
    assert (row.attestor, row.deposits, row.minted, row.burned) == ("issuer", 5, 100 * SDRT, 0)
    assert world.send(world.members["alfa"], AttestReserves, **fields) == refused("not-permitted")
    assert world.send(world.issuer, AttestReserves, **fields | {"as_of": world.time + 1}) == refused("invalid-terms")
    assert world.send(auditor, AttestReserves, id=row.id, **fields) == refused("already-exists")


def test_an_audit_compares_deposits_with_what_circulated_then(world: World, tmp_path: Path) -> None:
    founded = world.time
    world.wait(DAY)
    redemption = world.new_id()
    world.must(world.members["alfa"], Redeem, id=redemption, amount=40 * SDRT, payout="-")
    world.must(world.issuer, Redeemed, redemption=redemption, payment="-")
    burnt = world.time
    world.wait(DAY)
    world.must(world.issuer, Mint, to="alfa", amount=SDRT, deposit="later")
    for as_of in (founded - 1, founded, burnt, world.time):
        world.must(world.issuer, AttestReserves, as_of=as_of, deposits=60 * SDRT, digest=DIGEST)
    export_from_entries(world.entries, NoteSigner(ORIGIN, seed_of("origin")), tmp_path / "log")
    report = audit(tmp_path / "log", world.key, workers=0)
    first = len(world.entries) - 4
    assert report.reserves == (
        Reserve(first, "issuer", founded - 1, 60 * SDRT, 0, True),
        Reserve(first + 1, "issuer", founded, 60 * SDRT, 100 * SDRT, False),
        Reserve(first + 2, "issuer", burnt, 60 * SDRT, 60 * SDRT, True),
        Reserve(first + 3, "issuer", world.time, 60 * SDRT, 61 * SDRT, False),
    )
