"""Class A0: how the same files and codes look to phones and tools of a 2G SIM (3GPP TS 51.011 §9).

`run_gsm_class` turns such a command into what `Session` does for class 00; `translate` gives its status words the old
way, and `describe` the answer to SELECT and STATUS, which here is no TLV. What is the same in both classes, the toolkit
and GET RESPONSE, stays with `Card`.
"""

from __future__ import annotations

import msgspec

from simcard.uicc.apdu import Command, Response, StatusError, Sw
from simcard.uicc.codes import PUK1, SecretCode
from simcard.uicc.files import MF, PIN1, Access, Df, Ef, Structure
from simcard.uicc.session import SEARCH_RECORD, SELECT, STATUS, Session

GSM_CLASS = 0xA0
SLEEP = 0xFA
UNBLOCK_CHV1 = 0x00  # P2 of UNBLOCK CHV, which names CHV1 otherwise than VERIFY CHV does (TS 51.011 §9.2.13)
ANSWER_READY = 0x9F00

_WORDS: dict[int, int] = {
    Sw.NO_EF_SELECTED: 0x9400,
    Sw.WRONG_OFFSET: 0x9402,
    Sw.RECORD_NOT_FOUND: 0x9402,
    Sw.FILE_NOT_FOUND: 0x9404,
    Sw.NOTHING_FOUND: 0x9404,
    Sw.COMMAND_INCOMPATIBLE_WITH_FILE: 0x9408,
    Sw.REFERENCE_NOT_FOUND: 0x9802,
    Sw.SECURITY_NOT_SATISFIED: 0x9804,
    Sw.CODE_INVALIDATED: 0x9808,
    Sw.CODE_BLOCKED: 0x9840,
    Sw.WRONG_P1_P2: 0x6B00,
    Sw.CONDITIONS_NOT_SATISFIED: 0x6F00,
    Sw.WRONG_DATA: 0x6F00,
    Sw.FUNCTION_NOT_SUPPORTED: 0x6F00,
    Sw.MEMORY_PROBLEM: 0x9240,
}
_SIM_CODES = 2  # PIN and its unblocking code
_NIBBLES = {Access.ALWAYS: 0x0, Access.PIN: 0x1, Access.ADM: 0x4, Access.NEVER: 0xF}
_STRUCTURES = {Structure.TRANSPARENT: 0, Structure.LINEAR_FIXED: 1, Structure.CYCLIC: 3}
# SEEK's kinds and the modes of SEARCH RECORD: from the beginning, from the end, from the next, from the previous.
_BEGIN, _END, _NEXT, _PREVIOUS = range(4)
_WITH_NUMBER = 0x10


def translate(sw: int) -> int:
    """A status word of class 00 as TS 51.011 §9.4 has it."""
    if sw & 0xFFF0 == Sw.TRIES_LEFT:
        return 0x9804
    if sw >> 8 == Sw.WRONG_LE >> 8:
        return 0x6700 | sw & 0xFF
    return _WORDS.get(sw, sw)


def run_gsm_class(command: Command, session: Session, codes: dict[int, SecretCode]) -> Response:
    """SELECT, STATUS, SEEK, or a file command that is the same in both classes; raises `StatusError` of class 00."""
    if command.ins == SELECT:
        if command.p1 or command.p2:
            raise StatusError(Sw.WRONG_P1_P2)
        session.select_fid(command.data)
        return Response(describe(session, codes))
    if command.ins == STATUS:
        return Response(describe(session, codes, current_df=True)[: command.le or 256])
    if command.ins == SEARCH_RECORD:
        return _seek(command, session)
    if not session.handles(command.ins):
        raise StatusError(Sw.INSTRUCTION_NOT_SUPPORTED)
    return session.execute(command)


def describe(session: Session, codes: dict[int, SecretCode], *, current_df: bool = False) -> bytes:
    """What SELECT tells of the current file (TS 51.011 §9.2.1): 22 octets of a directory, 15 of an EF."""
    if session.ef and not current_df:
        return _describe_ef(session.ef)
    return _describe_df(session.df, codes)


def _describe_df(df: Df, codes: dict[int, SecretCode]) -> bytes:
    pin, puk = codes[PIN1], codes.get(PUK1)
    kind = 0x01 if df.fid == MF else 0x02
    # b8: PIN is not asked for; b2 and b1: clock may stop, at no preferred level.
    characteristics = (0x00 if pin.enabled else 0x80) | 0x13
    specific = bytes((characteristics, len(df.dfs), len(df.efs), _SIM_CODES * 2, 0, _tries(pin), _tries(puk), 0, 0))
    return bytes(4) + df.fid.to_bytes(2, "big") + bytes((kind,)) + bytes(5) + bytes((len(specific),)) + specific


def _describe_ef(ef: Ef) -> bytes:
    increase = 0xF if ef.increase is None else _NIBBLES[ef.increase]
    return (
        bytes(2)
        + len(ef.content).to_bytes(2, "big")
        + ef.fid.to_bytes(2, "big")
        + bytes((0x04, 0x00 if ef.increase is None else 0x40))
        # Rehabilitate and invalidate are nobody's.
        + bytes((_NIBBLES[ef.read] << 4 | _NIBBLES[ef.update], increase << 4 | 0x0F, 0xFF, 0x01))
        + bytes((2, _STRUCTURES[ef.structure], ef.record_length))
    )


def _tries(code: SecretCode | None) -> int:
    """b8: there is such a code; the tries left in the low half (TS 51.011 §9.2.1)."""
    return 0 if code is None else 0x80 | min(code.tries, 15)


def _seek(command: Command, session: Session) -> Response:
    """SEEK by way of SEARCH RECORD (TS 51.011 §9.2.6): the first record that *begins* with the pattern."""
    kind = command.p2 & 0x0F
    if command.p1 or kind > _PREVIOUS or command.p2 & 0xE0:
        raise StatusError(Sw.WRONG_P1_P2)
    ef = session.ef
    last = ef.records if ef else 0
    start = {_BEGIN: 1, _END: last, _NEXT: session.record + 1, _PREVIOUS: (session.record or last + 1) - 1}[kind]
    if not 0 < start <= last:
        raise StatusError(Sw.NOTHING_FOUND if ef else Sw.NO_EF_SELECTED)
    way = 0x04 if kind in (_BEGIN, _NEXT) else 0x05
    before = session.record
    found = session.execute(msgspec.structs.replace(command, p1=start, p2=way)).data
    for number in found:
        if ef and ef.read_record(number).startswith(command.data):
            session.record = number
            return Response(bytes((number,)) if command.p2 & _WITH_NUMBER else b"")
    session.record = before
    raise StatusError(Sw.NOTHING_FOUND)
