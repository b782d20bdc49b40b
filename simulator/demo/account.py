"""The live account: what happens, told as it happens, and kept for the report.

    account = Account(ConsoleTeller())
    with account.step(1, "The issuer mints SDRt"):
        account.tell("issuer", "alfa-mobile", "mint against deposit D-1", amount_usdr=5_000_000_000, via=Via.LEDGER)

Whoever tells has checked before that it is so: `expect` raises `DemoError`, which ends the demo with exit status 1.
A line is one movement between two parties; `people` says for how many subscribers it stands.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final, Protocol

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from landfall.errors import LandfallError
from settlement.money import format_sdrt

PLAIN_WIDTH: Final = 150
"""Columns where standard output is no terminal: wide enough that no line of the account folds."""
PARTIES_WIDTH: Final = 30


class DemoError(LandfallError):
    """A step did not do what it says; the message says which, what was expected and what was seen."""


class Via(StrEnum):
    """How a line travelled."""

    LEDGER = "ledger"
    """A signed entry in the log."""
    API = "api"
    """A call of somebody's own node."""
    AIR = "air"
    """Secured packets to the card."""
    RADIO = "radio"
    """A phone and a network."""
    PAYMENT = "payment"
    """Money outside of the ledger."""
    REFUSED = "refused"
    """A clear no: nothing moved."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened: `at_ms` since the start, `amount_usdr` in micro-SDRt where SDRt moved."""

    step: int
    at_ms: int
    source: str
    target: str
    what: str
    via: Via
    amount_usdr: int | None = None
    people: int = 1


class StepTaken(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the demonstration, done."""

    step: int
    title: str
    ms: int


class Teller(Protocol):
    """Who says it to a person or a program."""

    def open_step(self, step: int, title: str) -> None:
        """A step begins."""

    def line(self, line: Line) -> None:
        """Something happened."""

    def close_step(self, step: StepTaken) -> None:
        """A step is done."""

    def table(self, title: str, rows: list[dict[str, str]]) -> None:
        """A table of the end."""


class Account:
    """Tells, and keeps what was told."""

    def __init__(self, teller: Teller) -> None:
        self.teller = teller
        self.lines: list[Line] = []
        self.steps: list[StepTaken] = []
        self._started = time.monotonic()
        self._step = 0

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the start."""
        return round((time.monotonic() - self._started) * 1000)

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[None]:
        """One numbered step; it counts as taken when nothing is raised."""
        self._step, began = number, self.elapsed_ms
        self.teller.open_step(number, title)
        yield
        taken = StepTaken(step=number, title=title, ms=self.elapsed_ms - began)
        self.steps.append(taken)
        self.teller.close_step(taken)

    def tell(
        self, source: str, target: str, what: str, *, via: Via, amount_usdr: int | None = None, people: int = 1
    ) -> None:
        """One line of the account."""
        line = Line(
            step=self._step,
            at_ms=self.elapsed_ms,
            source=source,
            target=target,
            what=what,
            via=via,
            amount_usdr=amount_usdr,
            people=people,
        )
        self.lines.append(line)
        self.teller.line(line)


def expect(holds: object, claim: str, seen: object = None) -> None:
    """Go on only where `claim` holds. Raises `DemoError`."""
    if not holds:
        raise DemoError(f"this did not hold: {claim}" + ("" if seen is None else f"; seen: {seen}"))


_STYLES: Final = {
    Via.LEDGER: "bold",
    Via.API: "dim",
    Via.AIR: "magenta",
    Via.RADIO: "cyan",
    Via.PAYMENT: "blue",
    Via.REFUSED: "bold red",
}
_ARROWS: Final = {Via.LEDGER: "→", Via.API: "→", Via.AIR: "⇢", Via.RADIO: "↔", Via.PAYMENT: "→", Via.REFUSED: "✗"}


class ConsoleTeller:
    """For people: readable with and without colour."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, width=PLAIN_WIDTH, soft_wrap=True)

    def open_step(self, step: int, title: str) -> None:
        """Print a heading."""
        self._console.print()
        self._console.print(Text(f" {step or '·':>2}  {title}", style="bold green"))

    def line(self, line: Line) -> None:
        """Print who → whom, what, and how much."""
        arrow = _ARROWS[line.via]
        parties = f"{line.source} {arrow} {line.target}" if line.target else line.source
        what = line.what if line.people == 1 else f"{line.what}  ×{line.people}"
        text = Text.assemble(
            (f"{line.at_ms / 1000:6.1f}s  ", "dim"),
            (f"{parties:<{PARTIES_WIDTH}} ", _STYLES[line.via]),
            (what, "red" if line.via is Via.REFUSED else ""),
        )
        if line.amount_usdr is not None:
            amount = format_sdrt(line.amount_usdr)
            room = min(self._console.width, PLAIN_WIDTH) - text.cell_len - 2
            text.append(f"{amount:>{max(room, len(amount) + 2)}}", style="bold yellow")
        self._console.print(text, soft_wrap=True)

    def close_step(self, step: StepTaken) -> None:
        """Nothing: the next heading says it."""

    def table(self, title: str, rows: list[dict[str, str]]) -> None:
        """Print a table; the first column is left-aligned, the others right."""
        table = Table(title=title, box=None, title_justify="left", title_style="bold", header_style="cyan")
        for number, column in enumerate(rows[0]):
            table.add_column(column, justify="right" if number else "left")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row.values()))
        self._console.print()
        self._console.print(table)


class JsonTeller:
    """For programs: one JSON object a line on standard output."""

    def open_step(self, step: int, title: str) -> None:
        """Write {"event": "step", …}."""
        self._write("step", {"step": step, "title": title})

    def line(self, line: Line) -> None:
        """Write {"event": "line", …}."""
        self._write("line", msgspec.to_builtins(line))

    def close_step(self, step: StepTaken) -> None:
        """Write {"event": "step-taken", …}."""
        self._write("step-taken", msgspec.to_builtins(step))

    def table(self, title: str, rows: list[dict[str, str]]) -> None:
        """Write {"event": "table", …}."""
        self._write("table", {"title": title, "rows": rows})

    @staticmethod
    def _write(event: str, content: dict[str, object]) -> None:
        sys.stdout.write(msgspec.json.encode({"event": event, **content}).decode() + "\n")
        sys.stdout.flush()
