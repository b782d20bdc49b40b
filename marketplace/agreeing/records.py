"""Records as reconciliation takes them, from the ledger's settled usage and from files; and whole as CSV.

A record of the ledger has the key `request/group/record`, which both operators know, and as its party the visited
operator, who charges: so both sides write the same records alike. A price at activation is `request/0/0`.
"""

import io
import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import polars as pl

from marketplace.agreeing.reported import ACTIVATION, Activation, Group
from marketplace.operator_problems import Refusal
from settlement.ledger.messages import UsageRecord
from settlement.reconciliation import read_records
from settlement.reconciliation.model import ReconciliationError
from settlement.usage.rating import MINUTE_MS

MAX_FILE: Final = 64 * 1024 * 1024
"""Octets of a file of records taken in: half a million records; more are for `landfall settle reconcile`."""
SCHEMA: Final = {
    "key": pl.String,
    "party": pl.String,
    "time": pl.Int64,
    "amount": pl.Int64,
    "request": pl.String,
    "volume": pl.Int64,
    "duration": pl.Int64,
}
SUFFIXES: Final = (".csv", ".parquet")
_TIMESTAMP: Final = pl.Datetime("ms", "UTC")


def read_period(text: str) -> tuple[int, int]:
    """Milliseconds from, and before, of a month (2026-10) or of first and last day (2026-10-01/2026-10-15), UTC.

    Raises Refusal `invalid`.
    """
    try:
        first, _, last = text.partition("/")
        if last:
            begin, end = date.fromisoformat(first), date.fromisoformat(last) + timedelta(days=1)
        else:
            begin = date.fromisoformat(f"{first}-01")
            end = (begin + timedelta(days=31)).replace(day=1)
    except (ValueError, OverflowError):
        begin = end = date.min
    if begin >= end or begin.year < 1970:
        raise Refusal("invalid", f"{text!r} is no period: write a month, 2026-10, or days, 2026-10-01/2026-10-15")
    start, stop = (int(datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp() * 1000) for d in (begin, end))
    return start, stop


def name_record(request: UUID | str, sequence: int, record: int) -> str:
    """The key of a record of the ledger."""
    return f"{request}/{sequence}/{record}"


def parse_key(key: str) -> tuple[UUID, int, int] | None:
    """Request, group and record of a key, if it is one of the ledger's."""
    try:
        request, sequence, record = key.split("/")
        return UUID(request), int(sequence), int(record)
    except ValueError:
        return None


def frame_usage(groups: Iterable[Group], activations: Iterable[Activation], from_ms: int, to_ms: int) -> pl.DataFrame:
    """Settled usage that starts in the period, a row a record."""
    rows: list[tuple[Any, ...]] = [
        (name_record(one.request, ACTIVATION, 0), one.visited, one.time_ms, one.charged_usdr, str(one.request), 0, 0)
        for one in activations
    ]
    for group in groups:
        for place, (record, charged) in enumerate(group.priced()):
            time = record.start * MINUTE_MS
            if from_ms <= time < to_ms:
                key, (volume, duration) = name_record(group.request, group.sequence, place), measure(record)
                rows.append((key, group.visited, time, charged, str(group.request), volume, duration))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def measure(record: UsageRecord) -> tuple[int, int]:
    """Octets and seconds of a record; messages have neither."""
    if record.service == "data":
        return record.units, record.duration
    return 0, record.units if record.service == "voice" else 0


def read_upload(name: str, octets: bytes) -> pl.DataFrame:
    """Records of a file as `landfall settle reconcile` reads it. Raises ReconciliationError naming the file's fault."""
    suffix = Path(name).suffix.lower()
    with tempfile.TemporaryDirectory(prefix="landfall-") as folder:
        path = Path(folder) / f"records{suffix if suffix in SUFFIXES else ''}"
        path.write_bytes(octets)
        try:
            return read_records(path)
        except ReconciliationError as error:
            raise ReconciliationError(str(error).replace(str(path), name)) from None


def cut(records: pl.DataFrame, from_ms: int, to_ms: int) -> tuple[pl.DataFrame, int]:
    """The records that start in the period, and how many do not."""
    kept = records.filter((pl.col("time") >= from_ms) & (pl.col("time") < to_ms))
    return kept, records.height - kept.height


def write_records(frame: pl.DataFrame) -> bytes:
    """The records as CSV in the form that reconciliation reads."""
    octets = io.BytesIO()
    times = pl.col("time").cast(_TIMESTAMP).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    frame.with_columns(times).rename({"amount": "amount_usdr"}).write_csv(octets)
    return octets.getvalue()
