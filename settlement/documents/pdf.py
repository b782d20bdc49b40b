"""PDF: a page set by typst with the fonts inside it, as PDF/A-2b.

The template is `document.typ`, given the page as JSON. Its date is the document's own; typst makes the rest of the file
from the content alone, so the same page gives the same octets.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec
import typst

from settlement.documents.layout import Column, Fact, Page, Shape, Table, tell_party, write_cell
from settlement.documents.model import Document, DocumentError
from settlement.documents.writing import Words

MAX_PDF_ROWS: Final = 3_000
"""Rows of a table set on paper: some 100 pages, ten seconds, 500 MB; from there typst's cost grows with the square."""
LONG: Final = 16
"""Characters without a blank or hyphen after which text may break anywhere: what fits the narrowest column."""
BREAK: Final = "\N{ZERO WIDTH SPACE}"

_WORD: Final = re.compile(rf"[^\s-]{{{LONG + 1},}}")


def write_pdf(document: Document, page: Page, words: Words) -> bytes:
    """The PDF. Raises `DocumentError` for more rows than anybody prints and for letters that no font here has."""
    longest = max((len(table.rows) for table in page.tables), default=0)
    if longest > MAX_PDF_ROWS:
        raise DocumentError(f"{document.kind} has {longest:,} rows, a PDF at most {MAX_PDF_ROWS:,}: make XLSX or CSV")
    try:
        octets: Any = typst.compile(
            _template(),
            ignore_system_fonts=True,
            format="pdf",
            pdf_standards="a-2b",
            sys_inputs={"page": msgspec.json.encode(_describe(document, page, words)).decode()},
            timestamp=0,
        )
    except typst.TypstError as error:
        if "could not be displayed" not in error.message:
            raise
        raise DocumentError(
            f"{document.kind} has characters that no font here has ({error.message}): write them in Latin, Greek or "
            "Cyrillic letters, or make XLSX or XML, which have any"
        ) from None
    assert isinstance(octets, bytes)
    return octets


@cache
def _template() -> bytes:
    return (files("settlement.documents") / "document.typ").read_bytes()


def _describe(document: Document, page: Page, words: Words) -> dict[str, object]:
    """The page as `document.typ` reads it: every value text, ready to be shown."""
    issued = document.issued_on
    return {
        "language": words.language.value,
        "name": " ".join(filter(None, (page.title, page.number or words("draft")))),
        "author": page.parties[0][1].legal_name,
        "date": {"year": issued.year, "month": issued.month, "day": issued.day},
        "page": words("page", page="{page}", pages="{pages}"),
        "wide": page.wide,
        "title": page.title,
        "subtitle": page.subtitle,
        "facts": _facts(page.facts),
        "parties": [
            {"role": role, "name": soften(party.legal_name), "facts": _facts(tell_party(party, words))}
            for role, party in page.parties
        ],
        "preamble": [soften(text) for text in page.preamble],
        "tables": [_table(table, words) for table in page.tables],
        "sums": _facts(page.sums),
        "sentences": [soften(text) for text in page.sentences],
        "signers": [
            {
                "for": soften(words("for-party", name=party.legal_name)),
                "position": soften(party.position),
                "name": soften(party.signatory),
            }
            for party in page.signers
        ],
        "signature": words("signature"),
        "seal": words("seal"),
    }


def _facts(facts: tuple[Fact, ...] | list[Fact]) -> list[dict[str, object]]:
    return [{"label": fact.label, "value": soften(fact.value), "strong": fact.strong} for fact in facts]


def _table(table: Table, words: Words) -> dict[str, object]:
    def write(rows: Any) -> list[list[str]]:
        return [[_cell(cell, column, words) for cell, column in zip(row, table.columns, strict=True)] for row in rows]

    return {
        "title": table.title,
        "columns": [
            {"title": column.title, "weight": column.weight, "right": column.shape in (Shape.NUMBER, Shape.AMOUNT)}
            for column in table.columns
        ],
        "groups": [{"title": soften(title), "span": span} for title, span in table.groups],
        "opening": write(table.opening),
        "rows": write(table.rows),
        "totals": write(table.totals),
    }


def _cell(cell: Any, column: Column, words: Words) -> str:
    text = write_cell(cell, column, words)
    return soften(text) if column.shape in (Shape.TEXT, Shape.CODE) else text


def soften(text: str) -> str:
    """Let long words break, so that nothing runs out of its column."""
    return _WORD.sub(lambda word: BREAK.join(re.findall(r".{1,4}", word[0])), text)
