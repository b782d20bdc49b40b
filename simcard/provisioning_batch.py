"""A batch of cards from CSV or XLSX: every mistake is told with file, row, column and value before a card is touched.

`read_batch(path)` gives the cards in the file's order. The first row names the columns, in any order, case and
punctuation (`Ki`, `OP-C` …); `COLUMNS` says which there are. A column nobody knows is a mistake: it may be a misspelt
one. Cells are text: a spreadsheet's number has lost leading zeros and everything past 15 digits already.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from landfall.errors import LandfallError
from ota.scp80.packet import KeySet
from ota.scp80.parameters import CipherAlgorithm, KeyByte
from simcard.personalisation import WITH_OPC, Personalisation, PersonalisationError
from simcard.uicc.algorithms import ALGORITHMS
from simcard.uicc.milenage import derive_opc
from simcard.uicc.tuak import derive_topc

# 100,000 cards are a day's work of a factory; a line of them is some 300 characters.
FILE_BYTES_MAX = 64 << 20
ROWS_MAX = 100_000
COLUMNS_MAX = 64
# The longest value is a 32-byte key in hex; a name may be longer only by mistake.
CELL_CHARACTERS_MAX = 64
# An XLSX is a zip of XML. Sheets compress some twentyfold; beyond this it is a bomb or no batch.
XLSX_PARTS_MAX = 200
XLSX_UNPACKED_BYTES_MAX = 512 << 20
XLSX_RATIO_MAX = 200
# As many mistakes as a person reads at once.
MISTAKES_SHOWN_MAX = 20

COLUMNS = {
    "ICCID": ("ICCID",),
    "IMSI": ("IMSI",),
    "PLMN": ("PLMN",),
    "ALGORITHM": ("ALGORITHM", "ALGO", "AUTHALGORITHM"),
    "K": ("K", "KI"),
    "OPC": ("OPC", "TOPC"),
    "OP": ("OP", "TOP"),
    "ADM": ("ADM", "ADM1", "PINADM"),
    "ACC": ("ACC",),
    "MSISDN": ("MSISDN",),
    "SMSC": ("SMSC",),
    "SPN": ("SPN", "NAME"),
    "OTAALGORITHM": ("OTAALGORITHM",),
}
"""Columns and the headings they are known by; besides `KIC1`, `KID1` … `KIC15`, `KID15`, the OTA key sets."""

# What manufacturers deliver in the same file and this program has no use for.
PASSED_OVER = re.compile(r"(PIN|PUK|KIK)[0-9]{1,2}")
OTA_KEY = re.compile(r"(KIC|KID)([1-9]|1[0-5])")
SECRET = re.compile(r"K|OPC|OP|ADM|KI[CD][0-9]+")
OTA_ALGORITHMS = {"aes": CipherAlgorithm.AES_CBC, "3des": CipherAlgorithm.TRIPLE_DES_CBC2}
_HEADINGS = {heading: column for column, headings in COLUMNS.items() for heading in headings}

Row = dict[str, str]


class BatchError(LandfallError):
    """A batch that cannot be taken; each line of the message is one mistake."""


def read_batch(path: Path) -> list[Personalisation]:
    """The cards of a `.csv` or `.xlsx` file; `BatchError` with every mistake (the first 20) in it."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BatchError(f"{path}: {error.strerror}") from None
    if size > FILE_BYTES_MAX:
        raise BatchError(f"{path} has {size} bytes, more than {FILE_BYTES_MAX}; divide it")
    match path.suffix.lower():
        case ".csv" | ".txt" | ".tsv":
            rows = _csv_rows(path.name, path.read_bytes())
        case ".xlsx":
            rows = _xlsx_rows(path)
        case other:
            raise BatchError(f"{path}: {other or 'no suffix'} is neither .csv nor .xlsx")
    return parse_rows(path.name, rows)


def parse_csv(name: str, content: bytes) -> list[Personalisation]:
    """As `read_batch`, of bytes already in memory; `name` stands in the messages."""
    return parse_rows(name, _csv_rows(name, content))


def parse_rows(name: str, rows: Iterable[tuple[int, list[Any]]]) -> list[Personalisation]:
    """Cards of numbered rows, the first of which names the columns; `BatchError`."""
    walk = iter(rows)
    number, headings = next(walk, (1, []))
    columns = _columns(name, number, headings)
    cards: list[Personalisation] = []
    mistakes: list[str] = []
    seen: dict[tuple[str, str], int] = {}
    for number, cells in walk:
        if all(cell in (None, "") for cell in cells):
            continue
        if len(cards) + len(mistakes) >= ROWS_MAX:
            raise BatchError(f"{name} has more than {ROWS_MAX} cards; divide it")
        try:
            row = _row(columns, cells)
            card = _card(row)
            for column, value in (("ICCID", card.iccid), ("IMSI", card.imsi)):
                if value and (first := seen.setdefault((column, value), number)) != number:
                    raise _CellError(column, value, f"stands in row {first} already")
        except _CellError as error:
            mistakes.append(f"{name}, row {number}, column {error.column}: {error}")
            continue
        cards.append(card)
    if mistakes:
        more = len(mistakes) - MISTAKES_SHOWN_MAX
        told = mistakes[:MISTAKES_SHOWN_MAX] + ([f"… and {more} more"] if more > 0 else [])
        raise BatchError("\n".join(told))
    if not cards:
        raise BatchError(f"{name} has no cards: the first row names the columns, each other row is a card")
    return cards


def card_from_values(values: Mapping[str, str]) -> Personalisation:
    """One card from values by column; `BatchError` names the column."""
    try:
        return _card({column: value for column, value in values.items() if value})
    except _CellError as error:
        raise BatchError(f"{error.column}: {error}") from None


class _CellError(Exception):
    def __init__(self, column: str, value: str, wrong: str) -> None:
        # What stands under no heading may be anything, a key too.
        secret = SECRET.fullmatch(column) or column.isdigit()
        shown = f"(hidden, {len(value)} characters)" if secret else repr(value)
        super().__init__(f"{shown if value else '(empty)'} {wrong}")
        self.column = column


def _columns(name: str, number: int, headings: list[Any]) -> list[str | None]:
    if len(headings) > COLUMNS_MAX:
        raise BatchError(f"{name} has more than {COLUMNS_MAX} columns")
    columns: list[str | None] = []
    for at, heading in enumerate(headings, 1):
        plain = re.sub(r"[\s_\-./]", "", str(heading or "")).upper()
        column = plain if OTA_KEY.fullmatch(plain) else _HEADINGS.get(plain)
        if column is None and plain and not PASSED_OVER.fullmatch(plain):
            known = ", ".join([*COLUMNS, "KIC1", "KID1 …"])
            raise BatchError(f"{name}, row {number}, column {at}: {str(heading)[:40]!r} is none of {known}")
        if column in columns and column is not None:
            raise BatchError(f"{name}, row {number}, column {at}: {column} stands there twice")
        columns.append(column)
    if "ICCID" not in columns:
        raise BatchError(f"{name}, row {number}: no column ICCID, by which a card is recognised")
    return columns


def _row(columns: list[str | None], cells: list[Any]) -> Row:
    if beyond := [str(cell) for cell in cells[len(columns) :] if cell not in (None, "")]:
        raise _CellError(str(len(columns) + 1), beyond[0], "has no heading: the row has more cells than headings")
    row: Row = {}
    for column, cell in zip(columns, cells, strict=False):
        if column is None or cell is None:
            continue
        if not isinstance(cell, str):
            raise _CellError(column, str(cell), "is a number, not text: format the column as text and enter it again")
        value = cell.strip()
        if len(value) > CELL_CHARACTERS_MAX:
            raise _CellError(column, value[:20] + "…", f"has more than {CELL_CHARACTERS_MAX} characters")
        if value:
            row[column] = value
    return row


def _card(row: Row) -> Personalisation:
    algorithm = row.get("ALGORITHM", "milenage").lower()
    if algorithm not in ALGORITHMS:
        raise _CellError("ALGORITHM", row["ALGORITHM"], f"is none of {', '.join(ALGORITHMS)}")
    k = _hex(row, "K", *((16, 32) if algorithm == "tuak" else (16,)))
    opc = _operator_constant(row, algorithm, k)
    acc = _hex(row, "ACC", 2)
    try:
        return Personalisation(
            iccid=row.get("ICCID", ""),
            imsi=row.get("IMSI"),
            plmn=row.get("PLMN"),
            algorithm=algorithm,
            k=k,
            opc=opc,
            adm=row.get("ADM"),
            acc=None if acc is None else int.from_bytes(acc, "big"),
            msisdn=row.get("MSISDN"),
            smsc=row.get("SMSC"),
            spn=row.get("SPN"),
            ota=tuple(_key_sets(row)),
        )
    except PersonalisationError as error:
        raise _CellError(error.column, row.get(error.column, ""), error.wrong) from None


def _operator_constant(row: Row, algorithm: str, k: bytes | None) -> bytes | None:
    """OPc or TOPc, given or made of OP or TOP; None where the algorithm has none."""
    if algorithm not in WITH_OPC:
        for column in ("OPC", "OP"):
            if column in row:
                raise _CellError(column, row[column], f"is nothing {algorithm} knows: leave it empty")
        return None
    length, derive = (32, derive_topc) if algorithm == "tuak" else (16, derive_opc)
    opc, op = _hex(row, "OPC", length), _hex(row, "OP", length)
    if op is None:
        return opc
    if opc is not None:
        raise _CellError("OP", row["OP"], "stands beside an OPC; give one of them")
    if k is None:
        raise _CellError("OP", row["OP"], "makes no OPc without K")
    return derive(k, op)


def _key_sets(row: Row) -> Iterator[KeySet]:
    word = row.get("OTAALGORITHM", "aes")
    algorithm = OTA_ALGORITHMS.get(word.lower())
    if algorithm is None:
        raise _CellError("OTAALGORITHM", word, f"is none of {', '.join(OTA_ALGORITHMS)}")
    for index in range(1, 16):
        kic, kid = (_hex(row, f"{name}{index}", 16, 24, 32) for name in ("KIC", "KID"))
        if kic is None and kid is None:
            continue
        if kic is None or kid is None:
            missing = f"{'KIC' if kic is None else 'KID'}{index}"
            raise _CellError(missing, "", "is missing: a key set has both KIc and KID")
        yield KeySet(
            kic=_key_byte(f"KIC{index}", index, algorithm, kic),
            kid=_key_byte(f"KID{index}", index, algorithm, kid),
            kic_key=kic,
            kid_key=kid,
        )


def _key_byte(column: str, index: int, algorithm: CipherAlgorithm, key: bytes) -> KeyByte:
    if algorithm is not CipherAlgorithm.AES_CBC:
        if len(key) == 32:
            raise _CellError(column, key.hex(), "is too long for 3DES, whose keys have 32 or 48 hex digits")
        algorithm = CipherAlgorithm.TRIPLE_DES_CBC3 if len(key) == 24 else CipherAlgorithm.TRIPLE_DES_CBC2
    return KeyByte(index, algorithm)


def _hex(row: Row, column: str, *lengths: int) -> bytes | None:
    value = row.get(column)
    if value is None:
        return None
    if not re.fullmatch(r"[0-9A-Fa-f]+", value) or len(value) not in [2 * length for length in lengths]:
        wanted = " or ".join(str(2 * length) for length in lengths)
        raise _CellError(column, value, f"is not {wanted} hex digits")
    return bytes.fromhex(value)


def _csv_rows(name: str, content: bytes) -> Iterator[tuple[int, list[Any]]]:
    """UTF-8 with or without a mark; separated by comma, semicolon or tab, whichever the first line has most of."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise BatchError(f"{name}, row {row}: not UTF-8; save it as CSV UTF-8") from None
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    number = 1
    try:
        for cells in reader:
            yield number, list(cells)
            number = reader.line_num + 1
    except csv.Error as error:
        raise BatchError(f"{name}, row {number}: {error}") from None


def _xlsx_rows(path: Path) -> Iterator[tuple[int, list[Any]]]:
    """The first sheet, read row by row; formulas are not computed and stand as their text."""
    from openpyxl import load_workbook  # takes a while; a CSV does not need it

    _require_harmless(path)
    try:
        book = load_workbook(path, read_only=True, keep_links=False)
        # One column more than may be, so that too many are told and not cut off.
        rows = book.worksheets[0].iter_rows(max_col=COLUMNS_MAX + 1, values_only=True)
        for number, cells in enumerate(rows, 1):
            if number > ROWS_MAX + 1:
                raise BatchError(
                    f"{path.name} goes beyond row {ROWS_MAX + 1}; divide it, or delete what stands far below"
                )
            last = max((at for at, cell in enumerate(cells, 1) if cell is not None), default=0)
            yield number, list(cells[:last])
        book.close()
    except LandfallError:
        raise
    except Exception as error:
        # openpyxl lets what its parsers raise through, for files that somebody else made.
        raise BatchError(f"{path.name} is no workbook that can be read ({type(error).__name__}: {error})") from None


def _require_harmless(path: Path) -> None:
    """`BatchError` for a zip bomb or XML with entities, before anything is unpacked into memory."""
    try:
        with zipfile.ZipFile(path) as parts:
            listed = parts.infolist()
            unpacked = sum(part.file_size for part in listed)
            packed = sum(part.compress_size for part in listed)
            if len(listed) > XLSX_PARTS_MAX:
                raise BatchError(f"{path.name} has {len(listed)} parts, more than {XLSX_PARTS_MAX}: not a batch")
            if unpacked > XLSX_UNPACKED_BYTES_MAX or unpacked > XLSX_RATIO_MAX * max(packed, 1):
                raise BatchError(f"{path.name} unpacks to {unpacked} bytes from {packed}: not a batch")
            for part in listed:
                with parts.open(part) as stream:
                    tail = b""
                    while chunk := stream.read(1 << 20):
                        if b"<!DOCTYPE" in (seen := (tail + chunk).replace(b"\0", b"")):
                            raise BatchError(f"{path.name}: {part.filename} declares a document type: not a batch")
                        tail = seen[-16:]
    except LandfallError:
        raise
    except Exception as error:
        # zipfile lets what its decompressors and decoders raise through.
        raise BatchError(f"{path.name} is no XLSX: {error}") from None
