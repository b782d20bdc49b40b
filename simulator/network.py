"""A visited or home network as a phone meets it: registration with a real challenge, and its end.

`Network.attach` is the whole procedure of 3GPP TS 24.008 §4.7.3 in four steps: whose IMSI is this; vectors from the
HLR; the challenge, with resynchronisation when the card asks for it (TS 33.102 §6.3.5), or that of 2G for a subscriber
whose algorithm knows no other; update location. A refusal is
an `HlrRefusalError` with the cause the phone is told. There are no roaming agreements here: an IMSI of another PLMN
is refused with cause 11, which is what a multi-account SIM is for.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Protocol

from simcard.uicc.authentication import Authenticated, ResyncNeeded
from simulator.hlr import AuthVector, Cause, Hlr, HlrRefusalError

Listener = Callable[[str, int], None]
"""Told (IMSI, milliseconds since the epoch) of a first registration."""


class MessageCentre(Protocol):
    """Where a network's phones send short messages to."""

    def take(self, sender: str, tpdu: bytes) -> None:
        """An SMS-SUBMIT from a subscriber's number, digits only; empty for one that has none."""


class Mobile(Protocol):
    """What a network sees of a phone."""

    @property
    def iccid(self) -> str:
        """ICCID of its card."""

    @property
    def imsi(self) -> str:
        """The IMSI the card shows now."""

    def answer(self, rand: bytes, autn: bytes) -> Authenticated | ResyncNeeded | None:
        """Put a challenge to the card; None when it finds the MAC wrong."""

    def answer_gsm(self, rand: bytes) -> tuple[bytes, bytes]:
        """Put a 2G challenge to the card: SRES and Kc."""

    def lose_service(self) -> None:
        """The network has thrown the phone out."""


class Network:
    """One operator's network under one PLMN (5 or 6 digits), with its HLR."""

    def __init__(self, plmn: str, name: str, hlr: Hlr) -> None:
        self.plmn, self.name, self.hlr = plmn, name, hlr
        self._attached: dict[str, Mobile] = {}
        self._seen: set[str] = set()
        self._listeners: list[Listener] = []
        self._numbers: dict[str, str] = {}
        self._imsis: dict[str, str] = {}
        self.centre: MessageCentre | None = None
        """Its short message centre, if it has one."""

    def on_registered(self, listener: Listener) -> None:
        """Call `listener` at the first registration of each IMSI."""
        self._listeners.append(listener)

    async def provision(self, imsi: str, *, k: bytes, opc: bytes, algorithm: str, msisdn: str | None) -> None:
        """Enter a subscriber in the HLR, and its number, with or without +, in the directory. Raises as `Hlr` does."""
        await self.hlr.create_subscriber(imsi, k=k, opc=opc, algorithm=algorithm, msisdn=msisdn)
        self._forget_number(imsi)
        if number := (msisdn or "").removeprefix("+"):
            self._numbers[imsi], self._imsis[number] = number, imsi

    def number_of(self, imsi: str) -> str:
        """A subscriber's number, digits only; empty where it has none."""
        return self._numbers.get(imsi, "")

    def has_number(self, number: str) -> bool:
        """Whether a number, digits only, is one of its subscribers'."""
        return number in self._imsis

    def find_mobile(self, number: str) -> Mobile | None:
        """The phone that is registered here under a number now."""
        return self._attached.get(self._imsis.get(number, ""))

    async def attach(self, phone: Mobile) -> None:
        """Register the phone, or raise `HlrRefusalError`."""
        imsi = phone.imsi
        if not imsi.startswith(self.plmn):
            raise HlrRefusalError(Cause.PLMN_NOT_ALLOWED)
        vector = (await self.hlr.send_auth_info(imsi))[0]
        if not vector.autn:
            answer_2g = phone.answer_gsm(vector.rand)
            if not hmac.compare_digest(answer_2g[0], vector.sres):
                raise HlrRefusalError(Cause.ILLEGAL_MS)
            await self._register(phone, imsi)
            return
        answer = phone.answer(vector.rand, vector.autn)
        if isinstance(answer, ResyncNeeded):
            vector = (await self.hlr.send_auth_info(imsi, (vector.rand, answer.auts)))[0]
            answer = phone.answer(vector.rand, vector.autn)
        self._verify(answer, vector)
        await self._register(phone, imsi)

    async def _register(self, phone: Mobile, imsi: str) -> None:
        await self.hlr.update_location(imsi)
        self._attached[imsi] = phone
        if imsi not in self._seen:
            self._seen.add(imsi)
            now = time.time_ns() // 1_000_000
            for listener in self._listeners:
                listener(imsi, now)

    async def detach(self, imsi: str) -> None:
        """The phone has left or was switched off."""
        if self._attached.pop(imsi, None):
            await self.hlr.purge(imsi)

    async def bar(self, imsi: str) -> None:
        """Bar the subscriber in the HLR and throw its phone out at once."""
        await self.hlr.bar(imsi)
        self._throw_out(imsi)

    async def delete(self, imsi: str) -> None:
        """Delete the subscriber from the HLR and throw its phone out; a later subscriber of that IMSI is a new one."""
        await self.hlr.delete(imsi)
        self._seen.discard(imsi)
        self._forget_number(imsi)
        self._throw_out(imsi)

    def _forget_number(self, imsi: str) -> None:
        if number := self._numbers.pop(imsi, ""):
            self._imsis.pop(number, None)

    def _throw_out(self, imsi: str) -> None:
        if phone := self._attached.pop(imsi, None):
            phone.lose_service()

    @staticmethod
    def _verify(answer: Authenticated | ResyncNeeded | None, vector: AuthVector) -> None:
        if answer is None:
            raise HlrRefusalError(Cause.MAC_FAILURE)
        if isinstance(answer, ResyncNeeded):
            raise HlrRefusalError(Cause.NETWORK_FAILURE)
        if not hmac.compare_digest(answer.res, vector.res):
            raise HlrRefusalError(Cause.ILLEGAL_MS)
