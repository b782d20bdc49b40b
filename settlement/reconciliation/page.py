"""A report as one HTML page that needs nothing from elsewhere: what fits, what does not, how old, and the worst."""

from collections.abc import Mapping, Sequence
from typing import Final

from jinja2 import Environment, PackageLoader
from msgspec import Struct

from settlement.money import format_sdrt
from settlement.reconciliation.model import BREAKS, Kind, Report

SHOWN: Final = 500
"""Breaks on the page; the JSON report and the file of breaks have more."""


class AgedCases(Struct, frozen=True):
    """What somebody still has to end, so many days old, by how far it has come."""

    days: str
    cases: int
    states: Mapping[str, int]
    at_stake: int


class CaseLine(Struct, frozen=True):
    """A difference that is being worked on: how it should end, who said so, who confirmed."""

    case: str
    kind: str
    key: str
    days: int
    at_stake: int
    state: str
    resolution: str | None
    reason: str | None
    proposed_by: str | None
    confirmed_by: str | None


def render_page(
    report: Report,
    *,
    title: str = "Reconciliation",
    aged: Sequence[AgedCases] = (),
    cases: Sequence[CaseLine] = (),
) -> str:
    """The report as HTML; whatever the records contain is shown as text.

    With `aged` and `cases` it tells what is being done about it.
    """
    environment = Environment(autoescape=True, loader=PackageLoader(__package__, ""))
    environment.filters |= {"sdrt": _sdrt, "shade": _shade, "dash": _dash, "also": _also}
    return environment.get_template("page.html").render(
        r=report, breaks=report.breaks[:SHOWN], title=title, aged=aged, cases=cases[:SHOWN], cases_in_all=len(cases)
    )


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
