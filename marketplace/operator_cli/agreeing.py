"""Commands of agreeing with partners: reconcile, records, cases."""

from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import typer

from landfall.cli import emit
from landfall.errors import LandfallError
from marketplace.operator_cli.calling import File, Json, call, download, read_amount, show, upload
from settlement.money import format_sdrt
from settlement.reconciliation import Rules, read_rules

app = typer.Typer()
records = typer.Typer(no_args_is_help=True, help="Records to reconcile: own ones taken in, settled ones written out.")
cases = typer.Typer(no_args_is_help=True, help="Differences with partners: propose how they end, confirm, export.")

CASE: Final = ("id", "partner", "kind", "key", "age_days", "at_stake_usdr", "state", "resolution", "proposed_by")
AGES: Final = ("days", "cases", "open", "proposed", "confirmed", "disputed", "at_stake_usdr")

BINARY: Final = "application/octet-stream"

Partner = Annotated[str, typer.Argument(help="The other operator's id.")]
Period = Annotated[str, typer.Option(help="2026-10, or 2026-10-01/2026-10-15; UTC.")]
OneCase = Annotated[UUID, typer.Argument(help="The case's id.")]
Text = Annotated[str, typer.Option(help="What the other side, and next year's auditor, should know.")]


@app.command("reconcile")
def reconcile_partner(
    partner: Partner,
    period: Period,
    theirs: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Their records, .csv or .parquet.")
    ] = None,
    ours: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Our records, .csv or .parquet.")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="TOML, as of `landfall settle reconcile --help`.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write the run as a page into this file.")] = None,
    as_json: Json = False,
) -> None:
    """Compare a period with a partner; every difference becomes a case, or is recognised as one there is.

        landfall operator reconcile bravo --period 2026-10                      own records against the ledger
        landfall operator reconcile bravo --period 2026-10 --theirs bravo.csv   the ledger against their file

    A side that is not given is what the ledger settled between the two; without --theirs, ours are the own records
    taken in by `landfall operator records import`. `party` in files is the visited operator's id.
    """
    named = {
        side: upload("/reconciliations/files", file, kind=BINARY, name=file.name)["digest"]
        for side, file in (("ours", ours), ("theirs", theirs))
        if file is not None
    }
    chosen = msgspec.to_builtins(read_rules(rules) if rules else Rules())
    run = call("POST", "/reconciliations", json={"partner": partner, "period": period, **named, "rules": chosen})
    if page is not None:
        page.write_bytes(download(f"/reconciliations/{run['id']}/page"))
    _show_run(run, as_json)


@app.command("runs")
def list_runs(
    partner: Annotated[str | None, typer.Argument(help="Of one partner.")] = None, as_json: Json = False
) -> None:
    """List runs of reconciliation, newest first."""
    rows = call("GET", "/reconciliations", partner=partner)
    show(rows, ("id", "partner", "period", "made_ms", "made_by", "ours.name", "theirs.name", "cases"), as_json, "Runs")


@records.command("import")
def import_records(file: File, as_json: Json = False) -> None:
    """Take own records in, from CSV or Parquet; the same file again changes nothing.

    Columns: key (may be empty), party (the visited operator's id), time, amount or amount_usdr; optional request,
    volume, duration.
    """
    emit(upload("/reconciliations/own-records", file, kind=BINARY, name=file.name), as_json)


@records.command("export")
def export_records(
    partner: Partner,
    period: Period,
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    as_json: Json = False,
) -> None:
    """Write what the ledger settled with a partner, record by record with its charge; both sides get the same file."""
    octets = download("/reconciliations/records", partner=partner, period=period)
    out.write_bytes(octets)
    emit({"file": str(out), "records": max(0, octets.count(b"\n") - 1)}, as_json)


@cases.command("list")
def list_cases(
    partner: Annotated[str | None, typer.Option(help="An operator's id.")] = None,
    state: Annotated[str | None, typer.Option(help="open, proposed, confirmed, disputed, cleared or ended.")] = None,
    source: Annotated[str | None, typer.Option(help="reconciliation or evidence.")] = None,
    run: Annotated[UUID | None, typer.Option(help="Of one run.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    as_json: Json = False,
) -> None:
    """List cases, the largest at stake first."""
    found = call("GET", "/cases", partner=partner, state=state, source=source, run=run and str(run), limit=limit)
    show([{**view["case"], **view} for view in found], CASE, as_json, "Cases")


@cases.command("ageing")
def age_cases(
    partner: Annotated[str | None, typer.Option(help="An operator's id.")] = None, as_json: Json = False
) -> None:
    """Show how old what still asks for something is."""
    show(call("GET", "/cases/ageing", partner=partner), AGES, as_json, "Ageing")


@cases.command("show")
def show_case(case: OneCase, as_json: Json = False) -> None:
    """Show a case: both sides' records, and everything that happened to it."""
    found = call("GET", f"/cases/{case}")
    if as_json:
        emit(found, as_json=True)
        return
    emit({name: value for name, value in found["case"].items() if value not in (None, "")}, title="Case")
    show(found["history"], ("number", "at_ms", "by", "what", "sets"), False, "History")


@cases.command("propose")
def propose(
    case: OneCase,
    resolution: Annotated[str, typer.Argument(help="accept-ours, accept-theirs, split or write-off.")],
    reason: Annotated[
        str,
        typer.Option(
            help="timing, rating, rounding, duplicate, lost-record, wrong-party, out-of-scope, too-small, evidence, "
            "agreed-with-partner or other."
        ),
    ],
    text: Text = "",
    amount: Annotated[str | None, typer.Option(help="With split: what the charge should be, in SDRt.")] = None,
    as_json: Json = False,
) -> None:
    """Say how a case should end, with your own token; another member confirms.

    Example: landfall operator cases propose CASE accept-ours --reason rating --text "their price is of last year"
    """
    body: dict[str, Any] = {"resolution": resolution, "reason": reason, "text": text}
    if amount is not None:
        body["amount_usdr"] = read_amount(amount)
    _show_case(call("POST", f"/cases/{case}/propose", json=body), as_json, "Proposed")


@cases.command("confirm")
def confirm(case: OneCase, text: Text = "", as_json: Json = False) -> None:
    """Confirm what another member of staff proposed, with your own token."""
    _show_case(call("POST", f"/cases/{case}/confirm", json={"text": text}), as_json, "Confirmed")


@cases.command("reopen")
def reopen(case: OneCase, text: Text, as_json: Json = False) -> None:
    """Take a case up again, and say why."""
    _show_case(call("POST", f"/cases/{case}/reopen", json={"text": text}), as_json, "Open again")


@cases.command("export")
def export_cases(
    out: Annotated[Path, typer.Argument(help="The file to write: .xlsx or .json.")],
    partner: Annotated[str | None, typer.Option(help="An operator's id.")] = None,
    state: Annotated[str | None, typer.Option(help="One state.")] = None,
    run: Annotated[UUID | None, typer.Option(help="Of one run.")] = None,
    as_json: Json = False,
) -> None:
    """Write cases and their ages into a workbook, or as JSON."""
    chosen: dict[str, Any] = {"partner": partner, "state": state, "run": run and str(run)}
    match out.suffix:
        case ".xlsx":
            octets = download("/cases/workbook", **chosen)
        case ".json":
            octets = msgspec.json.format(msgspec.json.encode(call("GET", "/cases", limit=10_000, **chosen)))
        case ending:
            raise LandfallError(f"{out} ends in {ending!r}: name a file that ends in .xlsx or .json")
    out.write_bytes(octets)
    emit({"file": str(out), "octets": len(octets)}, as_json)


def _show_case(case: dict[str, Any], as_json: bool, title: str) -> None:
    columns = (
        "id",
        "partner",
        "kind",
        "key",
        "state",
        "resolution",
        "agreed_usdr",
        "reason",
        "proposed_by",
        "confirmed_by",
    )
    if as_json:
        emit(case, as_json=True)
    else:
        show([case], columns, False, title)


def _show_run(run: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(run, as_json=True)
        return
    report = run["report"]
    rows = [{"kind": tally["kind"], **_tally(tally)} for tally in report["kinds"]]
    sides = {
        f"{side}{part}": report[side][name]
        for side in ("ours", "theirs")
        for part, name in (("", "records"), ("_amount", "amount"))
    }
    emit([*rows, {"kind": "in all", **_tally(sides)}], title=f"{run['partner']}, {run['period']}: run {run['id']}")
    for side in ("ours", "theirs"):
        source = run[side]
        told = f", {source['outside']} records outside the period left out" if source["outside"] else ""
        emit(f"{side}: {source['name']}{told}")
    emit(f"cases: {run['cases']}, of which new {run['opened']}; cleared {run['cleared']}")
    show(run["ageing"], AGES, False, "Ageing of what is to be ended")


def _tally(tally: dict[str, Any]) -> dict[str, Any]:
    return {
        "ours": tally["ours"],
        "amount of ours": format_sdrt(tally["ours_amount"]),
        "theirs": tally["theirs"],
        "amount of theirs": format_sdrt(tally["theirs_amount"]),
    }
