"""Milenage, the example algorithm set of 3GPP TS 35.206: functions f1 to f5*, and OPc from OP.

Used by the card (`authentication.py`) and by the network's AuC (`simulator/hlr.py`); pure but for AES.

    m = Milenage(k, opc)
    res, ck, ik, ak = m.f2345(rand)
    autn = xor(sqn, ak) + amf + m.f1(rand, sqn, amf)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

# TS 35.206 §4.1: rotations r1..r5 in octets, and the last octet of constants c1..c5 (all others are zero).
_ROTATE = (8, 0, 4, 8, 12)
_CONSTANT = (0, 1, 2, 4, 8)


class Answer(NamedTuple):
    """What f2, f3, f4 and f5 give for one RAND: RES (8 octets), CK (16), IK (16), AK (6)."""

    res: bytes
    ck: bytes
    ik: bytes
    ak: bytes


def xor(a: bytes, b: bytes) -> bytes:
    """Bitwise exclusive or of two strings of one length."""
    assert len(a) == len(b), (len(a), len(b))
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")


def derive_opc(k: bytes, op: bytes) -> bytes:
    """OPc = E_K(OP) ⊕ OP (TS 35.206 §4.1): 16 octets."""
    require_length("OP", op, 16)
    return xor(_make_encryptor(require_length("K", k, 16))(op), op)


class Milenage:
    """The functions of one subscriber. `k` and `opc` are 16 octets each; `ValueError` otherwise."""

    __slots__ = ("_encrypt", "_opc")

    def __init__(self, k: bytes, opc: bytes) -> None:
        # One key schedule for all functions: ECB keeps nothing from block to block.
        self._encrypt = _make_encryptor(require_length("K", k, 16))
        self._opc = require_length("OPc", opc, 16)

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-A, 8 octets: the network's proof to the card."""
        return self._out1(rand, sqn, amf)[:8]

    def f1star(self, rand: bytes, sqn: bytes, amf: bytes = b"\0\0") -> bytes:
        """MAC-S, 8 octets: the card's proof when it asks to resynchronise; AMF is zero there (TS 33.102 §6.3.3)."""
        return self._out1(rand, sqn, amf)[8:]

    def f2345(self, rand: bytes) -> Answer:
        """RES, CK, IK and AK of one 16-octet RAND."""
        temp = self._temp(rand)
        out2 = self._out(temp, 1)
        return Answer(res=out2[8:], ck=self._out(temp, 2), ik=self._out(temp, 3), ak=out2[:6])

    def f5star(self, rand: bytes) -> bytes:
        """AK*, 6 octets: hides the card's SQN in an AUTS."""
        return self._out(self._temp(rand), 4)[:6]

    def _temp(self, rand: bytes) -> bytes:
        return self._encrypt(xor(require_length("RAND", rand, 16), self._opc))

    def _out1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        block = (require_length("SQN", sqn, 6) + require_length("AMF", amf, 2)) * 2
        turned = _rotate(xor(block, self._opc), _ROTATE[0])
        return xor(self._encrypt(xor(self._temp(rand), turned)), self._opc)

    def _out(self, temp: bytes, which: int) -> bytes:
        turned = bytearray(_rotate(xor(temp, self._opc), _ROTATE[which]))
        turned[15] ^= _CONSTANT[which]
        return xor(self._encrypt(bytes(turned)), self._opc)


def gsm_answer(answer: Answer) -> tuple[bytes, bytes]:
    """SRES (4 octets) and Kc (8) for a 2G network: conversion functions c2 and c3 of TS 33.102 §6.8.1.2."""
    sres = bytes(4)
    for at in range(0, len(answer.res), 4):
        sres = xor(sres, answer.res[at : at + 4])
    halves = xor(answer.ck, answer.ik)
    return sres, xor(halves[:8], halves[8:])


def _rotate(block: bytes, octets: int) -> bytes:
    return block[octets:] + block[:octets]


def _make_encryptor(key: bytes) -> Callable[[bytes], bytes]:
    # Of one block, the standard's E_K: no mode of operation is meant.
    return Cipher(AES(key), ECB()).encryptor().update  # noqa: S305


def require_length(name: str, value: bytes, *lengths: int) -> bytes:
    """`value`; `ValueError` naming it when it has none of `lengths`."""
    if len(value) not in lengths:
        raise ValueError(f"{name} must be {' or '.join(map(str, lengths))} octets, not {len(value)}")
    return value
