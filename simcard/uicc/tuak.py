"""TUAK, the second algorithm set of 3GPP (TS 35.231): functions f1 to f5*, and TOPc from TOP.

The standard feeds one permutation of Keccak-f[1600] with TOPc, INSTANCE, name, RAND, AMF, SQN and K and a padding that
makes it SHAKE256 of those 96 octets, so that is how it is computed here. Every field enters, and every output leaves,
with its last octet first. One Keccak iteration, MAC and RES of 64 bits, CK and IK of 128: what AUTN and a USIM take.
"""

from __future__ import annotations

import hashlib

from simcard.uicc.milenage import Answer, require_length

NAME = b"TUAK1.0"
TOP_LENGTH = 32

# INSTANCE (TS 35.231 §6.2 to §6.6): which function, and the lengths of what it gives and of K.
_MAC_64, _RES_64, _KEY_256 = 0x08, 0x08, 0x01
_F1, _F1_STAR, _F2345, _F5_STAR = 0x00 | _MAC_64, 0x80 | _MAC_64, 0x40 | _RES_64, 0xC0
# Where RES, CK, IK and AK begin in the output, and their lengths, in octets (TS 35.231 §6.4).
_RES, _CK, _IK, _AK = (0, 8), (32, 16), (64, 16), (96, 6)
_OUTPUT = 102


def derive_topc(k: bytes, top: bytes) -> bytes:
    """TOPc (32 octets) of an operator's TOP for one subscriber (TS 35.231 §6.1)."""
    require_length("TOP", top, TOP_LENGTH)
    return _part(_squeeze(k, top, 0x00, bytes(24), name=NAME), (0, TOP_LENGTH))


class Tuak:
    """The functions of one subscriber. `k` is 16 or 32 octets, `topc` 32; `ValueError` otherwise."""

    __slots__ = ("_k", "_topc")

    def __init__(self, k: bytes, topc: bytes) -> None:
        self._k = require_length("K", k, 16, 32)
        self._topc = require_length("TOPc", topc, TOP_LENGTH)

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-A, 8 octets: the network's proof to the card."""
        return self._mac(_F1, rand, sqn, amf)

    def f1star(self, rand: bytes, sqn: bytes, amf: bytes = b"\0\0") -> bytes:
        """MAC-S, 8 octets: the card's proof when it asks to resynchronise."""
        return self._mac(_F1_STAR, rand, sqn, amf)

    def f2345(self, rand: bytes) -> Answer:
        """RES, CK, IK and AK of one 16-octet RAND."""
        output = _squeeze(self._k, self._topc, _F2345, bytes(8) + require_length("RAND", rand, 16))
        return Answer(_part(output, _RES), _part(output, _CK), _part(output, _IK), _part(output, _AK))

    def f5star(self, rand: bytes) -> bytes:
        """AK*, 6 octets: hides the card's SQN in an AUTS."""
        return _part(_squeeze(self._k, self._topc, _F5_STAR, bytes(8) + require_length("RAND", rand, 16)), _AK)

    def _mac(self, instance: int, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        variable = require_length("SQN", sqn, 6) + require_length("AMF", amf, 2) + require_length("RAND", rand, 16)
        return _part(_squeeze(self._k, self._topc, instance, variable), _RES)


def _squeeze(k: bytes, top: bytes, instance: int, variable: bytes, name: bytes = NAME) -> bytes:
    """`variable` is SQN ‖ AMF ‖ RAND, 24 octets; where a function does not take one, zeros."""
    instance |= _KEY_256 if require_length("K", k, 16, 32) and len(k) == 32 else 0
    key = k[::-1].ljust(32, b"\0")
    message = top[::-1] + bytes((instance,)) + name[::-1] + variable[::-1] + key
    return hashlib.shake_256(message).digest(_OUTPUT)


def _part(output: bytes, place: tuple[int, int]) -> bytes:
    start, length = place
    return output[start : start + length][::-1]
