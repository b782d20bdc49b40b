"""Documents a bookkeeper accepts, made of values alone: same values, same octets.

Six kinds (`KINDS`): statement, detailed usage, invoice, credit note, reconciliation act (акт сверки), netting notice;
in English and Russian; as PDF, UBL 2.1 XML by EN 16931 (invoice, credit note), XLSX and CSV. The workflow:

    rate = state_rate("EUR", date(2026, 10, 31), load_rates())           # stated on the document
    invoice = Invoice(seller=…, buyer=…, rate=rate, lines=(…), issued_on=…, period=…)
    octets = render(invoice, Language.EN, Format.PDF)                    # raises DocumentError, naming the field

A document that counts has a number without gaps in its series (issuer, kind, year) and is kept with its octets. Both
happen in the caller's one transaction: a rollback takes the number back.

    async with database.begin() as connection:                           # marketplace.operator_database
        stored = await issue(connection, invoice, subject="close:2026-10:bravo", files=[(Language.EN, Format.PDF)])
        stored.document.number, stored.files[0].sha256                   # 'INV-2026-000017', for the ledger

`subject` says what the document is of: a kind issued again for a subject, the first one comes back and no number is
used, so that closing a period can be resumed at any statement. `render` alone stores nothing and may be called for a
draft (without a number, and the document says DRAFT).

It follows that: no amount is a float; amounts are micro-SDRt, and currency follows from the stated rate (`sum_up`);
nothing here reads a clock, a network or system fonts. This package does not sign and does not send: a document's
digest goes on the ledger as `RecordDocument`; `verify` finds it there.
"""

from settlement.documents.amounts import Totals, balance_act, closing_usdr, sum_up
from settlement.documents.issuing import (
    Stored,
    StoredFile,
    add_file,
    find_by_number,
    find_by_subject,
    find_gaps,
    issue,
    list_documents,
    read_file,
)
from settlement.documents.model import (
    KINDS,
    ActEntry,
    CreditNote,
    Difference,
    Document,
    DocumentError,
    Format,
    Invoice,
    Language,
    Line,
    Movement,
    NettingNotice,
    Party,
    Period,
    Position,
    Posting,
    Rate,
    ReconciliationAct,
    Settled,
    Statement,
    Tax,
    TaxCategory,
    Unit,
    UsageDetail,
    UsageRow,
    state_rate,
)
from settlement.documents.rendering import MEDIA_TYPES, render

__all__ = [
    "KINDS",
    "MEDIA_TYPES",
    "ActEntry",
    "CreditNote",
    "Difference",
    "Document",
    "DocumentError",
    "Format",
    "Invoice",
    "Language",
    "Line",
    "Movement",
    "NettingNotice",
    "Party",
    "Period",
    "Position",
    "Posting",
    "Rate",
    "ReconciliationAct",
    "Settled",
    "Statement",
    "Stored",
    "StoredFile",
    "Tax",
    "TaxCategory",
    "Totals",
    "Unit",
    "UsageDetail",
    "UsageRow",
    "add_file",
    "balance_act",
    "closing_usdr",
    "find_by_number",
    "find_by_subject",
    "find_gaps",
    "issue",
    "list_documents",
    "read_file",
    "render",
    "state_rate",
    "sum_up",
]
