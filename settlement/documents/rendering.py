"""`render`: a document in a language and a format."""

from typing import Final

from settlement.documents.agreements import lay_out_act, lay_out_netting, lay_out_statement
from settlement.documents.billing import lay_out_billing, lay_out_usage
from settlement.documents.checks import check
from settlement.documents.layout import Page
from settlement.documents.model import (
    CreditNote,
    Document,
    DocumentError,
    Format,
    Invoice,
    Language,
    NettingNotice,
    ReconciliationAct,
    Statement,
    UsageDetail,
)
from settlement.documents.pdf import write_pdf
from settlement.documents.sheets import write_csv, write_xlsx
from settlement.documents.ubl import write_ubl
from settlement.documents.writing import Words, words_of

MEDIA_TYPES: Final = {
    Format.PDF: "application/pdf",
    Format.XML: "application/xml",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
}


def render(document: Document, language: Language, format: Format) -> bytes:  # noqa: A002 - the word for it
    """The octets of a document: the same for the same values, wherever and whenever.

    XML is for invoices and credit notes (UBL 2.1 by EN 16931) and needs their number. Raises `DocumentError`, which
    names the field that is wrong.
    """
    check(document)
    words = words_of(language)
    match format:
        case Format.XML:
            if not isinstance(document, Invoice | CreditNote):
                raise DocumentError(f"{document.kind} has no XML form: ask for pdf, xlsx or csv")
            return write_ubl(document, words)
        case Format.PDF:
            return write_pdf(document, lay_out(document, words), words)
        case Format.XLSX:
            return write_xlsx(document, lay_out(document, words), words)
        case Format.CSV:
            return write_csv(lay_out(document, words))
        case Format.PARQUET:
            if not isinstance(document, UsageDetail):
                raise DocumentError(f"{document.kind} has no Parquet form: ask for csv or xlsx")
            # Loaded where it is wanted: polars takes longer to load than most documents to make.
            from settlement.documents.parquet import write_parquet

            return write_parquet(document)


def lay_out(document: Document, words: Words) -> Page:
    """What stands on a document."""
    match document:
        case Invoice() | CreditNote():
            return lay_out_billing(document, words)
        case UsageDetail():
            return lay_out_usage(document, words)
        case Statement():
            return lay_out_statement(document, words)
        case ReconciliationAct():
            return lay_out_act(document, words)
        case NettingNotice():
            return lay_out_netting(document, words)
