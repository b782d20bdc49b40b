"""Commands of bilateral deals: try, propose, answer, watch, settle."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from landfall.cli import emit
from marketplace.operator_cli.calling import File, Json, call, read_file, show
from settlement.money import format_sdrt

deals = typer.Typer(no_args_is_help=True, help="Bilateral deals: try on past use, propose, consent, watch, settle.")

DEAL: Final = ("id", "proposer", "partner", "state", "starts_ms", "ends_ms", "until_ms", "asked", "cause")
OBLIGATION: Final = ("id", "debtor", "creditor", "cause", "amount_usdr", "remaining_usdr", "due_ms", "state")
COST: Final = (
    "period",
    "from_ms",
    "to_ms",
    "part",
    "home",
    "charged_usdr",
    "least_usdr",
    "shortfall_usdr",
    "rebate_usdr",
    "cost_usdr",
)
BAR: Final = 32
"""Columns of a bar: a line with its numbers fits 100."""
MEGABYTE: Final = 1_000_000

OneDeal = Annotated[UUID, typer.Argument(help="The deal's id.")]
Basis = Annotated[
    str | None,
    typer.Option("--period", help="Past use to reckon with: 2026-10, or 2026-10-01/2026-10-15; by default the last."),
]


@deals.command("propose")
def propose_deal(
    file: File,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would cost on past use; send nothing.")
    ] = False,
    period: Basis = None,
    as_json: Json = False,
) -> None:
    """Propose a deal from a TOML or JSON file to a partner, whose consent makes it one.

    landfall operator example deal > bravo.toml
    landfall operator deals propose bravo.toml --dry-run     what each period would cost, shortfall and rebate
    landfall operator deals propose bravo.toml
    """
    if dry_run:
        _show_forecast(call("POST", "/deals/forecast", json=read_file(file), period=period), as_json)
        return
    emit(
        call("POST", "/deals", json=read_file(file)), as_json, title="On its way to the ledger, which asks the partner"
    )


@deals.command("forecast")
def forecast_deal(deal: OneDeal, period: Basis = None, as_json: Json = False) -> None:
    """Show what a deal that is there would cost on past use: look at it before you consent."""
    _show_forecast(call("GET", f"/deals/{deal}/forecast", period=period), as_json)


@deals.command("list")
def list_deals(
    state: Annotated[str | None, typer.Option(help="proposing, proposed, agreed, dropped or rejected.")] = None,
    partner: Annotated[str | None, typer.Option(help="An operator's id.")] = None,
    as_json: Json = False,
) -> None:
    """List deals, the newest first; those `asked` wait for us to consent or refuse."""
    rows = call("GET", "/deals", state=state, partner=partner)
    if not as_json:
        rows = [{**row, "starts_ms": row["starts"], "ends_ms": row["ends"]} for row in rows]
    show(rows, DEAL, as_json, "Deals")


@deals.command("show")
def show_deal(
    deal: OneDeal,
    number: Annotated[
        int | None, typer.Option("--number", min=0, help="A period, from 0; by default the one now.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a deal: used against committed, credit, days left, the shortfall if nothing more comes, obligations."""
    found = call("GET", f"/deals/{deal}")
    if as_json:
        emit(found, as_json=True)
        return
    view, console = found["deal"], Console()
    columns = ("id", "proposer", "partner", "state", "cause", "asked", "leaf", "policy", "proposed_by", "answered_by")
    emit({name.replace("_", " "): view[name] for name in columns if view[name] not in (None, "")}, title="Deal")
    emit({"from": _day(view["starts"]), "to": _day(view["ends"]), "months of a period": view["months"]})
    if not found["periods"]:
        emit(f"It may be answered until {_day(view['until_ms'])}. landfall operator deals forecast {deal}")
        return
    period = found["periods"][min(found["now"] if number is None else number, len(found["periods"]) - 1)]
    console.print(draw_period(period, found["credit"], len(found["periods"])))
    if found["obligations"]:
        rows = [{**row, "amount_usdr": row["amount"], "due_ms": row["due"]} for row in found["obligations"]]
        show([{**row, "remaining_usdr": row["remaining"]} for row in rows], OBLIGATION, False, "Obligations")


@deals.command("consent")
def consent_to_deal(
    deal: OneDeal,
    policy: Annotated[
        str, typer.Option(help="Requests on what we sell under it: auto (answered at once) or hold.")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Agree to a partner's deal. It binds both until its end, and its offers cannot be withdrawn.

    Example: landfall operator deals forecast DEAL, then landfall operator deals consent DEAL
    """
    emit(call("POST", f"/deals/{deal}/consent", json={"policy": policy}), as_json, title="Consented")


@deals.command("refuse")
def refuse_deal(
    deal: OneDeal,
    reason: Annotated[str, typer.Option(help="A word of small letters and hyphens.")] = "not-agreed",
    as_json: Json = False,
) -> None:
    """Do not agree to a partner's deal, or withdraw one's own proposal."""
    emit(call("POST", f"/deals/{deal}/refuse", json={"reason": reason}), as_json, title="Refused")


@deals.command("settle")
def settle_deal(
    deal: OneDeal,
    number: Annotated[
        int | None, typer.Option("--number", min=0, help="One period, from 0; by default all due.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Settle periods that are over: shortfalls and rebates become obligations. Closing a period does this by itself."""
    emit(call("POST", f"/deals/{deal}/settle", json={"period": number}), as_json, title="Being settled")


def draw_period(period: dict[str, Any], credit: list[dict[str, Any]], count: int) -> Group:
    """A period's bars: what was used of what is committed, and of the credit limit."""
    when = f"{_day(period['from_ms'])} to {_day(period['to_ms'])}"
    left = f"{period['days_left']} days left, {period['elapsed_percent']} % of its time gone"
    state = left if period["state"] == "running" else period["state"]
    parts: list[Any] = [Text(f"\nPeriod {period['number']} of 0 to {count - 1}: {when}: {state}", style="bold")]
    limits = {one["home"]: one for one in credit}
    for direction in period["directions"]:
        home, owed = direction["home"], limits.get(direction["home"])
        parts.append(Text(f"{home} uses {direction['visited']}", style="cyan"))
        table = Table.grid(padding=(0, 1))
        for one in direction["measures"]:
            _add_bar(table, one["what"], one["used"], one["committed"])
        if owed and owed["limit_usdr"]:
            _add_bar(table, "credit", owed["used_usdr"], owed["limit_usdr"])
        parts.append(table)
        told = "owed" if period["state"] in ("over", "settled") else "owed if nothing more comes"
        parts.append(Text(f"  shortfall {told}: {format_sdrt(direction['shortfall_usdr'])}"))
        if direction["rebate_usdr"]:
            parts.append(Text(f"  given back for balanced traffic: {format_sdrt(direction['rebate_usdr'])}"))
    return Group(*parts)


def _add_bar(table: Table, what: str, used: int, bound: int) -> None:
    percent = f"{used * 100 // bound} %" if bound else "–"
    of = _quantity(what, bound) if bound else "nothing committed"
    filled = min(used * BAR // bound, BAR) if bound else 0
    bar = "█" * filled + "░" * (BAR - filled)
    table.add_row(Text(f"  {what}"), bar, Text(percent, justify="right"), Text(f"{_quantity(what, used)} of {of}"))


def _quantity(what: str, amount: int) -> str:
    match what:
        case "data":
            return f"{amount // MEGABYTE:,}.{amount % MEGABYTE // 100_000} MB"
        case "voice":
            return f"{amount // 60:,} min {amount % 60} s"
        case "message":
            return f"{amount:,} messages"
    return format_sdrt(amount)


def _show_forecast(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(found, as_json=True)
        return
    emit(f"On the use of {_day(found['from_ms'])} to {_day(found['to_ms'])} with {found['partner']}, every period:")
    sides = [
        {
            **side,
            **{name: side["past"][name] for name in ("requests", "records", "outside", "unserved", "before_usdr")},
        }
        for side in found["directions"]
    ]
    past = ("home", "visited", "requests", "records", "outside", "unserved", "before_usdr", "whole_period_usdr")
    show(sides, past, False, "Past use, what it cost, and what a whole period would cost")
    rows = [
        {**period, "period": period["number"], **direction}
        for period in found["periods"]
        for direction in period["directions"]
    ]
    show(rows, COST, False, "By period")
    show(sides, ("home", "shortfall_usdr", "rebate_usdr", "cost_usdr"), False, "The whole deal")


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M").removesuffix(" 00:00")
