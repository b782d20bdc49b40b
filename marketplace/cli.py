"""Commands of the two nodes: `landfall serve --role …`, and `landfall market …` for who runs the neutral one.

What a role needs is imported when it is asked for: a ledger never loads an operator's code.
"""

import os
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from landfall.cli import emit
from landfall.settings import read_settings

serve = typer.Typer(add_completion=False)
market = typer.Typer(no_args_is_help=True, add_completion=False)


class Role(StrEnum):
    """What a node is."""

    LEDGER = "ledger"
    OPERATOR = "operator"


@serve.command()
def serve_node(
    role: Annotated[Role, typer.Option(help="The neutral market's ledger, or one operator's own node.")],
    host: Annotated[str | None, typer.Option(help="Address to listen on (LANDFALL_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one (LANDFALL_PORT).")] = None,
    workers: Annotated[int | None, typer.Option(help="API processes (LANDFALL_WORKERS).")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The node's folder (LANDFALL_DATA_DIR).")] = None,
) -> None:
    """Serve a node until it is told to stop. A ledger must have been founded first: landfall market init."""
    given = {"host": host, "port": port, "workers": workers, "data_dir": data_dir}
    # The worker processes read their settings from the environment, so that is where options go.
    os.environ.update({f"LANDFALL_{name.upper()}": str(value) for name, value in given.items() if value is not None})
    import_module(f"marketplace.{role}_app").run(read_settings())


@market.callback()
def found_market() -> None:
    """Found the neutral market's ledger, before it is served for the first time."""


@market.command()
def init(
    origin: Annotated[str, typer.Option(help="The log's name for ever, such as ledger.example/landfall.")],
    issuer: Annotated[Path, typer.Option(help="JSON file with the issuer's party: id, name, country, key, …")],
    parameters: Annotated[Path | None, typer.Option(help="JSON file with the ledger's parameters.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Found a ledger: make the origin's key, write the genesis entry, print the verifier key to publish.

    Done once; again with the same origin it prints the same key.
    """
    from marketplace import ledger_setup

    vkey = ledger_setup.initialise(
        read_settings(), origin, ledger_setup.read_party(issuer), ledger_setup.read_parameters(parameters)
    )
    emit({"origin": origin, "vkey": vkey}, as_json, title="The ledger is founded")
