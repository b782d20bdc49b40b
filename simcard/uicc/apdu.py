"""Command and response APDUs as T=0 carries them (ISO/IEC 7816-3 and -4, ETSI TS 102 221 §7.3 and §10).

A command is `CLA INS P1 P2`, then nothing (case 1), a length expected (case 2), data (case 3), or data and a length
expected (case 4). T=0 has no case 4: the answer to one is `61xx` and waits for GET RESPONSE; a case 2 with another
length than the card has is answered `6Cxx`. `Card` keeps to both, whatever the reader sends.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

# ISO 7816-4 short length: extended APDUs do not exist under T=0.
MAX_DATA = 255


class Sw(IntEnum):
    """Status words this card gives (TS 102 221 §10.2, TS 31.102 §7.3)."""

    OK = 0x9000
    PROACTIVE = 0x9100
    MORE = 0x6100
    WRONG_LE = 0x6C00
    NOTHING_FOUND = 0x6282
    MEMORY_PROBLEM = 0x6581
    WRONG_LENGTH = 0x6700
    CHANNEL_NOT_SUPPORTED = 0x6881
    CLASS_NOT_SUPPORTED = 0x6E00
    INSTRUCTION_NOT_SUPPORTED = 0x6D00
    COMMAND_INCOMPATIBLE_WITH_FILE = 0x6981
    SECURITY_NOT_SATISFIED = 0x6982
    CODE_BLOCKED = 0x6983
    CODE_INVALIDATED = 0x6984
    CONDITIONS_NOT_SATISFIED = 0x6985
    NO_EF_SELECTED = 0x6986
    WRONG_DATA = 0x6A80
    FUNCTION_NOT_SUPPORTED = 0x6A81
    FILE_NOT_FOUND = 0x6A82
    RECORD_NOT_FOUND = 0x6A83
    NO_SPACE = 0x6A84
    WRONG_P1_P2 = 0x6A86
    REFERENCE_NOT_FOUND = 0x6A88
    WRONG_OFFSET = 0x6B00
    TRIES_LEFT = 0x63C0
    MAXIMUM_REACHED = 0x9850
    AUTHENTICATION_MAC_WRONG = 0x9862
    AUTHENTICATION_CONTEXT_NOT_SUPPORTED = 0x9864


class StatusError(Exception):
    """A command ends with this status word and without data. `sw` is the 16-bit word."""

    def __init__(self, sw: int) -> None:
        super().__init__(f"status word {sw:04X}")
        self.sw = sw


class Command(msgspec.Struct, frozen=True):
    """A command APDU. `le` is the length expected, 1 to 256; None when nothing is."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int | None = None

    @classmethod
    def parse(cls, raw: bytes) -> Command:
        """Read one APDU; raises `StatusError(6700)` when its lengths disagree."""
        if len(raw) < 4:
            raise StatusError(Sw.WRONG_LENGTH)
        (cla, ins, p1, p2), body = raw[:4], raw[4:]
        if not body:
            return cls(cla, ins, p1, p2)
        if len(body) == 1:
            return cls(cla, ins, p1, p2, le=body[0] or 256)
        length, rest = body[0], body[1:]
        if length and len(rest) == length:
            return cls(cla, ins, p1, p2, rest)
        if length and len(rest) == length + 1:
            return cls(cla, ins, p1, p2, rest[:-1], rest[-1] or 256)
        raise StatusError(Sw.WRONG_LENGTH)

    def encode(self) -> bytes:
        """The APDU's bytes; `ValueError` when the data is longer than a short APDU holds."""
        if len(self.data) > MAX_DATA:
            raise ValueError(f"an APDU holds at most {MAX_DATA} octets of data, not {len(self.data)}")
        raw = bytes((self.cla, self.ins, self.p1, self.p2))
        if self.data:
            raw += bytes((len(self.data),)) + self.data
        if self.le is not None:
            raw += bytes((self.le & 0xFF,))
        return raw


class Response(msgspec.Struct, frozen=True):
    """A response APDU: data and status word."""

    data: bytes = b""
    sw: int = Sw.OK

    @property
    def ok(self) -> bool:
        """Whether it ended normally: 9000, or 91xx with a proactive command waiting."""
        return self.sw == Sw.OK or self.sw >> 8 == 0x91

    def encode(self) -> bytes:
        """The data, then SW1 SW2."""
        return self.data + self.sw.to_bytes(2, "big")
