"""AUTHENTICATE and RUN GSM ALGORITHM as APDUs: 2G and 3G context, with the enabled account's keys (TS 31.102 §7.1.2).

The ISIM's IMS AKA context is the 3G context under another name (TS 31.103 §7.1.2).
"""

from __future__ import annotations

from simcard.uicc.algorithms import NoAkaError, answer_gsm, require_aka
from simcard.uicc.apdu import Command, Response, StatusError, Sw
from simcard.uicc.authentication import ResyncNeeded, answer_challenge
from simcard.uicc.multi_account import Slot

AUTHENTICATE = RUN_GSM_ALGORITHM = 0x88
GSM_CONTEXT, UMTS_CONTEXT = 0x80, 0x81
RAND_LENGTH = AUTN_LENGTH = 16


def authenticate(command: Command, slot: Slot) -> Response:
    """Answer a challenge; the slot's sequence numbers move when it is fresh, and must be stored before it is sent."""
    rand, rest = _take(command.data, RAND_LENGTH)
    if command.p2 == GSM_CONTEXT and not rest:
        sres, kc = answer_gsm(slot.algorithm, rand)
        return Response(_counted(sres) + _counted(kc))
    if command.p2 != UMTS_CONTEXT:
        raise StatusError(Sw.WRONG_P1_P2)
    autn, rest = _take(rest, AUTN_LENGTH)
    if rest:
        raise StatusError(Sw.WRONG_DATA)
    try:
        answer = answer_challenge(require_aka(slot.algorithm), slot.sequence, rand, autn)
    except NoAkaError:
        raise StatusError(Sw.AUTHENTICATION_CONTEXT_NOT_SUPPORTED) from None
    if isinstance(answer, ResyncNeeded):
        return Response(b"\xdc" + _counted(answer.auts))
    return Response(b"\xdb" + b"".join(map(_counted, (answer.res, answer.ck, answer.ik, answer.kc))))


def run_gsm_algorithm(command: Command, slot: Slot) -> Response:
    """SRES and Kc of a RAND (TS 51.011 §9.2.16)."""
    if command.p1 or command.p2:
        raise StatusError(Sw.WRONG_P1_P2)
    if len(command.data) != RAND_LENGTH:
        raise StatusError(Sw.WRONG_LENGTH)
    return Response(b"".join(answer_gsm(slot.algorithm, command.data)))


def _take(data: bytes, length: int) -> tuple[bytes, bytes]:
    """A field preceded by its length, which must be `length`, and what follows it."""
    if len(data) <= length or data[0] != length:
        raise StatusError(Sw.WRONG_DATA)
    return data[1 : 1 + length], data[1 + length :]


def _counted(value: bytes) -> bytes:
    return bytes((len(value),)) + value
