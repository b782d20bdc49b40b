"""Any valid values make an invoice that keeps the official rules and adds up; any act and statement balance."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from xml.etree.ElementTree import fromstring

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from settlement.documents import (
    ActEntry,
    CreditNote,
    DocumentError,
    Format,
    Invoice,
    Language,
    Line,
    Posting,
    Rate,
    Settled,
    Tax,
    TaxCategory,
    Unit,
    balance_act,
    render,
    sum_up,
)
from settlement.documents.en16931 import check_invoice
from settlement.documents.rendering import lay_out
from settlement.documents.writing import words_of
from settlement.sdr import Rounding
from tests.documents_on_hand import billing, credit_note, example

ROUNDINGS = st.sampled_from(Rounding)
# What XML may carry and a person may write, in whatever script, and what tries to be markup.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40),
    st.sampled_from(["<b>&amp;</b>", "]]>", "“Germany 5 GB”", "Услуги связи", "#image(1) $x$ *b*"]),
).filter(lambda text: text == text.strip())
AMOUNTS = st.integers(1, 10**13)
QUANTITIES = st.decimals(Decimal("0.001"), Decimal(10) ** 9, places=3)
STANDARDS = st.decimals(Decimal("0.1"), Decimal(40), places=2).map(
    lambda percent: Tax(category=TaxCategory.STANDARD, percent=percent)
)
OTHERS = st.sampled_from(
    [
        Tax(category=TaxCategory.ZERO),
        Tax(category=TaxCategory.EXEMPT, reason="exempt"),
        Tax(category=TaxCategory.REVERSE_CHARGE, reason="reverse charge"),
        Tax(category=TaxCategory.EXPORT, reason="export"),
    ]
)
OUTSIDE = Tax(category=TaxCategory.OUTSIDE, reason="outside")
RATES = st.builds(
    Rate,
    st.sampled_from(["EUR", "RUB", "JPY", "USD", "XDR"]),
    st.decimals(Decimal("0.0000000001"), Decimal(10_000), places=10),
    st.just(date(2026, 10, 30)),
    st.just(date(2022, 8, 1)),
    rounding=ROUNDINGS,
)


@st.composite
def billings(draw: st.DrawFn) -> Invoice | CreditNote:
    outside = draw(st.booleans())
    taxes = st.just(OUTSIDE) if outside else st.one_of(STANDARDS, OTHERS)
    lines = draw(
        st.lists(
            st.builds(
                Line,
                description=TEXTS,
                quantity=QUANTITIES,
                unit=st.sampled_from(Unit),
                amount_usdr=st.one_of(AMOUNTS, AMOUNTS, st.integers(-(10**6), 0)),
                tax=taxes,
                reference=st.one_of(st.just(""), TEXTS),
            ),
            min_size=1,
            max_size=12,
        )
    )
    net = sum(line.amount_usdr for line in lines)
    assume(net >= 0)
    parts = draw(st.lists(st.integers(0, net), max_size=3).map(sorted))
    amounts = [to - since for since, to in zip([0, *parts], parts, strict=False) if to > since]
    settled = tuple(
        Settled(cause="escrow", reference=f"entry {at}", on=date(2026, 10, 31), amount_usdr=amount)
        for at, amount in enumerate(amounts)
    )
    whole: Invoice | CreditNote = draw(st.one_of(st.just(billing()), st.just(credit_note())))
    made: object = replace(whole, lines=tuple(lines), settled=settled, rate=draw(RATES))
    assert isinstance(made, Invoice | CreditNote)
    assume(sum_up(made).net >= 0)
    return made


@settings(max_examples=60, deadline=None)
@given(billings(), st.sampled_from(Language))
def test_any_valid_values_make_an_invoice_that_keeps_the_official_rules(
    document: Invoice | CreditNote, language: Language
) -> None:
    xml = render(document, language, Format.XML)
    assert check_invoice(xml) == []
    # What went in comes out: markup in a text is text.
    names = [each.text for each in fromstring(xml).iter() if each.tag.endswith("}Name")]
    assert names == [line.description for line in document.lines]


@settings(max_examples=300, deadline=None)
@given(billings())
def test_any_invoice_adds_up(document: Invoice | CreditNote) -> None:
    totals = sum_up(document)
    unsettled = totals.net_usdr - totals.settled_usdr
    assert totals.net == sum(totals.lines)
    assert totals.gross == totals.net + totals.tax
    assert totals.payable == totals.gross - sum(totals.settled) + totals.rounding
    assert totals.payable - totals.tax == document.rate.convert(unsettled)
    assert sum(each.base_minor for each in totals.taxes) == totals.net
    # Nobody's rounding is off by a whole minor unit.
    assert abs(totals.rounding) <= len(totals.lines) + len(totals.settled) + 1
    for each in totals.taxes:
        assert abs(each.tax_minor - Fraction(each.base_minor) * Fraction(each.tax.percent) / 100) <= Fraction(1, 2)


POSTINGS = st.one_of(
    st.none(),
    st.builds(Posting, on=st.just(date(2026, 10, 5)), document=TEXTS, amount_usdr=st.integers(-(10**13), 10**13)),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(POSTINGS, POSTINGS).filter(any), max_size=20),
    st.integers(-(10**13), 10**13),
    st.integers(-(10**13), 10**13),
    st.one_of(st.none(), RATES),
)
def test_any_act_balances_and_its_differences_add_up_to_that_of_the_balances(
    pairs: list[tuple[Posting | None, Posting | None]], ours: int, theirs: int, rate: Rate | None
) -> None:
    entries = tuple(ActEntry(ours=mine, theirs=others) for mine, others in pairs)
    act = example("act", entries=entries, opening_ours_usdr=ours, opening_theirs_usdr=theirs, rate=rate)
    mine, others = balance_act(act)
    page = lay_out(act, words_of(Language.RU))
    told = [row[4] for row in page.tables[1].rows if isinstance(row[4], int)] if len(page.tables) > 1 else []
    assert sum(told) == mine.closing - others.closing
    for column, side in ((2, mine), (7, others)):
        debits = [row[column] for row in page.tables[0].rows]
        assert sum(each for each in debits if isinstance(each, int)) == side.debit


@settings(max_examples=25, deadline=None)
@given(billings(), st.sampled_from([Format.PDF, Format.XLSX, Format.CSV]), st.sampled_from(Language))
def test_any_document_renders_and_the_same_values_give_the_same_octets(
    document: Invoice | CreditNote, form: Format, language: Language
) -> None:
    try:
        octets, why = render(document, language, form), ""
    except DocumentError as error:
        octets, why = b"", str(error)
    if why:
        assert form is Format.PDF
        assert "no font here has" in why
    else:
        assert octets == render(document, language, form)
