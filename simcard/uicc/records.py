"""Which record a command means, and which records hold a pattern (ETSI TS 102 221 §11.1.5 to §11.1.7)."""

from __future__ import annotations

from simcard.uicc.apdu import Command, StatusError, Sw
from simcard.uicc.files import Ef, Structure

# Table 11.11: modes of record access, in the low three bits of P2.
NEXT, PREVIOUS, ABSOLUTE = 2, 3, 4
# Table 11.19: kinds of search there; table 11.20: b4 of the first octet of an enhanced one.
FORWARD, BACKWARD, ENHANCED = 4, 5, 6
FROM_VALUE = 0x08


def number_of(ef: Ef, command: Command, current: int) -> int:
    """The record meant; NEXT and PREVIOUS go round only in a cyclic file. `current` is 0 when there is none."""
    match command.p2 & 7:
        case 4 if command.p1:
            return command.p1
        case 4 if current:
            return current
        case 2 if not command.p1:
            number = current + 1
        case 3 if not command.p1:
            number = current - 1 if current else ef.records
        case 4:
            raise StatusError(Sw.RECORD_NOT_FOUND)
        case _:
            raise StatusError(Sw.WRONG_P1_P2)
    return (number - 1) % ef.records + 1 if ef.structure is Structure.CYCLIC else number


def search(ef: Ef, command: Command, current: int) -> list[int]:
    """Numbers of the records that hold the pattern, in the order searched; `StatusError` for a malformed search."""
    start, pattern = command.p1 or current or 1, command.data
    after: int | None = None
    at: int | None = None
    way = command.p2 & 7
    if way == ENHANCED:
        if len(pattern) < 3:
            raise StatusError(Sw.WRONG_LENGTH)
        how, place, pattern = pattern[0], pattern[1], pattern[2:]
        after, at = (place, None) if how & FROM_VALUE else (None, place)
        way = how & 7
        if way in (6, 7):  # from the next, from the previous record
            start = current + 1 if way == 6 else (current or ef.records + 1) - 1
            way = FORWARD if way == 6 else BACKWARD
    if way not in (FORWARD, BACKWARD):
        raise StatusError(Sw.WRONG_P1_P2)
    if not 0 < len(pattern) <= ef.record_length:
        raise StatusError(Sw.WRONG_LENGTH)
    numbers = range(start, ef.records + 1) if way == FORWARD else range(min(start, ef.records), 0, -1)
    return [number for number in numbers if _holds(ef.read_record(number), pattern, at=at, after=after)]


def _holds(record: bytes, pattern: bytes, *, at: int | None, after: int | None) -> bool:
    """Whether the pattern is there: from offset `at` on, behind the first octet `after`, or anywhere."""
    begin = at or 0
    if after is not None:
        begin = record.find(after) + 1
        if begin == 0:
            return False
    return record.find(pattern, begin) >= 0
