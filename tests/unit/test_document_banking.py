"""Payment orders out and bank statements in: what is paid, what is refused, what is counted."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import msgspec
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from settlement.documents import DocumentError, Settled
from settlement.documents.banking import (
    PAIN,
    BankEntry,
    PaymentOrder,
    match_payments,
    read_statement,
    write_payments,
)
from settlement.documents.checks import is_iban
from settlement.documents.cli import app
from settlement.documents.plain_xml import XmlError
from tests.documents_on_hand import billing

NS = {"": PAIN}
US = replace(billing().buyer, iban="FR14 2004 1010 0505 0001 3M02 606", bic="PSSTFRPPMAR")


def order(**changes: Any) -> PaymentOrder:
    both = PaymentOrder(
        message="2026-12-1",
        made_at=datetime(2026, 12, 1, 9, tzinfo=UTC),
        execute_on=date(2026, 12, 2),
        debtor=US,
        invoices=(billing(), billing(number="INV-2026-000018", settled=())),
    )
    return replace(both, **changes)


def statement(*entries: str, version: str = "08") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}">'
        f"<BkToCstmrStmt><Stmt><Id>1</Id>{''.join(entries)}</Stmt></BkToCstmrStmt></Document>"
    ).encode()


def entry(amount: str = "60.74", side: str = "CRDT", *, status: str = "<Cd>BOOK</Cd>", details: str = "") -> str:
    return (
        f'<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{side}</CdtDbtInd><Sts>{status}</Sts>'
        f"<BookgDt><Dt>2026-12-02</Dt></BookgDt><NtryDtls>{details}</NtryDtls></Ntry>"
    )


def details(number: str = "INV-2026-000017", amount: str = "") -> str:
    part = f'<Amt Ccy="EUR">{amount}</Amt>' if amount else ""
    return f"<TxDtls><Refs><EndToEndId>{number}</EndToEndId></Refs>{part}</TxDtls>"


def test_an_order_pays_what_escrow_and_netting_left_and_its_sums_agree() -> None:
    root = fromstring(write_payments(order()))
    amounts = [each.text for each in root.iterfind(".//InstdAmt", NS)]
    assert amounts == ["60.74", "1110.72"]
    assert [each.text for each in root.iterfind(".//EndToEndId", NS)] == ["INV-2026-000017", "INV-2026-000018"]
    assert {each.text for each in root.iterfind(".//CtrlSum", NS)} == {"1171.46"}
    assert {each.text for each in root.iterfind(".//NbOfTxs", NS)} == {"2"}
    assert root.findtext(".//DbtrAcct/Id/IBAN", None, NS) == "FR1420041010050500013M02606"


def test_the_same_order_gives_the_same_octets() -> None:
    assert write_payments(order()) == write_payments(order())


PAID_UP = Settled(cause="escrow", reference="1", on=date(2026, 10, 31), amount_usdr=949_951_583)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (order(invoices=()), "nothing to pay"),
        (order(message="x" * 36), "has 36 characters"),
        (order(made_at=datetime(2026, 12, 1)), "has no zone"),  # noqa: DTZ001 - the point
        (order(invoices=(billing(), billing())), "paid twice"),
        (order(invoices=(billing(number=""),)), "cannot be named"),
        (order(invoices=(billing(settled=(PAID_UP,)),)), "0 minor units to pay"),
        (order(debtor=replace(US, operator="other")), "not to other who pays"),
        (order(debtor=replace(US, iban="FR14 2004 1010 0505 0001 3M02 607")), "mistyped"),
    ],
)
def test_an_order_that_would_go_wrong_is_refused(wrong: PaymentOrder, why: str) -> None:
    with pytest.raises(DocumentError, match=why):
        write_payments(wrong)


def test_an_iban_is_known_by_its_check_digits() -> None:
    assert is_iban("DE02200505501015871393")
    assert not any(is_iban(text) for text in ("", "DE03200505501015871393", "de02200505501015871393", "DE0²", "12345"))


@pytest.mark.parametrize("version", ["02", "08"])
def test_a_statement_gives_its_booked_entries_with_their_signs(version: str) -> None:
    status = "BOOK" if version == "02" else "<Cd>BOOK</Cd>"
    entries = read_statement(
        statement(
            entry(status=status, details=details()),
            entry("10.00", "DBIT", status=status, details=details("NOTPROVIDED")),
            entry("99.00", status="PDNG" if version == "02" else "<Cd>PDNG</Cd>"),
            version=version,
        )
    )
    day = date(2026, 12, 2)
    assert entries == [
        BankEntry(day, 6074, "EUR", "INV-2026-000017", "", False),
        BankEntry(day, -1000, "EUR", "NOTPROVIDED", "", False),
    ]


def test_an_entry_of_several_transactions_is_taken_apart() -> None:
    parts = details(amount="60.74") + details("INV-2026-000018", "39.26")
    assert [each.amount_minor for each in read_statement(statement(entry("100.00", details=parts)))] == [6074, 3926]
    with pytest.raises(DocumentError, match="entry 1: its transactions do not add up"):
        read_statement(statement(entry("100.01", details=parts)))


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        (b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>', "document type"),
        (b"<Document/>", "name a bank's statement"),
        (b"<Document", "no well-formed XML"),
        (statement(entry("1.001")), "is no amount"),
        (statement(entry("-1")), "is no amount"),
        (statement(entry("NaN")), "is no amount"),
        (statement(entry("1e999999999")), "is no amount"),
        (statement(entry(side="BOTH")), "lacks Amt or CdtDbtInd"),
        (statement(entry().replace("2026-12-02", "soon")), "'soon' is no date"),
    ],
)
def test_a_statement_that_is_none_is_refused(xml: bytes, why: str) -> None:
    with pytest.raises((XmlError, DocumentError), match=why):
        read_statement(xml)


def test_payments_are_matched_by_reference_and_never_by_guess() -> None:
    def came(amount: int, reference: str = "", told: str = "", currency: str = "EUR") -> BankEntry:
        return BankEntry(date(2026, 12, 2), amount, currency, reference, told, False)

    expected = dict.fromkeys(("A-1", "A-10", "B", "C", "D"), (100, "EUR"))
    entries = [
        came(60, "A-1"),
        came(40, told="for A-1, thank you"),
        came(100, told="A-10."),
        came(30, "B"),
        came(300, told="B and C together"),
        came(100, "C", currency="USD"),
        came(150, "D"),
    ]
    found = match_payments(entries, expected)
    assert [(each.number, each.paid_minor, each.state) for each in found] == [
        ("A-1", 100, "paid"),
        ("A-10", 100, "paid"),
        ("B", 30, "partly"),
        ("C", 0, "unpaid"),
        ("D", 150, "over"),
    ]


def test_pay_and_paid_from_the_command_line(tmp_path: Path) -> None:
    invoice, us, xml = tmp_path / "invoice.json", tmp_path / "us.json", tmp_path / "order.xml"
    invoice.write_bytes(msgspec.json.encode(billing()))
    us.write_bytes(msgspec.json.encode(US))
    options = ["--debtor", str(us), "--message", "m-1", "--execute-on", "2026-12-02", "-o", str(xml), "--json"]
    made = CliRunner().invoke(app, ["pay", str(invoice), *options])
    assert json.loads(made.stdout)["payments"] == 1
    assert b'<InstdAmt Ccy="EUR">60.74<' in xml.read_bytes()
    (tmp_path / "statement.xml").write_bytes(statement(entry(details=details())))
    told = CliRunner().invoke(app, ["paid", str(tmp_path / "statement.xml"), str(invoice), "--json"])
    assert [each["state"] for each in json.loads(told.stdout)] == ["paid"]
