"""A reconciliation as a workbook, for the meeting with the partner: the kinds, how old, and every difference."""

from datetime import datetime
from typing import Final

import polars as pl

from settlement.documents.layout import Column, Fact, Page, Shape, Table, usdr_column
from settlement.documents.model import Language
from settlement.documents.sheets import write_workbook
from settlement.documents.writing import words_of
from settlement.reconciliation.model import Report

_KINDS: Final = (
    Column("kind", "kind"),
    Column("ours", "ours", Shape.NUMBER),
    usdr_column("ours_amount", "amount of ours, SDRt"),
    Column("theirs", "theirs", Shape.NUMBER),
    usdr_column("theirs_amount", "amount of theirs, SDRt"),
)
_AGES: Final = (
    Column("kind", "kind"),
    Column("days", "days"),
    Column("differences", "differences", Shape.NUMBER),
    usdr_column("at_stake", "at stake, SDRt"),
)


def write_breaks(report: Report, breaks: pl.DataFrame) -> bytes:
    """The XLSX octets of a report and of all its breaks, as `list_breaks` gives them; the same for the same values."""
    kinds = [(row.kind.value, row.ours, row.ours_amount, row.theirs, row.theirs_amount) for row in report.kinds]
    in_all = ("in all", report.ours.records, report.ours.amount, report.theirs.records, report.theirs.amount)
    ages = [(row.kind.value, row.days, row.breaks, row.at_stake) for row in report.ageing]
    columns = tuple(_column(name, kind) for name, kind in breaks.schema.items())
    page = Page(
        title="Reconciliation",
        subtitle="",
        number="",
        facts=(Fact("ages as of", report.as_of), Fact("differences", f"{report.breaks_in_all:,}")),
        parties=(),
        preamble=(),
        tables=(
            Table("kinds", "Kinds", _KINDS, kinds, totals=(in_all,)),
            Table("ages", "Ages", _AGES, ages),
            Table("differences", "Differences", columns, breaks.rows()),
        ),
        sums=(),
        sentences=report.notes,
    )
    return write_workbook(page, words_of(Language.EN), author="", made_on=datetime.fromisoformat(report.as_of).date())


def _column(name: str, kind: pl.DataType) -> Column:
    title = name.replace("_", " ")
    if name == "at_stake" or name.endswith("_amount"):
        return usdr_column(name, f"{title}, SDRt")
    shape = Shape.NUMBER if kind.is_integer() else Shape.TIME if kind.is_temporal() else Shape.TEXT
    return Column(name, title, shape)
