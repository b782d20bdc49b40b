"""`landfall demo`: the whole marketplace on one machine, from a published offer to settled and audited usage."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from simulator.demo.account import ConsoleTeller, JsonTeller
from simulator.demo.cast import FEWEST_SUBSCRIBERS, MOST_SUBSCRIBERS
from simulator.hlr import HlrKind

demo = typer.Typer()


@demo.command()
def play(
    seed: Annotated[int, typer.Option(help="The same seed makes the same names, numbers, routes and choices.")] = 1,
    subscribers: Annotated[
        int, typer.Option(min=FEWEST_SUBSCRIBERS, max=MOST_SUBSCRIBERS, help="How many people travel.")
    ] = 4,
    folder: Annotated[Path, typer.Option(help="Where results go; the last demonstration there is removed.")] = Path(
        "build/demo"
    ),
    hlr: Annotated[
        HlrKind, typer.Option(help="Behind the visited networks: our own, or Debian's osmo-hlr, spoken to in GSUP.")
    ] = HlrKind.EMBEDDED,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line instead of the account.")
    ] = False,
    dump_ledger: Annotated[
        bool, typer.Option(help="Leave the ledger's whole database as text, to look for what should not be in it.")
    ] = False,
) -> None:
    """Play the marketplace: six nodes, two networks abroad, real cards, checked step by step, audited in the end.

    Results: report.html (look at this one), report.json, ledger/ (the exported log) and origin.vkey in build/demo.
    Exit status 0 means that every step did what it says.
    """
    from simulator.demo.play import play_demo

    # Libraries may set up logging as they like: what they have to say of their calls is no part of the account.
    logging.disable(logging.WARNING)
    teller = JsonTeller() if as_json else ConsoleTeller()

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None
        # Told to end, end the nodes first; Ctrl-C comes this way already.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await play_demo(folder, seed=seed, subscribers=subscribers, teller=teller, dump_ledger=dump_ledger, hlr=hlr)

    try:
        asyncio.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None
    if not as_json:
        typer.echo(f"\nLook at {folder / 'report.html'}; audit the log yourself:")
        typer.echo(f"  landfall ledger audit {folder / 'ledger'} --key {folder / 'origin.vkey'}")
