"""Card application toolkit: what the card asks of the phone (ETSI TS 102 223, 3GPP TS 31.111).

The phone says with TERMINAL PROFILE what it can do (`Toolkit.begin`). The card puts a `Proactive` into its `Toolkit`;
the next normal ending becomes `91xx`, the phone FETCHes it, does it, and sends a TERMINAL RESPONSE, which
`Toolkit.respond` matches and decodes. One command is with the phone at a time; what the phone cannot do is not asked
for. The queue lives in the card's working memory: a reset empties it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import IntEnum

import msgspec

from ota.scp80.digits import pack_address
from simcard.uicc.apdu import StatusError, Sw
from simcard.uicc.coding import encode_name
from simcard.uicc.files import tlv

# A phone that never fetches must not fill the card's memory.
MAX_WAITING = 16


class Kind(IntEnum):
    """Type of command (TS 102 223 §9.4)."""

    REFRESH = 0x01
    SET_UP_EVENT_LIST = 0x05
    SEND_SHORT_MESSAGE = 0x13
    DISPLAY_TEXT = 0x21
    SELECT_ITEM = 0x24
    SET_UP_MENU = 0x25
    PROVIDE_LOCAL_INFORMATION = 0x26
    TIMER_MANAGEMENT = 0x27


# Where TERMINAL PROFILE says that the phone can do it (TS 102 223 §5.2): octet from 0, bit from 0.
_FACILITIES = {
    Kind.REFRESH: (2, 7),
    Kind.SET_UP_EVENT_LIST: (4, 0),
    Kind.SEND_SHORT_MESSAGE: (3, 1),
    Kind.DISPLAY_TEXT: (2, 0),
    Kind.SELECT_ITEM: (3, 0),
    Kind.SET_UP_MENU: (3, 5),
    Kind.PROVIDE_LOCAL_INFORMATION: (3, 6),
    Kind.TIMER_MANAGEMENT: (7, 0),
}


class Tag(IntEnum):
    """COMPREHENSION-TLV tags without the comprehension bit (TS 102 223 §9.3)."""

    COMMAND_DETAILS = 0x01
    DEVICE_IDENTITIES = 0x02
    RESULT = 0x03
    ALPHA_IDENTIFIER = 0x05
    ADDRESS = 0x06
    SMS_TPDU = 0x0B
    TEXT_STRING = 0x0D
    ITEM = 0x0F
    ITEM_IDENTIFIER = 0x10
    FILE_LIST = 0x12
    LOCATION_INFORMATION = 0x13
    EVENT_LIST = 0x19
    LOCATION_STATUS = 0x1B
    TIMER_IDENTIFIER = 0x24
    TIMER_VALUE = 0x25


PROACTIVE = 0xD0
SMS_PP_DOWNLOAD, MENU_SELECTION, EVENT_DOWNLOAD, TIMER_EXPIRATION = 0xD1, 0xD3, 0xD6, 0xD7
CARD, DISPLAY, PHONE, NETWORK = 0x81, 0x02, 0x82, 0x83

# Modes of REFRESH and kinds of local information (TS 102 223 §8.6).
UICC_RESET = 0x04
LOCATION = 0x00
LOCATION_STATUS_EVENT = 0x03
START_TIMER = 0x00
# DISPLAY TEXT: normal priority, cleared by the phone after a while.
BRIEFLY = 0x00
# Coding of text strings (TS 102 223 §8.15): 8-bit default alphabet, UCS2.
DCS_8BIT, DCS_UCS2 = 0x04, 0x08
# An alpha identifier or item longer than this has no room on any display.
TEXT_MAX = 64
# 91XX tells lengths up to 255: tag and length of the command, details and device identities take 12 of them.
BODY_MAX = 255 - 12
# Tag, length and identifier of an item.
ITEM_HEAD = 3

# General results (TS 102 223 §8.12): 0x is "performed", in one way or another; 06 with limited service.
PERFORMED = 0x00
LIMITED_SERVICE = 0x06
NOT_NOW = 0x20
BEYOND_ME = 0x30


class Proactive(msgspec.Struct, frozen=True):
    """A proactive command to the phone: its kind, qualifier, whom it is for, and further TLVs."""

    kind: Kind
    qualifier: int = 0
    to: int = PHONE
    body: bytes = b""

    def encode(self, number: int) -> bytes:
        """The BER-TLV that FETCH returns."""
        details = tlv(0x80 | Tag.COMMAND_DETAILS, bytes((number, self.kind, self.qualifier)))
        return tlv(PROACTIVE, details + tlv(0x80 | Tag.DEVICE_IDENTITIES, bytes((CARD, self.to))) + self.body)


def refresh() -> Proactive:
    """REFRESH by UICC reset: the one mode every phone obeys when EF.IMSI has changed (TS 31.111 §6.4.7.1)."""
    return Proactive(Kind.REFRESH, UICC_RESET)


def provide_location() -> Proactive:
    """PROVIDE LOCAL INFORMATION: MCC, MNC, LAC and cell."""
    return Proactive(Kind.PROVIDE_LOCAL_INFORMATION, LOCATION)


def send_short_message(submit_tpdu: bytes, service_centre: str) -> Proactive:
    """SEND SHORT MESSAGE with an SMS-SUBMIT TPDU, by the service centre that EF.SMSP names too (TS 31.111 §6.6.9)."""
    address = tlv(0x80 | Tag.ADDRESS, pack_address(service_centre))
    return Proactive(Kind.SEND_SHORT_MESSAGE, 0, NETWORK, address + tlv(0x80 | Tag.SMS_TPDU, submit_tpdu))


def set_up_menu(title: str, items: dict[int, str]) -> Proactive:
    """SET UP MENU: entries of the SIM's menu by identifier, 1 to 255; without any the menu goes (TS 102 223 §6.4.8)."""
    head = _alpha(title)
    entries = _items(items, beside=len(head)) or tlv(0x80 | Tag.ITEM, b"")
    return Proactive(Kind.SET_UP_MENU, 0, PHONE, head + entries)


def select_item(title: str, items: dict[int, str], default: int) -> Proactive:
    """SELECT ITEM: the person chooses one; `default` is marked."""
    head, mark = _alpha(title), tlv(0x80 | Tag.ITEM_IDENTIFIER, bytes((default,)))
    return Proactive(Kind.SELECT_ITEM, 0, PHONE, head + _items(items, beside=len(head) + len(mark)) + mark)


def display_text(text: str) -> Proactive:
    """DISPLAY TEXT for a moment."""
    name = encode_name(text, 2 * TEXT_MAX + 1)
    coded = bytes((DCS_UCS2,)) + name[1:] if name[:1] == b"\x80" else bytes((DCS_8BIT,)) + name
    return Proactive(Kind.DISPLAY_TEXT, BRIEFLY, DISPLAY, tlv(0x80 | Tag.TEXT_STRING, coded))


def set_up_event_list(*events: int) -> Proactive:
    """SET UP EVENT LIST: what the phone shall tell by itself."""
    return Proactive(Kind.SET_UP_EVENT_LIST, 0, PHONE, tlv(0x80 | Tag.EVENT_LIST, bytes(events)))


def start_timer(number: int, seconds: int) -> Proactive:
    """TIMER MANAGEMENT: start timer `number` (1 to 8), up to 24 hours."""
    clock = (seconds // 3600, seconds // 60 % 60, seconds % 60)
    value = bytes((part % 10) << 4 | part // 10 for part in clock)
    return Proactive(
        Kind.TIMER_MANAGEMENT,
        START_TIMER,
        PHONE,
        tlv(0x80 | Tag.TIMER_IDENTIFIER, bytes((number,))) + tlv(0x80 | Tag.TIMER_VALUE, value),
    )


def _alpha(text: str) -> bytes:
    return tlv(0x80 | Tag.ALPHA_IDENTIFIER, encode_name(text, TEXT_MAX))


def _items(items: dict[int, str], *, beside: int) -> bytes:
    """The entries, as long as all of them fit into one command with `beside` other octets."""
    room = (BODY_MAX - beside) // max(len(items), 1) - ITEM_HEAD
    return b"".join(
        tlv(0x80 | Tag.ITEM, bytes((identifier,)) + encode_name(text, min(room, TEXT_MAX)))
        for identifier, text in items.items()
    )


class Answered(msgspec.Struct, frozen=True):
    """A TERMINAL RESPONSE: the command it answers, its general result, and its TLVs by tag (comprehension bit off)."""

    command: Proactive
    result: int
    fields: dict[int, bytes]


class Toolkit:
    """The queue of proactive commands of one card session."""

    def __init__(self) -> None:
        self._waiting: deque[Proactive] = deque()
        self._number = 0
        self._with_phone: Proactive | None = None
        self._profile = b""

    def begin(self, terminal_profile: bytes) -> None:
        """The phone can do what `terminal_profile` says; before that no proactive command is announced."""
        self._profile = terminal_profile

    def offers(self, kind: Kind) -> bool:
        """Whether the phone does this command."""
        octet, bit = _FACILITIES[kind]
        return octet < len(self._profile) and bool(self._profile[octet] >> bit & 1)

    def put(self, command: Proactive) -> None:
        """Queue a command; one the phone does not do, or a second of the same content while it waits, is dropped.

        REFRESH is always put: every phone with a toolkit resets, and a card whose IMSI has changed must be.
        """
        if self._profile and command.kind is not Kind.REFRESH and not self.offers(command.kind):
            return
        if command not in self._waiting and command != self._with_phone and len(self._waiting) < MAX_WAITING:
            self._waiting.append(command)

    def ending(self) -> int:
        """Status word of a normal ending: 9000, or 91xx with the length of the command that waits."""
        if not self._profile or self._with_phone is not None or not self._waiting:
            return Sw.OK
        return Sw.PROACTIVE | len(self._waiting[0].encode(self._next_number()))

    def fetch(self, length: int) -> bytes:
        """Hand out the next command; `StatusError` 6CXX for another length, 6985 when none waits."""
        if not self._waiting or self._with_phone is not None:
            raise StatusError(Sw.CONDITIONS_NOT_SATISFIED)
        number = self._next_number()
        raw = self._waiting[0].encode(number)
        if length != len(raw):
            raise StatusError(Sw.WRONG_LE | len(raw))
        self._with_phone, self._number = self._waiting.popleft(), number
        return raw

    def respond(self, data: bytes) -> Answered:
        """Match a TERMINAL RESPONSE with the command fetched; `StatusError(6A80)` when it answers something else."""
        fields = dict(read_comprehension_tlvs(data))
        details, result = fields.get(Tag.COMMAND_DETAILS, b""), fields.get(Tag.RESULT, b"")
        command = self._with_phone
        if command is None:
            raise StatusError(Sw.CONDITIONS_NOT_SATISFIED)
        if details != bytes((self._number, command.kind, command.qualifier)) or not result:
            raise StatusError(Sw.WRONG_DATA)
        self._with_phone = None
        return Answered(command, result[0], fields)

    def _next_number(self) -> int:
        return self._number % 0xFE + 1


def read_comprehension_tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag without comprehension bit, value) of each TLV in order; `StatusError(6A80)` when lengths disagree."""
    at = 0
    while at < len(data):
        tag = data[at] & 0x7F
        length, start = _read_length(data, at + 1)
        if start + length > len(data):
            raise StatusError(Sw.WRONG_DATA)
        yield tag, data[start : start + length]
        at = start + length


def open_ber_tlv(data: bytes) -> tuple[int, bytes]:
    """Tag and value of the one BER-TLV that `data` must be, as in ENVELOPE and FETCH; else `StatusError(6A80)`."""
    if not data:
        raise StatusError(Sw.WRONG_DATA)
    length, start = _read_length(data, 1)
    if start + length != len(data):
        raise StatusError(Sw.WRONG_DATA)
    return data[0], data[start:]


def _read_length(data: bytes, at: int) -> tuple[int, int]:
    """Length and where the value starts: one octet below 80, or 81 and one octet (TS 102 223 annex C)."""
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1
    if at + 1 < len(data) and data[at] == 0x81:
        return data[at + 1], at + 2
    raise StatusError(Sw.WRONG_DATA)
