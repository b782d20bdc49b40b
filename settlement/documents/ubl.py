"""Invoices and credit notes as UBL 2.1 by EN 16931 (syntax binding CEN/TS 16931-3-2).

Written element by element in the order of the schema, so the same values give the same octets. A line's price is its
net amount *per its whole quantity* (BaseQuantity), which makes price times quantity the net amount exactly; a line
below zero has a quantity below zero, since a price may not be (BR-27). The conversion from SDRt stands in the notes
(BT-22) and each line's SDRt in its own note (BT-127): EN 16931 has no field for them.
"""

from decimal import Decimal
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from settlement.documents.amounts import Totals, sum_up
from settlement.documents.model import Billing, CreditNote, DocumentError, Invoice, Line, Party, Tax, TaxCategory, Unit
from settlement.documents.writing import Words, conversion_notes, decimal_of
from settlement.money import format_sdrt

CUSTOMIZATION: Final = "urn:cen.eu:en16931:2017"
MAX_DECIMALS: Final = 2
"""Of any amount in an EN 16931 invoice (BR-DEC rules)."""
UNIT_CODES: Final = {
    Unit.MB: "4L",
    Unit.MINUTE: "MIN",
    Unit.SECOND: "SEC",
    Unit.OCTET: "AD",
    Unit.MESSAGE: "C62",
    Unit.PIECE: "C62",
}
"""UN/ECE recommendation 20."""
CREDIT_TRANSFER, CLEARING, UNDEFINED = "30", "97", "1"
"""Payment means (UNTDID 4461): to an account; between partners, as escrow and netting are; not said."""
OBJECT_REFERENCE: Final = "130"
"""UNTDID 1001: that the reference of a line is an invoiced object (BT-128), here the request."""

_COMPONENTS: Final = "urn:oasis:names:specification:ubl:schema:xsd:Common{}Components-2"
_DOCUMENT: Final = "urn:oasis:names:specification:ubl:schema:xsd:{}-2"


def write_ubl(billing: Billing, words: Words) -> bytes:
    """The XML, UTF-8. Raises `DocumentError` where EN 16931 cannot say it."""
    rate = billing.rate
    if rate.digits > MAX_DECIMALS:
        raise DocumentError(
            f"{billing.kind}.rate.currency {rate.currency} has {rate.digits} decimals, EN 16931 allows {MAX_DECIMALS}: "
            "agree on another currency, or send the PDF"
        )
    if not billing.number:
        raise DocumentError(f"{billing.kind}.number is empty: an electronic invoice needs it (BR-02); issue it first")
    return _Writer(billing, words).write()


class _Writer:
    def __init__(self, billing: Billing, words: Words) -> None:
        self.billing = billing
        self.words = words
        self.totals: Totals = sum_up(billing)
        self.name = "CreditNote" if isinstance(billing, CreditNote) else "Invoice"
        self.outside = any(line.tax.category is TaxCategory.OUTSIDE for line in billing.lines)

    def write(self) -> bytes:
        billing, root = self.billing, Element(self.name)
        root.set("xmlns", _DOCUMENT.format(self.name))
        root.set("xmlns:cac", _COMPONENTS.format("Aggregate"))
        root.set("xmlns:cbc", _COMPONENTS.format("Basic"))
        _add(root, "CustomizationID", CUSTOMIZATION)
        _add(root, "ID", billing.number)
        _add(root, "IssueDate", billing.issued_on.isoformat())
        if isinstance(billing, Invoice):
            if billing.due_on:
                _add(root, "DueDate", billing.due_on.isoformat())
            _add(root, "InvoiceTypeCode", "380")
        else:
            _add(root, "CreditNoteTypeCode", "381")
        for note in self._notes():
            _add(root, "Note", note)
        _add(root, "DocumentCurrencyCode", billing.rate.currency)
        if billing.buyer_reference:
            _add(root, "BuyerReference", billing.buyer_reference)
        period = _group(root, "InvoicePeriod")
        _add(period, "StartDate", billing.period.first.isoformat())
        _add(period, "EndDate", billing.period.last.isoformat())
        if isinstance(billing, CreditNote):
            reference = _group(root, "BillingReference", "InvoiceDocumentReference")
            _add(reference, "ID", billing.corrects)
            _add(reference, "IssueDate", billing.corrects_issued_on.isoformat())
        self._party(_group(root, "AccountingSupplierParty", "Party"), billing.seller, is_seller=True)
        self._party(_group(root, "AccountingCustomerParty", "Party"), billing.buyer, is_seller=False)
        self._payment(root)
        self._taxes(root)
        self._sums(root)
        for number, (line, minor) in enumerate(zip(billing.lines, self.totals.lines, strict=True), 1):
            self._line(root, number, line, minor)
        indent(root)
        text = tostring(root, encoding="unicode")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()

    def _notes(self) -> list[str]:
        billing = self.billing
        tadig = [f"TADIG {party.tadig}: {party.legal_name}" for party in (billing.seller, billing.buyer) if party.tadig]
        reason = [billing.reason] if isinstance(billing, CreditNote) else []
        settled = [
            f"{self.words(f'settled-{each.cause}')}: {format_sdrt(each.amount_usdr)}, {each.on}, {each.reference}"
            for each in billing.settled
        ]
        return [*reason, *billing.notes, *conversion_notes(billing, self.totals, self.words), *settled, *tadig]

    def _party(self, at: Element, party: Party, *, is_seller: bool) -> None:
        _add(_group(at, "PartyIdentification"), "ID", party.operator)
        address = _group(at, "PostalAddress")
        _add(address, "StreetName", party.street)
        _add(address, "CityName", party.city)
        if party.postcode:
            _add(address, "PostalZone", party.postcode)
        _add(_group(address, "Country"), "IdentificationCode", party.country)
        if party.vat_id and not self.outside:  # BR-O-02: not where the invoice is not subject to VAT
            _scheme(at, party.vat_id, "VAT")
        if party.tax_number and is_seller:
            _scheme(at, party.tax_number, "TAX")
        entity = _group(at, "PartyLegalEntity")
        _add(entity, "RegistrationName", party.legal_name)
        if party.register_id:
            _add(entity, "CompanyID", party.register_id)
        if party.email:
            _add(_group(at, "Contact"), "ElectronicMail", party.email)

    def _payment(self, root: Element) -> None:
        seller, means = self.billing.seller, _group(root, "PaymentMeans")
        if self.totals.payable <= 0 and self.billing.settled:
            _add(means, "PaymentMeansCode", CLEARING)
        elif seller.iban and isinstance(self.billing, Invoice):
            _add(means, "PaymentMeansCode", CREDIT_TRANSFER)
            _add(means, "PaymentID", self.billing.number)
            account = _group(means, "PayeeFinancialAccount")
            _add(account, "ID", seller.iban.replace(" ", ""))
            if seller.bic:
                _add(_group(account, "FinancialInstitutionBranch"), "ID", seller.bic)
        else:
            _add(means, "PaymentMeansCode", UNDEFINED)

    def _taxes(self, root: Element) -> None:
        total = _group(root, "TaxTotal")
        self._amount(total, "TaxAmount", self.totals.tax)
        for each in self.totals.taxes:
            part = _group(total, "TaxSubtotal")
            self._amount(part, "TaxableAmount", each.base_minor)
            self._amount(part, "TaxAmount", each.tax_minor)
            self._category(part, "TaxCategory", each.tax, with_reason=True)

    def _category(self, at: Element, name: str, tax: Tax, *, with_reason: bool = False) -> None:
        category = _group(at, name)
        _add(category, "ID", tax.category.value)
        if tax.category is not TaxCategory.OUTSIDE:
            _add(category, "Percent", _plain(tax.percent))
        if with_reason and tax.reason:
            _add(category, "TaxExemptionReason", tax.reason)
        _add(_group(category, "TaxScheme"), "ID", "VAT")

    def _sums(self, root: Element) -> None:
        totals, sums = self.totals, _group(root, "LegalMonetaryTotal")
        self._amount(sums, "LineExtensionAmount", totals.net)
        self._amount(sums, "TaxExclusiveAmount", totals.net)
        self._amount(sums, "TaxInclusiveAmount", totals.gross)
        if totals.settled:
            self._amount(sums, "PrepaidAmount", sum(totals.settled))
        if totals.rounding:
            self._amount(sums, "PayableRoundingAmount", totals.rounding)
        self._amount(sums, "PayableAmount", totals.payable)

    def _line(self, root: Element, number: int, line: Line, minor: int) -> None:
        at = _group(root, f"{self.name}Line")
        unit = UNIT_CODES[line.unit]
        _add(at, "ID", str(number))
        _add(at, "Note", format_sdrt(line.amount_usdr))
        quantity = -line.quantity if minor < 0 else line.quantity
        credited = isinstance(self.billing, CreditNote)
        _add(at, "CreditedQuantity" if credited else "InvoicedQuantity", _plain(quantity), unitCode=unit)
        self._amount(at, "LineExtensionAmount", minor)
        if line.reference:
            reference = _group(at, "DocumentReference")
            _add(reference, "ID", line.reference)
            _add(reference, "DocumentTypeCode", OBJECT_REFERENCE)
        item = _group(at, "Item")
        _add(item, "Name", line.description)
        self._category(item, "ClassifiedTaxCategory", line.tax)
        price = _group(at, "Price")
        self._amount(price, "PriceAmount", abs(minor))
        _add(price, "BaseQuantity", _plain(line.quantity), unitCode=unit)

    def _amount(self, at: Element, name: str, minor: int) -> None:
        rate = self.billing.rate
        _add(at, name, decimal_of(minor, rate.digits), currencyID=rate.currency)


def _add(at: Element, name: str, text: str, **attributes: str) -> None:
    SubElement(at, f"cbc:{name}", attributes).text = text


def _group(at: Element, *names: str) -> Element:
    for name in names:
        at = SubElement(at, f"cac:{name}")
    return at


def _scheme(at: Element, identifier: str, scheme: str) -> None:
    group = _group(at, "PartyTaxScheme")
    _add(group, "CompanyID", identifier)
    _add(_group(group, "TaxScheme"), "ID", scheme)


def _plain(number: Decimal) -> str:
    """A decimal without an exponent."""
    return f"{number:f}"
