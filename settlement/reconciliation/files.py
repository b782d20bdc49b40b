"""Records from CSV or Parquet into one typed frame, and rules from TOML.

Columns `key` (may be empty: then only rules pair the record), `party`, `time` (RFC 3339 with a zone, minutes suffice;
or a Parquet timestamp) and `amount` (SDRt, a point and up to six decimals) or `amount_usdr` (whole micro-SDRt);
optional `request`, `volume` (octets) and `duration` (seconds); an empty cell of these is 0. Others are left alone.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
import polars as pl
from polars.exceptions import PolarsError

from settlement.encodings import tell_undecodable
from settlement.money import MAX_AMOUNT, MICRO, MoneyError, parse_sdrt
from settlement.reconciliation.model import ReconciliationError, Rules

MAX_RECORDS: Final = 10_000_000
"""Records of one file: some 2 GB a side in memory; a longer period is reconciled in parts."""
MAX_HEADER: Final = 65_536
"""Octets of a CSV header: what no billing system writes."""

END_OF_TIME: Final = 253_402_300_800_000
"""The year 10000, in ms since the epoch: RFC 3339 has four digits."""

REQUIRED: Final = ("key", "party", "time")
OPTIONAL: Final = ("request", "volume", "duration")
_WHOLE: Final = r"^[0-9]{1,16}$"
_SDRT: Final = r"^(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,6}))?$"
_EXPECTED: Final = {
    "amount": "SDRt, a point and up to six decimals, as 12.345678",
    "amount_usdr": "whole micro-SDRt, as 12345678",
    "time": "RFC 3339 with a zone, as 2026-10-01T12:34:56Z",
    "volume": "whole octets",
    "duration": "whole seconds",
    "party": "an operator's name",
}


def read_records(path: Path) -> pl.DataFrame:
    """Read a file into columns key, party, time (ms since the epoch), amount (µSDRt) and the optional ones it has.

    Raises `ReconciliationError` naming file, record (the first after the header is 1), field and value.
    """
    try:
        frame = _read(path)
    except OSError as error:
        raise ReconciliationError(f"{path} cannot be read ({error.strerror or error}): name an existing file") from None
    except (PolarsError, UnicodeDecodeError) as error:
        told = tell_undecodable(path) if path.suffix.lower() == ".csv" else None
        told = told or _find_ragged(path) or str(error).splitlines()[0][:200]
        raise ReconciliationError(f"{path} is no CSV in UTF-8 or Parquet file that can be read: {told}") from None
    if frame.height > MAX_RECORDS:
        raise ReconciliationError(f"{path} has more than {MAX_RECORDS} records: reconcile a shorter period")
    frame = _type(path, frame)
    total = frame.select(pl.col("amount").cast(pl.Int128).sum()).item()
    if total > MAX_AMOUNT:
        raise ReconciliationError(
            f"{path}: the amounts add up to {total} µSDRt, more than {MAX_AMOUNT}: split the file"
        )
    return frame


def _read(path: Path) -> pl.DataFrame:
    match path.suffix.lower():
        case ".csv":
            with path.open("rb") as file:
                head = file.readline(MAX_HEADER)
            if len(head) == MAX_HEADER:
                raise ReconciliationError(f"{path}: the header is longer than {MAX_HEADER} octets: is this a CSV file?")
            names = [name.strip('" \r\n') for name in head.decode("utf-8-sig").split(",")]
            wanted = _wanted(path, names)
            columns = list(dict.fromkeys([*wanted, names[-1]]))
            frame = pl.read_csv(path, columns=columns, infer_schema=False, n_rows=MAX_RECORDS + 1)
            if frame[names[-1]].null_count() and (told := _find_ragged(path)):  # a cell that is missing reads as empty
                raise ReconciliationError(f"{path}: {told}")
            return frame.select(wanted)
        case ".parquet":
            schema = pl.read_parquet_schema(path)
            return pl.scan_parquet(path).select(_wanted(path, schema)).head(MAX_RECORDS + 1).collect()
    raise ReconciliationError(f"{path} ends in {path.suffix!r}: name a .csv or .parquet file")


def _find_ragged(path: Path) -> str | None:
    """The first record with more or fewer fields than the header, which polars does not tell; None if there is none."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            fields = len(next(rows))
            for record, row in enumerate(rows, 1):
                if row and len(row) != fields:
                    return f"record {record} has {len(row)} fields, the header {fields}: cut short, or unquoted?"
    except (OSError, ValueError, csv.Error, StopIteration):
        pass
    return None


def _wanted(path: Path, names: Iterable[str]) -> list[str]:
    names = list(names)
    amounts = [name for name in ("amount", "amount_usdr") if name in names]
    missing = [name for name in REQUIRED if name not in names] + ([] if amounts else ["amount"])
    if missing:
        has = ", ".join(names[:20])
        raise ReconciliationError(f"{path} has no column {', '.join(missing)}; it has {has[:300]!r}")
    if len(amounts) == 2:
        raise ReconciliationError(f"{path} has amount and amount_usdr: leave one out, they could disagree")
    return [name for name in names if name in (*REQUIRED, *OPTIONAL, *amounts)]


def _type(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    columns = {name: _TYPES[name](frame[name]) for name in frame.columns}
    for name, column in columns.items():
        if column.null_count():
            record = column.is_null().arg_max() or 0
            value = str(frame[name][record] if frame[name][record] is not None else "")[:80]
            raise ReconciliationError(f"{path}, record {record + 1}, {name}: {value!r} is not {_EXPECTED[name]}")
    if "amount_usdr" in columns:
        columns["amount"] = columns.pop("amount_usdr")
    return pl.DataFrame(columns)


def _text(column: pl.Series) -> pl.Series:
    return column.cast(pl.String).fill_null("").str.strip_chars()


def _party(column: pl.Series) -> pl.Series:
    text = _text(column)
    return text.set(text == "", None)


def _bounded(column: pl.Series) -> pl.Series:
    return column.set((column < 0) | (column > MAX_AMOUNT), None)


def _count(column: pl.Series) -> pl.Series:
    empty = column.is_null() if column.dtype != pl.String else column.fill_null("") == ""
    return _usdr(column).set(empty, 0)


def _usdr(column: pl.Series) -> pl.Series:
    if column.dtype.is_integer():
        return _bounded(column.cast(pl.Int64, strict=False))
    text = column if column.dtype == pl.String else column.cast(pl.String)  # a float has a point and is refused
    return _bounded(text.set(~text.str.contains(_WHOLE).fill_null(False), None).cast(pl.Int64))


def _sdrt(column: pl.Series) -> pl.Series:
    if column.dtype.is_integer():
        return _bounded(_bounded(column.cast(pl.Int64, strict=False)).clip(upper_bound=MAX_AMOUNT // MICRO + 1) * MICRO)
    if column.dtype.is_float():
        return pl.Series(column.name, [None] * len(column), pl.Int64)  # a float is no amount, whatever it holds
    text = column.cast(pl.String).str.replace(r"(\.[0-9]{6})0+$", "$1") if column.dtype.is_decimal() else column
    parts = text.to_frame("text").select(
        pl.col("text").str.extract(_SDRT, 1).cast(pl.Int64).alias("whole"),
        pl.col("text").str.extract(_SDRT, 2).fill_null("").str.pad_end(6, "0").cast(pl.Int64).alias("micro"),
    )
    return _bounded((parts["whole"] * MICRO + parts["micro"]).rename(column.name))


def _time(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        with_seconds = column.str.replace(r"^(\S{10}[T ]\d\d:\d\d)(Z|[+-])", "${1}:00${2}")
        column = with_seconds.str.to_datetime("%+", strict=False, time_unit="ms", time_zone="UTC")
    if not isinstance(column.dtype, pl.Datetime):
        return pl.Series(column.name, [None] * len(column), pl.Int64)
    time = column.dt.cast_time_unit("ms").to_physical()
    return time.set((time < 0) | (time >= END_OF_TIME), None)


_TYPES: Final = {
    "key": _text,
    "request": _text,
    "party": _party,
    "time": _time,
    "amount": _sdrt,
    "amount_usdr": _usdr,
    "volume": _count,
    "duration": _count,
}


class _RulesFile(Rules, frozen=True, forbid_unknown_fields=True):
    """Rules as a person writes them: the amount's tolerance in SDRt."""

    amount_tolerance: str | int = "0"  # type: ignore[assignment]


def read_rules(path: Path) -> Rules:
    """Read rules from TOML: the fields of `Rules`, with `amount_tolerance` in SDRt, as a string ("0.01").

    Raises `ReconciliationError` naming the file and the field.
    """
    try:
        read = msgspec.toml.decode(path.read_bytes(), type=_RulesFile)
        amount = parse_sdrt(str(read.amount_tolerance))
    except OSError as error:
        raise ReconciliationError(f"--rules {path} cannot be read ({error.strerror}): name an existing file") from None
    except MoneyError as error:
        raise ReconciliationError(f"--rules {path}, amount_tolerance: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        fields = ", ".join(Rules.__struct_fields__)
        raise ReconciliationError(f"--rules {path}: {error}; the fields are {fields}") from None
    return Rules(
        **{name: getattr(read, name) for name in Rules.__struct_fields__ if name != "amount_tolerance"},
        amount_tolerance=amount,
    )
