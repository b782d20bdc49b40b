"""The card in a modem, by AT+CSIM (3GPP TS 27.007 §8.17), as osmocom pySim's `--modem-device` has it.

The modem keeps the card powered and talks to it meanwhile, so that files may change under one's hands, a reset of the
card is out of reach, and its ATR is not told: the card passes for one of no known kind. What a modem answers besides
(its echo, unsolicited codes) is passed over.
"""

from __future__ import annotations

import os
import re
import select
import termios
import time
import tty
from pathlib import Path

from simcard.readers.contract import Link, LinkError

BAUD = 115200
# A card may take a second for one command, and a modem ends its own first.
ANSWER_S = 15.0
# The longest answer is 256 octets and the status word, in hex; more without an end is no modem.
LINE_BYTES_MAX = 4096

_ANSWER = re.compile(rb'\+CSIM:\s*(\d+)\s*,\s*"?([0-9A-Fa-f]*)"?')
_FINAL = re.compile(rb"^(OK|ERROR|\+CM[ES] ERROR.*)\s*$", re.MULTILINE)


class ModemLink(Link):
    """A modem at a serial line, such as /dev/ttyUSB2. `LinkError` for a line that is none or a modem that is silent."""

    def __init__(self, device: Path, baud: int = BAUD) -> None:
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise LinkError(f"{baud} baud is not a speed of serial lines; try {BAUD}")
        self._device, self._speed = device, speed
        self._line: int | None = None

    def wait_for_card(self, timeout: float | None = None, newcardonly: bool = False) -> None:
        """A modem does not tell of cards put in or taken out: `connect` says whether there is one."""
        if newcardonly:
            raise LinkError("a modem does not tell when a card is changed; use a card reader for batches")

    def connect(self) -> None:
        """Open the line and see that a modem answers."""
        self.disconnect()
        try:
            self._line = os.open(self._device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            tty.setraw(self._line)
            settings = termios.tcgetattr(self._line)
            settings[4] = settings[5] = self._speed
            termios.tcsetattr(self._line, termios.TCSANOW, settings)
        except (OSError, termios.error) as error:
            self.disconnect()
            raise LinkError(f"{self._device} is no serial line that can be used: {error}") from None
        self._ask("ATE0")

    def disconnect(self) -> None:
        """Close the line."""
        if self._line is not None:
            os.close(self._line)
            self._line = None

    def get_atr(self) -> str:
        """Empty: a modem does not tell it."""
        return ""

    def reset_card(self) -> str:
        """Back to the MF: the card itself is not reset. Empty, as `get_atr`."""
        self.send_apdu("00a40004023f00")
        return ""

    def send_tpdu(self, pdu: str) -> tuple[str, str]:
        """One AT+CSIM; `LinkError` where the modem refuses it."""
        told = self._ask(f'AT+CSIM={len(pdu)},"{pdu.upper()}"')
        found = _ANSWER.search(told)
        if found is None or len(found[2]) < 4 or len(found[2]) != int(found[1]):
            raise LinkError(f"the modem at {self._device} did not answer with the card's words: {_shown(told)}")
        answer = found[2].decode().lower()
        return answer[:-4], answer[-4:]

    def _ask(self, command: str) -> bytes:
        """What the modem says up to its final OK."""
        if self._line is None:
            raise LinkError("the modem is not connected: call connect() first")
        told, until = b"", time.monotonic() + ANSWER_S
        try:
            os.write(self._line, command.encode() + b"\r")
            while (final := _FINAL.search(told)) is None:
                ready, _, _ = select.select([self._line], [], [], max(0.0, until - time.monotonic()))
                if not ready or len(told) > LINE_BYTES_MAX:
                    raise LinkError(f"the modem at {self._device} gave no answer to {command[:7]}: {_shown(told)}")
                told += os.read(self._line, 1024)
        except OSError as error:
            raise LinkError(f"the line {self._device} broke: {error}") from None
        if final[1] != b"OK":
            raise LinkError(f"the modem at {self._device} refuses {command[:7]}: {final[1].decode(errors='replace')}")
        return told


def _shown(told: bytes) -> str:
    return repr(told[-80:].decode(errors="replace")) if told else "nothing"
