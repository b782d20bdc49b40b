"""Kinds of cards: where each keeps what the standards leave to its maker, recognised by ATR.

Our card shows a sysmoISIM's ATR, so that tools know how to write it, and has that card's key files; the multi-account
application tells it from a real one. Of a card nobody knows, only the files of TS 31.102 are written.
"""

from __future__ import annotations

import msgspec

from ota.profile import MULTI_ACCOUNT_AID
from simcard.readers.contract import Link
from simcard.uicc.algorithms import COMP128_VERSIONS

Path = tuple[str, ...]
KeyFile = tuple[str, Path]


class CardKind(msgspec.Struct, frozen=True):
    """A kind of card. `key_files` says for each algorithm it has which files take keys, the first of which it must
    have; `uicc.key_files` says how. Without any, keys cannot be set.
    """

    name: str
    key_files: dict[str, tuple[KeyFile, ...]] = {}


# sysmocom's layout: DF.SYSTEM for GSM and, hard-linked or not, one file in each application;
# COMP128 is in the files for 2G only, XOR and TUAK in those of the applications.
_SIM: KeyFile = ("EF.SIM_AUTH_KEY", ("3f00", "a515", "6f20"))
_USIM: KeyFile = ("EF.USIM_AUTH_KEY", ("usim", "af20"))
_USIM_2G: KeyFile = ("EF.USIM_AUTH_KEY_2G", ("usim", "af22"))
_ISIM: KeyFile = ("EF.ISIM_AUTH_KEY", ("isim", "af20"))
_SJA2_KEYS = {
    "milenage": (_USIM, _SIM, _ISIM),
    "xor": (_USIM, _ISIM),
    **dict.fromkeys(COMP128_VERSIONS, (_SIM, _USIM_2G)),
}
_SJA5_KEYS = _SJA2_KEYS | {"tuak": (_USIM, _ISIM)}

LANDFALL = CardKind("landfall", _SJA5_KEYS)
SJA2 = CardKind("sysmoISIM-SJA2", _SJA2_KEYS)
SJA5 = CardKind("sysmoISIM-SJA5", _SJA5_KEYS)
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
