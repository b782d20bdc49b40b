"""Documents from values: sums, words, formats; what is refused and how; the same octets each time."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import openpyxl
import polars as pl
import pytest
from msgspec.structs import replace
from pypdf import PdfReader
from typer.testing import CliRunner

from settlement.documents import (
    KINDS,
    DocumentError,
    Format,
    Language,
    Rate,
    Tax,
    TaxCategory,
    balance_act,
    closing_usdr,
    render,
    state_rate,
    sum_up,
)
from settlement.documents.cli import app
from settlement.documents.pdf import BREAK, soften
from settlement.documents.rendering import lay_out
from settlement.documents.sheets import STREAMED_ROWS
from settlement.documents.writing import words_of
from settlement.sdr import Rounding, convert, load_rates
from tests.documents_on_hand import BILLINGS, billing, credit_note, example

GOLDEN = Path(__file__).parent.parent / "data" / "documents.sha256"
VARIANTS = [
    (kind, language, form)
    for kind in KINDS
    for language in Language
    for form in Format
    if (form is not Format.XML or kind in BILLINGS) and (form is not Format.PARQUET or kind == "usage")
]


def numbered(kind: str) -> Any:
    return example(kind, number=f"{kind}-1")


@pytest.mark.parametrize(("kind", "language", "form"), VARIANTS)
def test_the_same_values_give_the_octets_they_always_gave(kind: str, language: Language, form: Format) -> None:
    octets = render(numbered(kind), language, form)
    golden = dict(line.split()[::-1] for line in GOLDEN.read_text().splitlines())
    assert sha256(octets).hexdigest() == golden[f"{kind}.{language}.{form}"]


def test_both_languages_have_the_same_words() -> None:
    en, ru = (words_of(language).by_key for language in (Language.EN, Language.RU))
    assert en.keys() == ru.keys()
    assert all("  " not in text and text for text in (*en.values(), *ru.values()))


def test_numbers_and_dates_are_written_as_the_language_does() -> None:
    en, ru = words_of(Language.EN), words_of(Language.RU)
    assert en.minor(-123456789, 2) == "−1,234,567.89"
    assert ru.minor(-123456789, 2) == "−1\N{NO-BREAK SPACE}234\N{NO-BREAK SPACE}567,89"
    assert en.usdr(1) == "0.000001"
    assert en.minor(1500, 0) == "1,500"
    assert (en.long_date(date(2026, 10, 3)), ru.long_date(date(2026, 10, 3))) == ("3 October 2026", "03.10.2026")


# money


def test_a_rate_converts_as_settlement_sdr_does() -> None:
    rates = load_rates()
    rate = state_rate("EUR", rates.latest, rates, Rounding.UP)
    assert (
        rate.convert(12_345_678) == convert(12_345_678, "EUR", rates.latest, rates, rounding=Rounding.UP).amount_minor
    )


def test_what_is_to_pay_does_not_depend_on_how_the_bill_is_cut_into_lines() -> None:
    invoice = billing(settled=())
    line = invoice.lines[0]
    parts = tuple(replace(line, amount_usdr=line.amount_usdr // 7) for _ in range(7))
    whole, cut = sum_up(replace(invoice, lines=(line,))), sum_up(replace(invoice, lines=parts))
    assert whole.rounding == 0
    assert cut.net != whole.net
    assert cut.payable == whole.payable == cut.gross + cut.rounding


def test_what_is_settled_in_full_leaves_nothing_to_pay_but_the_tax() -> None:
    invoice = billing(due_on=date(2026, 12, 1))
    lines = tuple(replace(line, tax=Tax(category=TaxCategory.STANDARD, percent=Decimal(19))) for line in invoice.lines)
    rest = sum(line.amount_usdr for line in lines) - sum(each.amount_usdr for each in invoice.settled)
    settled = (*invoice.settled, replace(invoice.settled[0], amount_usdr=rest))
    totals = sum_up(replace(invoice, lines=lines, settled=settled))
    assert totals.payable == totals.tax > 0
    assert totals.gross - sum(totals.settled) + totals.rounding == totals.payable


def test_tax_is_of_the_sum_of_each_rate_and_rounds_half_up() -> None:
    invoice = billing(settled=(), rate=Rate("EUR", Decimal(1), date(2026, 10, 30), date(2022, 8, 1)))
    standard, reduced = (Tax(category=TaxCategory.STANDARD, percent=Decimal(each)) for each in ("19", "7.5"))
    amounts = ((10_000, standard), (20_000, standard), (200_000, reduced))
    lines = tuple(replace(invoice.lines[0], amount_usdr=usdr, tax=tax) for usdr, tax in amounts)
    totals = sum_up(replace(invoice, lines=lines))
    assert [(each.tax.percent, each.base_minor, each.tax_minor) for each in totals.taxes] == [
        (Decimal("7.5"), 20, 2),  # 1.5
        (Decimal("19"), 3, 1),  # 0.57
    ]


def test_an_act_balances_both_books_and_names_what_differs() -> None:
    act = example("act", rate=None)
    ours, theirs = balance_act(act)
    assert ours.closing == ours.opening + ours.debit - ours.credit == 500_000
    assert theirs.closing == 900_000
    page = lay_out(act, words_of(Language.EN))
    assert [row[4] for row in page.tables[1].rows] == [500_000, -900_000]
    assert "Bravo Mobile GmbH owes ПАО «Волна Телеком» 0.500000 SDRt" in page.sentences[0]
    # What is debit in our books is credit in theirs.
    assert page.tables[0].rows[0][2:4] == (250_000_000, None)
    assert page.tables[0].rows[0][6:8] == (None, 250_000_000)


def test_books_that_agree_say_so() -> None:
    act = example("act")
    agreeing = replace(act, entries=act.entries[:2])
    page = lay_out(agreeing, words_of(Language.RU))
    assert len(page.tables) == 1
    assert "Данные сторон совпадают." in page.sentences


def test_a_statement_runs_its_balance() -> None:
    statement = example("statement")
    table = lay_out(statement, words_of(Language.EN)).tables[0]
    assert table.rows[-1][-1] == closing_usdr(statement) == 3_248_000_125


# formats


def test_csv_is_exact_and_for_machines() -> None:
    text = render(example("usage"), Language.RU, Format.CSV).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["amount_sdrt"] for row in rows] == ["1.250000", "0.360000", "0.025000", "2.500000"]
    assert rows[0]["start"] == "2026-10-03T09:12:00+02:00"
    assert rows[0]["service"] == "данные"


def test_text_in_a_csv_is_never_a_formula() -> None:
    invoice = billing()
    lines = (replace(invoice.lines[0], description="=HYPERLINK(1)"), *invoice.lines[1:])
    text = render(replace(invoice, lines=lines), Language.EN, Format.CSV).decode()
    assert next(iter(csv.DictReader(io.StringIO(text))))["description"] == "'=HYPERLINK(1)"


def test_parquet_has_whole_amounts_and_utc_times() -> None:
    frame = pl.read_parquet(io.BytesIO(render(example("usage"), Language.RU, Format.PARQUET)))
    assert frame["amount_usdr"].sum() == 4_135_000
    assert frame.row(0)[:3] == (datetime(2026, 10, 3, 7, 12, tzinfo=UTC), 120, "data")
    with pytest.raises(DocumentError, match="no Parquet form"):
        render(example("act"), Language.EN, Format.PARQUET)


def test_a_workbook_written_through_a_file_is_the_same_each_time() -> None:
    usage = example("usage")
    large = replace(usage, rows=usage.rows * (STREAMED_ROWS // 4))
    first, second = (render(large, Language.EN, Format.XLSX) for _ in range(2))
    assert first == second
    book = openpyxl.load_workbook(io.BytesIO(first), read_only=True)
    assert sum(1 for _ in book["Records"].iter_rows()) == STREAMED_ROWS + 2


def test_a_workbook_has_every_table_with_numbers_as_numbers() -> None:
    octets = render(numbered("statement"), Language.EN, Format.XLSX)
    book = openpyxl.load_workbook(io.BytesIO(octets))
    assert book.sheetnames == ["Statement of account", "Movements", "By counterparty", "Differences found by reconc"]
    sheet = book["Movements"]
    assert [cell.value for cell in sheet[1]][-1] == "Balance, SDRt"
    assert sheet.cell(sheet.max_row, 6).value == 3248.000125
    assert sheet.cell(sheet.max_row, 6).number_format == "#,##0.000000"


def test_an_amount_with_more_digits_than_excel_keeps_is_written_exactly() -> None:
    rows = tuple(replace(row, amount_usdr=9_007_199_254_740_991) for row in example("usage").rows[:1])
    octets = render(example("usage", rows=rows), Language.EN, Format.XLSX)
    sheet = openpyxl.load_workbook(io.BytesIO(octets))["Records"]
    assert sheet.cell(2, 8).value == "9007199254.740991"


def test_a_pdf_says_whose_it_is_and_breaks_what_is_too_long() -> None:
    octets = render(numbered("act"), Language.RU, Format.PDF)
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(octets)).pages)
    assert "Акт сверки" in text
    assert "ПАО «Волна Телеком»" in text
    assert "Страница 1 из 2" in text
    assert octets.startswith(b"%PDF-1.7")
    assert b"pdfaid" in octets
    assert soften("short words stay") == "short words stay"
    assert soften("0199c2a4-7d1e-7b52-9f40-2f6f6f1d0c11") == "0199c2a4-7d1e-7b52-9f40-2f6f6f1d0c11"
    assert soften("x" * 20).split(BREAK) == ["xxxx"] * 5


def test_a_document_without_a_number_is_a_draft() -> None:
    page = lay_out(example("invoice"), words_of(Language.EN))
    assert page.facts[0].value == "DRAFT: without a number it is no document"


# refusals


def line_with(**changes: Any) -> Any:
    invoice = billing()
    return replace(invoice, lines=(replace(invoice.lines[0], **changes), *invoice.lines[1:]))


def bad_documents() -> Iterator[tuple[Any, str]]:
    invoice, act, notice = billing(), example("act"), example("netting-notice")
    standard = Tax(category=TaxCategory.STANDARD, percent=Decimal(19))
    yield replace(invoice, lines=()), "lines is empty"
    yield line_with(description=""), r"lines\[0\].description is empty"
    yield line_with(description="a\x00b"), "has the character '\\\\x00'"
    yield line_with(description=" a"), "take the blanks around it away"
    yield line_with(description="a" * 1001), "1001 characters"
    yield line_with(quantity=Decimal(0)), r"lines\[0\].quantity is 0"
    yield line_with(quantity=Decimal("Infinity")), "write a decimal number"
    yield line_with(quantity=Decimal("1E+90")), "more than 20 digits"
    yield line_with(amount_usdr=2**60), "no such amount is on the ledger"
    yield line_with(amount_usdr=-(2**40)), "make a credit note"
    yield line_with(tax=replace(standard, percent=Decimal(0))), "S with 0 %"
    yield line_with(tax=Tax(category=TaxCategory.EXPORT)), "say why there is no VAT"
    yield line_with(tax=Tax(category=TaxCategory.ZERO, reason="because")), "needs none"
    yield line_with(tax=Tax(category=TaxCategory.OUTSIDE, reason="not subject")), "BR-O-11"
    yield replace(invoice, due_on=None), "due_on is missing: 6074 minor units"
    yield replace(invoice, settled=invoice.settled * 2), "only what was charged can be settled"
    yield replace(invoice, seller=replace(invoice.seller, vat_id="")), "seller.vat_id is empty"
    yield replace(invoice, buyer=replace(invoice.buyer, vat_id="", register_id="")), "has none of vat_id"
    yield replace(invoice, buyer=replace(invoice.buyer, country="France")), "write DE, RU"
    yield replace(invoice, period=replace(invoice.period, last=date(2026, 9, 1))), "ends before it begins"
    yield replace(invoice, rate=Rate("euro", Decimal(1), date(2026, 10, 30), date(2022, 8, 1))), "ISO 4217"
    yield replace(invoice, rate=Rate("EUR", Decimal(0), date(2026, 10, 30), date(2022, 8, 1))), "a rate is above zero"
    yield credit_note(reason=""), "say why something is taken back"
    yield replace(act, entries=(replace(act.entries[0], ours=None, theirs=None),)), "has neither side"
    position = notice.positions[0]
    yield replace(notice, positions=(position, position)), "is there twice"
    yield replace(notice, positions=(replace(position, payable_after_usdr=position.payable_before_usdr + 1),)), "grew"
    yield replace(notice, positions=(position,)), "change the net position by"
    row = example("usage").rows[0]
    yield example("usage", rows=(replace(row, start=row.start.replace(tzinfo=None)),)), r"rows\[0\].start has no zone"
    yield example("usage", rows=(replace(row, record="a\x1b"),)), r"usage.rows\[0\].record has the character"


@pytest.mark.parametrize(("document", "why"), list(bad_documents()))
def test_what_is_wrong_is_named(document: Any, why: str) -> None:
    with pytest.raises(DocumentError, match=why):
        render(document, Language.EN, Format.PDF)


def test_an_unknown_difference_is_refused() -> None:
    statement = example("statement")
    odd = replace(statement, differences=(replace(statement.differences[0], finding="odd"),))
    with pytest.raises(DocumentError, match="'odd' is no difference"):
        render(odd, Language.EN, Format.CSV)


def test_letters_no_font_has_are_named() -> None:
    with pytest.raises(DocumentError, match=r'"運".* no font here has|no font here has .*運'):
        render(line_with(description="運"), Language.EN, Format.PDF)
    assert "運".encode() in render(line_with(description="運"), Language.EN, Format.XML)


def test_too_many_rows_for_paper_are_sent_to_a_workbook() -> None:
    usage = example("usage")
    with pytest.raises(DocumentError, match="make XLSX or CSV"):
        render(replace(usage, rows=usage.rows * 751), Language.EN, Format.PDF)


# the command line


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments, catch_exceptions=True)


def test_make_takes_its_format_from_the_name_and_tells_the_digest(tmp_path: Path) -> None:
    data, output = tmp_path / "act.json", tmp_path / "act.pdf"
    data.write_text(run("example", "act").stdout)
    result = run("make", "act", str(data), "--number", "RA-7", "--language", "ru", "-o", str(output), "--json")
    told = json.loads(result.stdout)
    assert told["sha256"] == sha256(output.read_bytes()).hexdigest()
    assert told["number"] == "RA-7"
    assert output.read_bytes() == render(example("act", number="RA-7"), Language.RU, Format.PDF)


def test_make_names_the_field_it_does_not_know(tmp_path: Path) -> None:
    data = tmp_path / "invoice.json"
    data.write_text(run("example", "invoice").stdout.replace("due_on", "due"))
    result = run("make", "invoice", str(data), "-o", str(tmp_path / "invoice.pdf"))
    assert "unknown field `due`" in str(result.exception)
    assert "landfall document example invoice" in str(result.exception)


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_reads_back_as_it_is_written(kind: str) -> None:
    document = example(kind)
    assert msgspec.json.decode(msgspec.json.encode(document), type=KINDS[kind]) == document
    assert run("example", kind).exit_code == 0
