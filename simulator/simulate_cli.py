"""`landfall simulate`: a world of networks and subscribers against live nodes, checked and reported."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from simulator.scenario import find_scenario, list_scenarios

simulate = typer.Typer()


@simulate.command()
def run(
    scenario: Annotated[str, typer.Argument(help="One of --list, or the path of a TOML file of your own.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same world and the same requests.")] = 1,
    list_all: Annotated[bool, typer.Option("--list", help="List the scenarios that come along.")] = False,
    describe_only: Annotated[
        bool, typer.Option("--describe", help="Tell what the world is like; start nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Simulate a world: operators, subscribers, cards, networks and faults against live nodes.

    A scenario is a TOML file (`--list` names those that come along; `--describe` tells one without starting anything).
    """
    if list_all or not scenario:
        _list(as_json)
        return
    name, _, found = find_scenario(scenario)
    if describe_only:
        from simulator.describe import describe

        _show(describe(name, found, seed), as_json)


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
