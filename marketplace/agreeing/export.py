"""Cases for other programs and for the meeting with the partner: a workbook, and the run's page."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import xlsxwriter

from marketplace.agreeing.model import LIVE
from marketplace.agreeing.schemas import AgeLine, CaseView, RunView
from settlement.money import MICRO
from settlement.reconciliation import AgedCases, CaseLine, render_page

COLUMNS: Final = (
    ("case", 38),
    ("partner", 16),
    ("kind", 16),
    ("key", 46),
    ("time", 21),
    ("days", 8),
    ("at stake SDRt", 16),
    ("ours SDRt", 16),
    ("theirs SDRt", 16),
    ("state", 11),
    ("resolution", 15),
    ("agreed SDRt", 16),
    ("reason", 20),
    ("text", 40),
    ("proposed by", 16),
    ("confirmed by", 16),
    ("dispute", 38),
    ("dispute state", 14),
    ("award SDRt", 16),
)
AGEING: Final = ("days", "cases", *LIVE, "at stake SDRt")
MAX_NUMBER: Final = 10**15
"""Micro-SDRt that a spreadsheet keeps exactly; what has more digits is written as text."""
CREATED: Final = datetime(2026, 1, 1)  # noqa: DTZ001 - the format has no zone; the same cases make the same octets


def write_workbook(cases: Sequence[CaseView], ageing: Sequence[AgeLine]) -> bytes:
    """Two sheets: how old what is open is, and every case. Text is never taken for a formula."""
    octets = io.BytesIO()
    book = xlsxwriter.Workbook(octets, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties({"title": "Cases", "created": CREATED})
    head = book.add_format({"bold": True, "font_color": "#FFFFFF", "bg_color": "#1B2733"})
    money = book.add_format({"num_format": "#,##0.000000"})
    rows = [
        [line.days, line.cases, *(getattr(line, state) for state in LIVE), _sdrt(line.at_stake_usdr)] for line in ageing
    ]
    _sheet(book, "Ageing", [(name, 16) for name in AGEING], rows, head, money)
    _sheet(book, "Cases", COLUMNS, [_row(view) for view in cases], head, money)
    book.close()
    return octets.getvalue()


def write_page(run: RunView, cases: Sequence[CaseView]) -> str:
    """The run's report as a page, with the ages of what is open now and how far each case of it has come."""
    aged = [
        AgedCases(
            days=line.days,
            cases=line.cases,
            states={state: getattr(line, state) for state in LIVE},
            at_stake=line.at_stake_usdr,
        )
        for line in run.ageing
    ]
    lines = [
        CaseLine(
            case=str(view.case.id),
            kind=view.case.kind,
            key=view.case.key,
            days=view.age_days,
            at_stake=view.case.at_stake_usdr,
            state=view.case.state,
            resolution=view.case.resolution,
            reason=view.case.reason,
            proposed_by=view.case.proposed_by,
            confirmed_by=view.case.confirmed_by,
        )
        for view in cases
    ]
    title = f"Reconciliation with {run.partner}, {run.period}"
    return render_page(run.report, title=title, aged=aged, cases=lines)


def _sheet(
    book: Any, name: str, columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[Any]], head: Any, money: Any
) -> None:
    sheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 0)
    for place, (title, width) in enumerate(columns):
        sheet.set_column(place, place, width)
        sheet.write_string(0, place, title, head)
    for number, row in enumerate(rows, 1):
        for place, cell in enumerate(row):
            if isinstance(cell, Decimal):
                sheet.write_number(number, place, cell, money)
            elif isinstance(cell, int):
                sheet.write_number(number, place, cell)
            elif cell is not None:
                sheet.write_string(number, place, str(cell))


def _row(view: CaseView) -> list[Any]:
    case = view.case
    time = datetime.fromtimestamp(case.time_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
    return [
        *(case.id, case.partner, case.kind, case.key, time, view.age_days),
        *(_sdrt(amount) for amount in (case.at_stake_usdr, case.ours_usdr, case.theirs_usdr)),
        *(case.state, case.resolution, _sdrt(case.agreed_usdr), case.reason, case.text),
        *(case.proposed_by, case.confirmed_by, case.dispute, case.dispute_state, _sdrt(case.award_usdr)),
    ]


def _sdrt(amount: int | None) -> Decimal | str | None:
    if amount is None:
        return None
    value = Decimal(amount) / MICRO
    return value if abs(amount) < MAX_NUMBER else f"{value:.6f}"
