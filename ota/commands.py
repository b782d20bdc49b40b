"""Commands to a card in words, as jobs and message templates have them, and the C-APDUs they stand for.

    orders = read_orders([{"do": "enable-slot", "slot": 2}])
    orders.apdus, orders.tar, orders.repeatable, orders.words

One packet goes to one application: the slots' (TAR of `ota.profile`), or the files' (remote file management, TS 102 226
clause 6). `do: apdu` is anything else, with `tar` and `apdu` in the words of `landfall ota packet`. All words but that
one leave the card the same if done twice, so an outcome that stays unknown may be settled by doing them again.
"""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ota.profile import (
    MULTI_ACCOUNT_TAR,
    SLOTS_MAX,
    SPN_CHARACTERS,
    delete_slot,
    enable_slot,
    list_slots,
)
from ota.scp80.key_management import ISD_TAR
from ota.scp80.parameters import ParameterError, ScpError
from ota.scp80.remote import join_commands, split_commands

RFM_UICC: Final = bytes.fromhex("B00000")
RFM_USIM: Final = bytes.fromhex("B00010")
"""TARs of remote file management: of the UICC's shared files, and of the first USIM (TS 101 220 annex D)."""
ADF_USIM: Final = "7fff"
EF_SPN: Final = "7fff6f46"
ORDERS_MAX: Final = 32
"""Commands of one packet that people write; the card's answer counts to 255."""
DATA_BYTES_MAX: Final = 255
"""Lc of a short APDU (ISO/IEC 7816-4)."""

ROTATE_KEYS: Final = {"do": "rotate-keys"}

_SELECT, _READ_BINARY, _READ_RECORD, _UPDATE_BINARY, _UPDATE_RECORD = 0xA4, 0xB0, 0xB2, 0xD6, 0xDC
_BY_PATH: Final = 0x08
"""SELECT P1: path from the MF (TS 102 221 11.1.1); a path in the USIM begins with 7FFF."""
_ABSOLUTE: Final = 0x04
# The part of the default alphabet (TS 23.038) that is ASCII, and is there unpacked in an EF as it stands.
_PLAIN_TEXT: Final = re.compile(r"[A-Za-z0-9 !\"#%&'()*+,\-./:;<=>?]*")

Hex = Annotated[str, Meta(pattern="^(?:[0-9A-Fa-f]{2})+$", max_length=2 * DATA_BYTES_MAX)]
Path = Annotated[str, Meta(pattern="^(?:[0-9A-Fa-f]{4}){1,8}$")]
Slot = Annotated[int, Meta(ge=0, lt=SLOTS_MAX)]
Byte = Annotated[int, Meta(ge=0, le=255)]


class _Order(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="do",
    tag=lambda name: re.sub("(?<!^)(?=[A-Z])", "-", name).lower(),
):
    """Base of all words."""


class EnableSlot(_Order, frozen=True, kw_only=True):
    """Make a slot the account; 0 is home."""

    slot: Slot


class DeleteSlot(_Order, frozen=True, kw_only=True):
    """Empty a slot."""

    slot: Annotated[int, Meta(ge=1, lt=SLOTS_MAX)]


class ListSlots(_Order, frozen=True, kw_only=True):
    """Ask what the slots hold; the answer of the last command is in the proof of receipt."""


class UpdateFile(_Order, frozen=True, kw_only=True):
    """Write `data` into a transparent file, from `offset` on; `path` without 3F00, in the USIM from 7FFF on."""

    path: Path
    data: Hex
    offset: Annotated[int, Meta(ge=0, lt=1 << 15)] = 0


class UpdateRecord(_Order, frozen=True, kw_only=True):
    """Write a record, counted from 1, of a linear fixed file."""

    path: Path
    record: Annotated[int, Meta(ge=1, le=254)]
    data: Hex


class ReadFile(_Order, frozen=True, kw_only=True):
    """Read `length` octets of a transparent file; last in its list, the answer shows in the proof."""

    path: Path
    length: Annotated[int, Meta(ge=1, le=255)]
    offset: Annotated[int, Meta(ge=0, lt=1 << 15)] = 0


class ReadRecord(_Order, frozen=True, kw_only=True):
    """Read a record of `length` octets, likewise."""

    path: Path
    record: Annotated[int, Meta(ge=1, le=254)]
    length: Annotated[int, Meta(ge=1, le=255)]


class SetServiceProviderName(_Order, frozen=True, kw_only=True):
    """Write EF(SPN) (TS 31.102 4.2.12): display it, and these letters."""

    spn: Annotated[str, Meta(min_length=1, max_length=SPN_CHARACTERS)]


class Apdu(_Order, frozen=True, kw_only=True):
    """C-APDUs one after another, for the application `tar`, as in the objects of `landfall ota packet`.

    `repeatable` says that doing them twice leaves the card as doing them once.
    """

    tar: Annotated[str, Meta(pattern="^[0-9A-Fa-f]{6}$")]
    apdu: Annotated[str, Meta(pattern="^(?:[0-9A-Fa-f]{2}){5,}$")]
    repeatable: bool = False


Order = (
    EnableSlot
    | DeleteSlot
    | ListSlots
    | UpdateFile
    | UpdateRecord
    | ReadFile
    | ReadRecord
    | SetServiceProviderName
    | Apdu
)


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What one packet is to do: C-APDUs in order, the application, whether twice is as once, and words for people."""

    apdus: tuple[bytes, ...]
    tar: bytes
    repeatable: bool
    words: str


def is_rotation(raw: Sequence[Any]) -> bool:
    """Whether the commands are the one word that is no packet but a procedure, `rotate-keys` (`ota.key_rotation`)."""
    return list(raw) == [ROTATE_KEYS]


def read_orders(raw: Sequence[Any]) -> Orders:
    """Commands in words, as JSON gives them, to what goes to the card.

    A rotation of keys has no C-APDUs here: its packets are made as it goes on.

    Raises `ParameterError` that names the command by its number and says what is wrong with it.
    """
    if not 1 <= len(raw) <= ORDERS_MAX:
        raise ParameterError(f"there are {len(raw)} commands: give 1 to {ORDERS_MAX}")
    if is_rotation(raw):
        return Orders(apdus=(), tar=ISD_TAR, repeatable=True, words="rotate the OTA keys")
    if ROTATE_KEYS in raw:
        raise ParameterError("rotate-keys stands alone: its packets go to the security domain, under old and new keys")
    apdus: list[bytes] = []
    tars: dict[bytes, str] = {}
    words: list[str] = []
    repeatable = True
    for number, one in enumerate(raw, 1):
        try:
            order = msgspec.convert(one, Order, strict=False)
            made, tar, told = _FORMS[type(order)](order)
        except (msgspec.ValidationError, ScpError) as error:
            raise ParameterError(f"command {number}: {error}") from None
        apdus += made
        tars.setdefault(tar, f"command {number} is for TAR {tar.hex()}")
        words.append(told)
        repeatable &= order.repeatable if isinstance(order, Apdu) else True
    if len(tars) > 1:
        raise ParameterError(f"one packet is for one application, but {', '.join(tars.values())}: make two jobs")
    try:
        join_commands(apdus)
    except ScpError as error:
        raise ParameterError(f"{error}; a command that reads goes last") from None
    return Orders(apdus=tuple(apdus), tar=next(iter(tars)), repeatable=repeatable, words="; ".join(words))


_Form = tuple[list[bytes], bytes, str]


def _slots(command: bytes, words: str) -> _Form:
    return [command], MULTI_ACCOUNT_TAR, words


def _in_file(path: str, then: bytes, words: str) -> _Form:
    in_usim = path.lower().startswith(ADF_USIM)
    body = bytes.fromhex(path)
    if body[:2] == b"\x3f\x00":
        raise ParameterError(f"path {path} begins with the MF, 3F00: leave that out")
    select = bytes([0, _SELECT, _BY_PATH, _ABSOLUTE | 0x08, len(body)]) + body
    return [select, then], RFM_USIM if in_usim else RFM_UICC, f"{words} {path.upper()}"


def _update(path: str, offset: int, data: bytes, words: str) -> _Form:
    header = bytes([0, _UPDATE_BINARY, offset >> 8, offset & 0xFF, len(data)])
    return _in_file(path, header + data, words)


def _update_record(order: UpdateRecord) -> _Form:
    data = bytes.fromhex(order.data)
    command = bytes([0, _UPDATE_RECORD, order.record, _ABSOLUTE, len(data)]) + data
    return _in_file(order.path, command, f"write {len(data)} octets into record {order.record} of")


def _read(order: ReadFile) -> _Form:
    command = bytes([0, _READ_BINARY, order.offset >> 8, order.offset & 0xFF, order.length])
    return _in_file(order.path, command, f"read {order.length} octets of")


def _read_record(order: ReadRecord) -> _Form:
    command = bytes([0, _READ_RECORD, order.record, _ABSOLUTE, order.length])
    return _in_file(order.path, command, f"read record {order.record} of")


def _set_spn(order: SetServiceProviderName) -> _Form:
    if not _PLAIN_TEXT.fullmatch(order.spn):
        raise ParameterError(f"spn {order.spn!r} has other characters than letters, digits and plain punctuation")
    content = b"\x01" + order.spn.encode("ascii").ljust(SPN_CHARACTERS, b"\xff")
    made, tar, _ = _update(EF_SPN, 0, content, "")
    return made, tar, f"show {order.spn!r} as the service provider"


def _apdu(order: Apdu) -> _Form:
    made = split_commands(bytes.fromhex(order.apdu))
    return made, bytes.fromhex(order.tar), f"{len(made)} C-APDUs for TAR {order.tar.upper()}"


_FORMS: Final[dict[type, Callable[[Any], _Form]]] = {
    EnableSlot: lambda order: _slots(enable_slot(order.slot), f"enable slot {order.slot}"),
    DeleteSlot: lambda order: _slots(delete_slot(order.slot), f"delete slot {order.slot}"),
    ListSlots: lambda order: _slots(list_slots(), "list the slots"),
    UpdateFile: lambda order: _update(
        order.path, order.offset, bytes.fromhex(order.data), f"write {len(order.data) // 2} octets into"
    ),
    UpdateRecord: _update_record,
    ReadFile: _read,
    ReadRecord: _read_record,
    SetServiceProviderName: _set_spn,
    Apdu: _apdu,
}
