"""Delivery of remote commands to a card: once, or known to be unknown.

    packet = await prepare(store, iccid, [*store_slot(1, profile), enable_slot(1)])
    outcome = await deliver(store, packet.id, carrier)

`prepare` takes the card's next counter, makes the packet and stores both in one step of the store; nothing is sent yet.
`deliver` notes the attempt, then sends, then judges the proof of receipt. A sender that dies at any point calls
`deliver` again with the same id: the *identical bytes* go out, the card's counter lets them act once, and the answer
"counter low" to a retry means that an earlier attempt arrived and its proof was lost: `UNKNOWN`, to be asked
(`list_slots` and the fingerprint of `ota.profile`), not assumed. Packets of one card are delivered in order, one at a
time; that is the caller's part.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec

from landfall.errors import LandfallError
from ota.keysets import CardKeys
from ota.scp80.packet import ProofOfReceipt, decode_response, encode_command, peek_command
from ota.scp80.parameters import Integrity, ResponseStatus, ScpError, Spi
from ota.scp80.remote import SW_OK, CompactResponse, describe_sw, join_commands
from ota.scp80.sms import build_delivers, pack_timestamp, unwrap_response

# The sender's address a card sees; any number does, the card answers in the same exchange.
DEFAULT_ORIGINATOR = "12345"


class Verdict(StrEnum):
    """What is known of a packet after an attempt, the most certain first."""

    DONE = "done"  # proof of receipt, every command succeeded
    FAILED = "failed"  # proof of receipt, but a command failed
    REFUSED = "refused"  # the card refused the packet; nothing was done
    UNKNOWN = "unknown"  # it may have acted or not

    @property
    def final(self) -> bool:
        """Whether sending again would be pointless."""
        return self is not Verdict.UNKNOWN


_CERTAINTY = list(Verdict)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict in words a person reads, with the card's own status, status word and data of the last command."""

    verdict: Verdict
    words: str
    status: ResponseStatus | None = None
    executed: int = 0
    sw: int | None = None
    data: bytes = b""


class State(StrEnum):
    """How far a packet has come, for people to follow."""

    QUEUED = "queued"  # stored, never sent
    SENT = "sent"  # on its way, once or more often
    DELIVERED = "delivered"  # the carrier says that it is in the card; no proof yet
    UNKNOWN = "unknown"  # an attempt ended without a proof that settles it
    PROVEN = "proven"  # proof of receipt, every command succeeded
    FAILED = "failed"  # proof of receipt that says otherwise


class StoredPacket(msgspec.Struct, frozen=True, kw_only=True):
    """A packet in the store. `packet` begins with CPL; `commands` is their number; `attempts` counts sendings begun."""

    id: UUID
    iccid: str
    key_index: int
    counter: int
    commands: int
    packet: bytes
    prepared_at: datetime
    attempts: int = 0
    delivered_at: datetime | None = None
    outcome: Outcome | None = None

    @property
    def state(self) -> State:
        """How far it has come."""
        if self.outcome is not None and self.outcome.verdict.final:
            return State.PROVEN if self.outcome.verdict is Verdict.DONE else State.FAILED
        if self.outcome is not None:
            return State.UNKNOWN
        if self.delivered_at is not None:
            return State.DELIVERED
        return State.SENT if self.attempts else State.QUEUED


class CarrierError(LandfallError):
    """The carrier did not bring the message; what the card did with parts of it is unknown."""


class AbsentCard(CarrierError):  # noqa: N818 - what is the case
    """The phone is off or out of reach: later."""


class UnprovenError(Exception):
    """A response that proves nothing about a packet; `status` is what it claims."""

    def __init__(self, reason: str, status: ResponseStatus | None = None) -> None:
        super().__init__(reason)
        self.status = status


class OutboxStore(Protocol):
    """Where packets and counters survive their sender (`ota.outbox` keeps them in PostgreSQL)."""

    async def append(self, iccid: str, commands: int, encode: Callable[[CardKeys, int], bytes]) -> StoredPacket:
        """In one transaction: take the card's next counter, store it and the packet `encode(keys, counter)` makes."""

    async def begin_attempt(self, packet_id: UUID) -> tuple[StoredPacket, CardKeys]:
        """Count an attempt durably, unless the outcome is final; the packet as it then is, and the card's keys."""

    async def note_delivered(self, packet_id: UUID) -> None:
        """The carrier has word that every part of the packet is in the card."""

    async def finish(self, packet_id: UUID, outcome: Outcome) -> Outcome:
        """Store the outcome unless a final one stands; the one that stands then."""


class Attempt:
    """One sending of a packet, as its carrier sees it."""

    def __init__(self, store: OutboxStore, packet: StoredPacket, card: CardKeys) -> None:
        self._store, self.packet, self.card = store, packet, card

    def is_answered_by(self, response: bytes) -> bool:
        """Whether response data is the card's proven answer to this very packet, and its last word."""
        try:
            return read_proof(self.packet, self.card, response).status not in _LATER
        except UnprovenError:
            return False

    def is_settled_by(self, response: bytes) -> bool:
        """Whether it leaves nothing open, even if the packet reached the card twice."""
        return judge(self.packet, self.card, [response], may_double=True).verdict.final

    async def note_delivered(self) -> None:
        """Say that every part is in the card; the proof is still to come."""
        await self._store.note_delivered(self.packet.id)


class Carrier(Protocol):
    """What brings TPDUs to a card: an SMSC, or an ENVELOPE straight into a reader."""

    @property
    def may_double(self) -> bool:
        """Whether a message may reach the card more than once: of two answers the one we get may be the second."""

    async def send(self, iccid: str, tpdus: Sequence[bytes], attempt: Attempt) -> list[bytes]:
        """Hand over SMS-DELIVER TPDUs in order; the card's response data, as many as there are (b"" is none).

        A carrier that hears answers later waits for one that `attempt` is answered by. Raises `CarrierError`.
        """


async def prepare(
    store: OutboxStore, iccid: str, commands: Sequence[bytes], *, tar: bytes | None = None
) -> StoredPacket:
    """Store one packet with `commands` (C-APDUs, compact format) for the card, to be sent by `deliver`.

    `tar` names another application than the key set's. Raises `ScpError` for commands that make no packet.
    """
    data = join_commands(commands)

    def encode(card: CardKeys, counter: int) -> bytes:
        return encode_command(data, keys=card.keys, spi=card.spi, tar=tar or card.tar, counter=counter)

    return await store.append(iccid, len(commands), encode)


async def deliver(
    store: OutboxStore, packet_id: UUID, carrier: Carrier, *, originator: str = DEFAULT_ORIGINATOR
) -> Outcome:
    """Send the stored packet and store what became of it; a packet with a final outcome is not sent again.

    What the carrier raises goes to the caller, with the attempt counted: call again.
    """
    packet, card = await store.begin_attempt(packet_id)
    if packet.outcome is not None and packet.outcome.verdict.final:
        return packet.outcome
    tpdus = build_delivers(
        packet.packet,
        originator=originator,
        timestamp=pack_timestamp(packet.prepared_at),
        reference=packet.counter & 0xFF,
    )
    responses = await carrier.send(packet.iccid, tpdus, Attempt(store, packet, card))
    return await store.finish(packet_id, judge(packet, card, responses, may_double=carrier.may_double))


def judge(packet: StoredPacket, card: CardKeys, responses: Sequence[bytes], *, may_double: bool = False) -> Outcome:
    """The outcome of an attempt by the card's response data; the most certain if there are several answers.

    `may_double`: the carrier may have brought the packet twice, so that "counter low" may answer the second time.
    """
    again = may_double or packet.attempts > 1
    outcomes = [_judge_one(packet, card, response, again=again) for response in responses if response]
    if not outcomes:
        return Outcome(verdict=Verdict.UNKNOWN, words="the card sent no proof of receipt")
    return min(outcomes, key=lambda outcome: _CERTAINTY.index(outcome.verdict))


def _judge_one(packet: StoredPacket, card: CardKeys, response: bytes, *, again: bool) -> Outcome:
    try:
        proof = read_proof(packet, card, response)
    except UnprovenError as error:
        return Outcome(verdict=Verdict.UNKNOWN, words=str(error), status=error.status)
    if proof.status is ResponseStatus.POR_OK:
        return _judge_commands(packet, proof)
    verdict = Verdict.REFUSED
    if proof.status in _LATER or (proof.status is ResponseStatus.CNTR_LOW and again):
        verdict = Verdict.UNKNOWN
    return Outcome(verdict=verdict, words=_WORDS[proof.status], status=proof.status)


def read_proof(packet: StoredPacket, card: CardKeys, response: bytes) -> ProofOfReceipt:
    """The card's proof about this packet in response data; raises `UnprovenError` where it proves nothing.

    A card that could not decipher or verify the packet does not know its counter, and answers with 0.
    """
    header = peek_command(packet.packet)
    try:
        proof = decode_response(unwrap_response(response), keys=card.keys, spi=header.spi)
    except ScpError as error:
        raise UnprovenError(f"the proof of receipt cannot be read: {error}") from None
    unread = proof.counter == 0 and proof.status is not ResponseStatus.POR_OK
    if proof.tar != header.tar or (proof.counter != packet.counter and not unread):
        raise UnprovenError("the proof of receipt is that of another packet")
    if _asks_protection(header.spi) and not proof.secured:
        words = f"an unprotected report, which anybody could have sent, says {proof.status.word}"
        raise UnprovenError(words, proof.status)
    return proof


def _judge_commands(packet: StoredPacket, proof: ProofOfReceipt) -> Outcome:
    try:
        answer = CompactResponse.decode(proof.data)
    except ScpError as error:
        words = f"the card proved receipt, but its answer cannot be read: {error}"
        return Outcome(verdict=Verdict.UNKNOWN, words=words, status=proof.status, data=proof.data)
    # 91xx, 61xx and 9Fxx are 9000 with something to fetch (TS 102 221 10.2.1.1).
    done = answer.sw == SW_OK or answer.sw >> 8 in (0x91, 0x61, 0x9F)
    verdict = Verdict.DONE if done and answer.executed == packet.commands else Verdict.FAILED
    return Outcome(
        verdict=verdict,
        words=f"the card ran {answer.executed} of {packet.commands} commands, the last with {describe_sw(answer.sw)}",
        status=proof.status,
        executed=answer.executed,
        sw=answer.sw,
        data=answer.data,
    )


def _asks_protection(spi: Spi) -> bool:
    return spi.por_shall_be_ciphered or spi.por_rc_cc_ds is not Integrity.NO_RC_CC_DS


# The card took the packet and its answer comes by another way, which the caller must wait for or ask for.
_LATER = (ResponseStatus.MORE_TIME, ResponseStatus.ACTUAL_RESPONSE_SMS_SUBMIT, ResponseStatus.ACTUAL_RESPONSE_USSD)

_WORDS = {
    ResponseStatus.RC_CC_DS_FAILED: "the card's check of the packet failed: compare KID and its key with the card's",
    ResponseStatus.CNTR_LOW: "the card has seen this counter or a higher one: an earlier attempt may have acted",
    ResponseStatus.CNTR_HIGH: "the counter is not the card's next: a packet before this one is missing",
    ResponseStatus.CNTR_BLOCKED: "the card's counter is at its end: only new keys or a new card help",
    ResponseStatus.CIPHERING_ERROR: "the card could not decipher the packet: compare KIc and its key with the card's",
    ResponseStatus.UNDEFINED_SECURITY_ERROR: "the card does not know this key set or names no reason",
    ResponseStatus.INSUFFICIENT_MEMORY: "the card has not enough memory for the packet",
    ResponseStatus.MORE_TIME: "the card needs more time; its answer follows",
    ResponseStatus.TAR_UNKNOWN: "the card has no application with this TAR",
    ResponseStatus.INSUFFICIENT_SECURITY_LEVEL: "the application asks for more protection than the packet's SPI gives",
    ResponseStatus.ACTUAL_RESPONSE_SMS_SUBMIT: "the card's answer follows in a short message",
    ResponseStatus.ACTUAL_RESPONSE_USSD: "the card's answer follows by USSD",
}
