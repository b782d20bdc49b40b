"""A batch is cards or a clear error, whatever the bytes; and what is written as CSV is read back."""

from __future__ import annotations

import csv
import io
import string
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from simcard.personalisation import Personalisation
from simcard.provisioning_batch import COLUMNS, BatchError, parse_csv, read_batch

digits = st.text(string.digits, min_size=6, max_size=15)
numbers = digits.map(lambda text: "+" + text)
keys = st.binary(min_size=16, max_size=16)
cards = st.builds(
    Personalisation,
    iccid=st.text(string.digits, min_size=18, max_size=20),
    imsi=st.none() | digits,
    adm=st.none() | st.text(string.digits, min_size=4, max_size=8),
    acc=st.none() | st.integers(0, 0xFFFF),
    msisdn=st.none() | numbers,
    smsc=st.none() | numbers,
    spn=st.none() | st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=16),
) | st.builds(Personalisation, iccid=st.text(string.digits, min_size=18, max_size=20), k=keys, opc=keys)


def written(batch: list[Personalisation], delimiter: str) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    rows.writerow(["ICCID", "IMSI", "K", "OPC", "ADM", "ACC", "MSISDN", "SMSC", "SPN"])
    for card in batch:
        acc = None if card.acc is None else f"{card.acc:04X}"
        k, opc = (None if key is None else key.hex() for key in (card.k, card.opc))
        rows.writerow([card.iccid, card.imsi, k, opc, card.adm, acc, card.msisdn, card.smsc, card.spn])
    return text.getvalue().encode()


def outcome(content: bytes) -> str:
    """What is told: `cards.csv` and the number of cards, or the error."""
    try:
        return f"cards.csv: {len(parse_csv('cards.csv', content))} cards"
    except BatchError as error:
        return str(error)


@given(
    st.lists(cards, min_size=1, max_size=5, unique_by=(lambda c: c.iccid, lambda c: c.imsi or c.iccid)),
    st.sampled_from(",;\t"),
)
def test_cards_written_as_csv_are_read_back(batch: list[Personalisation], delimiter: str) -> None:
    assert parse_csv("cards.csv", written(batch, delimiter)) == batch


@given(st.binary(max_size=400))
def test_any_bytes_are_cards_or_a_clear_error(content: bytes) -> None:
    assert outcome(content).startswith("cards.csv")


@given(
    st.lists(st.sampled_from([*COLUMNS, "KIC1", "KID1", "PIN1"]), unique=True),
    st.lists(st.lists(st.text(max_size=40) | st.sampled_from(["8999900000000000011", "11" * 16]), max_size=8)),
)
def test_any_cells_are_cards_or_a_clear_error(headings: list[str], rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([headings, *rows])
    assert outcome(text.getvalue().encode("utf-8", "replace")).startswith("cards.csv")


def _workbook() -> bytes:
    book, file = Workbook(write_only=True), io.BytesIO()
    sheet = book.create_sheet()
    sheet.append(["ICCID", "IMSI", "SPN"])
    sheet.append(["8999900000000000011", "250990000000001", "Home"])
    book.save(file)
    return file.getvalue()


WORKBOOK = _workbook()


@given(st.lists(st.tuples(st.integers(0, len(WORKBOOK) - 1), st.integers(0, 255)), max_size=12), st.integers(0, 400))
def test_a_damaged_workbook_is_cards_or_a_clear_error(damage: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(WORKBOOK)
    for at, byte in damage:
        content[at] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cards.xlsx"
        path.write_bytes(content[: len(content) - cut] if cut > 200 else content)
        try:
            told = f"cards.xlsx: {len(read_batch(path))} cards"
        except BatchError as error:
            told = str(error)
    assert "cards.xlsx" in told
