"""A software card in this process behind the link contract."""

from __future__ import annotations

from simcard.readers.contract import Link, LinkError
from simcard.uicc.card import Card


class MemoryLink(Link):
    """The reader of one in-process card. Commands before `connect` are a `LinkError`, as with a real reader."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._atr: bytes | None = None

    def wait_for_card(self, timeout: float | None = None, newcardonly: bool = False) -> None:
        """The card is always there; there is never a new one."""
        if newcardonly:
            raise LinkError("an in-process reader holds one card for good; open another link for another card")

    def connect(self) -> None:
        """Power the card."""
        self._atr = self._card.reset()

    def disconnect(self) -> None:
        """Power off."""
        self._atr = None

    def get_atr(self) -> str:
        """The ATR of the last reset, in hex."""
        return self._powered().hex()

    def reset_card(self) -> str:
        """Reset the card; the ATR in hex."""
        self._powered()
        self._atr = self._card.reset()
        return self._atr.hex()

    def send_tpdu(self, pdu: str) -> tuple[str, str]:
        """Hand the bytes to the card; `LinkError` when `pdu` is not hex."""
        self._powered()
        try:
            raw = bytes.fromhex(pdu)
        except ValueError:
            raise LinkError(f"{pdu!r} is not hex") from None
        answer = self._card.transmit(raw).hex()
        return answer[:-4], answer[-4:]

    def _powered(self) -> bytes:
        if self._atr is None:
            raise LinkError("the card is not powered: call connect() first")
        return self._atr
