"""The test algorithm XOR of 3GPP TS 34.108 §8.1.2, shared by test cards and network simulators. It keeps no
secret.

RES has 16 octets here, the most the algorithm gives, as `osmo-auc-gen` and the test USIMs of the field do.
"""

from __future__ import annotations

from simcard.uicc.milenage import Answer, require_length, xor


class XorTest:
    """The functions of one subscriber. `k` is 16 octets; `ValueError` otherwise."""

    __slots__ = ("_k",)

    def __init__(self, k: bytes) -> None:
        self._k = require_length("K", k, 16)

    def f1(self, rand: bytes, sqn: bytes, amf: bytes) -> bytes:
        """MAC-A, 8 octets."""
        return xor(self._mixed(rand)[:8], require_length("SQN", sqn, 6) + require_length("AMF", amf, 2))

    def f1star(self, rand: bytes, sqn: bytes, amf: bytes = b"\0\0") -> bytes:
        """MAC-S, 8 octets."""
        return self.f1(rand, sqn, amf)

    def f2345(self, rand: bytes) -> Answer:
        """RES (16 octets), CK, IK and AK: K ⊕ RAND, and the same turned by one, two and three octets."""
        mixed = self._mixed(rand)
        return Answer(mixed, mixed[1:] + mixed[:1], mixed[2:] + mixed[:2], mixed[3:9])

    def f5star(self, rand: bytes) -> bytes:
        """AK*, 6 octets, the same as AK."""
        return self._mixed(rand)[3:9]

    def _mixed(self, rand: bytes) -> bytes:
        return xor(self._k, require_length("RAND", rand, 16))
