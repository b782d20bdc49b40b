"""`landfall document verify`: a file found in an exported log by its SHA-256, and not found when a bit is turned."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from settlement.documents import Format, Language, render
from settlement.documents.cli import app
from settlement.ledger.audit import AuditError
from settlement.ledger.note import Signer as NoteSigner
from settlement.ledger.settling import ProposeInvoice, RecordDocument
from tests.documents_on_hand import billing
from tests.ledger_model import ORIGIN, SDRT, World, export_from_entries, seed_of

DAY_MS = 86_400_000


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """A folder with an invoice, the log that has its digest, and the log's key."""
    world, invoice = World(), render(billing(), Language.EN, Format.PDF)
    creditor, debtor = world.admit("bravo"), world.admit("alfa", funds=1_000 * SDRT)
    world.must(
        creditor,
        ProposeInvoice,
        debtor=debtor.id,
        amount=5 * SDRT,
        due=world.time + DAY_MS,
        document=sha256(invoice).hexdigest(),
        number="INV-2026-000017",
        until=world.time + DAY_MS,
    )
    digest = sha256(invoice).hexdigest()
    world.must(creditor, RecordDocument, counterparty=debtor.id, kind="invoice", digest=digest, period="2026-10")
    export_from_entries(world.entries, NoteSigner(ORIGIN, seed_of("origin")), tmp_path / "log")
    (tmp_path / "invoice.pdf").write_bytes(invoice)
    (tmp_path / "origin.vkey").write_text(f"{world.key}\n")
    return tmp_path


def verify(folder: Path, *arguments: str) -> Any:
    where = ["--log", str(folder / "log"), "--key", str(folder / "origin.vkey")]
    return CliRunner().invoke(app, ["verify", str(folder / "invoice.pdf"), *(arguments or where), "--json"], env={})


def test_a_recorded_document_is_found_with_its_sender_and_time(evidence: Path) -> None:
    result = verify(evidence)
    told = json.loads(result.stdout)
    assert (result.exit_code, told["ok"]) == (0, True)
    found = [(each["sender"], each["type"], each["field"]) for each in told["recorded"]]
    assert found == [("bravo", "invoice", "document"), ("bravo", "record-document", "digest")]
    assert 0 < told["recorded"][0]["index"] < told["recorded"][1]["index"]


def test_one_bit_turned_is_not_found(evidence: Path) -> None:
    invoice = bytearray((evidence / "invoice.pdf").read_bytes())
    invoice[len(invoice) // 2] ^= 1
    (evidence / "invoice.pdf").write_bytes(invoice)
    result = verify(evidence)
    assert (result.exit_code, json.loads(result.stdout)["recorded"]) == (1, [])


def test_a_log_that_was_tampered_with_proves_nothing(evidence: Path) -> None:
    bundle = next(path for path in (evidence / "log" / "tile" / "entries").rglob("*") if path.is_file())
    octets = bytearray(bundle.read_bytes())
    octets[-1] ^= 1
    bundle.write_bytes(octets)
    assert isinstance(verify(evidence).exception, AuditError)


def test_verify_says_where_it_could_look(evidence: Path) -> None:
    missing_key = verify(evidence, "--log", str(evidence / "log"))
    assert "--key is missing" in str(missing_key.exception)
    nowhere = CliRunner().invoke(app, ["verify", str(evidence / "invoice.pdf")], env={"LANDFALL_LEDGER_URL": ""})
    assert "where to look?" in str(nowhere.exception)
    assert isinstance(nowhere.exception, LandfallError)
