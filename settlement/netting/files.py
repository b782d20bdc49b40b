"""Debts and caps from CSV files: UTF-8, a header, one row a debt."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from settlement.encodings import tell_undecodable
from settlement.money import MoneyError, check_amount, parse_sdrt
from settlement.netting.model import Debt, NettingError, Pair

MAX_DEBTS: Final = 5_000_000
"""Rows of one file: five times the largest cycle measured, some 3 GB in memory."""
MAX_COLUMNS: Final = 1000
"""Columns of a file: three are wanted, an export of a billing system has some dozen."""
MAX_NAME: Final = 64
"""Characters of an operator's name; ids on the ledger are shorter."""

_UNITS: Final[dict[str, Callable[[str], int]]] = {"": parse_sdrt, "_usdr": lambda text: check_amount(_whole(text))}


def read_debts(path: Path) -> list[Debt]:
    """Read a file with the header `debtor,creditor,amount` (SDRt, a point and up to six decimals) or
    `debtor,creditor,amount_usdr` (whole micro-SDRt); further columns are left alone.

    Raises `NettingError` naming file, line, column and value.
    """
    debts = []
    for line, debtor, creditor, amount in _rows(path, "amount"):
        if amount == 0:
            raise NettingError(f"{path}, line {line}: amount is 0: a debt is at least 0.000001 SDRt; leave the row out")
        debts.append(Debt(debtor, creditor, amount))
    return debts


def read_caps(path: Path) -> dict[Pair, int]:
    """Read a file with the header `debtor,creditor,cap` (SDRt) or `debtor,creditor,cap_usdr`; one row a pair.

    Raises `NettingError` naming file, line, column and value.
    """
    caps: dict[Pair, int] = {}
    for line, debtor, creditor, cap in _rows(path, "cap"):
        if (debtor, creditor) in caps:
            raise NettingError(f"{path}, line {line}: {debtor!r} to {creditor!r} has a cap already: give one a pair")
        caps[debtor, creditor] = cap
    return caps


def _rows(path: Path, column: str) -> Iterator[tuple[int, str, str, int]]:
    line = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            line = reader.line_num
            if len(header) > MAX_COLUMNS:
                raise NettingError(f"{path}, line 1: {len(header)} columns, at most {MAX_COLUMNS}: is this a table?")
            unit = next((unit for unit in _UNITS if column + unit in header), None)
            if unit is None or not {"debtor", "creditor"} <= set(header):
                raise NettingError(
                    f"{path}, line 1: the header is {','.join(header)[:200]!r}: write debtor,creditor,{column} (SDRt) "
                    f"or debtor,creditor,{column}_usdr (whole micro-SDRt)"
                )
            parse, amount_name = _UNITS[unit], column + unit
            of_debtor, of_creditor, of_amount = (header.index(n) for n in ("debtor", "creditor", amount_name))
            for row in reader:
                line = reader.line_num
                if not row:
                    continue
                if len(row) != len(header):
                    raise NettingError(f"{path}, line {line}: {len(row)} columns, the header has {len(header)}")
                debtor, creditor = _name(row[of_debtor], "debtor"), _name(row[of_creditor], "creditor")
                if debtor == creditor:
                    raise MoneyError(f"debtor and creditor are both {debtor!r}: a debt is between two")
                try:
                    amount = parse(row[of_amount])
                except MoneyError as error:
                    raise MoneyError(f"{amount_name}: {error}") from None
                yield line, debtor, creditor, amount
                if line > MAX_DEBTS:
                    raise NettingError(f"{path} has more than {MAX_DEBTS} rows: net them in several parts")
    except MoneyError as error:
        raise NettingError(f"{path}, line {line}: {error}") from None
    except OSError as error:
        raise NettingError(f"{path} cannot be read ({error.strerror}): name an existing CSV file") from None
    except UnicodeDecodeError:
        raise NettingError(f"{path}, {tell_undecodable(path)}") from None
    except csv.Error as error:
        raise NettingError(f"{path}, after line {line}: no CSV ({error}): check quotes and separators") from None


def _name(text: str, column: str) -> str:
    name = text.strip()
    if not 1 <= len(name) <= MAX_NAME:
        raise MoneyError(f"{column} is {name[:80]!r}: an operator's name has 1 to {MAX_NAME} characters")
    if not name.isprintable():
        raise MoneyError(f"{column} is {name!r}: an operator's name has no control characters")
    return name


def _whole(text: str) -> int:
    if not (text.strip().isascii() and text.strip().isdecimal() and len(text.strip()) <= 16):
        raise MoneyError(f"{text[:80]!r} is no whole number of micro-SDRt")
    return int(text)
