"""Figures: what a benchmark measured, told while it runs, as a table at the end, and as JSON for comparison.

Figures of one machine compare with each other, not with another's; the load average beside them says how quiet it was.
"""

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

console = Console()


class Figure(Struct, frozen=True):
    """One measured value. `target`: what was asked for, if anything. `series`: the value in each second of a run."""

    name: str
    value: float
    unit: str
    target: str = ""
    note: str = ""
    series: dict[int, int] = {}


class Machine(Struct, frozen=True):
    """What it was measured on. `python`: its version and where it is from, as how it was built is a fifth of its speed.
    `load`: the load average when it was over.
    """

    cpu: str
    cores: int
    python: str
    load: float


def measured(
    name: str, value: float, unit: str, target: str = "", note: str = "", series: dict[int, int] | None = None
) -> Figure:
    """A figure, printed as soon as it is known."""
    console.print(f"  {name}: [bold]{_show(value)}[/bold] {unit}{f' ({note})' if note else ''}")
    return Figure(name, value, unit, target, note, series or {})


def publish(figures: Sequence[Figure], output: Path, **more: Any) -> None:
    """Print the table and write `output`: machine, figures, and what else is given."""
    machine = describe_machine()
    title = f"{machine.cpu}, {machine.cores} cores, Python {machine.python}, load {machine.load:.1f}"
    table = Table("measured", "value", "unit", "target", "note", title=title)
    for figure in figures:
        table.add_row(figure.name, _show(figure.value), figure.unit, figure.target, figure.note)
    console.print(table)
    output.parent.mkdir(parents=True, exist_ok=True)
    document = msgspec.json.encode({"machine": machine, "figures": list(figures), **more})
    output.write_bytes(msgspec.json.format(document, indent=2) + b"\n")


def _show(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def describe_machine() -> Machine:
    """Describe the machine this runs on, as busy as it is now."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    python = f"{platform.python_version()} of {sys.base_prefix}"
    return Machine(cpu, os.cpu_count() or 1, python, os.getloadavg()[0])
