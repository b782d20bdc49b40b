"""Cards in PC/SC readers, through pyscard, which is imported when a reader is first asked for.

pyscard is the extra `landfall[pcsc]`; it talks to the system's `pcscd`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from landfall.errors import LandfallError
from simcard.readers.contract import Link, LinkError

# Between looks for a card: quick to a person's hand, nothing to the processor.
LOOK_EVERY_S = 0.2
MISSING_EXTRA = (
    "PC/SC readers need pyscard, which is not installed: apt-get install libpcsclite-dev swig gcc pcscd, "
    "then pip install 'landfall[pcsc]'"
)


def list_readers() -> list[str]:
    """Names of the readers, in the order of their numbers; `LinkError` without pyscard or pcscd."""
    return [str(reader) for reader in _readers()]


class PcscLink(Link):
    """One reader: by its number, or the first whose name matches `regex`. `shared` lets others use the card too.

    Raises `LinkError` when there is no such reader.
    """

    def __init__(self, device: int | None = None, *, regex: str | None = None, shared: bool = False) -> None:
        self._reader = _choose(_readers(), device, regex)
        self._shared = shared
        self._connection: Any = None

    @property
    def name(self) -> str:
        """The reader's name."""
        return str(self._reader)

    def wait_for_card(self, timeout: float | None = None, newcardonly: bool = False) -> None:
        """Return when a card is in the reader; `newcardonly` waits until the present one was taken out first."""
        deadline = None if timeout is None else time.monotonic() + timeout
        fresh = not newcardonly
        while not (self._has_card() and fresh):
            fresh = fresh or not self._has_card()
            if deadline is not None and time.monotonic() > deadline:
                raise LinkError(f"no card was put into {self.name} within {timeout:g} s")
            time.sleep(LOOK_EVERY_S)

    def connect(self) -> None:
        """Power the card and, unless `shared`, keep other programs from it."""
        self.disconnect()
        connection = self._reader.createConnection()
        self._power(connection.connect)
        self._connection = connection

    def disconnect(self) -> None:
        """Power off and let the card go; nothing when it is not held."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            connection.release()

    def get_atr(self) -> str:
        """The ATR, in hex."""
        return bytes(self._held().getATR()).hex()

    def reset_card(self) -> str:
        """Power off and on without letting the card go; the ATR in hex."""
        self._power(self._held().reconnect)
        return self.get_atr()

    def send_tpdu(self, pdu: str) -> tuple[str, str]:
        """One exchange; `LinkError` when `pdu` is not hex or the card was pulled."""
        try:
            raw = bytes.fromhex(pdu)
        except ValueError:
            raise LinkError(f"{pdu!r} is not hex") from None
        exceptions = _import("smartcard.Exceptions")
        try:
            data, sw1, sw2 = self._held().transmit(list(raw))
        except exceptions.SmartcardException as error:
            raise LinkError(f"{self.name}: {error}; was the card pulled out?") from None
        return bytes(data).hex(), f"{sw1:02x}{sw2:02x}"

    def _power(self, start: Callable[..., None]) -> None:
        scard, exceptions = _import("smartcard.scard"), _import("smartcard.Exceptions")
        mode = scard.SCARD_SHARE_SHARED if self._shared else scard.SCARD_SHARE_EXCLUSIVE
        protocol = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        try:
            start(protocol=protocol, mode=mode, disposition=scard.SCARD_UNPOWER_CARD)
        except exceptions.NoCardException:
            raise LinkError(f"there is no card in {self.name}") from None
        except exceptions.SmartcardException as error:
            raise LinkError(f"{self.name}: {error}; another program may hold the card (try --pcsc-shared)") from None

    def _held(self) -> Any:
        if self._connection is None:
            raise LinkError("the card is not powered: call connect() first")
        return self._connection

    def _has_card(self) -> bool:
        scard, exceptions = _import("smartcard.scard"), _import("smartcard.Exceptions")
        connection = self._reader.createConnection()
        try:
            connection.connect(mode=scard.SCARD_SHARE_SHARED, disposition=scard.SCARD_LEAVE_CARD)
        except exceptions.NoCardException:
            return False
        except exceptions.SmartcardException:
            return True  # there, and in somebody's hands: `connect` says so
        connection.disconnect()
        connection.release()
        return True


def _choose(readers: list[Any], device: int | None, regex: str | None) -> Any:
    names = ", ".join(f"{number}: {reader}" for number, reader in enumerate(readers)) or "none"
    if regex is not None:
        try:
            pattern = re.compile(regex)
        except re.error as error:
            raise LinkError(f"--pcsc-regex {regex!r} is not a regular expression: {error}") from None
        for reader in readers:
            if pattern.search(str(reader)):
                return reader
        raise LinkError(f"no reader's name matches {regex!r}; there are {names}")
    if device is None or not 0 <= device < len(readers):
        raise LinkError(f"there is no reader {device}; there are {names}")
    return readers[device]


def _readers() -> list[Any]:
    system, exceptions = _import("smartcard.System"), _import("smartcard.pcsc.PCSCExceptions")
    try:
        return list(system.readers())
    except exceptions.EstablishContextException as error:
        raise LinkError(f"the PC/SC service does not answer ({error}); is pcscd running?") from None


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise LandfallError(f"{MISSING_EXTRA} ({error})") from None
