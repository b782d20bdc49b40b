"""Which algorithm a mobile profile names, for the card and for the network's AuC alike.

    algorithm = choose_algorithm(profile.algorithm, profile.k, profile.opc)
    sres, kc = answer_gsm(algorithm, rand)             # in a 2G network, every algorithm
    require_aka(algorithm).f2345(rand)                 # in a 3G network and later: not COMP128

Milenage, TUAK and XOR are AKA sets (f1 to f5*) and answer 2G challenges by the conversion functions of TS 33.102
§6.8.1.2; COMP128 knows only 2G.
"""

from __future__ import annotations

from typing import Protocol

from simcard.uicc.comp128 import Comp128
from simcard.uicc.milenage import Answer, Milenage, gsm_answer, require_length
from simcard.uicc.tuak import Tuak
from simcard.uicc.xor_test import XorTest

COMP128_VERSIONS = {"comp128v1": 1, "comp128v2": 2, "comp128v3": 3}
ALGORITHMS = ("milenage", "tuak", "xor", *COMP128_VERSIONS)


class Aka(Protocol):
    """An algorithm set of UMTS authentication (TS 33.102 §6.3). RAND is 16 octets, SQN 6, AMF 2."""

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-A, 8 octets."""

    def f1star(self, rand: bytes, sqn: bytes, amf: bytes = ...) -> bytes:
        """MAC-S, 8 octets."""

    def f2345(self, rand: bytes) -> Answer:
        """RES, CK, IK, AK."""

    def f5star(self, rand: bytes) -> bytes:
        """AK*, 6 octets."""


Algorithm = Aka | Comp128


class NoAkaError(Exception):
    """The subscriber's algorithm has no 3G context."""


def choose_algorithm(name: str, k: bytes, opc: bytes) -> Algorithm:
    """The algorithm of one subscriber; `opc` is OPc, TOPc for TUAK, and empty where the algorithm has none.

    Raises `ValueError` for a name not in `ALGORITHMS` or keys of another length.
    """
    if name == "milenage":
        return Milenage(k, opc)
    if name == "tuak":
        return Tuak(k, opc)
    if name not in ALGORITHMS:
        raise ValueError(f"algorithm {name!r} is none of {', '.join(ALGORITHMS)}")
    require_length("OPc", opc, 0)
    return XorTest(k) if name == "xor" else Comp128(COMP128_VERSIONS[name], k)


def answer_gsm(algorithm: Algorithm, rand: bytes) -> tuple[bytes, bytes]:
    """SRES (4 octets) and Kc (8) for a 2G challenge."""
    if isinstance(algorithm, Comp128):
        return algorithm.a3a8(rand)
    return gsm_answer(algorithm.f2345(rand))


def require_aka(algorithm: Algorithm) -> Aka:
    """The same as an AKA set; `NoAkaError` when it is none."""
    if isinstance(algorithm, Comp128):
        raise NoAkaError
    return algorithm
