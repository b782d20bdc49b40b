"""`landfall simulate`: a world of networks and subscribers against live nodes, checked and reported."""

import asyncio
import logging
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from landfall.errors import LandfallError
from simulator.hlr import HlrKind
from simulator.scenario import MOST_SUBSCRIBERS, find_scenario, list_scenarios

if TYPE_CHECKING:
    from simulator.ending import Ending
    from simulator.plan import Plan
    from simulator.site import GivenLedger

simulate = typer.Typer()


@simulate.command()
def run(
    scenario: Annotated[str, typer.Argument(help="One of --list, or the path of a TOML file of your own.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same world and the same requests.")] = 1,
    list_all: Annotated[bool, typer.Option("--list", help="List the scenarios that come along.")] = False,
    subscribers: Annotated[
        int | None, typer.Option(min=1, max=MOST_SUBSCRIBERS, help="How many, instead of the scenario's own number.")
    ] = None,
    describe_only: Annotated[
        bool, typer.Option("--describe", help="Tell what the world is like; start nothing.")
    ] = False,
    speed: Annotated[
        str, typer.Option(help="Simulated seconds a real second, as 3600; `max` for as fast as it goes.")
    ] = "max",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that sign and send.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="The run's folder; build/simulate/SCENARIO-SEED without it.")
    ] = None,
    ledger: Annotated[
        str,
        typer.Option(
            help="Play at this ledger, as its issuer (LANDFALL_DATA_DIR, LANDFALL_KEK); without it, nodes are started.",
        ),
    ] = "",
    ledger_key: Annotated[str, typer.Option(help="That ledger's verifier key, as in origin.vkey.")] = "",
    hlr: Annotated[
        HlrKind, typer.Option(help="What stands behind networks that only serve guests: our own, or a real osmo-hlr.")
    ] = HlrKind.EMBEDDED,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew: what is in the folder of a run is removed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs, one object a line.")] = False,
) -> None:
    """Simulate a world: operators, subscribers, cards, networks and faults against live nodes.

    A scenario is a TOML file (`--list` names those that come along; `--describe` tells one without starting anything).
    A run has a folder. One that was broken off, by whatever, goes on when the same command is given again, and nothing
    is done twice.
    """
    if list_all or not scenario:
        _list(as_json)
        return
    name, text, found = find_scenario(scenario)
    if subscribers is not None:
        found = msgspec.structs.replace(found, subscribers=subscribers)
    if describe_only:
        from simulator.describe import describe

        _show(describe(name, found, seed), as_json)
        return
    from simulator.plan import Plan
    from simulator.simulation import start_anew

    pace, where = _read_speed(speed), folder or Path("build/simulate") / f"{name}-{seed}"
    if fresh:
        start_anew(where)
    given = _read_ledger(ledger, ledger_key) if ledger else None
    options = {
        "--seed": seed,
        "--subscribers": subscribers,
        "--speed": None if pace is None else speed,
        "--workers": None if workers == 1 else workers,
        "--folder": folder,
        "--ledger": ledger or None,
        "--ledger-key": ledger_key or None,
        "--hlr": None if hlr is HlrKind.EMBEDDED else hlr.value,
    }
    _play(
        Plan(
            name=name,
            text=text,
            scenario=found,
            seed=seed,
            folder=where,
            told=(scenario, *(str(word) for pair in options.items() if pair[1] is not None for word in pair)),
            subscribers=subscribers,
            speed=pace,
            workers=workers,
            ledger=given,
            osmo=hlr is HlrKind.OSMO,
        ),
        as_json,
    )


def _read_ledger(url: str, key: str) -> "GivenLedger":
    """A ledger that was given, with its issuer's key from the issuer's own data folder."""
    from landfall.keystore import Keystore
    from landfall.settings import read_settings
    from marketplace.issuer_cli import PARTY_FILE
    from marketplace.ledger_link.keys import OperatorKeys
    from marketplace.operator_settings import KEYS_FOLDER
    from settlement.ledger.messages import Party
    from settlement.ledger.note import NoteError, VerifierKey
    from simulator.site import GivenLedger

    try:
        VerifierKey.parse(key)
    except NoteError as error:
        raise LandfallError(f"--ledger-key is {key!r} ({error}): give the line in the ledger's origin.vkey") from None
    settings = read_settings()
    file = settings.data_dir / PARTY_FILE
    if not file.exists():
        raise LandfallError(f"{file} is missing: --ledger takes the issuer's data folder in LANDFALL_DATA_DIR")
    issuer = msgspec.json.decode(file.read_bytes(), type=Party).id
    signer = OperatorKeys(Keystore.open(settings.data_dir / KEYS_FOLDER, settings.require_kek())).signer()
    return GivenLedger(url, key, issuer, signer.key.seed)


def _read_speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise LandfallError(f"--speed is {text!r}: write simulated seconds a real second, as 3600, or max")
    return speed


def _play(plan: "Plan", as_json: bool) -> None:
    from simulator.screen_board import Board, JsonBoard, LiveBoard, PlainBoard
    from simulator.simulation import simulate

    # What libraries say of their calls is no part of the account.
    logging.disable(logging.WARNING)
    console = Console(highlight=False)
    board: Board = JsonBoard(console) if as_json else LiveBoard(console) if console.is_terminal else PlainBoard(console)

    async def run() -> "Ending":
        task = asyncio.current_task()
        assert task is not None
        # Told to end, end the nodes first; Ctrl-C comes this way already.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await simulate(plan, board)

    try:
        with board.shown() if isinstance(board, LiveBoard) else nullcontext():
            ending = asyncio.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print(f"broken off; go on with: {plan.going_on}", soft_wrap=True)
        raise typer.Exit(130) from None
    _conclude(plan, ending, console, as_json)


def _conclude(plan: "Plan", ending: "Ending", console: Console, as_json: bool) -> None:
    """Say what held; exit with 1 where something did not, and say how to repeat it."""
    if as_json:
        typer.echo(msgspec.json.encode({"event": "end", "good": ending.good, "checks": ending.checks}))
    else:
        console.print()
        for check in ending.checks:
            mark = "[green]holds[/]" if check.holds else "[bold red]FAILS[/]"
            console.print(f"  {mark}  {escape(check.name)}: [dim]{escape(check.saw)}[/]", soft_wrap=True)
        console.print(f"\nLook at {plan.folder / 'report.html'}", soft_wrap=True)
    if not ending.good:
        typer.echo(f"A check failed. To repeat it: {plan.command}", err=True)
        raise typer.Exit(1)


def _list(as_json: bool) -> None:
    known = list_scenarios()
    if as_json:
        rows = [{"scenario": name, "title": one.title, "days": one.days} for name, one in known.items()]
        typer.echo(msgspec.json.encode(rows))
        return
    table = Table(box=None, header_style="cyan")
    for column in ("scenario", "days", "subscribers", "what happens"):
        table.add_column(column, justify="right" if column in ("days", "subscribers") else "left")
    for name, one in known.items():
        table.add_row(name, str(one.days), f"{one.subscribers:,}", " ".join(one.about.split()))
    Console().print(table)
    typer.echo("\nlandfall simulate SCENARIO --describe    tells more, landfall simulate SCENARIO plays it")


def _show(told: dict[str, object], as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(told))
        return
    console = Console(highlight=False)
    console.print(f"[bold]{told['title']}[/]: {' '.join(str(told['about']).split())}\n")
    operators = told.pop("operators")
    assert isinstance(operators, list)
    for key in ("title", "about"):
        told.pop(key)
    for key, value in told.items():
        words = (
            ", ".join(map(str, value)) or "none"
            if isinstance(value, list)
            else f"{value:,}"
            if key != "seed" and isinstance(value, int)
            else value
        )
        console.print(f"{key.replace('_', ' '):>24}  {words}")
    table = Table(box=None, header_style="cyan")
    for column, value in operators[0].items():
        table.add_column(column.replace("_", " "), justify="left" if isinstance(value, str) else "right")
    for row in operators:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    console.print()
    console.print(table)
