"""Usage files of any octets: each line is usage or told with its place; nothing else comes out, and nothing breaks."""

import io
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landfall.errors import LandfallError
from settlement.usage.csv_mapping import BadLine, UsageMapping, read_mapping
from settlement.usage.intake import NetworkUsage
from settlement.usage.rows import read_usage

HEADER = "imsi,service,start,place,units\n"
LINE = "262011234567890,data,2026-11-02T10:00:00Z,25001,5\n"
quiet = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def mapping(folder: Path, form: str) -> UsageMapping:
    path = folder / f"{form}.toml"
    names = "".join(f'[{name}]\ncolumn = "{name}"\n' for name in ("imsi", "service", "start", "place"))
    path.write_text(f'format = "{form}"\n{names}[units]\ndata = {{ column = "units", unit = "kB" }}\n')
    return read_mapping(path)


def read(path: Path, rules: UsageMapping) -> list[Any] | None:
    """All that a file holds, or None where it is refused whole."""
    try:
        found = list(read_usage(path, rules))
    except LandfallError as error:
        if str(path) not in str(error):
            raise
        return None
    assert all(isinstance(one, NetworkUsage | BadLine) for one in found)
    return found


@quiet
@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode), st.booleans())
def test_any_octets_after_a_header_are_lines_or_told(tmp_path: Path, octets: bytes, after_header: bool) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes((HEADER + LINE).encode() * after_header + octets)
    found = read(path, mapping(tmp_path, "csv"))
    assert not after_header or (found is not None and isinstance(found[0], NetworkUsage))


@quiet
@given(
    st.binary(max_size=200)
    | st.recursive(st.integers() | st.text(max_size=5), st.lists, max_leaves=50).map(repr).map(str.encode)
)
def test_any_octets_are_json_lines_or_told(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(octets)
    read(path, mapping(tmp_path, "jsonl"))


def workbook() -> bytes:
    book = openpyxl.Workbook()
    assert book.active is not None
    for line in (HEADER + LINE).splitlines():
        book.active.append(line.split(","))
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


WORKBOOK = workbook()


@quiet
@given(st.data())
def test_a_damaged_workbook_is_read_or_refused_by_name(tmp_path: Path, data: st.DataObject) -> None:
    octets = bytearray(WORKBOOK)
    for _ in range(data.draw(st.integers(1, 5))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "file.xlsx"
    path.write_bytes(octets[: data.draw(st.integers(0, len(octets)))])
    read(path, mapping(tmp_path, "xlsx"))


def with_sheet(path: Path, sheet: str) -> None:
    """The workbook with its sheet's XML replaced."""
    with zipfile.ZipFile(io.BytesIO(WORKBOOK)) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            new.writestr(part, sheet if part == "xl/worksheets/sheet1.xml" else old.read(part))


SPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def test_a_sheet_that_goes_on_for_ever_is_refused(tmp_path: Path) -> None:
    path, rules = tmp_path / "file.xlsx", mapping(tmp_path, "xlsx")
    cells = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in HEADER.strip().split(","))
    begin = f'<worksheet {SPACE}><dimension ref="A1:XFD1048576"/><sheetData><row r="1">{cells}</row>'
    with_sheet(path, f'{begin}<row r="2000000000"><c><v>1</v></c></row></sheetData></worksheet>')
    with pytest.raises(LandfallError, match="a row after 1048576"):
        list(read_usage(path, rules))
    wide = "".join("<c><v>1</v></c>" for _ in range(2000))
    with_sheet(path, f'{begin}<row r="2">{wide}</row></sheetData></worksheet>')
    assert list(read_usage(path, rules)) == [BadLine(2, "", "2000 columns", "more than 1000")]
