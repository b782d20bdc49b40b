"""Commands of the OTA platform: single jobs, campaigns, message templates."""

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from landfall.cli import emit
from marketplace.operator_cli.calling import CallError, File, Json, call, follow, read_file, show, upload

app = typer.Typer(no_args_is_help=True, help="Over the air: jobs, campaigns, message templates, key sets of cards.")
jobs = typer.Typer(no_args_is_help=True, help="Single jobs, and the jobs of campaigns.")
campaigns = typer.Typer(no_args_is_help=True, help="The same commands to many cards.")
templates = typer.Typer(no_args_is_help=True, help="Named, versioned lists of commands with places for values.")
keys = typer.Typer(no_args_is_help=True, help="The key sets by which cards are reached.")
app.add_typer(jobs, name="jobs")
app.add_typer(campaigns, name="campaigns")
app.add_typer(templates, name="templates")
app.add_typer(keys, name="keys")

JOB: Final = ("id", "iccid", "name", "state", "final", "attempts", "words")
STATES: Final = ("queued", "sent", "delivered", "unknown", "proven", "failed", "expired", "cancelled")
CAMPAIGN: Final = ("id", "name", "state", "words", *(f"counts.{state}" for state in STATES))
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
RECENT: Final = 12
"""Cards shown below the counts: what fits a small screen."""
COLOURS: Final = {"proven": "green", "failed": "red", "unknown": "yellow", "expired": "yellow", "cancelled": "dim"}

Commands = Annotated[
    list[str] | None,
    typer.Option(
        "--command", "-c", help='Words, as "enable-slot slot=2", or JSON. Several go in one packet, in order.'
    ),
]
TemplateName = Annotated[str | None, typer.Option("--template", "-t", help="A template's name.")]
Values = Annotated[list[str] | None, typer.Option("--set", "-s", help="A template's parameter: slot=2.")]
Hours = Annotated[float, typer.Option("--valid-hours", help="How long a phone that is off is waited for.", min=0.001)]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Stay and show each change until the end.")]
RotateKeys = Annotated[bool, typer.Option("--rotate-keys", help="Give each card new OTA keys instead.")]


@app.command()
def send(
    iccid: Annotated[str, typer.Argument(help="The card, 18 to 20 digits.")],
    command: Commands = None,
    template: TemplateName = None,
    values: Values = None,
    rotate_keys: RotateKeys = False,
    valid_hours: Hours = 72,
    stay: Follow = False,
    as_json: Json = False,
) -> None:
    """Send commands to one card.

    Words: enable-slot slot=N, delete-slot slot=N, list-slots, set-service-provider-name spn=TEXT, update-file path=HEX
    data=HEX [offset=N], update-record path=HEX record=N data=HEX, read-file path=HEX length=N, read-record path=HEX
    record=N length=N, apdu tar=HEX apdu=HEX. A path is without 3F00; 7FFF is the USIM.

    Example: landfall operator ota send 8970199000000000017 -c "enable-slot slot=2" -c list-slots --follow
    """
    body = {"iccid": iccid, **_order(command, template, values, rotate_keys), "valid_hours": valid_hours}
    job = call("POST", "/ota/jobs", json=body)
    if not stay:
        show([job], JOB, as_json, "Job")
        return
    _stay(UUID(job["campaign"]), as_json, after=0)


@jobs.command("list")
def list_jobs(
    iccid: Annotated[str | None, typer.Option(help="Only this card.")] = None,
    campaign: Annotated[UUID | None, typer.Option(help="Only this campaign, in its order.")] = None,
    state: Annotated[str | None, typer.Option(help=", ".join(STATES))] = None,
    after: Annotated[int, typer.Option(help="With --campaign: past this job.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    as_json: Json = False,
) -> None:
    """List jobs, newest first.

    Example, the cards of a campaign that did not do it: landfall operator ota jobs list --campaign ID --state failed
    """
    if campaign is None:
        rows = call("GET", "/ota/jobs", iccid=iccid, in_state=state, limit=limit)
    else:
        rows = call("GET", f"/ota/campaigns/{campaign}/jobs", in_state=state, after=after, limit=limit)
    show(rows, JOB, as_json, "Jobs")


@jobs.command("show")
def show_job(job: int, as_json: Json = False) -> None:
    """Show one job."""
    emit(call("GET", f"/ota/jobs/{job}"), as_json)


@jobs.command("cancel")
def cancel_job(job: int, as_json: Json = False) -> None:
    """End a job that was not yet sent, of a campaign or by itself."""
    show([call("POST", f"/ota/jobs/{job}/cancel")], JOB, as_json, "Job")


@campaigns.command("create")
def create_campaign(
    name: Annotated[str, typer.Argument(help="What people will know it by.")],
    cards: Annotated[
        Path,
        typer.Option(
            exists=True, dir_okay=False, readable=True, help="CSV: iccid, and parameters that differ by card."
        ),
    ],
    command: Commands = None,
    template: TemplateName = None,
    values: Values = None,
    rotate_keys: RotateKeys = False,
    per_minute: Annotated[int | None, typer.Option(help="Begin at most so many cards a minute.", min=1)] = None,
    valid_hours: Hours = 72,
    draft: Annotated[bool, typer.Option("--draft", help="Do not start it; `campaigns start` does.")] = False,
    stay: Follow = False,
    as_json: Json = False,
) -> None:
    """Make a campaign of the cards in a file, and start it.

    Example: landfall operator ota campaigns create "New name" --cards cards.csv -t show-spn -s spn=Alfa --follow
    """
    order = _order(command, template, values, rotate_keys)
    body = {"name": name, **order, "valid_hours": valid_hours, "start": False}
    campaign = call("POST", "/ota/campaigns", json=body if per_minute is None else {**body, "per_minute": per_minute})
    path = f"/ota/campaigns/{campaign['id']}"
    try:
        added = upload(f"{path}/cards", cards)
    except CallError as error:
        call("POST", f"{path}/cancel")
        raise CallError(f"{cards}: {error}") from None
    if added["without_keys"]:
        words = f"{added['without_keys']} cards have no key set here and will fail: landfall operator ota keys import"
        Console(stderr=True).print(words, style="yellow", highlight=False)
    shown = call("GET", path) if draft else call("POST", f"{path}/start")
    if stay and not draft:
        _stay(UUID(campaign["id"]), as_json, after=None)
    else:
        show([shown], CAMPAIGN, as_json, "Campaign")


@campaigns.command("list")
def list_campaigns(
    state: Annotated[str | None, typer.Option(help="draft, running, paused, cancelled, done.")] = None,
    as_json: Json = False,
) -> None:
    """List campaigns, newest first."""
    show(call("GET", "/ota/campaigns", in_state=state), CAMPAIGN, as_json, "Campaigns")


@campaigns.command("show")
def show_campaign(campaign: UUID, as_json: Json = False) -> None:
    """Show a campaign: what it does and how many of its cards are how far."""
    show([call("GET", f"/ota/campaigns/{campaign}")], CAMPAIGN, as_json, "Campaign")


@campaigns.command("follow")
def follow_campaign(
    campaign: UUID,
    after: Annotated[int | None, typer.Option(help="From this change on; 0 tells all.")] = None,
    as_json: Json = False,
) -> None:
    """Show a campaign live until its end; with --json each change is a line."""
    _stay(campaign, as_json, after=after)


@campaigns.command("start")
def start_campaign(campaign: UUID, as_json: Json = False) -> None:
    """Start a draft."""
    _change(campaign, "start", as_json)


@campaigns.command("pause")
def pause_campaign(campaign: UUID, as_json: Json = False) -> None:
    """Begin no other card; what is on its way comes to its end."""
    _change(campaign, "pause", as_json)


@campaigns.command("resume")
def resume_campaign(campaign: UUID, as_json: Json = False) -> None:
    """Go on after a pause."""
    _change(campaign, "resume", as_json)


@campaigns.command("cancel")
def cancel_campaign(campaign: UUID, as_json: Json = False) -> None:
    """End what was not yet sent; what is on its way comes to its end."""
    _change(campaign, "cancel", as_json)


@templates.command("add")
def add_template(file: File, as_json: Json = False) -> None:
    """Enter a template from a TOML or JSON file, as the next version of its name; it is tried with its samples.

    `landfall operator example template` prints one.
    """
    row = call("POST", "/ota/templates", json=read_file(file))
    show([row], ("name", "version", "words"), as_json, "Template")


@templates.command("list")
def list_templates(
    name: Annotated[str | None, typer.Argument(help="All versions of this one.")] = None, as_json: Json = False
) -> None:
    """List templates, each in its newest version."""
    rows = call("GET", "/ota/templates" if name is None else f"/ota/templates/{name}")
    for row in rows if not as_json else ():
        row["parameters"] = " ".join(f"{of}={one['sample']}" for of, one in row["parameters"].items())
    show(rows, ("name", "version", "words", "parameters", "about"), as_json, "Templates")


@keys.command("import")
def import_keys(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, readable=True, help="The batch, .csv or .xlsx, of `sim provision`."
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would become of each card; write nothing.")
    ] = False,
    key_index: Annotated[
        int | None, typer.Option(help="Which key set to use; the lowest one when left out.", min=1, max=15)
    ] = None,
    counter: Annotated[
        int | None, typer.Option(help="The last counter these cards have seen, if they were in use before.", min=0)
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the file's keys where others stand: the card was made anew.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Import the OTA key sets of a provisioning batch, so that jobs and profiles reach its cards.

    The columns are ICCID, KIC1, KID1 … KIC15, KID15, OTAALGORITHM, MSISDN; others are passed over. The same file again
    changes nothing; a counter is never lowered; another key set is never replaced unless you say so. Ends with 1 where
    a card was refused.

    Example: landfall operator ota keys import cards.csv --dry-run
    """
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".tsv", ".txt", ".xlsx"):
        raise CallError(f"{file}: {suffix or 'no suffix'} is neither .csv nor .xlsx")
    found = upload(
        "/ota/keys/import",
        file,
        kind=XLSX if suffix == ".xlsx" else "text/csv",
        dry_run=dry_run,
        key_index=key_index,
        counter=counter,
        replace=replace,
    )
    if as_json:
        emit(found, as_json=True)
    else:
        rows = found.pop("rows")
        show(rows, ("iccid", "key_index", "kic", "kid", "counter", "result", "words"), False, "Key sets")
        emit(found, title="Nothing was written" if dry_run else None)
    if found["refused"]:
        raise typer.Exit(1)


def _order(commands: list[str] | None, template: str | None, values: list[str] | None, rotate: bool) -> dict[str, Any]:
    if (commands is not None) + (template is not None) + rotate != 1:
        raise CallError("say what to do: one of --command, --template and --rotate-keys")
    if rotate:
        return {"rotate_keys": True}
    if template is not None:
        return {"template": template, "values": _pairs(values or ())}
    return {"commands": [read_command(text) for text in commands or ()]}


def read_command(text: str) -> dict[str, Any]:
    """`enable-slot slot=2`, or the same as JSON. Raises CallError."""
    if text.lstrip().startswith("{"):
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise CallError(f"--command {text!r} is no JSON object: {error}") from None
    try:
        word, *rest = shlex.split(text)
    except ValueError as error:
        raise CallError(f'--command {text!r}: {error}; write it as "enable-slot slot=2"') from None
    return {"do": word, **_pairs(rest)}


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CallError(f"{text!r} is not name=value, such as slot=2")
        found[name] = value
    return found


def _change(campaign: UUID, how: str, as_json: bool) -> None:
    show([call("POST", f"/ota/campaigns/{campaign}/{how}")], CAMPAIGN, as_json, "Campaign")


def _stay(campaign: UUID, as_json: bool, *, after: int | None) -> None:
    path = f"/ota/campaigns/{campaign}/events"
    events = follow(path, is_last=_is_last, **({} if after is None else {"after": after}))
    if as_json:
        for name, data in events:
            sys.stdout.write(msgspec.json.encode({"event": name, **data}).decode() + "\n")
            sys.stdout.flush()
        return
    shown: dict[str, Any] = {}
    recent: dict[str, dict[str, Any]] = {}
    with Live(console=Console(), refresh_per_second=4) as live:
        for name, data in events:
            if name == "campaign":
                shown = data
            else:
                recent.pop(data["iccid"], None)
                recent[data["iccid"]] = data
                while len(recent) > RECENT:
                    del recent[next(iter(recent))]
            live.update(_draw(shown, list(recent.values())))


def _is_last(name: str, data: dict[str, Any]) -> bool:
    return name == "campaign" and data["state"] in ("done", "cancelled") and not data["counts"]["open"]


def _draw(campaign: dict[str, Any], recent: list[dict[str, Any]]) -> Table:
    """The counts in one line, and the cards that changed last."""
    counts = campaign.get("counts", {})
    told = "  ".join(f"{state} {counts[state]}" for state in STATES if counts.get(state))
    of, is_open = counts.get("cards", 0), counts.get("open", 0)
    percent = f"{100 * (of - is_open) // of} %" if of else ""
    title = f"{campaign.get('name', '')}: {campaign.get('state', '')} {percent}"
    table = Table(title=title, caption=told, box=None, title_justify="left", caption_justify="left", expand=True)
    for column in ("card", "state", "attempts", "in words"):
        table.add_column(column, no_wrap=column != "in words", header_style="cyan")
    for job in recent:
        style = COLOURS.get(job["state"]) if job["final"] else None
        table.add_row(job["iccid"], job["state"], str(job["attempts"]), job["words"] or "", style=style)
    return table
