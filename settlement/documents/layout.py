"""What stands on a document, whatever it is rendered into: facts, parties, tables, sums, sentences, signatures.

`lay_out` turns a document into a `Page`. Cells keep their values (ints, dates, decimals); who renders them writes them
in the language's way, or as machines like them. A table is a document's data: CSV is the `main` one, XLSX has all.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from settlement.documents.model import Document, Language, Party, Rate
from settlement.documents.writing import USDR_DIGITS, Words, tell_rate

Cell: TypeAlias = str | int | Decimal | date | datetime | None


class Shape(StrEnum):
    """How a column is written."""

    TEXT = "text"
    CODE = "code"
    """Long identifiers, which may break anywhere."""
    DATE = "date"
    TIME = "time"
    NUMBER = "number"
    AMOUNT = "amount"
    """Whole units of 10^-digits."""


class Column(Struct, frozen=True):
    """`name` is for machines, `title` for people; `weight` is its share of the width, 0 as wide as it needs."""

    name: str
    title: str
    shape: Shape = Shape.TEXT
    digits: int = 0
    weight: int = 0


class Table(Struct, frozen=True):
    """Rows under columns; `opening` and `totals` are emphasised rows above and below. `groups`: titles over columns."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[tuple[Cell, ...]]
    opening: tuple[tuple[Cell, ...], ...] = ()
    totals: tuple[tuple[Cell, ...], ...] = ()
    groups: tuple[tuple[str, int], ...] = ()


class Fact(Struct, frozen=True):
    """A labelled value; the last sum of a document is `strong`."""

    label: str
    value: str
    strong: bool = False


class Page(Struct, frozen=True):
    """A document as it is read from top to bottom; `tables[0]` is the main one."""

    title: str
    subtitle: str
    number: str
    facts: tuple[Fact, ...]
    parties: tuple[tuple[str, Party], ...]
    preamble: tuple[str, ...]
    tables: tuple[Table, ...]
    sums: tuple[Fact, ...]
    sentences: tuple[str, ...]
    signers: tuple[Party, ...] = ()
    wide: bool = False


def usdr_column(name: str, title: str) -> Column:
    """A column of micro-SDRt, shown in SDRt."""
    return Column(name, title, Shape.AMOUNT, USDR_DIGITS)


def minor_column(name: str, title: str, rate: Rate) -> Column:
    """A column of minor units of a currency."""
    return Column(name, title, Shape.AMOUNT, rate.digits)


def head_facts(document: Document, words: Words) -> list[Fact]:
    """What every document says of itself."""
    first, last = words.short_date(document.period.first), words.short_date(document.period.last)
    return [
        Fact(words("number"), document.number or words("draft"), strong=True),
        Fact(words("issued-on"), words.long_date(document.issued_on)),
        Fact(words("period"), f"{first} – {last}"),
    ]


def convert_fact(label: str, amount_usdr: int, rate: Rate | None, words: Words) -> list[Fact]:
    """An amount in the currency of a document that states a rate."""
    if rate is None:
        return []
    return [Fact(words(label, currency=rate.currency), words.minor(rate.convert(amount_usdr), rate.digits))]


def rate_sentences(rate: Rate | None, words: Words) -> tuple[str, ...]:
    """The conversion, where there is one."""
    return () if rate is None else (tell_rate(rate, words),)


def tell_party(party: Party, words: Words) -> list[Fact]:
    """A party's address and identifiers, in the order a reader looks for them."""
    address = [party.street, " ".join(filter(None, (party.postcode, party.city))), party.country]
    if words.language is Language.RU:
        address = [" ".join(filter(None, (party.postcode, party.country))), party.city, party.street]
    iban = party.iban.replace(" ", "")
    found = {
        "operator": party.operator,
        "tadig": party.tadig,
        "vat-id": party.vat_id,
        "tax-number": party.tax_number,
        "tax-branch": party.tax_branch,
        "register-id": party.register_id,
        "bank": party.bank,
        "iban": " ".join(iban[at : at + 4] for at in range(0, len(iban), 4)),
        "bic": party.bic,
    }
    lines = [Fact("", ", ".join(filter(None, address)))]
    return lines + [Fact(words(key), value) for key, value in found.items() if value]


def write_cell(cell: Cell, column: Column, words: Words) -> str:
    """A cell for people."""
    match cell:
        case None:
            return ""
        case str():
            return cell
        case datetime():
            return words.time(cell)
        case date():
            return words.short_date(cell)
        case Decimal():
            return words.number(cell)
        case int() if column.shape is Shape.AMOUNT:
            return words.minor(cell, column.digits)
        case int():
            return words.number(Decimal(cell))
