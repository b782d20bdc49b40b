"""A report as one HTML page that needs nothing from elsewhere: what fits, what does not, how old, and the worst."""

from typing import Final

from jinja2 import Environment, PackageLoader

from settlement.money import format_sdrt
from settlement.reconciliation.model import BREAKS, Kind, Report

SHOWN: Final = 500
"""Breaks on the page; the JSON report and the file of breaks have more."""


def render_page(report: Report) -> str:
    """The report as HTML; whatever the records contain is shown as text."""
    environment = Environment(autoescape=True, loader=PackageLoader(__package__, ""))
    environment.filters |= {"sdrt": _sdrt, "shade": _shade, "dash": _dash, "also": _also}
    return environment.get_template("page.html").render(r=report, breaks=report.breaks[:SHOWN])


def _sdrt(amount: int | None) -> str:
    return "–" if amount is None else format_sdrt(amount)


def _dash(value: object) -> object:
    return "–" if value is None else value


def _shade(kind: Kind) -> str:
    return "bad" if kind in BREAKS else "good" if kind is Kind.MATCHED else "near"


def _also(row: object) -> str:
    """What else differs in a pair: volume, duration, party, time."""
    told = []
    for name in ("volume", "duration"):
        one, other = getattr(row, f"ours_{name}"), getattr(row, f"theirs_{name}")
        if one is not None and other is not None and one != other:
            told.append(f"{name} {one} / {other}")
    told += [
        f"theirs: {name} {value}" for name in ("party", "time") if (value := getattr(row, f"theirs_{name}")) is not None
    ]
    return "; ".join(told)
