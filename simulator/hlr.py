"""HLR and AuC of one network: subscribers, authentication vectors, location (3GPP TS 29.002, TS 33.102).

`Hlr` is what a network asks; it follows GSUP, the protocol of osmo-hlr, so that either may stand behind a network.
`EmbeddedHlr` is the built-in one: every algorithm a card has, sequence numbers by TS 33.102 annex C.3.2 (a counter for
each subscriber), AUTS resynchronisation. It lives in memory: a world that starts again provisions again.

A refusal is an `HlrRefusalError` with the GMM cause a phone would be told (TS 24.008 §10.5.5.14).
"""

from __future__ import annotations

import hmac
import secrets
import time
from enum import IntEnum, StrEnum
from typing import Protocol

import msgspec

from simcard.uicc.algorithms import answer_gsm, choose_algorithm
from simcard.uicc.authentication import IND_BITS, MAX_JUMP, SLOTS
from simcard.uicc.comp128 import Comp128
from simcard.uicc.milenage import gsm_answer, xor

# What one SendAuthInfo answers with, as osmo-hlr does.
VECTORS = 5
# AMF with the separation bit set: vectors also good for EPS (TS 33.102 annex H, TS 33.401 §6.1.1).
AMF = bytes.fromhex("8000")


class HlrKind(StrEnum):
    """What stands behind networks that serve guests: `EmbeddedHlr`, or osmo-hlr."""

    EMBEDDED = "embedded"
    OSMO = "osmo"


class Cause(IntEnum):
    """GMM causes used here (TS 24.008 §10.5.5.14)."""

    IMSI_UNKNOWN = 2
    ILLEGAL_MS = 3
    PLMN_NOT_ALLOWED = 11
    ROAMING_NOT_ALLOWED = 13
    NETWORK_FAILURE = 17
    MAC_FAILURE = 20

    @property
    def words(self) -> str:
        """As a person says it."""
        return _WORDS[self]


_WORDS = {
    Cause.IMSI_UNKNOWN: "IMSI unknown in HLR",
    Cause.ILLEGAL_MS: "illegal MS",
    Cause.PLMN_NOT_ALLOWED: "PLMN not allowed",
    Cause.ROAMING_NOT_ALLOWED: "roaming not allowed",
    Cause.NETWORK_FAILURE: "network failure",
    Cause.MAC_FAILURE: "MAC failure",
}


class HlrRefusalError(Exception):
    """The HLR says no; `cause` is what the phone is told."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(f"cause {int(cause)}, {cause.words}")
        self.cause = cause


class SubscriberConflictError(Exception):
    """An IMSI is provisioned again with other keys."""


class AuthVector(msgspec.Struct, frozen=True):
    """One quintuplet, with SRES and Kc for 2G: octet strings of 16, 16, 8 (XOR: 16), 16, 16, 4 and 8.

    A subscriber with COMP128 has a triplet: AUTN, RES, CK and IK are empty (TS 33.102 §6.8.1.1).
    """

    rand: bytes
    autn: bytes
    res: bytes
    ck: bytes
    ik: bytes
    sres: bytes
    kc: bytes


class Hlr(Protocol):
    """What a network asks of its HLR. IMSIs are digits; `HlrRefusalError` says no."""

    async def create_subscriber(self, imsi: str, *, k: bytes, opc: bytes, algorithm: str, msisdn: str | None) -> None:
        """Provision; again with the same keys changes only the number, with others raises `SubscriberConflictError`."""

    async def bar(self, imsi: str) -> None:
        """Refuse roaming from now on."""

    async def delete(self, imsi: str) -> None:
        """Forget the subscriber and its K; unknown ones too."""

    async def send_auth_info(self, imsi: str, resync: tuple[bytes, bytes] | None = None) -> list[AuthVector]:
        """Vectors to challenge with; `resync` is the (RAND, AUTS) of a card that found the SQN stale."""

    async def update_location(self, imsi: str) -> None:
        """The subscriber is registered here now."""

    async def purge(self, imsi: str) -> None:
        """The subscriber is registered nowhere any more."""


class Subscriber:
    """A line of the embedded HLR."""

    def __init__(self, k: bytes, opc: bytes, algorithm: str, msisdn: str | None) -> None:
        self.keys, self.algorithm, self.msisdn = (k, opc), algorithm, msisdn
        self.secret = choose_algorithm(algorithm, k, opc)
        self.seq = 0
        self.ind = 0
        self.barred = False
        self.registered_at_ms: int | None = None


class EmbeddedHlr:
    """The built-in HLR and AuC, in memory."""

    def __init__(self) -> None:
        self._subscribers: dict[str, Subscriber] = {}

    def find(self, imsi: str) -> Subscriber | None:
        """The subscriber's line, or None."""
        return self._subscribers.get(imsi)

    async def create_subscriber(self, imsi: str, *, k: bytes, opc: bytes, algorithm: str, msisdn: str | None) -> None:
        """Provision. `ValueError`: an algorithm that is none, keys that do not fit it, or a bad IMSI."""
        if not (imsi.isascii() and imsi.isdigit() and 6 <= len(imsi) <= 15):
            raise ValueError("an IMSI is 6 to 15 digits")
        known = self._subscribers.get(imsi)
        if known is None:
            self._subscribers[imsi] = Subscriber(k, opc, algorithm, msisdn)
        elif known.algorithm == algorithm and hmac.compare_digest(b"".join(known.keys), k + opc):
            known.msisdn = msisdn
        else:
            raise SubscriberConflictError("this IMSI is provisioned with other keys; delete it first")

    async def bar(self, imsi: str) -> None:
        """Refuse roaming; `HlrRefusalError(IMSI_UNKNOWN)` when there is no such subscriber."""
        subscriber = self._known(imsi)
        subscriber.barred, subscriber.registered_at_ms = True, None

    async def delete(self, imsi: str) -> None:
        """Forget the subscriber, if there is one."""
        self._subscribers.pop(imsi, None)

    async def send_auth_info(self, imsi: str, resync: tuple[bytes, bytes] | None = None) -> list[AuthVector]:
        """`VECTORS` fresh vectors. A `resync` whose MAC-S is wrong is refused with cause 20."""
        subscriber = self._allowed(imsi)
        if resync:
            self._resynchronise(subscriber, *resync)
        return [self._vector(subscriber) for _ in range(VECTORS)]

    async def update_location(self, imsi: str) -> None:
        """Note that the subscriber is registered."""
        self._allowed(imsi).registered_at_ms = time.time_ns() // 1_000_000

    async def purge(self, imsi: str) -> None:
        """Note that it is not."""
        if subscriber := self._subscribers.get(imsi):
            subscriber.registered_at_ms = None

    def _known(self, imsi: str) -> Subscriber:
        subscriber = self._subscribers.get(imsi)
        if subscriber is None:
            raise HlrRefusalError(Cause.IMSI_UNKNOWN)
        return subscriber

    def _allowed(self, imsi: str) -> Subscriber:
        subscriber = self._known(imsi)
        if subscriber.barred:
            raise HlrRefusalError(Cause.ROAMING_NOT_ALLOWED)
        return subscriber

    @staticmethod
    def _vector(subscriber: Subscriber) -> AuthVector:
        rand, secret = secrets.token_bytes(16), subscriber.secret
        if isinstance(secret, Comp128):
            return AuthVector(rand, b"", b"", b"", b"", *answer_gsm(secret, rand))
        subscriber.seq += 1
        subscriber.ind = (subscriber.ind + 1) % SLOTS
        sqn = (subscriber.seq << IND_BITS | subscriber.ind).to_bytes(6, "big")
        answer = secret.f2345(rand)
        autn = xor(sqn, answer.ak) + AMF + secret.f1(rand, sqn, AMF)
        sres, kc = gsm_answer(answer)
        return AuthVector(rand, autn, answer.res, answer.ck, answer.ik, sres, kc)

    @staticmethod
    def _resynchronise(subscriber: Subscriber, rand: bytes, auts: bytes) -> None:
        """TS 33.102 §6.3.5: MAC-S proves the card's SQN; take it over unless our next one suits the card anyway."""
        secret = subscriber.secret
        if isinstance(secret, Comp128):
            raise HlrRefusalError(Cause.NETWORK_FAILURE)  # a 2G subscriber counts nothing
        sqn = xor(auts[:6], secret.f5star(rand))
        if not hmac.compare_digest(secret.f1star(rand, sqn), auts[6:]):
            raise HlrRefusalError(Cause.MAC_FAILURE)
        of_card = int.from_bytes(sqn, "big") >> IND_BITS
        if not of_card < subscriber.seq + 1 <= of_card + MAX_JUMP:
            subscriber.seq = of_card
