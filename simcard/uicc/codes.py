"""PIN, PUK and ADM: eight octets each, a retry counter, blocked at zero (ETSI TS 102 221 §9.5, §11.1.9 to §11.1.13).

The counter is lowered and stored before the comparison's answer leaves the card, so pulling the power buys no try.
"""

from __future__ import annotations

import hmac

import msgspec

from simcard.uicc.apdu import Command, Response, StatusError, Sw
from simcard.uicc.files import ADM1, PIN1

# Where the PIN's unblocking code is kept among the codes; no key reference of TS 102 221 §9.5.1, so no APDU names it.
PUK1 = 0x81

VERIFY, CHANGE, DISABLE, ENABLE, UNBLOCK = 0x20, 0x24, 0x26, 0x28, 0x2C
CODE_INS = frozenset({VERIFY, CHANGE, DISABLE, ENABLE, UNBLOCK})

CODE_LENGTH = 8
# TS 102 221 §9.5.1: three tries for a PIN, ten for its unblocking code; ADM by custom as a PIN.
PIN_TRIES = 3
PUK_TRIES = 10


class SecretCode(msgspec.Struct):
    """One code: its value, tries left of `limit`, and whether it is asked for at all (only a PIN can be disabled)."""

    value: bytes
    limit: int = PIN_TRIES
    tries: int = PIN_TRIES
    enabled: bool = True

    def __repr__(self) -> str:
        return f"SecretCode(tries={self.tries}, enabled={self.enabled})"

    def check(self, candidate: bytes) -> None:
        """Compare; `StatusError` 63Cx with the tries left, 6983 when blocked, 6700 on a wrong length."""
        if self.tries == 0:
            raise StatusError(Sw.CODE_BLOCKED)
        if len(candidate) != CODE_LENGTH:
            raise StatusError(Sw.WRONG_LENGTH)
        if hmac.compare_digest(candidate, self.value):
            self.tries = self.limit
            return
        self.tries -= 1
        raise StatusError(Sw.TRIES_LEFT | self.tries if self.tries else Sw.CODE_BLOCKED)

    def replace(self, value: bytes) -> None:
        """Set a new value and all tries."""
        if len(value) != CODE_LENGTH:
            raise StatusError(Sw.WRONG_LENGTH)
        self.value, self.tries = value, self.limit


def encode_code(digits: str) -> bytes:
    """A PIN, PUK or ADM of 4 to 8 digits as ASCII filled with FF; 16 hex digits are taken as they are.

    `ValueError` for anything else.
    """
    if digits.isascii() and digits.isdigit() and 4 <= len(digits) <= CODE_LENGTH:
        return digits.encode().ljust(CODE_LENGTH, b"\xff")
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raw = b""
    if len(raw) != CODE_LENGTH:
        raise ValueError("a code is 4 to 8 digits, or 16 hex digits")
    return raw


def execute_code_command(command: Command, codes: dict[int, SecretCode], verified: set[int]) -> Response:
    """VERIFY, CHANGE, DISABLE, ENABLE or UNBLOCK PIN (TS 102 221 §11.1.9 to §11.1.13).

    Changes `codes` and the session's `verified` references; the caller stores `codes` also when this raises.
    """
    reference = command.p2
    code = codes.get(reference)
    if code is None or reference not in (PIN1, ADM1) or (reference == ADM1 and command.ins not in (VERIFY, CHANGE)):
        raise StatusError(Sw.REFERENCE_NOT_FOUND)
    asked = codes.get(PUK1) if command.ins == UNBLOCK else code
    if asked is None:
        raise StatusError(Sw.REFERENCE_NOT_FOUND)
    if not command.data and command.ins in (VERIFY, UNBLOCK):
        raise StatusError(Sw.TRIES_LEFT | min(asked.tries, 15) if asked.tries else Sw.CODE_BLOCKED)
    if command.ins == VERIFY and not code.enabled:
        raise StatusError(Sw.CODE_INVALIDATED)
    replaces = command.ins in (CHANGE, UNBLOCK)
    if len(command.data) != CODE_LENGTH * (1 + replaces):
        raise StatusError(Sw.WRONG_LENGTH)
    try:
        asked.check(command.data[:CODE_LENGTH])
    except StatusError:
        verified.discard(reference)
        raise
    if replaces:
        code.replace(command.data[CODE_LENGTH:])
    if command.ins in (DISABLE, ENABLE):
        code.enabled = command.ins == ENABLE
    verified.add(reference)
    return Response()
