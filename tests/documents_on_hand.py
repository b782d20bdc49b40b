"""The example documents of the package, for tests that need one of each kind."""

from typing import Any

import msgspec
from msgspec.structs import replace

from settlement.documents import KINDS, CreditNote, Document, Invoice
from settlement.documents.cli import read_example

BILLINGS = ("invoice", "credit-note")


def example(kind: str, **changes: Any) -> Any:
    """The package's example of a kind, with other values of some fields."""
    document: Document = msgspec.json.decode(read_example(kind), type=KINDS[kind])
    return replace(document, **changes)


def billing(**changes: Any) -> Invoice:
    """An invoice that has a number."""
    invoice: Invoice = example("invoice", **{"number": "INV-2026-000017", **changes})
    return invoice


def credit_note(**changes: Any) -> CreditNote:
    """A credit note that has a number."""
    note: CreditNote = example("credit-note", **{"number": "CN-2026-000004", **changes})
    return note
