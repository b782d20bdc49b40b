"""Paying invoices and seeing them paid: ISO 20022 `pain.001` out, `camt.053` in.

What netting and escrow left to pay goes to the bank as one file, and the bank's statement says what came:

    octets = write_payments(PaymentOrder(message="2026-11-02-1", debtor=us, invoices=(…), …))
    paid = match_payments(read_statement(octets), {"INV-2026-000017": (6074, "EUR")})

Amounts are minor units of a currency, of `settlement.sdr.minor_digits` decimals. An order pays each invoice what is to
pay of it (`sum_up`), names its number twice (end-to-end id and remittance) and is the same octets for the same values.
A statement is UTF-8 XML without a document type, read for booked entries only; nothing is fetched.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Final
from xml.etree.ElementTree import Element, SubElement, fromstring, indent, tostring

from msgspec import Struct

from settlement.documents.amounts import sum_up
from settlement.documents.checks import check, is_iban
from settlement.documents.model import DocumentError, Invoice, Party
from settlement.documents.plain_xml import XmlError, read_plain
from settlement.documents.writing import decimal_of
from settlement.sdr import minor_digits

PAIN: Final = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
CAMT: Final = "urn:iso:std:iso:20022:tech:xsd:camt.053.001."
"""Any version: what is read of a statement has its place and name in all of them."""
MAX_ID: Final = 35
"""Characters of an identifier (Max35Text)."""
MAX_NAME: Final = 140
"""Characters of a name or remittance (Max140Text)."""
MAX_ENTRIES: Final = 100_000
"""Booked entries of a statement: a day of a large bank's customer."""
MAX_STATEMENT: Final = 128 * 1024 * 1024
"""Octets of a statement: some kB an entry."""

_AMOUNT: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,5})?", re.ASCII)  # ISO 20022: 18 digits, 5 of them decimals


class PaymentOrder(Struct, frozen=True, kw_only=True):
    """A batch of payments. `message` is unique at the bank for ever: a bank refuses one it has seen."""

    message: str
    made_at: datetime
    execute_on: date
    debtor: Party
    invoices: tuple[Invoice, ...]


class BankEntry(Struct, frozen=True):
    """A booked movement of an account; `amount_minor` is above zero where money came in."""

    booked_on: date
    amount_minor: int
    currency: str
    end_to_end: str
    remittance: str
    reversal: bool


class Payment(Struct, frozen=True):
    """What a statement says of an expected sum: `paid`, `partly`, `over` or `unpaid`."""

    number: str
    expected_minor: int
    paid_minor: int

    @property
    def state(self) -> str:
        """How paid and expected compare."""
        if self.paid_minor <= 0:
            return "unpaid"
        if self.paid_minor == self.expected_minor:
            return "paid"
        return "partly" if self.paid_minor < self.expected_minor else "over"


def write_payments(order: PaymentOrder) -> bytes:
    """The order as `pain.001.001.09`. Raises `DocumentError` where an invoice cannot be paid by it, naming it."""
    _check_order(order)
    paid = [(invoice, sum_up(invoice).payable) for invoice in order.invoices]
    sums = str(sum(Decimal(decimal_of(minor, invoice.rate.digits)) for invoice, minor in paid))
    root = Element("Document", xmlns=PAIN)
    body = SubElement(root, "CstmrCdtTrfInitn")
    head = SubElement(body, "GrpHdr")
    _add(head, "MsgId", order.message)
    _add(head, "CreDtTm", order.made_at.isoformat(timespec="seconds"))
    _add(head, "NbOfTxs", str(len(paid)))
    _add(head, "CtrlSum", sums)
    _add(head, "InitgPty/Nm", order.debtor.legal_name[:MAX_NAME])
    batch = SubElement(body, "PmtInf")
    _add(batch, "PmtInfId", order.message)
    _add(batch, "PmtMtd", "TRF")
    _add(batch, "NbOfTxs", str(len(paid)))
    _add(batch, "CtrlSum", sums)
    _add(batch, "ReqdExctnDt/Dt", order.execute_on.isoformat())
    _add_party(batch, "Dbtr", order.debtor)
    _add(batch, "DbtrAcct/Id/IBAN", _iban(order.debtor))
    _add_bank(batch, "DbtrAgt", order.debtor)
    for invoice, minor in paid:
        _add_payment(batch, invoice, minor)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'.encode()


def _check_order(order: PaymentOrder) -> None:
    if not order.invoices:
        raise DocumentError("invoices is empty: there is nothing to pay")
    if not 0 < len(order.message) <= MAX_ID:
        raise DocumentError(f"message {order.message!r} has {len(order.message)} characters: write 1 to {MAX_ID}")
    if order.made_at.tzinfo is None:
        raise DocumentError(f"made_at {order.made_at} has no zone: a bank elsewhere reads it")
    _iban(order.debtor)
    numbers: set[tuple[str, str]] = set()
    for invoice in order.invoices:
        check(invoice)
        place = f"invoice {invoice.number or '(no number)'} of {invoice.seller.operator}"
        if not 0 < len(invoice.number) <= MAX_ID:
            raise DocumentError(f"{place} cannot be named: its number has to have 1 to {MAX_ID} characters")
        if (invoice.seller.operator, invoice.number) in numbers:
            raise DocumentError(f"{place} is there twice: it would be paid twice")
        if invoice.buyer.operator != order.debtor.operator:
            raise DocumentError(f"{place} is to {invoice.buyer.operator}, not to {order.debtor.operator} who pays")
        if (payable := sum_up(invoice).payable) <= 0:
            raise DocumentError(f"{place} has {payable} minor units to pay: leave it out")
        _iban(invoice.seller)
        numbers.add((invoice.seller.operator, invoice.number))


def _iban(party: Party) -> str:
    iban = party.iban.replace(" ", "")
    if not is_iban(iban):
        raise DocumentError(
            f"party {party.operator}: iban {party.iban!r} is none, or mistyped (ISO 13616 check digits)"
        )
    return iban


def _add_payment(batch: Element, invoice: Invoice, minor: int) -> None:
    one = SubElement(batch, "CdtTrfTxInf")
    _add(one, "PmtId/EndToEndId", invoice.number)
    _add(one, "Amt/InstdAmt", decimal_of(minor, invoice.rate.digits), Ccy=invoice.rate.currency)
    if invoice.seller.bic:
        _add_bank(one, "CdtrAgt", invoice.seller)
    _add_party(one, "Cdtr", invoice.seller)
    _add(one, "CdtrAcct/Id/IBAN", _iban(invoice.seller))
    _add(one, "RmtInf/Ustrd", f"{invoice.number} {invoice.issued_on.isoformat()}")


def _add_party(at: Element, name: str, party: Party) -> None:
    group = SubElement(at, name)
    _add(group, "Nm", party.legal_name[:MAX_NAME])
    address = SubElement(group, "PstlAdr")
    _add(address, "StrtNm", party.street[:70])
    if party.postcode:
        _add(address, "PstCd", party.postcode[:16])
    _add(address, "TwnNm", party.city[:35])
    _add(address, "Ctry", party.country)


def _add_bank(at: Element, name: str, party: Party) -> None:
    if party.bic:
        _add(at, f"{name}/FinInstnId/BICFI", party.bic)
    else:
        _add(at, f"{name}/FinInstnId/Othr/Id", "NOTPROVIDED")


def _add(at: Element, path: str, text: str, **attributes: str) -> None:
    *groups, name = path.split("/")
    for group in groups:
        at = SubElement(at, group)
    SubElement(at, name, attributes).text = text


def read_statement(xml: bytes) -> list[BankEntry]:
    """The booked entries of a `camt.053` statement, one each transaction, in its order.

    Raises `XmlError` or `DocumentError` where it is none, naming the entry and field.
    """
    root = fromstring(read_plain(xml, most=MAX_STATEMENT))  # noqa: S314 - read_plain refused what could harm
    space = root.tag.partition("}")[0].lstrip("{")
    if not space.startswith(CAMT):
        raise XmlError(f"the file is in {space[:100]!r}: name a bank's statement, camt.053")
    names = {"": space}
    found = root.findall("BkToCstmrStmt/Stmt/Ntry", names)
    if len(found) > MAX_ENTRIES:
        raise XmlError(f"the statement has {len(found):,} entries, at most {MAX_ENTRIES:,} are read: split it by day")
    entries: list[BankEntry] = []
    for number, entry in enumerate(found, 1):
        status = entry.findtext("Sts/Cd", None, names) or entry.findtext("Sts", "", names).strip()
        if status == "BOOK":
            entries += _read_entry(entry, f"entry {number}", names)
    return entries


def _read_entry(entry: Element, place: str, names: dict[str, str]) -> list[BankEntry]:
    booked = entry.findtext("BookgDt/Dt", None, names) or entry.findtext("BookgDt/DtTm", "", names)[:10]
    try:
        booked_on = date.fromisoformat(booked)
    except ValueError:
        raise DocumentError(f"{place}: BookgDt {booked[:40]!r} is no date, as 2026-11-20") from None
    reversal = entry.findtext("RvslInd", "false", names).strip() in ("true", "1")
    whole = _read_amount(entry, place, names)
    details = entry.findall("NtryDtls/TxDtls", names)
    if len(details) < 2:
        one = details[0] if details else entry
        return [BankEntry(booked_on, *whole, *_read_references(one, names), reversal)]
    parts = [_read_amount(one, f"{place}, transaction {at}", names, whole) for at, one in enumerate(details, 1)]
    if sum(amount for amount, _ in parts) != whole[0] or {currency for _, currency in parts} != {whole[1]}:
        raise DocumentError(
            f"{place}: its transactions do not add up to the entry: ask the bank for the statement again"
        )
    return [
        BankEntry(booked_on, *part, *_read_references(one, names), reversal)
        for part, one in zip(parts, details, strict=True)
    ]


def _read_amount(
    at: Element, place: str, names: dict[str, str], whole: tuple[int, str] | None = None
) -> tuple[int, str]:
    """An amount with its sign; a transaction without an indicator goes the way of its entry."""
    amount, side = at.find("Amt", names), at.findtext("CdtDbtInd", "", names).strip()
    if not side and whole is not None:
        side = "CRDT" if whole[0] >= 0 else "DBIT"
    if amount is None or side not in ("CRDT", "DBIT"):
        raise DocumentError(f"{place} lacks Amt or CdtDbtInd (CRDT, DBIT): this is no whole statement")
    currency, text = amount.get("Ccy", ""), (amount.text or "").strip()
    scaled = Decimal(text).scaleb(minor_digits(currency)) if _AMOUNT.fullmatch(text) else None
    if scaled is None or scaled != int(scaled):
        raise DocumentError(f"{place}: Amt {text[:40]!r} {currency[:3]} is no amount of that currency's minor units")
    return (int(scaled) if side == "CRDT" else -int(scaled)), currency


def _read_references(at: Element, names: dict[str, str]) -> tuple[str, str]:
    told = [*at.findall("RmtInf/Ustrd", names), *at.findall("RmtInf/Strd/CdtrRefInf/Ref", names)]
    remittance = " ".join(each.text.strip() for each in told if each.text)
    return at.findtext("Refs/EndToEndId", "", names).strip(), remittance or at.findtext(
        "AddtlNtryInf", "", names
    ).strip()


def match_payments(entries: list[BankEntry], expected: Mapping[str, tuple[int, str]]) -> list[Payment]:
    """What came in for each expected sum (minor units, currency), by number, in their order.

    An entry is an invoice's when its end-to-end id is the number, or its remittance has the number as a whole word. One
    that names several invoices is nobody's: a person looks at it.
    """
    paid = dict.fromkeys(expected, 0)
    for entry in entries:
        words = {word.strip(".,;:()") for word in entry.remittance.split()} | {entry.end_to_end}
        named = [number for number in expected if number in words]
        if len(named) == 1 and expected[named[0]][1] == entry.currency:
            paid[named[0]] += entry.amount_minor
    return [Payment(number, expected[number][0], paid[number]) for number in expected]
