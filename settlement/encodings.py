"""Where a text file stops being UTF-8: what a reader of CSV tells the person who has to save it anew."""

import csv
from itertools import zip_longest
from pathlib import Path
from typing import Final

MAX_LINE: Final = 1_048_576
"""Octets of a line that are looked at: what is longer is no line of a table."""
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


def tell_undecodable(path: Path) -> str | None:
    """The first line and column of a CSV file that are not UTF-8, in words; None if all of it is."""
    with path.open("rb") as file:
        header, number = "", 0
        while octets := file.readline(MAX_LINE):
            number += 1
            try:
                text = octets.decode()
            except UnicodeDecodeError as error:
                if number == 1 and octets.startswith(_UTF_16):
                    return "line 1: is UTF-16, not UTF-8: save it as UTF-8"
                where = _column(header, octets.decode(errors="replace"))
                return f"line {number}{where}: byte 0x{octets[error.start]:02x} is not UTF-8: save it as UTF-8"
            header = header or text
    return None


def _column(header: str, line: str) -> str:
    try:
        names, cells = (next(csv.reader([text.lstrip("\ufeff")]), []) for text in (header, line))
    except csv.Error:  # lines ended by bare carriage returns: the column cannot be told
        return ""
    bad = (name for name, cell in zip_longest(names, cells, fillvalue="") if "\ufffd" in cell)
    name = next(bad, "")
    return f", {name}" if name else ""
