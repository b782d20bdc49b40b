"""The link contract: how a program reaches a card, the way osmocom pySim's links do, with hex strings.

    link.wait_for_card(); link.connect()
    atr = link.reset_card()
    data, sw = link.send_apdu("00B0000009")          # ("0829…", "9000")
    link.disconnect()

A reader implements the abstract methods; T=0's `61xx` and `6Cxx` are followed here, once for all readers. `91xx` is
left to the caller: only a phone knows what to do with a proactive command.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from landfall.errors import LandfallError

# A card that keeps answering 61xx or 6Cxx would hold the caller for ever; 8 rounds carry 2 KiB.
FOLLOW_MAX = 8


class LinkError(LandfallError):
    """The reader cannot do it: no card, no connection, a fault on the line."""


class CardFaultError(LandfallError):
    """The card answered with another status word than expected; `sw` is that word in hex."""

    def __init__(self, apdu: str, sw: str, expected: str) -> None:
        super().__init__(f"the card answered {sw} to {apdu[:8]}, expected {expected}")
        self.sw = sw


class Link(ABC):
    """One reader with one card."""

    @abstractmethod
    def wait_for_card(self, timeout: float | None = None, newcardonly: bool = False) -> None:
        """Return when a card is there; `LinkError` after `timeout` seconds. `newcardonly` waits for another one."""

    @abstractmethod
    def connect(self) -> None:
        """Power the card and take hold of it; `LinkError` when that fails."""

    @abstractmethod
    def disconnect(self) -> None:
        """Let the card go."""

    @abstractmethod
    def get_atr(self) -> str:
        """The answer to reset, in hex."""

    @abstractmethod
    def reset_card(self) -> str:
        """Reset the card; returns the ATR in hex."""

    @abstractmethod
    def send_tpdu(self, pdu: str) -> tuple[str, str]:
        """One exchange, nothing followed: data and status word in lower-case hex."""

    def send_apdu(self, pdu: str) -> tuple[str, str]:
        """One command with its whole answer: `6Cxx` is repeated with the right length, `61xx` fetched (TS 102 221)."""
        data, sw = self.send_tpdu(pdu)
        for _ in range(FOLLOW_MAX):
            if sw.startswith("6c"):
                pdu = pdu[:8] + sw[2:]
                data, sw = self.send_tpdu(pdu)
            elif sw.startswith(("61", "9f")):
                # A SIM of class A0 knows no other class (TS 51.011 §9.2).
                more, sw = self.send_tpdu(f"{'a0' if pdu[:2].lower() == 'a0' else '00'}c00000{sw[2:]}")
                data += more
            else:
                break
        return data, sw

    def send_apdu_checksw(self, pdu: str, sw: str = "9000") -> tuple[str, str]:
        """As `send_apdu`; `CardFaultError` unless the status word is `sw`, in which `?` stands for any digit."""
        data, got = self.send_apdu(pdu)
        if len(got) != len(sw) or any(e not in ("?", g) for g, e in zip(got, sw.lower(), strict=True)):
            raise CardFaultError(pdu, got, sw)
        return data, got
