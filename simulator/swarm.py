"""The swarm: many short worlds with random faults and frauds, each played against live nodes and checked.

    python -m simulator.swarm --minutes 1            # or `make swarm HOURS=8`

Each world follows from one number: countries, operators, people, what breaks and who lies. The first that does not hold
ends the swarm, its folder stays, and the command that repeats it is printed.
"""

import asyncio
import logging
import random
import shutil
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from landfall.errors import LandfallError
from simulator.countries import load_countries
from simulator.ending import Ending
from simulator.plan import Plan
from simulator.scenario import read_scenario
from simulator.screen_board import Board, PlainBoard
from simulator.simulation import simulate, start_anew

FRAUDS: Final = ("over-report", "replay", "phantom-usage", "withdraw", "double-spend")
FAULTS: Final = ("kill-node", "stop-ledger", "restart-database", "revoke-key")
CARDS_SHARE: Final = 0.15
"""Of the worlds, so many have real cards and the nodes these need; there no message is lost, as each costs 20 s."""
CARDS_HOME, CARDS_AWAY = "cards-home", "cards-away"
FOLDER: Final = Path("build/swarm")


def draw_scenario(seed: int) -> str:
    """A short world as TOML, the same for a seed. Some are calm, most are not."""
    draw = random.Random(f"swarm {seed}")
    countries = draw.sample(sorted(load_countries()), draw.randint(2, 4))
    operators = [(f"op-{iso.lower()}-{n}", iso) for iso in countries for n in range(draw.randint(1, 2))]
    days, step = draw.randint(1, 2), draw.choice((3, 4, 6, 8))
    cards = draw.random() < CARDS_SHARE
    lines = [
        f'title = "Swarm {seed}"',
        'about = "A short world of the swarm."',
        f"starts = 2026-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}",
        f"days = {days}",
        f"step_hours = {step}",
        f"subscribers = {draw.randint(200, 1500)}",
        f"decline = {draw.choice((0.0, 0.02, 0.2))}",
        f"cancel = {draw.choice((0.0, 0.02, 0.2))}",
        "[behaviour]",
        f"trips_per_year = {draw.choice((20, 60, 150))}",
        f"mean_days = {draw.choice((0.5, 1.0, 2.0))}",
        f"price_sensitivity = {draw.choice((0.5, 1.5, 4.0))}",
        "[reporting]",
        f"late = {draw.choice((0.0, 0.1, 0.5))}",
        f"doubled = {draw.choice((0.0, 0.2, 0.6))}",
        f"skew_minutes = {draw.choice((0, 10, 40))}",
        f"skewed_share = {draw.choice((0.0, 0.3))}",
        "[smsc]",
        f"loss = {draw.choice((0.0, 0.1, 0.4)) * (not cards)}",
        f"duplicate = {draw.choice((0.0, 0.2))}",
        f"reorder = {draw.choice((0.0, 0.2))}",
        f"delay_s = [0.0, {draw.choice((0.0, 0.2))}]",
    ]
    share = round(1 / len(operators), 6)
    for name, iso in operators:
        lines += [
            "[[operators]]",
            f'id = "{name}"',
            f'name = "{name}"',
            f'country = "{iso}"',
            f"share = {share}",
            f"price_level = {draw.choice((0.5, 1.0, 2.0))}",
        ]
    if cards:
        lines += ["[[operators]]", f'id = "{CARDS_HOME}"', 'name = "Home of cards"', f'country = "{countries[0]}"']
        lines += ["offers = []", f"cards = {draw.randint(1, 3)}"]
        lines += ["[[operators]]", f'id = "{CARDS_AWAY}"', 'name = "Host of cards"', f'country = "{countries[1]}"']
        lines += ["offers = []", "node = true", f'usage = "{draw.choice(("reports", "tap"))}"']
    if draw.random() < 0.3:
        lines += [
            "[[events]]",
            'name = "a match"',
            f'country = "{draw.choice(countries)}"',
            "visitors = 0.2",
            "load = 3.0",
        ]
        lines += [f"from_hour = {draw.randrange(days * 24)}", f"hours = {draw.randint(1, 12)}"]
    lines += _draw_trouble(draw, [name for name, _ in operators], days * 24, cards=cards)
    return "\n".join(lines) + "\n"


def _draw_trouble(draw: random.Random, operators: list[str], hours: int, *, cards: bool) -> list[str]:
    nodes = ("ledger", CARDS_HOME, CARDS_AWAY) if cards else ("ledger",)
    lines: list[str] = []
    for fraud in draw.sample(FRAUDS, draw.randint(0, 3)):
        lines += ["[[dishonest]]", f'operator = "{draw.choice(operators)}"', f'fraud = "{fraud}"', "share = 0.25"]
        lines += [f"denies = {draw.choice((0.0, 0.5))}"]
    for fault in draw.sample(FAULTS, draw.randint(0, 2)):
        target = {"revoke-key": draw.choice(operators), "kill-node": draw.choice(nodes)}.get(fault, "ledger")
        lines += ["[[faults]]", f'kind = "{fault}"', f'target = "{target}"']
        lines += [f"at_hour = {draw.randrange(hours)}", f"seconds = {draw.choice((0.0, 0.5, 2.0))}"]
    if draw.random() < 0.3:
        lines += ["[[outages]]", f'operator = "{draw.choice(operators)}"', f"from_hour = {draw.randrange(hours)}"]
        lines += [f"hours = {draw.randint(1, 12)}"]
    return lines


async def play_one(seed: int, folder: Path, board: Board) -> Ending:
    """One world of the swarm, in a folder of its own, from its beginning."""
    text = draw_scenario(seed)
    where = folder / str(seed)
    await asyncio.to_thread(start_anew, where)
    scenario = read_scenario(text, f"swarm {seed}")
    told = (str(where / "scenario.toml"), "--seed", str(seed))
    plan = Plan(name=f"swarm-{seed}", text=text, scenario=scenario, seed=seed, folder=where, told=told)
    return await simulate(plan, board)


class Quiet(PlainBoard):
    """Says nothing of what goes well."""

    def tell(self, words: str) -> None:
        """A remark, for nobody."""


def swarm(
    minutes: Annotated[float, typer.Option(min=0, help="How long to begin further worlds.")] = 1.0,
    first: Annotated[int, typer.Option(help="The first world's number; the others follow.")] = 1,
    only: Annotated[int | None, typer.Option(help="Play this world alone, and tell how it goes.")] = None,
    folder: Annotated[Path, typer.Option(help="Where worlds live while they are played.")] = FOLDER,
) -> None:
    """Play many short worlds with random faults and frauds, and check each."""
    logging.disable(logging.WARNING)
    console = Console(highlight=False)
    until, seed, played = time.monotonic() + minutes * 60, first if only is None else only, 0
    while True:
        board: Board = Quiet(console) if only is None else PlainBoard(console)
        began = time.monotonic()
        why = _try(seed, folder, board)
        if why:
            console.print(f"[bold red]world {seed} does not hold[/]")
            console.print("\n".join(why), markup=False, soft_wrap=True)
            console.print(f"It is in {folder / str(seed)}; to repeat it: python -m simulator.swarm --only {seed}")
            raise typer.Exit(1)
        console.print(f"world {seed} holds ({time.monotonic() - began:.0f} s)")
        shutil.rmtree(folder / str(seed), ignore_errors=True)
        played, seed = played + 1, seed + 1
        if only is not None or time.monotonic() >= until:
            break
    console.print(f"{played} worlds, and all held")


def _try(seed: int, folder: Path, board: Board) -> list[str]:
    """What did not hold, if anything did not."""
    try:
        ending = asyncio.run(play_one(seed, folder, board))
    except LandfallError as error:  # whatever befell it
        return [str(error), *_causes(error.__cause__)]
    return [f"{check.name}: {check.saw}" for check in ending.checks if not check.holds]


def _causes(error: Any) -> list[str]:
    return [repr(one) for one in getattr(error, "exceptions", ())]


if __name__ == "__main__":
    typer.run(swarm)
