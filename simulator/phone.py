"""A phone: it holds a reader link to a card, nothing more, and does with it what real ones do.

    phone = Phone(link, field.find_networks, place="25099")
    await phone.switch_on()
    await phone.travel_to("262")         # or one PLMN, "26201"
    phone.serving                        # the Network it is registered in, or None
    await phone.receive_sms(tpdus)       # into the card by ENVELOPE; what the card says back

Switching on: reset, PIN if the card asks, ICCID, USIM by the AID in EF.DIR, TERMINAL PROFILE, IMSI, FPLMN. Then it
looks for a network: the IMSI's own first, others unless forbidden. A poll is one STATUS and the end of each timer the
card has started, as every 30 s in reality; proactive commands that come up are fetched and done: PROVIDE LOCAL
INFORMATION tells the place, REFRESH resets the card and begins again, SEND SHORT MESSAGE goes to the centre of the
network that serves the phone; what none takes is kept (`take_submitted`), menu and text are shown. Time here is polls:
`settle` polls until nothing changes any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from ota.scp80.digits import pack_plmn
from ota.scp80.sms import build_envelope
from ota.scp80.tlv import decode_tlvs, encode_tlv
from simcard.readers.contract import Link
from simcard.uicc.authentication import Authenticated, ResyncNeeded
from simcard.uicc.toolkit import (
    EVENT_DOWNLOAD,
    LIMITED_SERVICE,
    LOCATION_STATUS_EVENT,
    MENU_SELECTION,
    PERFORMED,
    TIMER_EXPIRATION,
    Kind,
    Tag,
    read_comprehension_tlvs,
)
from simulator.hlr import Cause, HlrRefusalError
from simulator.network import Network
from simulator.phone_card import LAC, PhoneCard
from simulator.screen import Screen

# A card that puts command after command would keep the phone for ever.
PROACTIVE_MAX = 32
# Polls without any change after which a phone has settled: more than a card's dwell when it has no service.
STABLE_POLLS = 5
# Sixteen accounts that all fail take three polls each; beyond that the card is going round in circles.
SETTLE_POLLS = 64
# The service centre address an ENVELOPE names; the card's answer does not depend on it.
CARRIER_SMSC = "+882990000000"
# Cell of every simulated network.
CELL = 0x0001
UNABLE = 0x20
# Event list: location status; from phone to card; location status: normal service.
IN_NORMAL_SERVICE = bytes.fromhex("99010382028281" + "9b0100")
# An SMS-SUBMIT's TP-UDHI: proofs of receipt have a user data header, the card's own reports have none.
UDHI = 0x40


class CardRefusedError(Exception):
    """The card answered an ENVELOPE with this status word, in hex."""

    def __init__(self, sw: str) -> None:
        super().__init__(f"the card answered {sw.upper()} to an ENVELOPE")
        self.sw = sw


class AbsentSubscriberError(Exception):
    """The phone is off or registered nowhere: an SMS cannot reach it now."""


class SmsAnswer(msgspec.Struct, frozen=True):
    """What came back: response data for each TPDU (b"" for none), and SMS-SUBMITs the card sent meanwhile."""

    responses: tuple[bytes, ...]
    submitted: tuple[bytes, ...]


class Phone:
    """One phone with one card. `find_networks(place)` says which networks are on the air in a country or PLMN."""

    def __init__(
        self, link: Link, find_networks: Callable[[str], Sequence[Network]], *, place: str, pin: str | None = None
    ) -> None:
        self._card, self._find_networks = PhoneCard(link, pin), find_networks
        self._lock = asyncio.Lock()
        self._place = place
        self._on = False
        self._sent: list[bytes] = []
        self._timers: list[int] = []
        self._events = b""
        self._location_changed = False
        self.screen = Screen()
        self.camped: Network | None = None
        self.serving: Network | None = None
        self.refusal: Cause | None = None
        """Why it has no service: the last network's cause, or None."""

    @property
    def iccid(self) -> str:
        """ICCID of the card; empty before it was first switched on."""
        return self._card.iccid

    @property
    def imsi(self) -> str:
        """IMSI the card shows now."""
        return self._card.imsi

    async def switch_on(self) -> None:
        """Power the card and look for a network where the phone is."""
        async with self._lock:
            self._card.power_on()
            self._on = True
            self._start_card()
            await self._find_service()

    async def switch_off(self) -> None:
        """Sign off and power the card down."""
        async with self._lock:
            await self._leave()
            self.camped, self._on = None, False
            self._card.power_off()

    async def travel_to(self, place: str) -> bool:
        """Go to a country (MCC) or one network's reach (PLMN) and settle there. True when the phone has service."""
        async with self._lock:
            await self._leave()
            self._place = place
            await self._find_service()
            return await self._settle()

    async def settle(self) -> bool:
        """Poll until nothing changes any more. True when the phone has service."""
        async with self._lock:
            return await self._settle()

    async def receive_sms(self, tpdus: Sequence[bytes], *, smsc: str = CARRIER_SMSC) -> SmsAnswer:
        """Hand SMS-DELIVER TPDUs to the card (TS 31.111 §7.1.1), do what it then asks for, return what it said.

        Raises `AbsentSubscriberError` without service, `CardRefusedError` when the card does not take one.
        """
        async with self._lock:
            if not self._on or self.serving is None:
                raise AbsentSubscriberError(f"the phone with card {self.iccid} has no service")
            responses = []
            for tpdu in tpdus:
                envelope = build_envelope(tpdu, smsc=smsc)
                data, sw = self._card.send(f"80c20000{len(envelope):02x}{envelope.hex()}")
                if sw != "9000" and not sw.startswith("91"):
                    raise CardRefusedError(sw)
                responses.append(bytes.fromhex(data))
                await self._do_proactive(sw)
            proofs = tuple(tpdu for tpdu in self._sent if tpdu[0] & UDHI)
            self._sent = [tpdu for tpdu in self._sent if not tpdu[0] & UDHI]
            return SmsAnswer(tuple(responses), proofs)

    def take_submitted(self) -> tuple[bytes, ...]:
        """SMS-SUBMITs the card has sent by itself since this was last asked, the oldest first."""
        taken, self._sent = tuple(self._sent), []
        return taken

    async def choose(self, entry: str, choice: str) -> None:
        """Open an entry of the SIM's menu and choose from the list that comes; `KeyError` for no such entry."""
        async with self._lock:
            item = self.screen.find(entry)
            self.screen.wish = choice
            await self._envelope(MENU_SELECTION, bytes.fromhex("82020181") + encode_tlv(0x90, bytes((item,))))
            self.screen.wish = None

    def answer(self, rand: bytes, autn: bytes) -> Authenticated | ResyncNeeded | None:
        """The card's answer to a 3G challenge; None when it finds the MAC wrong."""
        return self._card.answer(rand, autn)

    def answer_gsm(self, rand: bytes) -> tuple[bytes, bytes]:
        """The card's answer to a 2G challenge: SRES and Kc."""
        return self._card.answer_gsm(rand)

    def lose_service(self) -> None:
        """The serving network has thrown the phone out; it stays camped there without service."""
        self.serving, self.refusal = None, Cause.ROAMING_NOT_ALLOWED

    def _start_card(self) -> None:
        self._timers, self._events, self.screen.menu = [], b"", {}
        self._card.start()

    async def _find_service(self) -> None:
        """Try networks in turn; without success stay camped on the first with limited service."""
        self.serving, self.refusal = None, None
        networks = sorted(self._find_networks(self._place), key=lambda n: not self.imsi.startswith(n.plmn))
        self.camped = networks[0] if networks else None
        if not self._on:
            return
        for network in networks:
            if network.plmn in self._card.forbidden():
                self.refusal = self.refusal or Cause.PLMN_NOT_ALLOWED
                continue
            try:
                await network.attach(self)
            except HlrRefusalError as refusal:
                self.refusal = refusal.cause
                if refusal.cause is Cause.PLMN_NOT_ALLOWED:
                    self._card.forbid(network.plmn)
                continue
            self.serving = self.camped = network
            self.refusal, self._location_changed = None, True
            self._card.note_location(network.plmn)
            return

    async def _leave(self) -> None:
        if self.serving:
            await self.serving.detach(self.imsi)
        self.serving = None

    async def _settle(self) -> bool:
        quiet = 0
        for _ in range(SETTLE_POLLS):
            before = (self.imsi, self.serving)
            await self._poll()
            quiet = quiet + 1 if (self.imsi, self.serving) == before else 0
            if quiet and (self.serving or quiet >= STABLE_POLLS):
                break
        return self.serving is not None

    async def _poll(self) -> None:
        """What happens in half a minute; without service, another look for a network after it."""
        if not self._on:
            return
        if self._location_changed and self.serving and LOCATION_STATUS_EVENT in self._events:
            await self._envelope(EVENT_DOWNLOAD, IN_NORMAL_SERVICE + self._location())
        self._location_changed = False
        _, sw = self._card.send("80f2000c")
        await self._do_proactive(sw)
        running, self._timers = self._timers, []
        for timer in running:
            await self._envelope(TIMER_EXPIRATION, bytes.fromhex("82028281") + encode_tlv(0xA4, bytes((timer,))))
        if self.serving is None:
            await self._find_service()

    async def _envelope(self, tag: int, body: bytes) -> None:
        envelope = encode_tlv(tag, body)
        _, sw = self._card.send(f"80c20000{len(envelope):02x}{envelope.hex()}")
        await self._do_proactive(sw)

    async def _do_proactive(self, sw: str) -> None:
        for _ in range(PROACTIVE_MAX):
            if not sw.startswith("91"):
                return
            data, _ = self._card.send(f"80120000{sw[2:]}")
            body = dict(decode_tlvs(bytes.fromhex(data)))[0xD0]
            fields = dict(read_comprehension_tlvs(body))
            kind = fields[Tag.COMMAND_DETAILS][1]
            if kind == Kind.REFRESH:
                # A REFRESH by reset has no TERMINAL RESPONSE: the reset is the answer (TS 102 223 §6.4.7).
                await self._leave()
                self._start_card()
                await self._find_service()
                return
            sw = self._respond(fields[Tag.COMMAND_DETAILS], *self._perform(kind, fields, body))

    def _perform(self, kind: int, fields: dict[int, bytes], body: bytes) -> tuple[int, bytes]:
        """Do one command: general result and further TLVs for the TERMINAL RESPONSE."""
        if kind == Kind.SEND_SHORT_MESSAGE:
            if self.serving is None:
                return UNABLE, b""
            self._submit(self.serving, fields[Tag.SMS_TPDU])
            return PERFORMED, b""
        if kind == Kind.PROVIDE_LOCAL_INFORMATION:
            if self.camped is None:
                return UNABLE, b""
            return PERFORMED if self.serving else LIMITED_SERVICE, self._location()
        if kind == Kind.SET_UP_EVENT_LIST:
            self._events = fields[Tag.EVENT_LIST]
            return PERFORMED, b""
        if kind == Kind.TIMER_MANAGEMENT:
            self._timers.append(fields[Tag.TIMER_IDENTIFIER][0])
            return PERFORMED, encode_tlv(0x80 | Tag.TIMER_IDENTIFIER, fields[Tag.TIMER_IDENTIFIER])
        return self.screen.show(kind, fields, body)

    def _submit(self, network: Network, tpdu: bytes) -> None:
        """Hand an SMS-SUBMIT to the network's centre; a proof of receipt goes back with the packet it is for."""
        if network.centre is None or tpdu[0] & UDHI:
            self._sent.append(tpdu)
        else:
            network.centre.take(network.number_of(self.imsi), tpdu)

    def _location(self) -> bytes:
        assert self.camped is not None
        place = pack_plmn(self.camped.plmn) + LAC.to_bytes(2, "big") + CELL.to_bytes(2, "big")
        return encode_tlv(0x80 | Tag.LOCATION_INFORMATION, place)

    def _respond(self, details: bytes, result: int, further: bytes) -> str:
        outcome = bytes((result, 0x04)) if result == UNABLE else bytes((result,))  # 04: no service
        body = bytes.fromhex("8103") + details + bytes.fromhex("82028281") + encode_tlv(0x83, outcome) + further
        return self._card.send(f"80140000{len(body):02x}{body.hex()}")[1]
