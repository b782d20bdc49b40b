"""Rated records as a file: Parquet and CSV for machines, a workbook for the table at which two operators sit.

    sums = write_rated(connection, rate_records(records, tariffs), Path("rated.xlsx"))

Parquet and CSV have the records with `charge` in micro-SDRt. A workbook has the sums on one sheet and the records, in
the order they were charged in, on another; amounts are numbers in SDRt.
"""

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from landfall.errors import LandfallError
from settlement.documents.layout import Column, Fact, Page, Shape, Table, usdr_column
from settlement.documents.model import Language
from settlement.documents.sheets import SHEET_ROWS, write_workbook
from settlement.documents.writing import words_of
from settlement.money import format_sdrt
from settlement.usage.bulk import sum_up

ENDINGS: Final = (".parquet", ".csv", ".xlsx")

_SUMS: Final = (
    Column("partner", "partner"),
    Column("service", "service"),
    Column("period", "period"),
    Column("records", "records", Shape.NUMBER),
    Column("units", "units", Shape.NUMBER),
    usdr_column("charge", "charge, SDRt"),
)
_RECORDS: Final = (
    Column("partner", "partner"),
    Column("request", "request", Shape.CODE),
    Column("position", "position", Shape.NUMBER),
    Column("start", "start", Shape.TIME),
    Column("service", "service"),
    Column("units", "units", Shape.NUMBER),
    Column("tariff", "tariff"),
    usdr_column("charge", "charge, SDRt"),
)


def check_ending(path: Path) -> None:
    """Raise `LandfallError` for a file whose ending says nothing of what to write; before anything is rated."""
    if path.suffix.lower() not in ENDINGS:
        raise LandfallError(f"--out {path} ends in {path.suffix!r}: name a file that ends in {', '.join(ENDINGS)}")


def write_rated(connection: Any, rated: Any, path: Path) -> list[dict[str, Any]]:
    """Write rated records; the rows of their sums, as `sum_up` has them, come of what was written.

    Raises `LandfallError` for more records than a sheet has rows.
    """
    check_ending(path)
    if path.suffix.lower() == ".parquet":
        connection.to_parquet(rated, str(path))
        return _sums(connection, connection.read_parquet(str(path)))
    with TemporaryDirectory(prefix="landfall-rated-") as folder:
        connection.to_parquet(rated, f"{folder}/rated.parquet")
        kept = connection.read_parquet(f"{folder}/rated.parquet")
        sums, in_order = _sums(connection, kept), kept.order_by("request", "position")
        if path.suffix.lower() == ".csv":
            connection.to_csv(in_order, str(path))
        else:
            path.write_bytes(_workbook(connection, in_order, sums))
        return sums


def _sums(connection: Any, kept: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = connection.to_pyarrow(sum_up(kept)).to_pylist()
    return rows


def _workbook(connection: Any, in_order: Any, sums: list[dict[str, Any]]) -> bytes:
    records, charge = sum(row["records"] for row in sums), sum(row["charge"] for row in sums)
    if records > SHEET_ROWS:
        raise LandfallError(f"{records:,} records, a sheet has {SHEET_ROWS:,}: write .parquet or .csv")
    rows = [
        tuple(_start(row) if column.name == "start" else row[column.name] for column in _RECORDS)
        for batch in connection.to_pyarrow_batches(in_order)
        for row in batch.to_pylist()
    ]
    in_all = (None, None, None, records, None, charge)
    page = Page(
        title="Rated usage",
        subtitle="",
        number="",
        facts=(Fact("records", f"{records:,}"),),
        parties=(),
        preamble=(),
        tables=(
            Table("sums", "Sums", _SUMS, [tuple(row[c.name] for c in _SUMS) for row in sums], totals=(in_all,)),
            Table("records", "Records", _RECORDS, rows),
        ),
        sums=(Fact("charge", format_sdrt(charge), strong=True),),
        sentences=(),
    )
    last = max((row["period"] for row in sums), default="1970-01")  # of the records: the same ones, the same octets
    return write_workbook(page, words_of(Language.EN), author="", made_on=date.fromisoformat(f"{last}-01"))


def _start(row: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(row["start"] * 60, timezone(timedelta(minutes=row["offset"])))
