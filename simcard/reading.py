"""Read who a card is, through any link, as a phone would: nothing is written, no code is tried twice.

`read_card(link)` gives a `CardReport`; with the ADM also the slots of the multi-account application. Keys cannot be
read from a card at all.
"""

from __future__ import annotations

import msgspec

from landfall.errors import LandfallError
from ota.profile import MULTI_ACCOUNT_AID, list_slots, parse_slot_list
from ota.scp80.digits import unpack_address, unpack_digits, unpack_imsi
from simcard.file_access import open_file
from simcard.provisioning_kinds import recognise_kind
from simcard.readers.contract import Link
from simcard.uicc.codes import encode_code
from simcard.uicc.coding import decode_name
from simcard.uicc.files import ADM1, PIN1

USIM_RID_AND_APPLICATION = "a0000000871002"


class CodeRefusedError(LandfallError):
    """The card did not accept a PIN or ADM; it was tried once and must not be tried again as it is."""


class SlotReport(msgspec.Struct, frozen=True):
    """One slot: its PLMN, whether it is the enabled one, and the fingerprint of its content."""

    slot: int
    plmn: str
    enabled: bool
    fingerprint: str


class CardReport(msgspec.Struct, frozen=True):
    """What a card says of itself. `slots` is None where they were not asked for, because there was no ADM."""

    atr: str
    kind: str
    iccid: str
    imsi: str
    spn: str
    msisdn: str | None
    smsc: str | None
    acc: str
    adm_tries: int | None
    slots: list[SlotReport] | None = None


def read_card(link: Link, *, pin: str | None = None, adm: str | None = None) -> CardReport:
    """Read the card behind a connected `link`. `LandfallError` when a code is wrong (with the tries left) or needed."""
    atr = link.reset_card()
    kind = recognise_kind(link).name
    iccid = unpack_digits(_read_binary(link, "3f00", "2fe2"))
    select_usim(link)
    if pin is not None:
        verify(link, PIN1, pin)
    try:
        imsi = unpack_imsi(_read_binary(link, "usim", "6f07"))
        spn, acc = _read_binary(link, "usim", "6f46"), _read_binary(link, "usim", "6f78")
    except _SecurityError:
        raise LandfallError("this card asks for its PIN before it shows who it is; give --pin") from None
    msisdn, smsc = _read_record(link, "usim", "6f40"), _read_record(link, "usim", "6f42")
    return CardReport(
        atr=atr,
        kind=kind,
        iccid=iccid,
        imsi=imsi,
        spn=decode_name(spn[1:]),
        msisdn=_address(msisdn[-14:]),
        smsc=_address(smsc[-15:]),
        acc=acc.hex(),
        adm_tries=tries_left(link, ADM1),
        slots=None if adm is None else read_slots(link, adm),
    )


def select_usim(link: Link) -> None:
    """Select the USIM by the beginning of its AID."""
    aid = USIM_RID_AND_APPLICATION
    link.send_apdu_checksw(f"00a40404{len(aid) // 2:02x}{aid}", "9???")


def verify(link: Link, reference: int, code: str) -> None:
    """VERIFY, once; a wrong code is a `CodeRefusedError` with the tries that are left."""
    name = "ADM" if reference == ADM1 else "PIN"
    try:
        coded = encode_code(code)
    except ValueError as error:
        raise LandfallError(f"the {name} was not tried: {error}") from None
    _, sw = link.send_apdu(f"002000{reference:02x}08{coded.hex()}")
    if not sw.startswith(("90", "91")):
        left = f"{int(sw[3], 16)} tries left; it was not tried again" if sw.startswith("63c") else f"the card says {sw}"
        raise CodeRefusedError(f"the {name} is not accepted: {left}")


def tries_left(link: Link, reference: int) -> int | None:
    """Tries left of a code, 0 when it is blocked; None when the card does not tell. Asking costs none."""
    _, sw = link.send_apdu(f"002000{reference:02x}")
    if sw.startswith("63c"):
        return int(sw[3], 16)
    return 0 if sw in ("6983", "9840") else None


def read_slots(link: Link, adm: str) -> list[SlotReport]:
    """The slots of the multi-account application, after VERIFY of the ADM."""
    verify(link, ADM1, adm)
    aid = MULTI_ACCOUNT_AID.hex()
    link.send_apdu_checksw(f"00a40404{len(aid) // 2:02x}{aid}", "9???")
    data, _ = link.send_apdu_checksw(list_slots().hex(), "9???")
    return [
        SlotReport(entry.slot, entry.plmn, entry.enabled, entry.fingerprint.hex())
        for entry in parse_slot_list(bytes.fromhex(data))
    ]


class _SecurityError(Exception):
    pass


def _read_binary(link: Link, *path: str) -> bytes:
    """Content of a transparent EF; empty where the card has no such file."""
    file = open_file(link, *path)
    if file is None:
        return b""
    content = file.read()
    if content is None:
        raise _SecurityError
    return content


def _read_record(link: Link, *path: str) -> bytes:
    """The first record; empty where the card has none or denies it."""
    file = open_file(link, *path)
    return (file.read_record(1) if file is not None and file.records else None) or b""


def _address(data: bytes) -> str | None:
    """A number preceded by the length of its type-of-number octet and digits; FF is none."""
    if not data or data[0] in (0x00, 0xFF):
        return None
    return unpack_address(data[1 : 1 + data[0]])
