"""Workbooks and CSV: the tables of a page, values as values.

XLSX has every table on a sheet of its own, amounts as numbers with their decimals shown. CSV is the main table, for
machines: UTF-8, names of columns the same in each language, a point for the decimals, times as RFC 3339. Text that a
spreadsheet would take for a formula is kept from being one.
"""

import csv
import io
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import xlsxwriter

from settlement.documents.layout import Cell, Column, Page, Shape, Table, write_cell
from settlement.documents.model import Document
from settlement.documents.writing import Words, decimal_of

SHEET_ROWS: Final = 1_000_000
"""Rows on one sheet: Excel ends at 1,048,576, headings included."""
STREAMED_ROWS: Final = 20_000
"""From so many rows on, a workbook is written row by row through a temporary file: its memory is that of the rows."""
EXCEL_DIGITS: Final = 15
"""Digits Excel keeps of a number; what has more is written as text, exactly."""
WIDTHS: Final = {Shape.DATE: 12, Shape.TIME: 23, Shape.NUMBER: 14, Shape.AMOUNT: 20, Shape.CODE: 38, Shape.TEXT: 22}
"""Characters a column is wide."""
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""With what a cell begins that a spreadsheet would compute."""


def write_csv(page: Page) -> bytes:
    """The main table (RFC 4180)."""
    table, text = page.tables[0], io.StringIO()
    writer = csv.writer(text)
    writer.writerow(column.name for column in table.columns)
    for row in table.rows:
        writer.writerow(_plain(cell, column) for cell, column in zip(row, table.columns, strict=True))
    return text.getvalue().encode()


def _plain(cell: Cell, column: Column) -> str:
    match cell:
        case None:
            return ""
        case str():
            return f"'{cell}" if cell.startswith(FORMULA) else cell
        case Decimal():
            return f"{cell:f}"
        case int() if column.shape is Shape.AMOUNT:
            return decimal_of(cell, column.digits)
        case int():
            return str(cell)
        case date():
            return cell.isoformat()


def write_xlsx(document: Document, page: Page, words: Words) -> bytes:
    """The workbook: what the document is, then each table."""
    return write_workbook(page, words, author=page.parties[0][1].legal_name, made_on=document.issued_on)


def write_workbook(page: Page, words: Words, *, author: str, made_on: date) -> bytes:
    """A page as a workbook: a cover, then each table on a sheet."""
    octets = io.BytesIO()
    streamed = max(len(table.rows) for table in page.tables) >= STREAMED_ROWS
    book = xlsxwriter.Workbook(octets, {"constant_memory": True} if streamed else {"in_memory": True})
    book.set_properties(
        {
            "title": f"{page.title} {page.number}".strip(),
            "author": author,
            "created": datetime(made_on.year, made_on.month, made_on.day),  # noqa: DTZ001 - the format has no zone
        }
    )
    _Book(book, words).write(page)
    book.close()
    return octets.getvalue()


class _Book:
    def __init__(self, book: Any, words: Words) -> None:
        self.book = book
        self.words = words
        self.title = book.add_format({"bold": True, "font_size": 16})
        self.strong = book.add_format({"bold": True})
        self.quiet = book.add_format({"font_color": "#5B6875"})
        self.head = book.add_format(
            {"bold": True, "font_color": "#FFFFFF", "bg_color": "#1B2733", "text_wrap": True, "valign": "vcenter"}
        )
        self.group = book.add_format({"bold": True, "align": "center", "bottom": 1})
        self.formats: dict[tuple[str, bool], Any] = {}

    def write(self, page: Page) -> None:
        self._cover(page)
        for table in page.tables:
            for part, first in enumerate(range(0, max(len(table.rows), 1), SHEET_ROWS)):
                rows = table.rows[first : first + SHEET_ROWS]
                last = first + SHEET_ROWS >= len(table.rows)
                name = (table.title or page.title)[:27] + (f" {part + 1}" if part else "")
                self._table(name, table, rows, opening=first == 0, totals=last)

    def _cover(self, page: Page) -> None:
        sheet = self.book.add_worksheet(page.title[:31])
        sheet.set_column(0, 0, 34)
        sheet.set_column(1, 1, 70)
        sheet.write_string(0, 0, page.title, self.title)
        at = 1
        if page.subtitle:
            sheet.write_string(at, 0, page.subtitle, self.quiet)
            at += 1
        for label, value in [(fact.label, fact.value) for fact in page.facts]:
            sheet.write_string(at, 0, label, self.quiet)
            sheet.write_string(at, 1, value)
            at += 1
        for role, party in page.parties:
            sheet.write_string(at, 0, role, self.quiet)
            told = (party.legal_name, party.operator, party.tadig, party.vat_id, party.tax_number, party.street)
            sheet.write_string(at, 1, ", ".join(filter(None, (*told, party.postcode, party.city, party.country))))
            at += 1
        at += 1
        for fact in page.sums:
            sheet.write_string(at, 0, fact.label, self.strong if fact.strong else self.quiet)
            sheet.write_string(at, 1, fact.value, self.strong if fact.strong else None)
            at += 1
        for text in (*page.preamble, *page.sentences):
            at += 1
            sheet.write_string(at, 0, text)

    def _table(self, name: str, table: Table, rows: Sequence[tuple[Cell, ...]], *, opening: bool, totals: bool) -> None:
        sheet = self.book.add_worksheet(name)
        at = 0
        if table.groups:
            column_at = 0
            for title, span in table.groups:
                if span > 1:
                    sheet.merge_range(0, column_at, 0, column_at + span - 1, title, self.group)
                else:
                    sheet.write_string(0, column_at, title, self.group)
                column_at += span
            at = 1
        for column_at, column in enumerate(table.columns):
            sheet.set_column(column_at, column_at, WIDTHS[column.shape])
            sheet.write_string(at, column_at, column.title, self.head)
        sheet.freeze_panes(at + 1, 0)
        if rows:
            sheet.autofilter(at, 0, at + len(rows) + (len(table.opening) if opening else 0), len(table.columns) - 1)
        for row in table.opening if opening else ():
            at += 1
            self._row(sheet, at, row, table.columns, strong=True)
        for row in rows:
            at += 1
            self._row(sheet, at, row, table.columns, strong=False)
        for row in table.totals if totals else ():
            at += 1
            self._row(sheet, at, row, table.columns, strong=True)
        sheet.set_landscape()
        sheet.set_paper(9)  # A4
        sheet.fit_to_pages(1, 0)
        sheet.repeat_rows(0, 1 if table.groups else 0)

    def _row(self, sheet: Any, at: int, row: tuple[Cell, ...], columns: tuple[Column, ...], *, strong: bool) -> None:
        for column_at, (cell, column) in enumerate(zip(row, columns, strict=True)):
            match cell:
                case None:
                    if strong:
                        sheet.write_blank(at, column_at, None, self._format("@", strong))
                case str():
                    sheet.write_string(at, column_at, cell, self._format("@", strong))
                case datetime():
                    sheet.write_string(at, column_at, write_cell(cell, column, self.words), self._format("@", strong))
                case date():
                    sheet.write_datetime(at, column_at, cell, self._format("yyyy-mm-dd", strong))
                case Decimal() | int():
                    digits = column.digits if column.shape is Shape.AMOUNT else 0
                    number = Decimal(cell).scaleb(-digits)
                    if len(number.as_tuple().digits) > EXCEL_DIGITS:
                        sheet.write_string(at, column_at, f"{number:f}", self._format("@", strong))
                        continue
                    shown = "#,##0" + (f".{'0' * digits}" if digits else "")
                    if column.shape is not Shape.AMOUNT:
                        shown = "#,##0.######" if isinstance(cell, Decimal) and cell != int(cell) else "#,##0"
                    sheet.write_number(at, column_at, number, self._format(shown, strong))

    def _format(self, shown: str, strong: bool) -> Any:
        found = self.formats.get((shown, strong))
        if found is None:
            extra = {"bold": True, "bg_color": "#F1F4F6"} if strong else {}
            found = self.formats[shown, strong] = self.book.add_format({"num_format": shown, **extra})
        return found
