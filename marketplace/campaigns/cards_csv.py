"""The cards of a campaign from CSV, read as it comes: a file of 100,000 cards is never whole in memory.

    async for cards in read_cards(request.stream()): …      # [(ICCID, {"slot": "2"})], at most BATCH of them

The first row names the columns: `iccid`, and parameters of the template. A file of nothing but ICCIDs needs no such
row. Separated by comma, semicolon or tab, whichever the first row has most of.
"""

import csv
import re
from collections.abc import AsyncIterator
from typing import Final

from landfall.errors import LandfallError
from ota.templates import VALUE_CHARACTERS_MAX

BATCH: Final = 1000
"""Rows of one INSERT."""
LINE_BYTES_MAX: Final = 16 * 1024
"""Sixteen parameters of 510 characters and their commas fit; what is longer is no CSV."""
_ICCID: Final = re.compile(r"[0-9]{18,20}")
_COLUMN: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")

Card = tuple[str, dict[str, str]]


class CardsError(LandfallError):
    """A row that cannot be taken; says which and why."""


class CardReader:
    """Rows out of chunks of octets. `feed` what comes, `finish` at the end."""

    def __init__(self) -> None:
        self._rest = b""
        self._line = 0
        self._columns: list[str] | None = None
        self._delimiter = ","

    def feed(self, chunk: bytes) -> list[Card]:
        """Cards of the lines that are complete by now. Raises `CardsError`."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            raise CardsError(f"row {self._line + len(lines) + 1} has more than {LINE_BYTES_MAX} octets: not CSV")
        return [card for line in lines if (card := self._read(line)) is not None]

    def finish(self) -> list[Card]:
        """The card of a last line without an end. Raises `CardsError`."""
        line, self._rest = self._rest, b""
        card = self._read(line)
        return [] if card is None else [card]

    def _read(self, raw: bytes) -> Card | None:
        self._line += 1
        try:
            line = raw.removeprefix(b"\xef\xbb\xbf").decode().strip("\r\n")
            if not line.strip(" ,;\t"):
                return None
            if self._columns is None:
                self._delimiter = max(",;\t", key=line.count)
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=self._delimiter, strict=True))]
        except UnicodeDecodeError:
            raise CardsError(f"row {self._line} is not UTF-8: save it as CSV UTF-8") from None
        except (csv.Error, StopIteration) as error:
            raise CardsError(f"row {self._line}: {error}") from None
        if self._columns is None:
            if not _ICCID.fullmatch(cells[0]):
                self._columns = self._name(cells)
                return None
            self._columns = ["iccid"]
        return self._card(cells)

    def _name(self, cells: list[str]) -> list[str]:
        columns = [cell.lower() for cell in cells]
        if "iccid" not in columns:
            raise CardsError(f"row {self._line}: no column iccid; the first row names the columns")
        for number, column in enumerate(columns, 1):
            if not _COLUMN.fullmatch(column) or columns.count(column) > 1:
                raise CardsError(f"row {self._line}, column {number}: {column[:40]!r} is no name, or there twice")
        return columns

    def _card(self, cells: list[str]) -> Card:
        assert self._columns is not None
        if len(cells) > len(self._columns):
            raise CardsError(f"row {self._line} has {len(cells)} cells, there are {len(self._columns)} columns")
        values = {column: cell for column, cell in zip(self._columns, cells, strict=False) if cell}
        iccid = values.pop("iccid", "")
        if not _ICCID.fullmatch(iccid):
            raise CardsError(f"row {self._line}: iccid {iccid[:40]!r} is not 18 to 20 digits")
        for column, value in values.items():
            if len(value) > VALUE_CHARACTERS_MAX:
                raise CardsError(f"row {self._line}: {column} has more than {VALUE_CHARACTERS_MAX} characters")
        return iccid, values


async def read_cards(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Card]]:
    """Cards in lists of `BATCH`, in the order of the file. Raises `CardsError`."""
    reader, waiting = CardReader(), list[Card]()
    async for chunk in chunks:
        waiting += reader.feed(chunk)
        while len(waiting) >= BATCH:
            yield waiting[:BATCH]
            del waiting[:BATCH]
    waiting += reader.finish()
    if waiting:
        yield waiting
