"""The software card's side of the vpcd protocol, against a reader played on a loopback socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from ota.profile import MobileProfile
from simcard.readers import VpcdServer
from simcard.uicc import Card, personalise

HOME = MobileProfile(
    imsi="250990000000001",
    k=bytes(16),
    opc=bytes(16),
    plmn="25099",
    spn="Home",
    acc=1,
    smsc="+79990000000",
    coverage=(),
)


class Reader:
    """What vpcd does: listens, sends control bytes and APDUs."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.port: int = self.listener.getsockname()[1]

    def accept(self) -> None:
        self.stream, _ = self.listener.accept()
        self.stream.settimeout(10)

    def send(self, payload: bytes) -> None:
        self.stream.sendall(len(payload).to_bytes(2, "big") + payload)

    def ask(self, payload: bytes) -> bytes:
        self.send(payload)
        length = int.from_bytes(self._exactly(2), "big")
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.stream.recv(length - len(data))
            assert part, "the card hung up"
            data += part
        return data


@pytest.fixture
def card() -> Card:
    return personalise(iccid="8999900000000000011", home=HOME, ota=[], adm="12345678")


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.listener.close()


@pytest.fixture
def server(card: Card, reader: Reader) -> Iterator[VpcdServer]:
    server = VpcdServer(card.transmit, card.reset, port=reader.port)
    thread = threading.Thread(target=server.run)
    thread.start()
    reader.accept()
    yield server
    server.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_card_gives_its_atr_and_answers_apdus(server: VpcdServer, reader: Reader, card: Card) -> None:
    reader.send(b"\x01")
    assert reader.ask(b"\x04") == card.reset()
    status = reader.ask(bytes.fromhex("00a40004023f00"))
    assert status[0] == 0x61
    assert reader.ask(b"\x00\xc0\x00\x00" + status[1:])[0] == 0x62


def test_asking_for_the_atr_resets_nothing_and_a_reset_does(server: VpcdServer, reader: Reader) -> None:
    verify = bytes.fromhex("0020000a08") + b"12345678"
    assert reader.ask(verify) == b"\x90\x00"
    update = bytes.fromhex("00a4000c022fe2"), bytes.fromhex("00d600000a98") + b"\xff" * 9
    assert reader.ask(update[0]) == b"\x90\x00"
    reader.ask(b"\x04")
    assert reader.ask(update[1]) == b"\x90\x00"
    reader.send(b"\x02")
    assert reader.ask(update[0]) == b"\x90\x00"
    assert reader.ask(update[1]) == b"\x69\x82"


def test_nonsense_is_answered_with_a_status_word_or_not_at_all(server: VpcdServer, reader: Reader) -> None:
    assert reader.ask(b"\x00\xa4") == b"\x67\x00"
    reader.send(b"\x09")
    reader.send(b"")
    assert reader.ask(b"\xff" * 300) in (b"\x67\x00", b"\x6e\x00")


def test_a_reader_that_goes_away_finds_the_card_again(server: VpcdServer, reader: Reader, card: Card) -> None:
    reader.stream.close()
    reader.accept()
    assert reader.ask(b"\x04") == card.reset()


def test_another_atr_can_be_shown(card: Card, reader: Reader) -> None:
    server = VpcdServer(card.transmit, card.reset, port=reader.port, atr=b"\x3b\x00")
    thread = threading.Thread(target=server.run)
    thread.start()
    reader.accept()
    assert reader.ask(b"\x04") == b"\x3b\x00"
    server.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_card_waits_for_a_reader_and_can_be_stopped_meanwhile(card: Card, reader: Reader) -> None:
    reader.listener.close()
    server = VpcdServer(card.transmit, card.reset, port=reader.port)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert not server.connected.wait(0.2)
    server.stop()
    thread.join(10)
    assert not thread.is_alive()
