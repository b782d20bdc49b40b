"""The card's half of UMTS authentication (3GPP TS 33.102 §6.3, annex C), over any AKA algorithm set.

`answer_challenge` checks the network's AUTN, keeps the sequence numbers, and gives one of three answers:
`Authenticated`, `ResyncNeeded` with the AUTS the network repairs itself by, or a `StatusError(9862)` when the MAC is
wrong. The caller stores the `SequenceArray` before the answer leaves the card, so that a number is never accepted
twice.
"""

from __future__ import annotations

import msgspec

from simcard.uicc.algorithms import Aka
from simcard.uicc.apdu import StatusError, Sw
from simcard.uicc.milenage import Answer, gsm_answer, xor

# TS 33.102 annex C.3: IND has 5 bits, so 32 vectors may arrive out of order; C.2.1: no jump of more than 2^28.
IND_BITS = 5
SLOTS = 1 << IND_BITS
MAX_JUMP = 1 << 28


class SequenceArray(msgspec.Struct):
    """Highest SEQ accepted for each IND (annex C.2.2). `seq` has `SLOTS` entries."""

    seq: list[int] = msgspec.field(default_factory=lambda: [0] * SLOTS)

    def is_fresh(self, sqn: int) -> bool:
        """Whether `sqn` (SEQ ‖ IND, 48 bits) is above its entry and not too far ahead of all."""
        seq, ind = sqn >> IND_BITS, sqn & (SLOTS - 1)
        return seq > self.seq[ind] and seq - max(self.seq) <= MAX_JUMP

    def accept(self, sqn: int) -> None:
        """Record `sqn` as used."""
        assert self.is_fresh(sqn)
        self.seq[sqn & (SLOTS - 1)] = sqn >> IND_BITS

    @property
    def highest(self) -> int:
        """SQN_MS: the highest SQN accepted so far, which an AUTS carries."""
        ind = max(range(SLOTS), key=lambda i: self.seq[i])
        return self.seq[ind] << IND_BITS | ind


class Authenticated(msgspec.Struct, frozen=True):
    """RES, CK and IK for the phone, and Kc for a 2G network (TS 31.102 §7.1.2.1)."""

    res: bytes
    ck: bytes
    ik: bytes
    kc: bytes


class ResyncNeeded(msgspec.Struct, frozen=True):
    """The SQN was stale or repeated: `auts` (14 octets) tells the network where the card stands."""

    auts: bytes


def answer_challenge(algorithm: Aka, array: SequenceArray, rand: bytes, autn: bytes) -> Authenticated | ResyncNeeded:
    """Answer RAND (16 octets) and AUTN (16: SQN⊕AK ‖ AMF ‖ MAC). Changes `array` when the challenge is accepted."""
    answer: Answer = algorithm.f2345(rand)
    sqn, amf, mac = xor(autn[:6], answer.ak), autn[6:8], autn[8:]
    if algorithm.f1(rand, sqn, amf) != mac:
        raise StatusError(Sw.AUTHENTICATION_MAC_WRONG)
    number = int.from_bytes(sqn, "big")
    if not array.is_fresh(number):
        own = array.highest.to_bytes(6, "big")
        return ResyncNeeded(xor(own, algorithm.f5star(rand)) + algorithm.f1star(rand, own))
    array.accept(number)
    return Authenticated(answer.res, answer.ck, answer.ik, gsm_answer(answer)[1])
