"""Remote commands in secured data: C-APDUs to an application and its answer (ETSI TS 102 226 clause 5).

Compact format (5.1): the C-APDUs stand one after another, the answer tells how many ran, the last status word and the
last command's data. Expanded format (5.2): each C-APDU is a TLV in a command script, each answer one in a response
script.
"""

from collections.abc import Iterable, Sequence

import msgspec

from ota.scp80.parameters import ScpError
from ota.scp80.tlv import decode_only, decode_tlvs, encode_tlv

# ISO/IEC 7816-4 and TS 102 221 commands whose P3 is Le, so that no data follows: GET RESPONSE, READ BINARY,
# READ RECORD, GET DATA, STATUS and the multi-account LIST SLOTS (both F2), GET CHALLENGE.
OUTGOING_INS = frozenset({0xC0, 0xB0, 0xB2, 0xCA, 0xCB, 0xF2, 0x84})
# The number of commands in a compact answer is one byte.
COMMANDS_MAX = 255

# Number of commands and status word.
COMPACT_BYTES_MIN = 3

SW_OK = 0x9000

_COMMAND_SCRIPT, _C_APDU = 0xAA, 0x22
_RESPONSE_SCRIPT, _EXECUTED, _R_APDU, _BAD_FORMAT = 0xAB, 0x80, 0x23, 0x90


class RemoteError(ScpError):
    """Secured data that is no sequence of commands, or no answer to one."""


class CompactResponse(msgspec.Struct, frozen=True):
    """Answer in the compact format: commands executed, status word and data of the last one."""

    executed: int
    sw: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Number of commands (1), SW1 SW2, data (TS 102 226 5.1.2)."""
        return bytes([self.executed]) + self.sw.to_bytes(2, "big") + self.data

    @classmethod
    def decode(cls, data: bytes) -> "CompactResponse":
        """Inverse of `encode`; raises `RemoteError`."""
        if len(data) < COMPACT_BYTES_MIN:
            raise RemoteError(f"a compact answer has at least {COMPACT_BYTES_MIN} bytes, this one {len(data)}")
        return cls(data[0], int.from_bytes(data[1:3], "big"), data[3:])


class ExpandedResponse(msgspec.Struct, frozen=True):
    """Answer in the expanded format: commands executed, each one's R-APDU (data and status word), bad format code."""

    executed: int
    responses: tuple[bytes, ...] = ()
    bad_format: int | None = None

    def encode(self) -> bytes:
        """Response scripting template (TS 102 226 5.2.2)."""
        objects = encode_tlv(_EXECUTED, bytes([self.executed]))
        objects += b"".join(encode_tlv(_R_APDU, response) for response in self.responses)
        if self.bad_format is not None:
            objects += encode_tlv(_BAD_FORMAT, bytes([self.bad_format]))
        return encode_tlv(_RESPONSE_SCRIPT, objects)

    @classmethod
    def decode(cls, data: bytes) -> "ExpandedResponse":
        """Inverse of `encode`; raises `ScpError`."""
        executed, responses, bad_format = None, [], None
        for tag, value in decode_tlvs(decode_only(data, _RESPONSE_SCRIPT)):
            if tag == _EXECUTED and len(value) == 1:
                executed = value[0]
            elif tag == _R_APDU and len(value) >= 2:
                responses.append(value)
            elif tag == _BAD_FORMAT and len(value) == 1:
                bad_format = value[0]
            else:
                raise RemoteError(f"response script has an unexpected object {tag:02X} of {len(value)} bytes")
        if executed is None:
            raise RemoteError("response script lacks the number of commands (tag 80)")
        return cls(executed, tuple(responses), bad_format)


def join_commands(commands: Iterable[bytes]) -> bytes:
    """Secured data of C-APDUs in the compact format; raises `RemoteError` if a receiver could not part them."""
    commands = list(commands)
    joined = b"".join(commands)
    if split_commands(joined) != commands:
        raise RemoteError("these commands cannot be told apart in the compact format: only the last may have an Le")
    return joined


def split_commands(data: bytes, *, outgoing: frozenset[int] = OUTGOING_INS) -> list[bytes]:
    """The C-APDUs of compact secured data.

    P3 is the length of the data that follows, unless the INS is one of `outgoing` or nothing follows. The last command
    may have an Le after its data. Raises `RemoteError` when the data does not come out even.
    """
    commands = []
    at = 0
    while at < len(data):
        if at + 5 > len(data):
            raise RemoteError(f"the command at offset {at} is shorter than a header of 5 bytes")
        end = at + 5
        if data[at + 1] not in outgoing and end < len(data):
            end += data[at + 4]
        if end > len(data):
            raise RemoteError(f"the command at offset {at} needs {end - len(data)} bytes more")
        if end == len(data) - 1:
            end = len(data)
        commands.append(data[at:end])
        at = end
    if len(commands) > COMMANDS_MAX:
        raise RemoteError(f"{len(commands)} commands in one packet, at most {COMMANDS_MAX} can be counted")
    return commands


def encode_script(commands: Sequence[bytes]) -> bytes:
    """Secured data of C-APDUs in the expanded format, definite length (TS 102 226 5.2.1)."""
    return encode_tlv(_COMMAND_SCRIPT, b"".join(encode_tlv(_C_APDU, command) for command in commands))


def decode_script(data: bytes) -> list[bytes]:
    """The C-APDUs of an expanded command script; raises `ScpError`."""
    commands = []
    for tag, value in decode_tlvs(decode_only(data, _COMMAND_SCRIPT)):
        if tag != _C_APDU or len(value) < 4:
            raise RemoteError(f"command script has an unexpected object {tag:02X} of {len(value)} bytes")
        commands.append(value)
    return commands


def describe_sw(sw: int) -> str:
    """A status word in words (ISO/IEC 7816-4, TS 102 221 10.2), the hexadecimal value included."""
    high, low = sw >> 8, sw & 0xFF
    if high in (0x61, 0x9F):
        words = f"{low} bytes of response are ready"
    elif high == 0x6C:
        words = f"wrong Le, {low} bytes are there"
    elif high == 0x91:
        words = "done; the card wants to send a command"
    elif sw & 0xFFF0 == 0x63C0:
        words = f"verification failed, {low & 15} tries remain"
    else:
        words = _STATUS_WORDS.get(sw, "a status the standards leave open")
    return f"{sw:04X}: {words}"


_STATUS_WORDS = {
    0x9000: "done",
    0x6200: "warning, memory unchanged",
    0x6300: "warning, memory changed",
    0x6581: "memory problem",
    0x6700: "wrong length",
    0x6982: "security status not satisfied",
    0x6983: "authentication blocked",
    0x6985: "conditions of use not satisfied",
    0x6A80: "wrong data",
    0x6A81: "function not supported",
    0x6A82: "file or application not found",
    0x6A83: "record or slot not found",
    0x6A84: "not enough memory",
    0x6A86: "wrong P1 or P2",
    0x6A88: "referenced data not found",
    0x6B00: "wrong parameters",
    0x6D00: "instruction not supported",
    0x6E00: "class not supported",
    0x6F00: "technical problem",
    0x9862: "authentication error",
    0x9300: "toolkit busy",
}
