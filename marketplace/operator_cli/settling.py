"""Commands about documents, debts and netting."""

from pathlib import Path
from typing import Annotated, Final

import typer

from landfall.cli import emit
from landfall.errors import LandfallError
from marketplace.operator_cli.calling import Json, call, download, show

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
