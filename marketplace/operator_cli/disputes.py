"""Commands about disputes, in either role."""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from landfall.cli import emit
from landfall.errors import LandfallError
from marketplace.operator_cli.calling import File, Json, call, download, read_amount, show, upload

disputes = typer.Typer(no_args_is_help=True, help="Disputes of charges on the ledger: raise, answer, go on, follow.")

DISPUTE: Final = (
    *(
        "id",
        "role",
        "home",
        "visited",
        "state",
        "amount_usdr",
        "held_usdr",
        "award_usdr",
        "deadline_ms",
        "left",
        "turn",
    ),
)
One = Annotated[UUID, typer.Argument(help="The dispute's id.")]
Evidence = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="What shows it: kept by the node, only its SHA-256 is told."),
]


@disputes.command("raise")
def raise_case(
    case: Annotated[UUID, typer.Argument(help="A confirmed case's id.")],
    amount: Annotated[str | None, typer.Option(help="In SDRt; by default all beyond what was agreed.")] = None,
    cause: Annotated[str | None, typer.Option(help="A word of small letters and hyphens.")] = None,
    as_json: Json = False,
) -> None:
    """Home: dispute on the ledger what a confirmed case says is wrong, citing the usage report.

    The case, its history and what it cites are kept as the dossier whose digest goes along.

    Example: landfall operator disputes raise CASE; `disputes list` then shows deadlines.
    """
    body: dict[str, Any] = {} if cause is None else {"cause": cause}
    if amount is not None:
        body["amount_usdr"] = read_amount(amount)
    found = call("POST", f"/disputes/of-case/{case}", json=body)
    if as_json:
        emit(found, as_json=True)
    else:
        show([found], ("id", "partner", "kind", "state", "dispute", "dispute_state"), False, "On its way to the ledger")


@disputes.command("list")
def list_disputes(
    role: Annotated[str | None, typer.Option(help="home or visited.")] = None,
    state: Annotated[
        str | None, typer.Option(help="raised, rejected, escalated, upheld, dismissed or withdrawn.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List disputes by deadline: whose turn it is, how long, and what happens without."""
    rows = call("GET", "/disputes", role=role, state=state)
    show(rows if as_json else [_flat(row) for row in rows], DISPUTE, as_json, "Disputes")


@disputes.command("show")
def show_dispute(dispute: One, as_json: Json = False) -> None:
    """Show a dispute as the ledger has it now, and what staff here did."""
    found = call("GET", f"/disputes/{dispute}")
    if as_json:
        emit(found, as_json=True)
        return
    show([_flat(found)], DISPUTE, False, "Dispute")
    show(found["steps"], ("at_ms", "by", "step", "digest"), False, "Steps taken here")


@disputes.command("accept")
def accept(dispute: One, as_json: Json = False) -> None:
    """Visited: concede; all of the amount goes to the home operator, what is not there is owed."""
    _take(dispute, "accept", None, as_json)


@disputes.command("reject")
def reject(dispute: One, evidence: Evidence = None, as_json: Json = False) -> None:
    """Visited: the report is right. Without --evidence the node shows the request's reports as it has them."""
    _take(dispute, "reject", evidence, as_json)


@disputes.command("escalate")
def escalate(dispute: One, evidence: Evidence = None, as_json: Json = False) -> None:
    """Home: do not agree with the rejection; the issuer decides."""
    _take(dispute, "escalate", evidence, as_json)


@disputes.command("withdraw")
def withdraw(dispute: One, as_json: Json = False) -> None:
    """Home: let go; what was held is the visited operator's again."""
    _take(dispute, "withdraw", None, as_json)


@disputes.command("dossier")
def fetch_dossier(
    digest: Annotated[str, typer.Argument(help="As the dispute has it: evidence or answer.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    as_json: Json = False,
) -> None:
    """Write what a digest is of into a file, to hand it to the partner or the issuer."""
    octets = download(f"/disputes/dossiers/{digest}")
    out.write_bytes(octets)
    emit({"file": str(out), "octets": len(octets), "digest": digest}, as_json)


@disputes.command("verify")
def verify_dossier(dispute: One, file: File, as_json: Json = False) -> None:
    """Check that a file a partner handed over is what it put on the ledger."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    found = call("GET", f"/disputes/{dispute}")["dispute"]
    kinds = [name for name in ("evidence", "answer") if found.get(name) == digest]
    if not kinds:
        raise LandfallError(
            f"{file} has SHA-256 {digest}, which dispute {dispute} does not name: ask for the right file"
        )
    emit({"file": str(file), "digest": digest, "is": kinds[0]}, as_json)


def _take(dispute: UUID, step: str, evidence: Path | None, as_json: bool) -> None:
    path = f"/disputes/{dispute}/{step}"
    if evidence is None:
        answer = call("POST", path)
    else:
        answer = upload(path, evidence, kind="application/octet-stream", name=evidence.name)
    emit({"dispute": str(dispute), "step": step, **answer}, as_json, title="On its way to the ledger")


def _flat(view: dict[str, Any]) -> dict[str, Any]:
    row = view["dispute"]
    amounts = {f"{name}_usdr": row.get(name, 0) for name in ("amount", "held", "award")}
    left = None if view["left_ms"] is None else str(timedelta(seconds=view["left_ms"] // 1000))
    return {**row, **view, **amounts, "deadline_ms": row["deadline"], "left": left}
