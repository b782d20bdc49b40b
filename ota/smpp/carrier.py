"""The `Carrier` of `ota.delivery` over SMPP: parts go out as submit_sm, the proof comes back as deliver_sm.

    carrier = SmppCarrier(Centre(host="smsc.example", port=2775, system_id="ota", password="…"), find_number)
    running = asyncio.create_task(carrier.run())
    outcome = await deliver(store, packet_id, carrier)

A proof is known by the number it comes from and by the counter and TAR under its checksum; the centre may double, delay
and reorder what it carries. Delivery receipts tell when all parts are in the card, or that a part will never arrive:
`AbsentCard` then, and the same bytes again later. A proof that comes when nobody waits for it is kept for the next
attempt, which then sends nothing.

A message without a user data header is no proof but something the card says by itself: `take(sender, user_data)` gets
it, and the centre is told that it arrived when that is done.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from ota.delivery import AbsentCard, Attempt, CarrierError
from ota.scp80.parameters import ScpError
from ota.scp80.sms import IEI_RESPONSE, Reassembler, parse_deliver, wrap_response
from ota.smpp.esme import Centre, Esme
from ota.smpp.pdu import FINAL_RECEIPT, TON_INTERNATIONAL, TON_UNKNOWN, UDHI, PduError, ShortMessage, SmppError
from ota.smpp.receipt import State, pack_validity, parse_receipt

VALIDITY_S: Final = 60.0
"""How long the centre tries; after that the queue of jobs decides, not the centre's."""
PROOF_S: Final = 20.0
"""From the last part in the card, or the end of validity, to its proof: an execution and one message back."""
SECOND_ANSWER_S: Final = 2.0
"""After "counter low": the answer to the packet's first arrival may have been overtaken by that to its second."""
CARDS_MAX: Final = 10_000
"""Numbers whose unfinished or unclaimed answers are kept; the longest silent gives way."""
KEPT_PROOFS: Final = 4
"""Unclaimed answers of a card: jobs of a card go one at a time, so more is doubling."""

FindNumber = Callable[[str], Awaitable[str]]
Take = Callable[[str, bytes], Awaitable[None]]
_ignored = Counter("landfall_ota_smpp_ignored", "Messages from the centre nobody could use", ["why"])
_waited = Histogram("landfall_ota_smpp_proof_seconds", "From the first submit_sm to the card's proof")


class SmppCarrier:
    """Carries packets to cards by their numbers; `find_number(iccid)` gives an MSISDN with +, or an ICCID's digits.

    `sender` is the address cards see and report to, with + where international; without it, the TPDUs' own.
    """

    may_double = True

    def __init__(
        self,
        centre: Centre,
        find_number: FindNumber,
        *,
        take: Take | None = None,
        sender: str | None = None,
        validity_s: float = VALIDITY_S,
        proof_s: float = PROOF_S,
    ) -> None:
        self._take, self._sender = take, sender
        self._find_number, self._validity_s, self._proof_s = find_number, validity_s, proof_s
        self._data_coding = centre.data_coding
        self._ears: OrderedDict[str, _Ear] = OrderedDict()
        self._log = structlog.get_logger(__name__)
        self.esme = Esme(centre, self._hear)

    async def run(self) -> None:
        """Stay bound to the centre, until cancelled."""
        await self.esme.run()

    async def send(self, iccid: str, tpdus: Sequence[bytes], attempt: Attempt) -> list[bytes]:
        """Submit all parts and wait for the card's answer; what it said otherwise where none comes in time.

        Raises `AbsentCard` where the centre gives up, `CarrierError` for anything else it does not do.
        """
        number = (await self._find_number(iccid)).removeprefix("+")
        ear = self._ear(number)
        if ear.exchange is not None:
            raise CarrierError(f"a packet to card {iccid} is under way already: one at a time")
        if kept := next((proof for proof in ear.kept if attempt.is_settled_by(proof)), None):
            return [kept]
        exchange = ear.exchange = _Exchange(attempt)
        try:
            with _waited.time():
                for tpdu in tpdus:
                    exchange.expect(await self.esme.submit(self._message(tpdu, number)))
                return await self._await_answer(exchange)
        except SmppError as error:
            raise CarrierError(str(error)) from error
        finally:
            ear.exchange = None

    async def _await_answer(self, exchange: "_Exchange") -> list[bytes]:
        loop = asyncio.get_running_loop()
        noted = hurried = False
        try:
            async with asyncio.timeout(self._validity_s + self._proof_s) as patience:
                while not exchange.settled:
                    if exchange.failure is not None:
                        raise exchange.failure
                    if exchange.is_delivered and not noted:
                        noted = True
                        patience.reschedule(loop.time() + self._proof_s)
                        await exchange.attempt.note_delivered()
                    if exchange.answered and not hurried:
                        hurried = True
                        patience.reschedule(loop.time() + SECOND_ANSWER_S)
                    await exchange.changed.wait()
                    exchange.changed.clear()
        except TimeoutError:
            pass
        return exchange.heard

    def _message(self, tpdu: bytes, number: str) -> ShortMessage:
        """The submit_sm that makes the centre send this SMS-DELIVER."""
        deliver = parse_deliver(tpdu)
        sender = self._sender or deliver.originator
        international = sender.startswith("+")
        return ShortMessage(
            source=sender.removeprefix("+"),
            source_ton=TON_INTERNATIONAL if international else TON_UNKNOWN,
            destination=number,
            esm_class=UDHI if deliver.udhi else 0,
            protocol_id=deliver.pid,
            data_coding=deliver.dcs if self._data_coding is None else self._data_coding,
            validity=pack_validity(self._validity_s),
            registered_delivery=FINAL_RECEIPT,
            message=deliver.user_data,
        )

    def _hear(self, message: ShortMessage) -> Awaitable[None] | None:
        if self._take is not None and not message.is_receipt and not message.esm_class & UDHI:
            plus = "+" if message.source_ton == TON_INTERNATIONAL else ""
            return self._take(plus + message.source.removeprefix("+"), message.content)
        ear = self._ear(message.source.removeprefix("+"))
        try:
            if message.is_receipt:
                receipt = parse_receipt(message)
                if ear.exchange is not None:
                    ear.exchange.note_receipt(receipt.message_id, receipt.state)
            elif message.esm_class & UDHI:
                completed = ear.reassembler.add(message.content)
                if completed is not None and completed[0] == IEI_RESPONSE:
                    ear.take(wrap_response(completed[1]))
            else:
                _ignored.labels("no user data header").inc()
        except (PduError, ScpError) as error:
            _ignored.labels(type(error).__name__).inc()
            self._log.warning("a message from the centre cannot be read", error=str(error))
        return None

    def _ear(self, number: str) -> "_Ear":
        ear = self._ears.setdefault(number, _Ear())
        self._ears.move_to_end(number)
        if len(self._ears) > CARDS_MAX:
            oldest = next(iter(self._ears))
            if self._ears[oldest].exchange is None:
                del self._ears[oldest]
            else:
                self._ears.move_to_end(oldest)
        return ear


class _Ear:
    """What is known of one number: parts of an answer, answers nobody claimed, and the exchange under way."""

    def __init__(self) -> None:
        self.reassembler = Reassembler()
        self.kept: deque[bytes] = deque(maxlen=KEPT_PROOFS)
        self.exchange: _Exchange | None = None

    def take(self, response: bytes) -> None:
        """Give an answer to whom it belongs, or keep it."""
        if self.exchange is None:
            self.kept.append(response)
        else:
            self.exchange.take(response)


class _Exchange:
    """One attempt under way; `changed` is set whenever something was heard."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.heard: list[bytes] = []
        self.answered = self.settled = False
        self.failure: CarrierError | None = None
        self.changed = asyncio.Event()
        self._expected: set[str] = set()
        self._states: dict[str, State] = {}

    @property
    def is_delivered(self) -> bool:
        """Whether the centre has said of every part that it is in the card."""
        return bool(self._expected) and all(self._states.get(one) is State.DELIVERED for one in self._expected)

    def expect(self, message_id: str) -> None:
        """A part was submitted; its receipt may have come before this is called."""
        self._expected.add(message_id)
        if (state := self._states.get(message_id)) is not None:
            self.note_receipt(message_id, state)

    def note_receipt(self, message_id: str, state: State) -> None:
        """A receipt came; one of an earlier attempt's parts is of no matter."""
        self._states[message_id] = state
        if message_id in self._expected and state.is_failure:
            words = f"the short message centre could not deliver: {state.word}"
            self.failure = AbsentCard(words) if state is State.EXPIRED else CarrierError(words)
        self.changed.set()

    def take(self, response: bytes) -> None:
        """The card said something."""
        self.heard.append(response)
        self.answered |= self.attempt.is_answered_by(response)
        self.settled |= self.attempt.is_settled_by(response)
        self.changed.set()
