"""Usage from CSV, XLSX and JSON Lines, by a mapping file that says what stands where.

    mapping = read_mapping(Path("billing.toml"))
    for item in read_usage(Path("november.csv"), mapping):
        …                                   # NetworkUsage, or BadLine(line, column, value, why)

A mapping names columns for `imsi`, `service`, `start`, `place`, and units (and, if it likes, duration) of each service:
`settlement/usage/examples/` has three. Numbers are read as decimals and become whole units exactly: what is not whole
is rounded half up to an octet or a second. A bad line is told and passed over; what to do about it is the caller's.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from landfall.errors import LandfallError
from settlement.ledger.messages import MAX_TIME
from settlement.usage.intake import NetworkUsage
from settlement.usage.tap3.events import read_offset
from settlement.usage.tariff import MAX_UNITS

Service = Literal["data", "voice", "message"]

FACTORS: Final[dict[str, int | Decimal]] = {
    "octets": 1,
    "bits": Decimal("0.125"),
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "seconds": 1,
    "ms": Decimal("0.001"),
    "minutes": 60,
    "hours": 3600,
    "count": 1,
}
"""Units a column may be in, in octets, seconds or messages; `h:m:s` is read apart."""
MAX_DIGITS: Final = 30
"""Characters of a number: more is no volume, and costs time to multiply."""


class Column(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a text comes from: `column` by name (or by number from 1 without a header), or a fixed `value`.

    `values` translates what the file says; with it, anything else is an error. `strip` takes a prefix off.
    """

    column: str | None = None
    value: str | None = None
    values: dict[str, str] | None = None
    strip: str = ""


class Moment(Struct, frozen=True, forbid_unknown_fields=True):
    """When a record began: one column, or several joined by a space; `format` as strptime has it, `iso`, `s` or `ms`.

    `zone`: of times that do not say it, a name as Europe/Moscow or an offset as +0300. `offset`: column of an offset.
    """

    column: str | list[str]
    format: str = "iso"
    zone: str = "+0000"
    offset: str | None = None


class Measure(Struct, frozen=True, forbid_unknown_fields=True):
    """A count: columns whose numbers are added, in `unit`, or a fixed `value`."""

    column: str | list[str] | None = None
    value: int | None = None
    unit: str = "count"


class UsageMapping(Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping file. `skip`: lines before the header, or before the first record where `header` is false."""

    imsi: Column
    service: Column
    start: Moment
    place: Column
    units: dict[Service, Measure]
    format: Literal["csv", "jsonl", "xlsx"] = "csv"
    encoding: Literal["utf-8", "cp1251", "latin-1"] = "utf-8"
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    header: bool = True
    skip: Annotated[int, Meta(ge=0, le=1000)] = 0
    sheet: str | None = None
    duration: dict[Service, Measure] = {}


class BadLine(Struct, frozen=True):
    """A line that is no usage: its number in the file from 1, the column, what stands there, and why it is none."""

    line: int
    column: str
    value: str
    why: str


class UnreadableError(Exception):
    """What is wrong with one value."""

    def __init__(self, column: str, value: str, why: str) -> None:
        super().__init__(why)
        self.column, self.value, self.why = column, value, why


Row = Mapping[str, str]

_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?", re.ASCII)


def read_mapping(path: Path) -> UsageMapping:
    """Read a mapping file. Raises `LandfallError` naming the file and the key."""
    try:
        mapping = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), UsageMapping)
    except OSError as error:
        raise LandfallError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise LandfallError(f"{path}: {error}; settlement/usage/examples has mappings that work") from None
    for kind, measure in [*mapping.units.items(), *mapping.duration.items()]:
        if measure.unit not in {*FACTORS, "h:m:s"}:
            raise LandfallError(f"{path}: {kind}: unit {measure.unit!r} is none of {', '.join(FACTORS)}, h:m:s")
        if (measure.column is None) == (measure.value is None):
            raise LandfallError(f"{path}: {kind}: give either a column or a value")
    for name, text in (("imsi", mapping.imsi), ("service", mapping.service), ("place", mapping.place)):
        if (text.column is None) == (text.value is None):
            raise LandfallError(f"{path}: {name}: give either a column or a value")
    if mapping.delimiter in '"\r\n':
        raise LandfallError(f"{path}: delimiter {mapping.delimiter!r}: a comma, semicolon, tab or the like")
    try:
        _zone(mapping.start.zone)
    except UnreadableError as error:
        raise LandfallError(f"{path}: start.zone: {error.value!r}: {error.why}") from None
    return mapping


def columns_of(mapping: UsageMapping) -> set[str]:
    """Names of all columns a mapping reads."""
    found: set[str | None] = {mapping.imsi.column, mapping.service.column, mapping.place.column, mapping.start.offset}
    for columns in (mapping.start.column, *(m.column for m in (*mapping.units.values(), *mapping.duration.values()))):
        found.update([columns] if isinstance(columns, str) else columns or [])
    return {column for column in found if column is not None}


def map_row(row: Row, mapping: UsageMapping) -> NetworkUsage:
    """One row as usage. Raises `UnreadableError` for its first value that cannot be."""
    imsi = _text(row, mapping.imsi, "imsi")
    if not (6 <= len(imsi) <= 15 and imsi.isascii() and imsi.isdigit()):
        raise UnreadableError(mapping.imsi.column or "imsi", imsi, "an IMSI is 6 to 15 digits")
    service = _text(row, mapping.service, "service")
    if service not in mapping.units:
        known = ", ".join(mapping.units)
        raise UnreadableError(mapping.service.column or "service", service, f"the mapping has units of {known} only")
    start_ms, offset = _moment(row, mapping.start)
    place = _text(row, mapping.place, "place")
    if not 2 <= len(place) <= 6:
        raise UnreadableError(mapping.place.column or "place", place, "a PLMN as 25001 or a country as RU")
    units = _measure(row, mapping.units[service], mapping.decimal)
    lasting = mapping.duration.get(service)
    duration = (units if service == "voice" else 0) if lasting is None else _measure(row, lasting, mapping.decimal)
    return NetworkUsage(imsi, service, start_ms, units, place, duration, offset)


def _cell(row: Row, column: str) -> str:
    value = row.get(column, "").strip()
    if not value:
        raise UnreadableError(column, "", "is empty, or the line is too short")
    return value


def _text(row: Row, column: Column, name: str) -> str:
    text = column.value if column.column is None else _cell(row, column.column).removeprefix(column.strip)
    assert text is not None
    if column.values is None:
        return text
    if text not in column.values:
        raise UnreadableError(column.column or name, text, f"is none of {', '.join(column.values)}")
    return column.values[text]


def _moment(row: Row, moment: Moment) -> tuple[int, int]:
    """Milliseconds since the epoch, and minutes from UTC."""
    columns = [moment.column] if isinstance(moment.column, str) else moment.column
    text = " ".join(_cell(row, column) for column in columns)
    name = " + ".join(columns)
    zone = _zone(moment.zone)
    if moment.offset is not None:
        zone = _zone(_cell(row, moment.offset), moment.offset)
    try:
        if moment.format in ("s", "ms"):
            at = datetime.fromtimestamp(0, UTC) + timedelta(**{_PARTS[moment.format]: int(text)})
            at = at.astimezone(zone)
        else:
            iso = moment.format == "iso"
            at = datetime.fromisoformat(text) if iso else datetime.strptime(text, moment.format)  # noqa: DTZ007
            at = at.replace(tzinfo=zone) if at.tzinfo is None else at
        offset = (at.utcoffset() or timedelta()) // timedelta(minutes=1)
        epoch_ms = (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise UnreadableError(name, text, f"is no time in the form {moment.format}") from None
    if not 0 <= epoch_ms <= MAX_TIME or abs(offset) > 14 * 60:
        raise UnreadableError(name, text, "is before 1970, or beyond what a usage record can say")
    return epoch_ms, offset


_PARTS: Final = {"s": "seconds", "ms": "milliseconds"}


@cache
def _named_zone(text: str) -> tzinfo | None:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _zone(text: str, column: str = "zone") -> tzinfo:
    minutes = 0 if text == "Z" else read_offset(text.replace(":", ""))
    if minutes is not None:
        return timezone(timedelta(minutes=minutes))
    if (zone := _named_zone(text)) is not None:
        return zone
    raise UnreadableError(column, text, "a zone is +0300 or Europe/Moscow")


def _measure(row: Row, measure: Measure, decimal: str) -> int:
    if measure.column is None:
        assert measure.value is not None
        return measure.value
    columns = [measure.column] if isinstance(measure.column, str) else measure.column
    return sum(_number(column, _cell(row, column), measure.unit, decimal) for column in columns)


def _number(column: str, text: str, unit: str, decimal: str) -> int:
    if len(text) > MAX_DIGITS:
        raise UnreadableError(column, text, "is too long for a number")
    if unit == "h:m:s":
        return _clock(column, text)
    plain = text.replace("\u00a0", "").replace(" ", "")
    other = "." if decimal == "," else ","
    if other in plain or plain.startswith(("+", "-")):
        raise UnreadableError(column, text, f"is no number with {decimal!r} as its decimal mark, from 0 on")
    if _NUMBER.fullmatch(plain := plain.replace(",", ".")) is None:
        raise UnreadableError(column, text, "is no number")
    value = Decimal(plain)
    whole = int((value * FACTORS[unit]).to_integral_value(ROUND_HALF_UP))
    if whole > MAX_UNITS:
        raise UnreadableError(column, text, f"is more than {MAX_UNITS} octets or seconds")
    return whole


def _clock(column: str, text: str) -> int:
    parts: Sequence[str] = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(part.isascii() and part.isdigit() and len(part) <= 6 for part in parts):
        raise UnreadableError(column, text, "is no duration as 1:02:03 or 62:03")
    if any(int(part) > 59 for part in parts[1:]):
        raise UnreadableError(column, text, "has more than 59 minutes or seconds")
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return seconds
