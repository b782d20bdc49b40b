"""A card in a modem: AT+CSIM over a pseudo-terminal, with a software card at its other end."""

from __future__ import annotations

import os
import re
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from landfall.errors import LandfallError
from ota.profile import MobileProfile
from simcard.personalisation import Personalisation
from simcard.provisioning import provision_card
from simcard.readers import LinkError, LinkOptions, ModemLink, open_link
from simcard.reading import read_card
from simcard.uicc import personalise

ICCID, ADM = "8999900000000000011", "12345678"
HOME = MobileProfile(
    imsi="250990000000001",
    k=bytes(16),
    opc=bytes(16),
    plmn="25099",
    spn="Home",
    acc=2,
    smsc="+79990000000",
    coverage=(),
)


class Modem:
    """The modem's side: echoes until told not to, says unsolicited things, and knows AT+CSIM."""

    def __init__(self) -> None:
        self.card = personalise(iccid=ICCID, home=HOME, ota=[], adm=ADM)
        self._ours, theirs = os.openpty()
        tty.setraw(theirs)
        self._theirs, self.device, self.refuses = theirs, Path(os.ttyname(theirs)), False
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        os.close(self._theirs)

    def _run(self) -> None:
        heard, echo = b"", True
        while True:
            try:
                heard += os.read(self._ours, 1024)
            except OSError:
                return
            while b"\r" in heard:
                line, heard = heard.split(b"\r", 1)
                said = line + b"\r" if echo else b""
                echo = echo and line != b"ATE0"
                os.write(self._ours, said + b"\r\n+CREG: 1\r\n" + self._answer(line))

    def _answer(self, line: bytes) -> bytes:
        asked = re.fullmatch(rb'AT\+CSIM=(\d+),"([0-9A-F]*)"', line)
        if asked is None or self.refuses:
            return b"\r\nOK\r\n" if line.startswith(b"ATE") else b"\r\n+CME ERROR: SIM not inserted\r\n"
        assert len(asked[2]) == int(asked[1])
        answer = self.card.transmit(bytes.fromhex(asked[2].decode())).hex().upper().encode()
        return b'\r\n+CSIM: %d,"%s"\r\n\r\nOK\r\n' % (len(answer), answer)


@pytest.fixture
def modem() -> Iterator[Modem]:
    modem = Modem()
    yield modem
    modem.close()


def test_a_card_in_a_modem_is_read_and_provisioned(modem: Modem) -> None:
    with open_link(LinkOptions(modem_device=modem.device)) as link:
        card = read_card(link)
        assert (card.iccid, card.imsi, card.spn, card.kind) == (ICCID, HOME.imsi, "Home", "landfall")
        outcome = provision_card(link, Personalisation(iccid=ICCID, adm=ADM, spn="Lab"))
        assert outcome.result == "provisioned"
        assert read_card(link).spn == "Lab"


def test_a_modem_without_a_card_says_so(modem: Modem) -> None:
    modem.refuses = True
    link = ModemLink(modem.device)
    link.connect()
    with pytest.raises(LinkError, match=r"refuses AT\+CSIM: \+CME ERROR: SIM not inserted"):
        link.send_apdu("00a40004023f00")
    link.disconnect()


@pytest.mark.parametrize(
    ("device", "baud", "told"),
    [
        ("/dev/null", 115200, "no serial line"),
        ("/dev/nowhere", 115200, "no serial line"),
        ("/dev/null", 1234, "not a speed"),
    ],
)
def test_a_line_that_is_none_is_told(device: str, baud: int, told: str) -> None:
    with pytest.raises(LandfallError, match=told):
        ModemLink(Path(device), baud).connect()
