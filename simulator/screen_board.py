"""What a simulation shows while it runs: a board that is drawn anew on a terminal, lines where there is none."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from simulator.charts import show_sdrt
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

    def watch(self, doing: Callable[[], str]) -> None:
        """From now on `doing` tells what is under way."""


def tell_lateness(outcome: Outcome) -> str:
    """Words for a step that began later than the speed asks; none for one in time."""
    return f"{outcome.behind_s:,.1f} s behind" if outcome.behind_s >= TELL_S else ""


class LiveBoard:
    """For people at a terminal: what is under way, stages, load, money, and the last remarks, drawn anew."""

    def __init__(self, console: Console) -> None:
        self._console, self._began = console, time.monotonic()
        self._remarks: list[str] = []
        self._world: World | None = None
        self._outcome: Outcome | None = None
        self._entries = 0
        self._doing: Callable[[], str] = str

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw while it lasts."""
        with Live(get_renderable=self._draw, console=self._console, refresh_per_second=4):
            yield

    def watch(self, doing: Callable[[], str]) -> None:
        """From now on `doing` tells what is under way."""
        self._doing = doing

    def tell(self, words: str) -> None:
        """A remark."""
        self._remarks = [*self._remarks, f"{time.monotonic() - self._began:7.1f}s  {words}"][-LINES:]

    def step(self, world: World, outcome: Outcome) -> None:
        """A step is done."""
        self._world, self._outcome = world, outcome
        self._entries += sum(sending.count for sending in outcome.sendings)

    def _draw(self) -> Group:
        parts: list[Table | Text] = []
        if self._world is not None and self._outcome is not None:
            parts += [self._draw_days(self._world, self._outcome), self._draw_step(self._outcome)]
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        now = f"{minutes:4}:{seconds:02}    {self._doing() or '…'}"
        return Group(*parts, Text("\n".join([*self._remarks, now]), overflow="ellipsis", no_wrap=True))

    def _draw_days(self, world: World, outcome: Outcome) -> Table:
        scenario, done = world.scenario, outcome.step + 1
        hour = done * scenario.step_hours
        line = Table.grid(padding=(0, 2))
        words = Text.assemble(
            (scenario.title, "bold"), f"  day {hour // 24}, hour {hour % 24:02} of {scenario.days} days"
        )
        line.add_row(
            words,
            ProgressBar(total=scenario.steps, completed=done, width=30),
            f"step {done} of {scenario.steps}",
            Text(tell_lateness(outcome), "red"),
        )
        return line

    def _draw_step(self, outcome: Outcome) -> Table:
        table = Table(box=None, header_style="cyan")
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
        money = [("settled", show_sdrt(settled)), ("carried", f"{outcome.octets / 1e9:,.1f} GB")]
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

    def watch(self, doing: Callable[[], str]) -> None:
        """Nothing: lines tell what is done."""

    def step(self, world: World, outcome: Outcome) -> None:
        """A step is done."""
        sent = sum(sending.count for sending in outcome.sendings)
        stages = ", ".join(f"{count} {name}" for name, count in outcome.stages.items() if count and name != "unserved")
        late = tell_lateness(outcome)
        self.tell(
            f"step {outcome.step + 1}/{world.scenario.steps}{late and f', {late}'}: "
            f"{sent} messages in {outcome.seconds:.1f} s, {outcome.records} records, "
            f"{show_sdrt(sum(map(sum, outcome.settled)))} settled; {stages}"
        )


class JsonBoard:
    """For programs: one JSON object a line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def watch(self, doing: Callable[[], str]) -> None:
        """Nothing: programs are told what is done."""

    def tell(self, words: str) -> None:
        """Write {"event": "remark", …}."""
        self._write("remark", {"words": words})

    def step(self, world: World, outcome: Outcome) -> None:
        """Write {"event": "step", …}."""
        self._write("step", msgspec.to_builtins(outcome))

    def _write(self, event: str, content: dict[str, Any]) -> None:
        self._console.file.write(msgspec.json.encode({"event": event, **content}).decode() + "\n")
        self._console.file.flush()
