"""What a person sees of the SIM on a phone: its menu, a text, a list to choose from (ETSI TS 102 223 §6.4)."""

from __future__ import annotations

from ota.scp80.tlv import encode_tlv
from simcard.uicc.coding import decode_name
from simcard.uicc.toolkit import DCS_UCS2, PERFORMED, Kind, Tag, read_comprehension_tlvs

ENDED_BY_PERSON, BEYOND_CAPABILITIES = 0x10, 0x30


class Screen:
    """`menu` has its entries by identifier, `displayed` is the last text, `wish` what the person will choose."""

    def __init__(self) -> None:
        self.menu: dict[int, str] = {}
        self.displayed = ""
        self.wish: str | None = None

    def find(self, entry: str) -> int:
        """Identifier of a menu's entry; `KeyError` when there is none of that text."""
        return {text: number for number, text in self.menu.items()}[entry]

    def show(self, kind: int, fields: dict[int, bytes], body: bytes) -> tuple[int, bytes]:
        """Do one command: general result and further TLVs for the TERMINAL RESPONSE."""
        # An empty item takes the menu away (TS 102 223 §6.4.8).
        entries = (value for tag, value in read_comprehension_tlvs(body) if tag == Tag.ITEM and value)
        items = {value[0]: decode_name(value[1:]) for value in entries}
        if kind == Kind.SET_UP_MENU:
            self.menu = items
            return PERFORMED, b""
        if kind == Kind.DISPLAY_TEXT:
            coding, coded = fields[Tag.TEXT_STRING][0], fields[Tag.TEXT_STRING][1:]
            self.displayed = coded.decode("utf-16-be") if coding == DCS_UCS2 else decode_name(coded)
            return PERFORMED, b""
        if kind == Kind.SELECT_ITEM:
            for number, text in items.items():
                if text == self.wish:
                    return PERFORMED, encode_tlv(0x80 | Tag.ITEM_IDENTIFIER, bytes((number,)))
            return ENDED_BY_PERSON, b""
        return BEYOND_CAPABILITIES, b""
