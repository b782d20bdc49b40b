"""The key files of sysmocom's cards, which provisioning tools write: A515/6F20, and AF20 in ADF.USIM and ADF.ISIM.

Octet 0 names the algorithm, K follows at offset 1 and OPc at 17; for TUAK TOPc stands at 3 and K at 35. All three are
one: what is written there becomes the home account's. They can be written, never read.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ota.profile import MobileProfile
from simcard.uicc.apdu import StatusError, Sw
from simcard.uicc.files import Access, Df, Ef
from simcard.uicc.milenage import derive_opc

DF_SYSTEM, EF_SIM_AUTH_KEY, EF_AUTH_KEY = 0xA515, 0x6F20, 0xAF20
# A TUAK record with the longer K: configuration (3), TOPc (32), K (32). The others take 33 of it.
LENGTH = 67
EMPTY = b"\xff" * LENGTH
SHORT = 33

_NIBBLES = {"comp128v1": 1, "comp128v2": 2, "comp128v3": 3, "milenage": 4, "tuak": 6, "xor": 15}
_NAMES = {nibble: name for name, nibble in _NIBBLES.items()} | {14: "xor"}
# Octet 0: OPc rather than OP is given; TUAK's K has 256 bits. Octets 1 and 2 of TUAK: 128-bit CK and IK, 64-bit MAC and
# RES; one Keccak iteration. Other lengths are not on this card.
_OPC_GIVEN, _LONG_KEY = 0x10, 0x40
_TUAK_LENGTHS = b"\x01\x01"


class KeyFile(Ef):
    """One of the key files. `write` is told (offset, octets) of each update, and may raise `StatusError`."""

    __slots__ = ("write",)

    def __init__(self, fid: int, name: str) -> None:
        super().__init__(fid, name, EMPTY, read=Access.NEVER, update=Access.ADM)
        self.write: Callable[[int, bytes], None] = _refuse

    def update_binary(self, offset: int, data: bytes) -> None:
        """Hand on, and keep nothing; `StatusError(6B00)` beyond the end."""
        if offset + len(data) > LENGTH:
            raise StatusError(Sw.WRONG_OFFSET)
        self.write(offset, data)


def build_system() -> Df:
    """DF.SYSTEM of sysmocom's cards, as far as it is here."""
    return Df(DF_SYSTEM, "DF.SYSTEM").add(KeyFile(EF_SIM_AUTH_KEY, "EF.SIM_AUTH_KEY"))


def amend_keys(profile: MobileProfile, offset: int, data: bytes) -> MobileProfile:
    """`profile` with `data` written at `offset` of its key record; `StatusError(6A80)` when that makes no keys."""
    record = bytearray(encode_keys(profile.algorithm, profile.k, profile.opc).ljust(LENGTH, b"\xff"))
    record[offset : offset + len(data)] = data
    try:
        algorithm, k, opc = _decode(bytes(record), whole=offset == 0 and len(data) >= SHORT)
        return msgspec.structs.replace(profile, algorithm=algorithm, k=k, opc=opc)
    except ValueError:
        raise StatusError(Sw.WRONG_DATA) from None


def encode_keys(algorithm: str, k: bytes, opc: bytes) -> bytes:
    """What a key file begins with: 33 octets, 51 or 67 for TUAK. `opc` is OPc, TOPc, or empty."""
    first = _OPC_GIVEN | _NIBBLES[algorithm]
    if algorithm == "tuak":
        first |= _LONG_KEY if len(k) == 32 else 0
        return bytes((first,)) + _TUAK_LENGTHS + opc + k
    return bytes((first,)) + k + opc.ljust(16, b"\0")


def _decode(record: bytes, *, whole: bool) -> tuple[str, bytes, bytes]:
    """Algorithm, K and OPc; `ValueError` for what this card has not. OP is taken only with its K, in one command."""
    algorithm = _NAMES.get(record[0] & 0x0F)
    given = bool(record[0] & _OPC_GIVEN)
    if algorithm is None:
        raise ValueError("unknown algorithm")
    if algorithm == "tuak":
        if not given or record[1:3] != _TUAK_LENGTHS:
            raise ValueError("TUAK with TOP or with other lengths")
        return algorithm, record[35 : 67 if record[0] & _LONG_KEY else 51], record[3:35]
    k, opc = record[1:17], record[17:33]
    if algorithm != "milenage":
        return algorithm, k, b""
    if given:
        return algorithm, k, opc
    if not whole:
        raise ValueError("OP without K")
    return algorithm, k, derive_opc(k, opc)


def _refuse(_: int, __: bytes) -> None:
    raise StatusError(Sw.CONDITIONS_NOT_SATISFIED)
