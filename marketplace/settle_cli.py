"""`landfall settle …`: what works on files (`settlement.cli`), and `close`, which asks an operator's node.

The settlement package knows no node, so the command that needs one is put beside the others here.
"""

import os
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from landfall.cli import emit
from landfall.errors import LandfallError
from settlement.cli import app
from settlement.money import format_sdrt

POLL_S: Final = 0.2
"""How often the node is asked how far it is."""

DOCUMENT: Final = ("kind", "number", "counterparty", "amount_usdr")

__all__ = ["app"]


class CloseError(LandfallError):
    """The node could not close the period; says why and what to do."""


@app.command("close")
def close_period(
    period: Annotated[str | None, typer.Option(help="A month, 2026-10, or 2026-10-01/2026-10-15; UTC.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Instead: the first moment, 2026-10-01T00:00:00Z.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="The first moment that is not of the period.")] = None,
    node: Annotated[str | None, typer.Option(help="The node's address (LANDFALL_OPERATOR_URL).")] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Show what it would be now; nothing is issued.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Close a period: settle deals, pay what is due, issue statement, invoices, usage, acts; digests on the ledger.

        landfall settle close --period 2026-10

    It calls the operator's node, like `landfall operator`: LANDFALL_OPERATOR_URL and the staff token of the data
    folder, or LANDFALL_OPERATOR_TOKEN. Interrupted, the node goes on by itself, and the same command shows how far it
    is; after a failure it goes on where it stopped. Nothing is issued or paid twice.

    Files are downloaded with `landfall operator documents get`, and anybody checks one by `landfall document verify`.
    """
    from marketplace.operator_cli.calling import call, show

    if node is not None:
        os.environ["LANDFALL_OPERATOR_URL"] = node
    asked = _asked(period, since, until)
    if draft:
        drawn = call("POST", "/closings/draft", json=asked)
        over = "" if drawn["over"] else ", which is not over yet"
        emit(drawn, as_json=True) if as_json else show(
            drawn["documents"], ("kind", "counterparty", "amount_usdr"), False, f"Draft of {drawn['period']}{over}"
        )
        return
    closing = _follow(call("POST", "/closings", json=asked), quiet=as_json)
    if closing["state"] == "failed":
        raise CloseError(f"{closing['error']}; what was done stays done: mend it and run the command again")
    documents = call("GET", f"/closings/{closing['id']}/documents")
    if as_json:
        emit({**closing, "documents": documents}, as_json=True)
        return
    for step in closing["steps"]:
        emit(f"{step['name']:<10} {step['told']}")
    rows = [
        {**{name: document[name] for name in DOCUMENT}, "files": ", ".join(_endings(document))}
        for document in documents
    ]
    show(rows, (*DOCUMENT, "files"), False, f"Documents of {closing['period']}")
    total = sum(document["amount_usdr"] for document in documents if document["kind"] == "invoice")
    emit(f"Invoiced {format_sdrt(total)}. Files: landfall operator documents get NUMBER")


def _endings(document: dict[str, Any]) -> list[str]:
    if document["kind"] == "tap":
        return [file["name"] for file in document["files"]]
    return [file["name"].removeprefix(f"{document['number']}.") for file in document["files"]]


def _asked(period: str | None, since: str | None, until: str | None) -> dict[str, Any]:
    if (period is None) == (since is None and until is None):
        raise CloseError("name the period: --period 2026-10, or --from and --to")
    if period is not None:
        return {"period": period}
    return {"from_ms": _moment("--from", since), "to_ms": _moment("--to", until)}


def _moment(option: str, text: str | None) -> int:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        raise CloseError(f"{option} {text!r} is no moment: write 2026-10-01T00:00:00Z") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _follow(closing: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Watch until it is done or has failed, with a bar on standard error."""
    from marketplace.operator_cli.calling import call

    columns = (TextColumn("{task.description:<28}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("closing", total=100)
        while closing["state"] == "running":
            step = next((one for one in closing["steps"] if one["state"] != "done"), None)
            counted = f" {step['done']}/{step['total']}" if step and step["total"] else ""
            bar.update(task, completed=closing["progress"], description=f"{step['name'] if step else ''}{counted}")
            time.sleep(POLL_S)
            closing = call("GET", f"/closings/{closing['id']}")
        bar.update(task, completed=closing["progress"], description=closing["state"])
    return closing
