"""The root of the command line: commands load when asked for, results print in two forms, errors help."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from landfall import __version__, cli
from landfall.errors import LandfallError

speaking = typer.Typer()


@speaking.command()
def speak(word: str, as_json: bool = typer.Option(False, "--json")) -> None:
    """Say a word."""
    cli.emit({"word": word}, as_json)


failing = typer.Typer()


@failing.command()
def fail(kind: str) -> None:
    """Fail in one of two ways."""
    raise LandfallError("port is 'x': use a number") if kind == "person" else ZeroDivisionError("by zero")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"speak": f"{__name__}:speaking", "fail": f"{__name__}:failing", "broken": "no_such_package.cli:app"}
    points = {name: EntryPoint(name, place, cli.GROUP) for name, place in places.items()}
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys)
    monkeypatch.setattr(cli, "find_commands", lambda: points)


@pytest.mark.usefixtures("commands")
def test_a_command_of_another_package_runs_under_its_name() -> None:
    result = CliRunner().invoke(cli.app, ["speak", "hello", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"word": "hello"}


@pytest.mark.usefixtures("commands")
def test_help_lists_every_command_even_beside_a_broken_one() -> None:
    result = CliRunner().invoke(cli.app, ["--help"])
    assert result.exit_code == 0
    assert "Say a word" in result.stdout
    assert "cannot be loaded" in result.stdout


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["fail", "person"], cli.EXIT_PERSON, "error: port is 'x': use a number\n"),
        (["fail", "own"], cli.EXIT_SOFTWARE, "LANDFALL_DEBUG=1"),
        (["broken", "--what", "ever"], cli.EXIT_PERSON, "no_such_package"),
    ],
)
def test_errors_are_told_without_a_traceback(
    arguments: list[str], status: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LANDFALL_DEBUG", raising=False)
    monkeypatch.setattr(sys, "argv", ["landfall", *arguments])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    assert raised.value.code == status
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("commands")
def test_the_debug_variable_shows_where_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDFALL_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["landfall", "fail", "person"])
    with pytest.raises(LandfallError):
        cli.main()


def test_the_installed_program_tells_its_version() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "from landfall.cli import main; main()", "--version"], capture_output=True
    )
    assert result.stdout.decode().strip() == f"landfall {__version__}"


class Balance(msgspec.Struct):
    operator: str
    available: int


def test_structs_print_as_a_table_or_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Balance("DEUD1", 5), Balance("[red]RUSMT", 7)]
    cli.emit(rows, title="Balances")
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("Balances", "operator", "DEUD1", "[red]RUSMT", "7"))
    cli.emit(rows, as_json=True)
    assert msgspec.json.decode(capsys.readouterr().out, type=list[Balance]) == rows


def test_an_empty_result_says_so_to_a_person_and_is_empty_json_to_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    cli.emit([])
    assert capsys.readouterr().out == "(nothing)\n"
    cli.emit([], as_json=True)
    assert json.loads(capsys.readouterr().out) == []
