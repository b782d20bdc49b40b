"""Commands about documents, debts and netting."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from landfall.cli import emit
from landfall.errors import LandfallError
from marketplace.operator_cli.calling import Json, call, download, read_amount, show

documents = typer.Typer(no_args_is_help=True, help="Documents that closing a period issued.")

DOCUMENT: Final = ("kind", "number", "counterparty", "issued_on", "amount_usdr", "closing")


@documents.command("list")
def list_documents(
    closing: Annotated[
        str | None, typer.Option(help="Only those of this closing, as 2026-10; its TAP files too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List documents; --json has their files with digests, and whether the ledger has each.

    Example: landfall operator documents list --closing 2026-10
    """
    path = "/documents" if closing is None else f"/closings/{closing.replace('/', '_')}/documents"
    show(call("GET", path), DOCUMENT, as_json, "Documents")


@documents.command("get")
def get_document(
    name: Annotated[str, typer.Argument(help="A number, INV-2026-000001, for all its files; or one file's name.")],
    folder: Annotated[Path, typer.Option("--to", file_okay=False, help="The folder to put them in.")] = Path(),
    as_json: Json = False,
) -> None:
    """Download a document's files, as they were issued.

    Example: landfall operator documents get INV-2026-000001 --to invoices
    """
    known = [file["name"] for document in call("GET", "/documents") for file in document["files"]]
    wanted = [file for file in known if file == name or file.startswith(f"{name}.")] or [name]
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file in wanted:
        octets = download(f"/documents/files/{file}")
        path = folder / Path(file).name
        try:
            path.write_bytes(octets)
        except OSError as error:
            raise LandfallError(f"{path} cannot be written ({error.strerror}): name another folder by --to") from None
        written.append({"file": str(path), "octets": len(octets)})
    emit(written, as_json, title="Downloaded; check one with: landfall document verify FILE")


obligations = typer.Typer(no_args_is_help=True, help="What is owed and is to be had outside of escrow.")
invoices = typer.Typer(no_args_is_help=True, help="External invoices: upload, confirm a partner's, refuse.")
netting = typer.Typer(no_args_is_help=True, help="Netting cycles: what each does, consent, refuse.")

OBLIGATION: Final = ("id", "debtor", "creditor", "cause", "amount_usdr", "remaining_usdr", "due_ms", "state")
INVOICE: Final = ("id", "number", "debtor", "creditor", "amount_usdr", "remaining_usdr", "due_ms", "state", "asked")
CYCLE: Final = (
    "id",
    "proposer",
    "method",
    "state",
    "payable_usdr",
    "receivable_usdr",
    "new_payable_usdr",
    "new_receivable_usdr",
    "asked",
    "automatic",
)
Reason = Annotated[str, typer.Option(help="A word of small letters and hyphens.")]


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@obligations.command("list")
def list_obligations(
    role: Annotated[str | None, typer.Option(help="debtor or creditor: our side; by default either.")] = None,
    state: Annotated[str | None, typer.Option(help="open, settled, proposed, dropped.")] = None,
    as_json: Json = False,
) -> None:
    """List obligations, by default those that are open, due first."""
    rows = call("GET", "/obligations", role=role, state=state)
    if not as_json:
        rows = [{**row, **{f"{name}_usdr": row[name] for name in ("amount", "remaining")}} for row in rows]
        rows = [{**row, "due_ms": row["due"]} for row in rows]
    show(rows, OBLIGATION, as_json, "Obligations")


@obligations.command("pay")
def pay_obligation(
    obligation: UUID,
    amount: Annotated[str | None, typer.Option(help="In SDRt; by default all that remains.")] = None,
    as_json: Json = False,
) -> None:
    """Pay an obligation, whole or in part, from what is available.

    Example: landfall operator obligations pay 0199c2a4-… --amount 12.5
    """
    body = {} if amount is None else {"amount_usdr": read_amount(amount)}
    emit(call("POST", f"/obligations/{obligation}/pay", json=body), as_json, title="Being paid")


@invoices.command("upload")
def upload_invoice(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The invoice; only its SHA-256 is sent.")],
    debtor: Annotated[str, typer.Option(help="Who owes it: the operator's id.")],
    amount: Annotated[str, typer.Option(help="In SDRt: 1250.5")],
    due: Annotated[datetime, typer.Option(help="When it is due, UTC: 2026-12-31.")],
    number: Annotated[str | None, typer.Option(help="The invoice's number.")] = None,
    as_json: Json = False,
) -> None:
    """Propose an external invoice to its debtor; send the file to the debtor yourself.

    Once the debtor has confirmed it, it is an obligation: payable in SDRt, and part of the next netting.

    Example: landfall operator invoices upload 2026-044.pdf --debtor bravo --amount 118 --due 2026-12-31
    """
    body = {
        "debtor": debtor,
        "amount_usdr": read_amount(amount),
        "due_ms": int(due.replace(tzinfo=UTC).timestamp() * 1000),
        "document": _digest(file),
        "number": number,
    }
    emit(call("POST", "/invoices", json=body), as_json, title="Proposed")


@invoices.command("list")
def list_invoices(as_json: Json = False) -> None:
    """List uploaded invoices of both sides; those `asked` wait for us to confirm."""
    show(call("GET", "/invoices"), INVOICE, as_json, "Invoices")


@invoices.command("confirm")
def confirm_invoice(
    invoice: UUID,
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The file we were sent: it must be the one meant.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Agree that a partner's invoice is owed.

    Example: landfall operator invoices confirm 0199c2a4-… --file 2026-044.pdf
    """
    body = {} if file is None else {"document": _digest(file)}
    emit(call("POST", f"/invoices/{invoice}/confirm", json=body), as_json, title="Confirmed")


@invoices.command("refuse")
def refuse_invoice(invoice: UUID, reason: Reason = "not-agreed", as_json: Json = False) -> None:
    """Do not agree to a partner's invoice, or withdraw one's own."""
    emit(call("POST", f"/invoices/{invoice}/refuse", json={"reason": reason}), as_json, title="Refused")


@netting.command("list")
def list_cycles(
    state: Annotated[str | None, typer.Option(help="open (default), effective, refused, lapsed, all.")] = None,
    as_json: Json = False,
) -> None:
    """List netting cycles with what each does to our debts and claims, and what the settings say of it."""
    show(call("GET", "/netting", state=state), CYCLE, as_json, "Netting cycles")


@netting.command("consent")
def consent_to_cycle(cycle: UUID, as_json: Json = False) -> None:
    """Agree to a cycle; with the last consent all its changes are made, or none."""
    emit(call("POST", f"/netting/{cycle}/consent"), as_json, title="Consented")


@netting.command("refuse")
def refuse_cycle(cycle: UUID, reason: Reason = "not-agreed", as_json: Json = False) -> None:
    """Do not agree to a cycle: it ends for everybody, and debts stay as they are."""
    emit(call("POST", f"/netting/{cycle}/refuse", json={"reason": reason}), as_json, title="Refused")
