"""The root of the command line: `landfall <command>`.

It knows no command itself. Each package announces its typer application under the entry-point group
`landfall.commands`, and only the one that is asked for is imported, so that `landfall ledger audit` neither waits for
the simulator nor fails with it. Commands share two habits: `emit` for what they say, as a table or with `--json`, and
`LandfallError` for what a person can put right, printed without a traceback. LANDFALL_DEBUG=1 shows the traceback.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from landfall import __version__
from landfall.errors import LandfallError

GROUP: Final = "landfall.commands"

EXIT_PERSON: Final = 1
"""A person can put it right."""
EXIT_SOFTWARE: Final = 70
"""Our own mistake (EX_SOFTWARE of sysexits.h)."""


def find_commands() -> dict[str, EntryPoint]:
    """Return the installed commands by name, none of them imported yet."""
    return {point.name: point for point in entry_points(group=GROUP)}


class CommandGroup(TyperGroup):
    """A group whose commands are imported when they are used, or when help needs their first line."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names of all commands, in order."""
        return sorted(find_commands())

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Import one command; one that cannot be imported says so when it is called."""
        if (point := find_commands().get(cmd_name)) is None:
            return None
        try:
            command = get_command(point.load())
        except Exception as error:  # a broken package must not take the others with it
            return _unavailable(point, error)
        command.name = cmd_name
        return command


def _unavailable(point: EntryPoint, error: Exception) -> TyperCommand:
    def explain() -> None:
        raise LandfallError(f"the command {point.name!r} ({point.value}) cannot be loaded: {error!r}") from error

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return TyperCommand(point.name, callback=explain, help=f"(cannot be loaded: {error})", context_settings=settings)


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"landfall {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A roaming marketplace: offers, requests and settlement in SDRt on a publicly verifiable ledger.

    Start with [bold]landfall demo[/bold]; every command explains itself with [bold]--help[/bold].
    """


def emit(value: Any, as_json: bool = False, *, title: str | None = None) -> None:
    """Print a command's result on standard output.

    `value` is a struct or mapping (shown as names and values), a sequence of them (shown as a table), or a plain value.
    With `as_json` it is one JSON document instead, in the form msgspec gives it.
    """
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
        return
    plain = msgspec.to_builtins(value, enc_hook=str)
    Console().print(_render(plain, title))


def _render(plain: Any, title: str | None) -> Table | Text:
    if isinstance(plain, Mapping):
        table = Table(title=title, show_header=False, box=None, title_justify="left", title_style="bold")
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for name, cell in plain.items():
            table.add_row(str(name), _text(cell))
        return table
    if isinstance(plain, Sequence) and plain and all(isinstance(row, Mapping) for row in plain):
        table = Table(title=title, box=None, title_justify="left", title_style="bold", header_style="cyan")
        columns = list(dict.fromkeys(name for row in plain for name in row))
        for column in columns:
            numeric = all(isinstance(row.get(column), int | float) for row in plain)
            table.add_column(str(column), justify="right" if numeric else "left", overflow="fold")
        for row in plain:
            table.add_row(*(_text(row.get(column)) for column in columns))
        return table
    if isinstance(plain, list):
        return Text("\n".join(str(_text(item)) for item in plain) or "(nothing)")
    return _text(plain)


def _text(cell: Any) -> Text:
    # Text, not a string: brackets in somebody's offer are no markup of ours.
    if cell is None:
        return Text("–")
    return Text(cell if isinstance(cell, str) else msgspec.json.encode(cell).decode())


def main() -> None:
    """Run the command line; the entry point of the `landfall` program."""
    try:
        app()
    except Exception as error:
        if os.environ.get("LANDFALL_DEBUG"):
            raise
        expected = isinstance(error, LandfallError)
        told = str(error) if expected else f"{type(error).__name__}: {error} (LANDFALL_DEBUG=1 shows where)"
        Console(stderr=True).print(Text.assemble(("error: ", "bold red"), told), soft_wrap=True)
        sys.exit(EXIT_PERSON if expected else EXIT_SOFTWARE)
