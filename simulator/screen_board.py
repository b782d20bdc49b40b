"""What a simulation shows while it runs: a board that is drawn anew on a terminal, lines where there is none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from settlement.money import format_sdrt
from simulator.engine import Outcome
from simulator.pace import TELL_S
from simulator.world import World

LINES: Final = 6
"""Last remarks that stay on the board."""


class Board(Protocol):
    """Who is told how a run goes."""

    def tell(self, words: str) -> None:
        """A remark."""

    def step(self, world: World, outcome: Outcome) -> None:
        """A step is done."""


def tell_lateness(outcome: Outcome) -> str:
    """Words for a step that began later than the speed asks; none for one in time."""
    return f"{outcome.behind_s:,.1f} s behind" if outcome.behind_s >= TELL_S else ""


class LiveBoard:
    """For people at a terminal: stages, load, money, and the last remarks, drawn anew."""

    def __init__(self, console: Console) -> None:
        self._console, self._began = console, time.monotonic()
        self._remarks: list[str] = []
        self._world: World | None = None
        self._outcome: Outcome | None = None
        self._entries = 0
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw while it lasts."""
        with Live(self._draw(), console=self._console, refresh_per_second=4) as self._live:
            yield

    def tell(self, words: str) -> None:
        """A remark."""
        self._remarks = [*self._remarks, f"{time.monotonic() - self._began:7.1f}s  {words}"][-LINES:]
        self._update()

    def step(self, world: World, outcome: Outcome) -> None:
        """A step is done."""
        self._world, self._outcome = world, outcome
        self._entries += sum(sending.count for sending in outcome.sendings)
        self._update()

    def _update(self) -> None:
        if self._live is not None:
            self._live.update(self._draw())

    def _draw(self) -> Table:
        board = Table.grid(padding=(0, 2))
        if self._world is not None and self._outcome is not None:
            board.add_row(self._draw_step(self._world, self._outcome))
        board.add_row("\n".join(self._remarks))
        return board

    def _draw_step(self, world: World, outcome: Outcome) -> Table:
        scenario, steps = world.scenario, world.scenario.steps
        hour = (outcome.step + 1) * scenario.step_hours
        title = f"{scenario.title}: day {hour // 24}, hour {hour % 24:02}  (step {outcome.step + 1} of {steps})"
        if late := tell_lateness(outcome):
            title += f", [red]{late}[/]"
        table = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="cyan")
        for column in ("journeys", "", "messages", "", "SDRt", ""):
            table.add_column(column, justify="right" if not column else "left")
        slowest = max((sending.seconds for sending in outcome.sendings), default=0.0)
        taken = sum(sending.count for sending in outcome.sendings)
        settled = sum(map(sum, outcome.settled))
        right = [
            ("sent, all", f"{self._entries:,}"),
            ("this step", f"{taken:,}"),
            ("a second", f"{taken / max(outcome.seconds, 0.001):,.0f}"),
            ("slowest sequence", f"{slowest:.2f} s"),
            ("usage records", f"{outcome.records:,}"),
            ("refused", f"{sum(outcome.codes.values()):,}"),
        ]
        money = [("settled", format_sdrt(settled)), ("carried", f"{outcome.octets / 1e9:,.1f} GB")]
        left = [(name, f"{count:,}") for name, count in outcome.stages.items() if name != "unserved"]
        for number in range(max(len(left), len(right))):
            row: list[str] = []
            for part in (left, right, money):
                row += part[number] if number < len(part) else ("", "")
            table.add_row(*row)
        return table


class PlainBoard:
    """For files and pipes: one line a step."""

    def __init__(self, console: Console) -> None:
        self._console, self._began = console, time.monotonic()

    def tell(self, words: str) -> None:
        """A remark."""
        self._console.print(f"{time.monotonic() - self._began:7.1f}s  {words}", soft_wrap=True, highlight=False)

    def step(self, world: World, outcome: Outcome) -> None:
        """A step is done."""
        sent = sum(sending.count for sending in outcome.sendings)
        stages = ", ".join(f"{count} {name}" for name, count in outcome.stages.items() if count and name != "unserved")
        late = tell_lateness(outcome)
        self.tell(
            f"step {outcome.step + 1}/{world.scenario.steps}{late and f', {late}'}: "
            f"{sent} messages in {outcome.seconds:.1f} s, {outcome.records} records, "
            f"{format_sdrt(sum(map(sum, outcome.settled)))} settled; {stages}"
        )


class JsonBoard:
    """For programs: one JSON object a line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def tell(self, words: str) -> None:
        """Write {"event": "remark", …}."""
        self._write("remark", {"words": words})

    def step(self, world: World, outcome: Outcome) -> None:
        """Write {"event": "step", …}."""
        self._write("step", msgspec.to_builtins(outcome))

    def _write(self, event: str, content: dict[str, Any]) -> None:
        self._console.file.write(msgspec.json.encode({"event": event, **content}).decode() + "\n")
        self._console.file.flush()
