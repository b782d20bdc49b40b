"""Our invoices before the official EN 16931 rules and the UBL 2.1 schema; wrong ones are refused by the rule's name."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from msgspec.structs import replace
from typer.testing import CliRunner

from landfall.errors import LandfallError
from settlement.documents import DocumentError, Format, Language, Rate, Tax, TaxCategory, render
from settlement.documents.cli import app
from settlement.documents.en16931 import check_invoice, find_rules
from settlement.documents.plain_xml import XmlError
from tests.documents_on_hand import billing, credit_note

SCHEMAS = find_rules().parent / "maindoc"
STANDARD = Tax(category=TaxCategory.STANDARD, percent=Decimal(19))
OUTSIDE = Tax(category=TaxCategory.OUTSIDE, reason="Not subject to VAT")


def xml_of(document: Any, language: Language = Language.EN) -> bytes:
    return render(document, language, Format.XML)


def taxed(document: Any, *taxes: Tax) -> Any:
    lines = tuple(replace(line, tax=taxes[at % len(taxes)]) for at, line in enumerate(document.lines))
    return replace(document, lines=lines)


def conform(xml: bytes) -> None:
    """Both the schema and the rules say yes, without a warning."""
    root = etree.fromstring(xml)
    schema = etree.XMLSchema(etree.parse(SCHEMAS / f"UBL-{etree.QName(root).localname}-2.1.xsd"))
    schema.assertValid(root)
    assert check_invoice(xml) == []


@pytest.mark.parametrize("language", Language)
def test_the_example_invoice_keeps_schema_and_rules(language: Language) -> None:
    conform(xml_of(billing(), language))


@pytest.mark.parametrize("language", Language)
def test_the_example_credit_note_keeps_schema_and_rules(language: Language) -> None:
    conform(xml_of(credit_note(), language))


@pytest.mark.parametrize(
    "taxes",
    [
        (STANDARD,),
        (STANDARD, Tax(category=TaxCategory.STANDARD, percent=Decimal("7.5"))),
        (Tax(category=TaxCategory.ZERO), STANDARD),
        (Tax(category=TaxCategory.EXEMPT, reason="Exempt, Article 132"), STANDARD),
        (Tax(category=TaxCategory.EXPORT, reason="Export of services"),),
        (OUTSIDE,),
    ],
)
def test_every_category_of_tax_keeps_the_rules(taxes: tuple[Tax, ...]) -> None:
    conform(xml_of(taxed(billing(), *taxes)))
    conform(xml_of(taxed(credit_note(), *taxes)))


def test_a_russian_seller_without_a_vat_id_invoices_outside_vat() -> None:
    seller = replace(billing().seller, country="RU", vat_id="", tax_number="7801234567", iban="", bic="")
    conform(xml_of(replace(taxed(billing(), OUTSIDE), seller=seller)))


def test_a_line_below_zero_has_a_quantity_below_zero() -> None:
    invoice = billing()
    lines = (*invoice.lines, replace(invoice.lines[2], amount_usdr=-1_000_000, description="Rebate"))
    xml = xml_of(replace(invoice, lines=lines))
    assert b'unitCode="MIN">-1204<' in xml
    conform(xml)


def test_an_invoice_settled_in_full_says_it_was_cleared_between_partners() -> None:
    invoice = billing()
    rest = sum(line.amount_usdr for line in invoice.lines) - sum(each.amount_usdr for each in invoice.settled)
    xml = xml_of(
        replace(invoice, settled=(*invoice.settled, replace(invoice.settled[0], amount_usdr=rest)), due_on=None)
    )
    assert b"PaymentMeansCode>97<" in xml
    assert b'PayableAmount currencyID="EUR">0.00<' in xml
    conform(xml)


def test_a_currency_without_minor_units_keeps_the_rules() -> None:
    rate = billing().rate
    yen = Rate("JPY", Decimal("205.5012345678"), rate.rate_date, rate.basket_since)
    xml = xml_of(billing(rate=yen))
    assert b'PayableAmount currencyID="JPY">' in xml
    conform(xml)


def test_a_currency_of_three_decimals_is_refused_before_the_rules_would() -> None:
    rate = billing().rate
    dinar = Rate("KWD", Decimal("0.41"), rate.rate_date, rate.basket_since)
    with pytest.raises(DocumentError, match="KWD has 3 decimals"):
        xml_of(billing(rate=dinar))


def test_an_invoice_without_a_number_has_no_xml() -> None:
    with pytest.raises(DocumentError, match="BR-02"):
        xml_of(billing(number=""))


BROKEN: list[tuple[str, Callable[[str], str]]] = [
    ("BR-CO-16", lambda xml: xml.replace("60.74</cbc:PayableAmount>", "60.75</cbc:PayableAmount>")),
    ("BR-CO-10", lambda xml: xml.replace("1110.72</cbc:LineExt", "1110.71</cbc:LineExt")),
    ("BR-CO-15", lambda xml: xml.replace("1110.72</cbc:TaxInclusive", "1110.73</cbc:TaxInclusive")),
    ("BR-AE-08", lambda xml: xml.replace("1110.72</cbc:Taxable", "1110.70</cbc:Taxable")),
    ("BR-DEC-18", lambda xml: xml.replace("60.74</cbc:Payable", "60.740</cbc:Payable")),
    ("BR-CO-09", lambda xml: xml.replace(">DE123456789<", ">123456789<")),
    ("BR-CL-04", lambda xml: xml.replace("CurrencyCode>EUR<", "CurrencyCode>EUX<")),
    ("BR-CL-23", lambda xml: xml.replace('unitCode="4L"', 'unitCode="MEGA"')),
    ("BR-02", lambda xml: xml.replace("<cbc:ID>INV-2026-000017</cbc:ID>", "")),
    ("BR-CO-14", lambda xml: xml.replace("0.00</cbc:TaxAmount>", "1.00</cbc:TaxAmount>", 1)),
    ("BR-29", lambda xml: xml.replace("EndDate>2026-10-31<", "EndDate>2026-09-30<")),
]


@pytest.mark.parametrize(("rule", "spoil"), BROKEN, ids=[rule for rule, _ in BROKEN])
def test_a_broken_invoice_is_refused_by_the_name_of_the_rule(rule: str, spoil: Callable[[str], str]) -> None:
    whole = xml_of(billing()).decode()
    broken = spoil(whole)
    assert broken != whole
    found = check_invoice(broken.encode())
    assert rule in {finding.rule for finding in found if finding.severity == "fatal"}
    assert all(finding.text and finding.place for finding in found)


# hostile XML


HOSTILE = {
    "an external entity": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
    "an external subset": '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>',
    "a billion laughs": '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><x>&b;</x>',
}


@pytest.mark.parametrize("xml", HOSTILE.values(), ids=HOSTILE)
def test_a_document_type_is_refused_before_anything_reads_it(xml: str) -> None:
    with pytest.raises(XmlError, match="document type"):
        check_invoice(xml.encode())


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        (b"", "no well-formed XML"),
        (b"<a>", "no well-formed XML"),
        (b"<a/>", "name a UBL 2.1 Invoice"),
        (b'<Invoice xmlns="urn:other"/>', "name a UBL 2.1 Invoice"),
        (b"<a>" * 100 + b"</a>" * 100, "nested more than 64 deep"),
        (xml_of(billing()).decode().encode("utf-16"), "no well-formed XML in UTF-8"),
        (b'<?xml version="1.0" encoding="latin-1"?><a>\xe4</a>', "no well-formed XML in UTF-8"),
    ],
)
def test_what_is_no_invoice_is_said_to_be_none(xml: bytes, why: str) -> None:
    with pytest.raises(XmlError, match=why):
        check_invoice(xml)


def test_rules_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(LandfallError, match="cannot be run"):
        check_invoice(xml_of(billing()), tmp_path / "none.xslt")


# the command line


def test_check_says_yes_or_names_the_rule(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.xml", tmp_path / "bad.xml"
    good.write_bytes(xml_of(billing()))
    bad.write_bytes(good.read_bytes().replace(b"60.74</cbc:Payable", b"61.74</cbc:Payable"))
    runner = CliRunner()
    assert runner.invoke(app, ["check", str(good)]).exit_code == 0
    refused = runner.invoke(app, ["check", str(bad), "--json"])
    told = json.loads(refused.stdout)
    assert refused.exit_code == 1
    assert (told["ok"], [finding["rule"] for finding in told["findings"]]) == (False, ["BR-CO-16"])
