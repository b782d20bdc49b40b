"""What we tell the network, taken by a real osmo-hlr: typed into its VTY, sent to its CTRL, put into its database."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simcard.personalisation import Personalisation
from simcard.provisioning_network import NetworkFormat, tell_network

# Ports of osmo-hlr are fixed; an address of our own keeps us apart from other tests.
ADDRESS, VTY, CTRL = "127.0.75.1", 4258, 4259
CONFIG = """line vty
 bind {address}
ctrl
 bind {address}
hlr
 database {database}
 gsup
  bind ip {address}
"""
CARDS = [
    Personalisation(
        iccid=f"8999900000000000{n:03d}",
        imsi=f"250990000000{n:03d}",
        k=bytes([n]) * 16,
        opc=bytes([n + 100]) * 16,
        msisdn=f"+7999000{n:04d}" if n else None,
    )
    for n in range(3)
]
CARDS += [
    Personalisation(
        iccid=f"89999000000000001{n:02d}", imsi=f"2509900000001{n:02d}", algorithm=algorithm, k=bytes([n]) * 16
    )
    for n, algorithm in enumerate(("comp128v1", "comp128v2", "comp128v3", "xor"))
]
EXPECTED = [
    (
        card.imsi,
        card.msisdn.removeprefix("+") if card.msisdn else None,
        card.algorithm,
        (card.k or b"").hex(),
        # XOR has no OPc, and osmo-hlr a column for one.
        None if card.algorithm.startswith("comp128") else (card.opc or bytes(16)).hex(),
    )
    for card in CARDS
]
# libosmocore's enum osmo_auth_algo.
ALGORITHMS = {1: "comp128v1", 2: "comp128v2", 3: "comp128v3", 4: "xor", 5: "milenage"}


def known(database: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT imsi, msisdn, coalesce(algo_id_3g, algo_id_2g), coalesce(k, ki), opc FROM subscriber "
            "LEFT JOIN auc_3g ON id = auc_3g.subscriber_id LEFT JOIN auc_2g ON id = auc_2g.subscriber_id ORDER BY imsi"
        ).fetchall()
    return [(imsi, msisdn, ALGORITHMS.get(algorithm), k, opc) for imsi, msisdn, algorithm, k, opc in rows]


@pytest.fixture
def database(tmp_path: Path, program: Callable[..., Path]) -> Path:
    database = tmp_path / "hlr.db"
    tool = program("osmo-hlr-db-tool", package="osmo-hlr")
    subprocess.run([tool, "-l", database, "create"], check=True, capture_output=True)
    return database


@pytest.fixture
def hlr(database: Path, tmp_path: Path, program: Callable[..., Path]) -> Iterator[Path]:
    """A running osmo-hlr; its database."""
    config = tmp_path / "osmo-hlr.cfg"
    config.write_text(CONFIG.format(address=ADDRESS, database=database))
    path = program("osmo-hlr", package="osmo-hlr")
    service = subprocess.Popen([path, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex((ADDRESS, CTRL)) == 0:
                    break
            time.sleep(0.1)
        yield database
    finally:
        service.terminate()
        service.wait(10)


def test_its_vty_takes_every_line(hlr: Path) -> None:
    with socket.create_connection((ADDRESS, VTY), 10) as vty:
        told = _until(vty, b"> ")
        for line in tell_network(CARDS, NetworkFormat.OSMO_HLR_VTY).splitlines():
            vty.sendall(line.encode() + b"\r\n")
            told += _until(vty, b"# ")
    assert b"%" not in told.replace(b"% Created subscriber", b"").replace(b"% Updated subscriber", b""), told
    assert known(hlr) == EXPECTED


def test_its_ctrl_takes_every_command(hlr: Path) -> None:
    with socket.create_connection((ADDRESS, CTRL), 10) as ctrl:
        for line in tell_network(CARDS, NetworkFormat.OSMO_HLR_CTRL).splitlines():
            # IPA: length of what follows the protocol, protocol OSMO, extension CTRL.
            ctrl.sendall((len(line) + 1).to_bytes(2, "big") + b"\xee\x00" + line.encode())
            answer = ctrl.recv(4096)[4:].decode()
            assert answer.startswith(f"SET_REPLY {line.split()[1]} "), (line, answer)
    assert known(hlr) == EXPECTED


def test_its_database_takes_the_sql_twice(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        for _ in range(2):
            connection.executescript(tell_network(CARDS, NetworkFormat.OSMO_HLR_SQL))
    assert known(database) == EXPECTED


def _until(vty: socket.socket, prompt: bytes) -> bytes:
    told = b""
    while not told.endswith(prompt):
        part = vty.recv(4096)
        assert part, told
        told += part
    return told
