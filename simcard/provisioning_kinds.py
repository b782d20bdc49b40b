"""Kinds of cards: where each keeps what the standards leave to its maker, recognised by ATR.

Our card shows a sysmoISIM's ATR, so that tools know how to write it, and has that card's key files; the multi-account
application tells it from a real one. Of a card nobody knows, only the files of TS 31.102 are written.
"""

from __future__ import annotations

import msgspec

from ota.profile import MULTI_ACCOUNT_AID
from simcard.readers.contract import Link

Path = tuple[str, ...]


class CardKind(msgspec.Struct, frozen=True):
    """A kind of card. `key_files` take a configuration octet, K at offset 1 and OPc at 17; none: keys cannot be set."""

    name: str
    key_files: tuple[tuple[str, Path], ...] = ()


# sysmocom's layout: DF.SYSTEM for GSM and, hard-linked or not, one file in each application.
_SYSMO_KEYS = (
    ("EF.SIM_AUTH_KEY", ("3f00", "a515", "6f20")),
    ("EF.USIM_AUTH_KEY", ("usim", "af20")),
    ("EF.ISIM_AUTH_KEY", ("isim", "af20")),
)

LANDFALL = CardKind("landfall", _SYSMO_KEYS)
SJA2 = CardKind("sysmoISIM-SJA2", _SYSMO_KEYS)
SJA5 = CardKind("sysmoISIM-SJA5", _SYSMO_KEYS)
GENERIC = CardKind("generic UICC")

ATRS = {
    "3b9f96801f878031e073fe211b674a4c753034054ba9": SJA2,
    "3b9f96801f878031e073fe211b674a4c7531330251b2": SJA2,
    "3b9f96801f878031e073fe211b674a4c5275310451d5": SJA2,
    "3b9f96801f878031e073fe211b674a357530350251cc": SJA5,
    "3b9f96801f878031e073fe211b674a357530350265f8": SJA5,
    "3b9f96801f878031e073fe211b674a357530350259c4": SJA5,
}


def recognise_kind(link: Link) -> CardKind:
    """The kind of the card on a connected `link`; leaves the card's selection anywhere."""
    aid = MULTI_ACCOUNT_AID.hex()
    if link.send_apdu(f"00a40404{len(aid) // 2:02x}{aid}")[1][:2] in ("90", "91"):
        return LANDFALL
    return ATRS.get(link.get_atr(), GENERIC)
