"""Batches of cards from CSV and XLSX: what is read, and how a mistake is told."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from openpyxl import Workbook

from ota.scp80.parameters import CipherAlgorithm
from simcard.provisioning_batch import ROWS_MAX, BatchError, parse_csv, read_batch

K, OPC = "465b5ce8b199b49faa5f0a2ee238a6bc", "cd63cb71954a9f4e48a5994e37a02baf"
OP = "cdc202d5123e20f62b6d676ac72cb318"
ICCID, IMSI = "8999900000000000011", "250990000000001"
HEADER = "ICCID,IMSI,PLMN,Ki,OPC,ADM1,ACC,MSISDN,SMSC,SPN"
ROW = f"{ICCID},{IMSI},25099,{K},{OPC},12345678,0002,+79991234567,+79990000000,Дом"


def refuse(text: str) -> str:
    with pytest.raises(BatchError) as refused:
        parse_csv("cards.csv", text.encode())
    return str(refused.value)


def test_a_row_is_a_card() -> None:
    (card,) = parse_csv("cards.csv", f"\ufeff{HEADER}\r\n{ROW}\r\n\r\n".encode())
    assert (card.iccid, card.imsi, card.plmn, card.spn) == (ICCID, IMSI, "25099", "Дом")
    assert (card.k, card.opc, card.adm) == (bytes.fromhex(K), bytes.fromhex(OPC), "12345678")
    assert (card.access_class, card.msisdn, card.smsc) == (2, "+79991234567", "+79990000000")
    assert K not in repr(card)


def test_an_op_becomes_the_opc_of_the_standard_test_set() -> None:
    (card,) = parse_csv("cards.csv", f"iccid;k;op\n{ICCID};{K};{OP}".encode())
    assert card.opc == bytes.fromhex(OPC)


def test_a_manufacturers_file_gives_its_ota_key_sets() -> None:
    heading = "IMSI\tICCID\tACC\tPIN1\tPUK1\tPIN2\tPUK2\tKi\tOPC\tADM1\tKIC1\tKID1\tKIK1"
    row = f"{IMSI}\t{ICCID}\t0001\t1234\t12345678\t1\t2\t{K}\t{OPC}\t12345678\t{'11' * 16}\t{'22' * 16}\t{'33' * 16}"
    (card,) = parse_csv("cards.csv", f"{heading}\n{row}".encode())
    (keys,) = card.ota
    assert (keys.kic.key_index, keys.kic.algorithm, keys.kid_key) == (1, CipherAlgorithm.AES_CBC, b"\x22" * 16)
    (card,) = parse_csv("c.csv", f"ICCID,KIC2,KID2,OTA algorithm\n{ICCID},{'11' * 24},{'22' * 16},3DES".encode())
    assert card.ota[0].kic.algorithm == CipherAlgorithm.TRIPLE_DES_CBC3
    assert card.ota[0].kid.algorithm == CipherAlgorithm.TRIPLE_DES_CBC2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"ICCID,IMSI\n{ICCID},25O990", "cards.csv, row 2, column IMSI: '25O990' is not 6 to 15 digits"),
        (f"ICCID,ADM\n{ICCID},123", "row 2, column ADM: (hidden, 3 characters) is not 4 to 8 digits"),
        (f"ICCID,K\n{ICCID},{K[:-1]}", "column K: (hidden, 31 characters) is not 32 hex digits"),
        (f"ICCID,K\n{ICCID},{K}", "column OPC: (empty) goes with K"),
        (f"ICCID,K,OP,OPC\n{ICCID},{K},{OP},{OPC}", "stands beside an OPC"),
        (f"ICCID,IMSY\n{ICCID},1", "row 1, column 2: 'IMSY' is none of ICCID, IMSI"),
        (f"IMSI\n{IMSI}", "no column ICCID"),
        (f"ICCID,iccid\n{ICCID},1", "ICCID stands there twice"),
        (f"ICCID\n{ICCID}\n\n{ICCID}", f"row 4, column ICCID: '{ICCID}' stands in row 2 already"),
        (f"ICCID\n{ICCID},5", "column 2: (hidden, 1 characters) has no heading: the row has more cells than headings"),
        (f"ICCID,SMSC\n{ICCID},79990000000", "'79990000000' is not + and 5 to 15 digits"),
        (f"ICCID,KIC1\n{ICCID},{'1' * 32}", "column KID1: (empty) is missing"),
        (f"ICCID,SPN\n{ICCID},{'x' * 100}", "has more than 64 characters"),
        ("ICCID\n", "has no cards"),
        ("", "no column ICCID"),
        ('ICCID\n"89', "row 2"),
    ],
)
def test_a_mistake_is_told_with_file_row_column_and_value(text: str, told: str) -> None:
    assert told in refuse(text)
    assert K not in refuse(text)


def test_all_mistakes_are_told_at_once_but_not_thousands() -> None:
    told = refuse("ICCID\n" + "\n".join(f"x{n}" for n in range(500))).splitlines()
    assert len(told) == 21
    assert told[-1] == "… and 480 more"


def test_text_that_is_not_utf8_names_its_row() -> None:
    with pytest.raises(BatchError, match="row 2: not UTF-8"):
        parse_csv("cards.csv", b"ICCID,SPN\n8999900000000000011,D\xf6rf")


def workbook(path: Path, *rows: Sequence[object]) -> Path:
    book = Workbook()
    for row in rows:
        assert book.active is not None
        book.active.append(list(row))
    book.save(path)
    return path


def test_a_workbook_is_read_as_a_csv_is(tmp_path: Path) -> None:
    path = workbook(tmp_path / "cards.xlsx", HEADER.split(","), ROW.split(","), [None] * 10)
    assert read_batch(path) == parse_csv("cards.csv", f"{HEADER}\n{ROW}".encode())


def test_a_number_in_a_workbook_is_refused_for_what_it_lost(tmp_path: Path) -> None:
    path = workbook(tmp_path / "cards.xlsx", ["ICCID", "ADM"], [8999900000000000011, "12345678"], [ICCID, 12345678])
    with pytest.raises(BatchError) as refused:
        read_batch(path)
    assert "row 2, column ICCID: '8.9999e+18' is a number, not text" in str(refused.value)
    assert "row 3, column ADM: (hidden, 8 characters) is a number" in str(refused.value)


def test_a_stray_cell_far_below_ends_the_reading(tmp_path: Path) -> None:
    book = Workbook()
    assert book.active is not None
    book.active.append(["ICCID"])
    book.active.append([ICCID])
    book.active.cell(ROWS_MAX + 2, 1, "x")
    book.save(tmp_path / "cards.xlsx")
    with pytest.raises(BatchError, match="goes beyond row 100001"):
        read_batch(tmp_path / "cards.xlsx")


def test_more_cells_than_columns_may_be_are_told(tmp_path: Path) -> None:
    path = workbook(tmp_path / "cards.xlsx", ["ICCID"] + ["PIN1"] * 64)
    with pytest.raises(BatchError, match="more than 64 columns"):
        read_batch(path)


def test_bombs_and_strangers_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/worksheets/sheet1.xml", b" " * (8 << 20))
    with pytest.raises(BatchError, match="unpacks to 8388608 bytes"):
        read_batch(bomb)
    entities = tmp_path / "entities.xlsx"
    with zipfile.ZipFile(entities, "w") as parts:
        parts.writestr("xl/workbook.xml", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><x/>')
    with pytest.raises(BatchError, match="declares a document type"):
        read_batch(entities)
    crowd = tmp_path / "crowd.xlsx"
    with zipfile.ZipFile(crowd, "w") as parts:
        for number in range(201):
            parts.writestr(str(number), b"")
    with pytest.raises(BatchError, match="201 parts"):
        read_batch(crowd)
    (tmp_path / "text.xlsx").write_text("no zip")
    with pytest.raises(BatchError, match="is no XLSX"):
        read_batch(tmp_path / "text.xlsx")
    (tmp_path / "cards.ods").write_text("")
    with pytest.raises(BatchError, match=r"neither \.csv nor \.xlsx"):
        read_batch(tmp_path / "cards.ods")
    with pytest.raises(BatchError, match="No such file"):
        read_batch(tmp_path / "nothing.csv")
