"""What must hold of a document before anything is made of it; `check` names the first field that is wrong."""

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

from settlement.documents.amounts import sum_up
from settlement.documents.model import (
    Billing,
    CreditNote,
    Document,
    DocumentError,
    Invoice,
    NettingNotice,
    Party,
    ReconciliationAct,
    Statement,
    TaxCategory,
    UsageDetail,
    UsageRow,
    parties_of,
)
from settlement.money import MAX_AMOUNT

MAX_TEXT: Final = 1_000
"""Characters of a text: a paragraph. Longer ones are attachments."""
MAX_LINES: Final = 10_000
"""Lines of anything else: some 250 pages."""
MAX_ROWS: Final = 2_000_000
"""Rows of detailed usage: two full sheets of a workbook, some GB of memory while it is made."""
MAX_MOVEMENTS: Final = 200_000
"""Movements of a statement: a workbook of some ten seconds; a PDF has fewer (`pdf.MAX_PDF_ROWS`)."""
MAX_DIGITS: Final = 20
"""Digits of a quantity, percentage or rate: more are no quantity of anything."""
EU_VAT_PREFIX: Final = re.compile(r"[A-Z]{2}[0-9A-Z+*.]{2,13}", re.ASCII)
"""A VAT identifier begins with its country (BR-CO-09)."""

_BAD: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\ufffe\uffff]")
_COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_NEEDS_REASON: Final = {
    TaxCategory.EXEMPT,
    TaxCategory.REVERSE_CHARGE,
    TaxCategory.EXPORT,
    TaxCategory.OUTSIDE,
}


def check(document: Document) -> None:
    """Raise `DocumentError` for the first thing that is wrong."""
    for place, value in _walk(document, document.kind):
        _check_value(place, value)
    _refuse(document.period.last < document.period.first, "period", "ends before it begins: exchange first and last")
    for party in parties_of(document):
        _check_party(party)
    sizes = {"rows": MAX_ROWS, "movements": MAX_MOVEMENTS}
    for name in ("lines", "rows", "movements", "entries", "positions", "settled", "differences", "notes"):
        most = sizes.get(name, MAX_LINES)
        found = len(getattr(document, name, ()))
        _refuse(found > most, name, f"has {found:,} lines, at most {most:,} fit: split the period")
    match document:
        case Invoice() | CreditNote():
            _check_billing(document)
        case NettingNotice():
            _check_netting(document)
        case ReconciliationAct():
            for at, entry in enumerate(document.entries):
                _refuse(entry.ours is None and entry.theirs is None, f"entries[{at}]", "has neither side: leave it out")
        case UsageDetail():
            _check_rows(document.rows)
        case Statement():
            pass


def _walk(value: object, place: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, UsageDetail):
        value = msgspec.structs.replace(value, rows=())  # a million rows have a way of their own
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _walk(getattr(value, name), f"{place}.{name}")
    elif isinstance(value, tuple):
        for at, each in enumerate(value):
            yield from _walk(each, f"{place}[{at}]")
    else:
        yield place, value


def _check_value(place: str, value: object) -> None:
    match value:
        case str():
            bad = _BAD.search(value)
            _refuse(bad is not None, place, f"has the character {bad and bad[0]!r}: write plain text in one line")
            _refuse(len(value) > MAX_TEXT, place, f"has {len(value)} characters, at most {MAX_TEXT}: shorten it")
            _refuse(value != value.strip(), place, f"is {value!r}: take the blanks around it away")
        case int():
            beyond = place.endswith("usdr") and abs(value) > MAX_AMOUNT
            _refuse(beyond, place, f"is {value} µSDRt, beyond {MAX_AMOUNT}: no such amount is on the ledger")
        case Decimal():
            _refuse(not value.is_finite(), place, f"is {value}: write a decimal number")
            digits, exponent = len(value.as_tuple().digits), abs(int(value.as_tuple().exponent))
            _refuse(digits + exponent > 2 * MAX_DIGITS, place, f"has more than {MAX_DIGITS} digits: round it")
            rate = place.endswith(".rate.rate")
            _refuse(rate and value <= 0, place, f"is {value}: a rate is above zero")
        case _:
            pass
    if place.endswith(".currency"):
        _refuse(not _CURRENCY.fullmatch(str(value)), place, f"is {value!r}: write its ISO 4217 code, as EUR")


def _check_rows(rows: tuple[UsageRow, ...]) -> None:
    """A quick look at each row; what it finds is then told by the slow one."""
    for at, row in enumerate(rows):
        text = row.request + row.record + row.place
        fine = len(text) < MAX_TEXT and " " not in text and _BAD.search(text) is None and row.units >= 0
        if fine and row.start.tzinfo is not None and abs(row.amount_usdr) <= MAX_AMOUNT:
            continue
        for place, value in _walk(row, f"usage.rows[{at}]"):
            _check_value(place, value)
        _refuse(row.start.tzinfo is None, f"usage.rows[{at}].start", "has no zone: write 2026-10-03T09:12:00Z")
        _refuse(row.units < 0, f"usage.rows[{at}].units", f"is {row.units}: it is not below zero")


def _check_party(party: Party) -> None:
    place = f"party {party.operator or party.legal_name!r}"
    for name in ("operator", "legal_name", "street", "city"):
        _refuse(not getattr(party, name), f"{place}: {name}", "is empty: a document needs it")
    _refuse(not _COUNTRY.fullmatch(party.country), f"{place}: country", f"is {party.country!r}: write DE, RU …")
    wrong = party.vat_id and not EU_VAT_PREFIX.fullmatch(party.vat_id)
    _refuse(bool(wrong), f"{place}: vat_id", f"is {party.vat_id!r}: it begins with its country, as DE123456789")
    mistyped = party.iban and not is_iban(party.iban.replace(" ", ""))
    _refuse(bool(mistyped), f"{place}: iban", f"is {party.iban!r}: none, or mistyped (ISO 13616 check digits)")
    ids = party.vat_id or party.tax_number or party.register_id
    _refuse(not ids, f"{place}", "has none of vat_id, tax_number, register_id: one must say who it is in law")


def is_iban(text: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 13616: modulo 97 of the rotated digits is 1)."""
    if not (15 <= len(text) <= 34 and text.isascii() and text.isalnum() and text[:2].isalpha() and text[2:4].isdigit()):
        return False
    rotated = text[4:] + text[:4]
    return text.upper() == text and int("".join(str(int(sign, 36)) for sign in rotated)) % 97 == 1


def _check_billing(billing: Billing) -> None:
    _refuse(not billing.lines, "lines", "is empty: there is nothing to invoice")
    for at, line in enumerate(billing.lines):
        place, tax = f"lines[{at}]", line.tax
        _refuse(not line.description, f"{place}.description", "is empty: say what was delivered")
        _refuse(line.quantity <= 0, f"{place}.quantity", f"is {line.quantity}: it is above zero; the amount may not be")
        standard = tax.category is TaxCategory.STANDARD
        _refuse(standard and not 0 < tax.percent <= 100, f"{place}.tax", f"is S with {tax.percent} %: above 0, to 100")
        _refuse(
            not standard and tax.percent != 0, f"{place}.tax", f"is {tax.category} with {tax.percent} %: only S has"
        )
        needs = tax.category in _NEEDS_REASON
        _refuse(needs and not tax.reason, f"{place}.tax.reason", f"is empty: say why there is no VAT ({tax.category})")
        _refuse(not needs and bool(tax.reason), f"{place}.tax.reason", f"stands with {tax.category}, which needs none")
    _check_taxes(billing)
    totals = sum_up(billing)
    _refuse(totals.net < 0, "lines", "add up to less than zero: make a credit note of it")
    _refuse(any(each.amount_usdr <= 0 for each in billing.settled), "settled", "has an amount not above zero")
    beyond = totals.settled_usdr - totals.net_usdr
    _refuse(beyond > 0, "settled", f"is {beyond} µSDRt more than the lines: only what was charged can be settled")
    due = totals.payable > 0 and billing.due_on is None and isinstance(billing, Invoice)
    _refuse(due, "due_on", f"is missing: {totals.payable} minor units are still to pay (BR-CO-25)")
    if isinstance(billing, CreditNote):
        _refuse(not billing.corrects, "corrects", "is empty: name the invoice")
        _refuse(not billing.reason, "reason", "is empty: say why something is taken back")


def _check_taxes(billing: Billing) -> None:
    categories = {line.tax.category for line in billing.lines}
    reasons: dict[tuple[TaxCategory, Fraction], str] = {}
    for at, line in enumerate(billing.lines):
        first = reasons.setdefault((line.tax.category, Fraction(line.tax.percent)), line.tax.reason)
        _refuse(first != line.tax.reason, f"lines[{at}].tax.reason", f"differs from {first!r} of the same category")
    if TaxCategory.OUTSIDE in categories:
        _refuse(len(categories) > 1, "lines", "mix O (not subject to VAT) with others: make two invoices (BR-O-11)")
        return
    _refuse(not billing.seller.vat_id, "seller.vat_id", "is empty: VAT of whatever category needs it (BR-S-02)")
    reverse = TaxCategory.REVERSE_CHARGE in categories
    buyer = billing.buyer.vat_id or billing.buyer.register_id
    _refuse(reverse and not buyer, "buyer.vat_id", "is empty: who else is to account for the VAT (BR-AE-02)?")


def _check_netting(notice: NettingNotice) -> None:
    _refuse(not notice.positions, "positions", "is empty: there is nothing to tell")
    seen: set[str] = set()
    net = 0
    for at, each in enumerate(notice.positions):
        place = f"positions[{at}] ({each.counterparty})"
        _refuse(each.counterparty in seen, place, "is there twice: one position a counterparty")
        seen.add(each.counterparty)
        before, after = (
            (each.receivable_before_usdr, each.payable_before_usdr),
            (each.receivable_after_usdr, each.payable_after_usdr),
        )
        _refuse(min(*before, *after) < 0, place, "has a debt below zero: it is the other side's")
        grown = notice.method == "setoff" and (after[0] > before[0] or after[1] > before[1])
        _refuse(grown, place, "has a debt that grew: set-off only lowers debts")
        net += before[0] - before[1] - after[0] + after[1]
    _refuse(net != 0, "positions", f"change the net position by {-net} µSDRt: netting leaves it as it was")


def _refuse(wrong: bool, place: str, why: str) -> None:
    if wrong:
        raise DocumentError(f"{place} {why}")
