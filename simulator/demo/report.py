"""The report of a demonstration: `report.json` for programs, `report.html` for people, one file without any reference.

The seed, what happened, and what the ledger says at the end. It has no name, number or key of a subscriber in it.
"""

from importlib.resources import files
from pathlib import Path
from typing import Final

import jinja2
import msgspec
from markupsafe import Markup
from msgspec import Struct

from settlement.money import format_sdrt
from simulator.demo.account import Line, StepTaken
from simulator.demo.closing import PICTURE_FILE, Closed, Netted
from simulator.demo.picture import draw_sequence, legend

JSON_FILE: Final = "report.json"
HTML_FILE: Final = "report.html"


class Balance(Struct, frozen=True):
    """One operator's micro-SDRt at the end, and what its statement says it spent and earned."""

    operator: str
    name: str
    role: str
    available_usdr: int
    escrow_usdr: int
    held_usdr: int
    spent_usdr: int = 0
    earned_usdr: int = 0


class Conservation(Struct, frozen=True):
    """Σ(available + escrow + held) = minted − burned, and Σ escrow = Σ what open requests still hold."""

    minted_usdr: int
    burned_usdr: int
    balances_usdr: int
    escrow_usdr: int
    open_requests_usdr: int
    holds: bool


class Sold(Struct, frozen=True):
    """A package as it was sold: prices in the retailer's currency, as text."""

    home: str
    name: str
    wholesale: str
    wholesale_usdr: int
    retail: str
    margin: str
    rate: str
    rate_date: str
    purchases: int


class Audited(Struct, frozen=True):
    """What the offline auditor found with nothing but the export and the origin's public key."""

    entries: int
    root: str
    state: str
    entries_per_s: int
    seconds: float


class Throughput(Struct, frozen=True):
    """What passed through: a story told step by step, not a load test (`make bench` is one)."""

    entries: int
    usage_records: int
    purchases: int
    seconds: float
    entries_per_s: float
    busiest_second: int


class Report(Struct, frozen=True, kw_only=True):
    """Everything the demonstration leaves to be read."""

    landfall: str
    origin: str
    vkey: str
    seed: int
    subscribers: int
    elapsed_ms: int
    steps: tuple[StepTaken, ...]
    lines: tuple[Line, ...]
    balances: tuple[Balance, ...]
    conservation: Conservation
    packages: tuple[Sold, ...]
    netted: Netted
    closed: Closed
    requests: dict[str, int]
    rejections: dict[str, int]
    audit: Audited
    throughput: Throughput


def write_report(report: Report, folder: Path, lifelines: tuple[str, ...]) -> None:
    """Write both files into `folder`."""
    (folder / JSON_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    netting = (folder / PICTURE_FILE).read_text(encoding="utf-8")
    (folder / HTML_FILE).write_text(render_html(report, lifelines, netting), encoding="utf-8")


def render_html(report: Report, lifelines: tuple[str, ...], netting: str) -> str:
    """The page as text; `netting` is the picture of the netting, an SVG of ours."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["sdrt"] = lambda amount: format_sdrt(amount).removesuffix(" SDRt")
    page = files("simulator.demo").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(page).render(
        report=report,
        picture=Markup(draw_sequence(report.lines, report.steps, lifelines)),  # noqa: S704 - made and escaped by us
        netting=Markup(netting),  # noqa: S704 - likewise
        legend=legend(),
    )
