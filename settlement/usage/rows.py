"""Rows of a CSV, XLSX or JSON Lines file as text by column, within bounds, each with its line; bad lines are told.

A file is read once, from front to back, and holds one row in memory; lines, columns and an archive's unpacked size are
bounded before anything is made of them.
"""

import csv
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import openpyxl
from msgspec import Struct

from landfall.errors import LandfallError
from settlement.usage.csv_mapping import BadLine, Row, UnreadableError, UsageMapping, columns_of, map_row
from settlement.usage.intake import NetworkUsage

MAX_LINE: Final = 64 * 1024
"""Octets of a line: a billing system's have some hundred."""
MAX_COLUMNS: Final = 1000
"""Columns of a row; spreadsheets end at 16,384, usage long before."""
MAX_ROWS: Final = 1_048_576
"""Rows of a sheet: where spreadsheets end."""
MAX_UNPACKED: Final = 256 * 1024 * 1024
"""Octets of an XLSX file unpacked: a million rows, which is what a sheet holds; more is a bomb."""
MAX_STRINGS: Final = 32 * 1024 * 1024
"""Octets of the strings a workbook's cells share, which are read into memory whole."""
MAX_RATIO: Final = 200
"""How many times smaller an XLSX part may have been packed: real sheets reach thirty."""
SHOWN: Final = 80
"""Characters of a bad value that are shown."""

MAX_BAD: Final = 10_000
"""Bad lines kept to be told; a file with more has the wrong mapping, and the first ones say so."""

Numbered = tuple[int, Row]


class Tally(Struct):
    """What a file holds: records and units by service, and the lines that are none."""

    records: int = 0
    by_service: dict[str, dict[str, int]] = {}
    bad_lines: int = 0
    bad: list[BadLine] = []

    def pick(self, items: Iterator[NetworkUsage | BadLine]) -> Iterator[NetworkUsage]:
        """Hand on what is usage, counting all."""
        for item in items:
            if isinstance(item, BadLine):
                self.bad_lines += 1
                if len(self.bad) < MAX_BAD:
                    self.bad.append(item)
                continue
            self.records += 1
            sums = self.by_service.setdefault(item.service, Counter())
            sums["records"] += 1
            sums["units"] += item.units
            yield item


def read_usage(path: Path, mapping: UsageMapping) -> Iterator[NetworkUsage | BadLine]:
    """Each row of a file as usage, or what is wrong with it. Raises `LandfallError` when none of it can be read."""
    readers = {"csv": _read_csv, "jsonl": _read_json_lines, "xlsx": _read_xlsx}
    for item in readers[mapping.format](path, mapping):
        if isinstance(item, BadLine):
            yield item
            continue
        line, row = item
        try:
            yield map_row(row, mapping)
        except UnreadableError as error:
            yield BadLine(line, error.column, error.value[:SHOWN], error.why)


def _read_csv(path: Path, mapping: UsageMapping) -> Iterator[Numbered | BadLine]:
    csv.field_size_limit(MAX_LINE)
    bad: list[BadLine] = []
    with path.open("rb") as file:
        lines = _decode_lines(file, mapping, bad)
        for _ in range(mapping.skip):
            next(lines, "")
        reader = csv.reader(lines, delimiter=mapping.delimiter, strict=True)
        names: list[str] | None = None
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield BadLine(reader.line_num + mapping.skip, "", "", f"is no CSV: {error}")
                continue
            yield from bad
            if cells is None and not bad and mapping.header and names is None:
                raise LandfallError(f"{path}: ends before line {mapping.skip + 1}, where its header would be")
            if cells is None or (bad and mapping.header and names is None):  # without a header no line means anything
                return
            bad.clear()
            line = reader.line_num + mapping.skip
            if len(cells) > MAX_COLUMNS:
                yield BadLine(line, "", f"{len(cells)} columns", f"more than {MAX_COLUMNS}")
            elif names is None and mapping.header:
                names = _check_header(path, line, cells, mapping)
            elif any(cells):
                yield line, dict(zip(names or _numbers(len(cells)), cells, strict=False))


def _decode_lines(file: Any, mapping: UsageMapping, bad: list[BadLine]) -> Iterator[str]:
    """Lines of text; one that is too long or of another encoding is told, and empty in the others' count."""
    number = 0
    while octets := file.readline(MAX_LINE + 1):
        number += 1
        if number == 1:
            octets = octets.removeprefix(b"\xef\xbb\xbf") if mapping.encoding == "utf-8" else octets
        if len(octets) > MAX_LINE:
            bad.append(BadLine(number, "", octets[:SHOWN].decode("latin-1"), f"is longer than {MAX_LINE} octets"))
            while (octets := file.readline(MAX_LINE)) and not octets.endswith(b"\n"):
                pass
            yield "\n"
            continue
        try:
            yield octets.decode(mapping.encoding).replace("\0", "\ufffd")
        except UnicodeDecodeError as error:
            bad.append(
                BadLine(number, "", octets[:SHOWN].decode("latin-1"), f"is not {mapping.encoding}: {error.reason}")
            )
            yield "\n"


def _check_header(path: Path, line: int, cells: list[str], mapping: UsageMapping) -> list[str]:
    names = [cell.strip() for cell in cells]
    if missing := sorted(columns_of(mapping) - set(names)):
        there = ", ".join(names)[: 4 * SHOWN]
        told = f"line {line} has no column {', '.join(map(repr, missing))}; it has {there}"
        raise LandfallError(
            f"{path}: {told}. Is the encoding {mapping.encoding} and the delimiter {mapping.delimiter!r}?"
        )
    if twice := sorted({name for name in columns_of(mapping) if names.count(name) > 1}):
        raise LandfallError(f"{path}: line {line} has the column {twice[0]!r} twice: rename one")
    return names


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(1, count + 1)]


def _read_json_lines(path: Path, mapping: UsageMapping) -> Iterator[Numbered | BadLine]:
    bad: list[BadLine] = []
    with path.open("rb") as file:
        for line, text in enumerate(_decode_lines(file, mapping, bad), 1):
            if bad:
                yield bad.pop()
                continue
            if line <= mapping.skip or not text.strip():
                continue
            try:
                value = msgspec.json.decode(text, type=dict[str, Any])
            except (msgspec.DecodeError, RecursionError) as error:
                yield BadLine(line, "", text[:SHOWN].rstrip(), f"is no JSON object: {error}")
                continue
            yield line, {name: _flat(cell) for name, cell in value.items()}


def _flat(cell: Any) -> str:
    return cell if isinstance(cell, str) else "" if cell is None else msgspec.json.encode(cell).decode()


def _read_xlsx(path: Path, mapping: UsageMapping) -> Iterator[Numbered | BadLine]:
    with path.open("rb") as file:  # by its octets: openpyxl would judge a path by its ending
        yield from _read_workbook(path, file, mapping)


def _read_workbook(path: Path, file: IO[bytes], mapping: UsageMapping) -> Iterator[Numbered | BadLine]:
    _check_archive(path)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        sheet = book[mapping.sheet] if mapping.sheet else book.worksheets[0]
    except KeyError:
        raise LandfallError(f"{path}: has no sheet {mapping.sheet!r}; it has {', '.join(book.sheetnames)}") from None
    except Exception as error:  # openpyxl lets whatever its parsers raise through
        raise LandfallError(f"{path}: is no XLSX workbook: {error}") from None
    names: list[str] | None = None
    try:
        for line, cells in enumerate(_sheet_rows(path, sheet), 1):
            if line > MAX_ROWS:
                raise LandfallError(f"{path}: has a row after {MAX_ROWS}, which is where a sheet ends")
            if line <= mapping.skip:
                continue
            if len(cells) > MAX_COLUMNS:
                yield BadLine(line, "", f"{len(cells)} columns", f"more than {MAX_COLUMNS}")
                if names is None and mapping.header:
                    return
                continue
            texts = [_shown(cell, mapping) for cell in cells]
            if names is None and mapping.header:
                names = _check_header(path, line, texts, mapping)
            elif any(texts):
                yield line, dict(zip(names or _numbers(len(texts)), texts, strict=False))
    finally:
        book.close()


def _sheet_rows(path: Path, sheet: Any) -> Iterator[tuple[object, ...]]:
    sheet.reset_dimensions()  # what a sheet says of its size may lie, and every row would be filled up to it
    rows = sheet.iter_rows(values_only=True)
    while True:
        try:
            cells = next(rows, None)
        except Exception as error:  # as above: of a damaged archive, of damaged XML
            raise LandfallError(f"{path}: sheet {sheet.title!r} cannot be read to its end: {error}") from None
        if cells is None:
            return
        yield cells


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (OSError, zipfile.BadZipFile) as error:
        raise LandfallError(f"{path}: is no XLSX workbook: {error}") from None
    for part in parts:
        if part.file_size > MAX_RATIO * max(part.compress_size, 1024):
            told = f"{part.filename} unpacks from {part.compress_size} to {part.file_size} octets"
            raise LandfallError(f"{path}: {told}: a bomb, not a workbook")
        if part.filename.endswith("sharedStrings.xml") and part.file_size > MAX_STRINGS:
            raise LandfallError(f"{path}: {part.filename} has {part.file_size} octets: more than {MAX_STRINGS}")
    if (total := sum(part.file_size for part in parts)) > MAX_UNPACKED:
        raise LandfallError(f"{path}: unpacks to {total} octets: more than {MAX_UNPACKED}")


def _shown(cell: object, mapping: UsageMapping) -> str:
    """A cell as the text a CSV file would have: numbers with the mapping's decimal mark, times in its form."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        form = mapping.start.format
        return cell.isoformat(sep=" ") if form in ("iso", "s", "ms") else cell.strftime(form)
    if isinstance(cell, float):
        text = str(int(cell)) if cell.is_integer() else repr(cell)
        return text.replace(".", mapping.decimal)
    return str(cell)
