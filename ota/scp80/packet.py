"""Secured packets: command packets to a card and proofs of receipt from it (ETSI TS 102 225, 3GPP TS 31.115).

The sender calls `encode_command`, carries the bytes by SMS (`ota.scp80.sms`), and reads the answer with
`decode_response`. The card calls `peek_command` to learn which key set the sender used, `decode_command` to decrypt,
verify and check the counter, stores the counter *before* it acts, and answers with `encode_response`:

    header = peek_command(packet)
    try:
        command = decode_command(packet, keys, last_counter=stored)
    except SecurityFailure as failure:
        answer = encode_response(failure.status, header=header, counter=failure.counter, keys=keys)

Nothing here keeps state: counters, key sets and what a card does with the data are the caller's.

Layout, CPL first (TS 102 225 table 1 and 4; the part in braces is ciphered):

    command   CPL 2, CHL 1, SPI 2, KIc 1, KID 1, TAR 3, { CNTR 5, PCNTR 1, RC/CC 0-8, data, padding }
    response  RPL 2, RHL 1, TAR 3, { CNTR 5, PCNTR 1, status 1, RC/CC 0-8, data, padding }
"""

import hmac
from collections.abc import Callable
from typing import ClassVar

import msgspec

from ota.scp80 import crypto
from ota.scp80.concealed import Concealed
from ota.scp80.parameters import (
    COUNTER_BYTES,
    COUNTER_MAX,
    TAR_BYTES,
    CipherAlgorithm,
    CounterMode,
    Integrity,
    KeyByte,
    ParameterError,
    Por,
    RedundancyCheck,
    ResponseStatus,
    ScpError,
    Spi,
)

# SPI, KIc, KID and TAR stand in clear before the counter.
_COMMAND_CLEAR_BYTES = 7
# TS 31.115 4.4: a proof of receipt is checked together with its user data header, UDHL 02, IEI 71, length 00.
RESPONSE_UDH = bytes.fromhex("027100")
# CPL and RPL are two bytes.
PACKET_BYTES_MAX = 0xFFFF


class MalformedPacket(ScpError):  # noqa: N818 - what the bytes are
    """Bytes that are no secured packet at all; a card stays silent."""


class SecurityFailure(ScpError):  # noqa: N818 - what happened
    """A packet that does not pass its security; `status` and `counter` go into the proof of receipt."""

    def __init__(self, status: ResponseStatus, reason: str, counter: int = 0) -> None:
        super().__init__(f"{status.word}: {reason}")
        self.status = status
        self.counter = counter


class KeySet(Concealed, frozen=True, kw_only=True):
    """One key set of a card: the KIc and KID bytes of the header and the keys they stand for.

    A key may be empty when the SPI has no use for it. `kid_key` is unused under a redundancy check.
    """

    SECRET: ClassVar[frozenset[str]] = frozenset({"kic_key", "kid_key"})

    kic: KeyByte
    kid: KeyByte
    kic_key: bytes = b""
    kid_key: bytes = b""


class CommandHeader(msgspec.Struct, frozen=True):
    """What a command packet says in clear."""

    spi: Spi
    kic: KeyByte
    kid: KeyByte
    tar: bytes

    def wants_response(self, status: ResponseStatus) -> bool:
        """Whether the sender asked for a proof of receipt with this status."""
        if self.spi.por is Por.POR_ONLY_WHEN_ERROR:
            return status is not ResponseStatus.POR_OK
        return self.spi.por is Por.POR_REQUIRED


class Command(msgspec.Struct, frozen=True):
    """A verified command packet; `data` is the secured data without padding."""

    header: CommandHeader
    counter: int
    padding: int
    data: bytes


class ProofOfReceipt(msgspec.Struct, frozen=True):
    """A decoded response packet.

    `secured` is False where neither cipher nor check protects it, as the SPI asked, or in the bare error report a card
    sends when it has no key to protect it with: anybody could have written it.
    """

    tar: bytes
    counter: int
    padding: int
    status: ResponseStatus
    check: bytes
    data: bytes
    secured: bool = True


def encode_command(data: bytes, *, keys: KeySet, spi: Spi, tar: bytes, counter: int) -> bytes:
    """The command packet for `data`, beginning with its CPL.

    `tar` is three bytes, `counter` 0 to 2**40-1 (sent as given, also when the SPI has no counter). Raises
    `ParameterError` for impossible parameters: a digital signature, a key of a wrong length, too much data.
    """
    _check_tar(tar)
    clear = spi.to_bytes() + bytes([keys.kic.to_byte(), keys.kid.to_byte()]) + tar
    return _protect(b"", clear, _pack_counter(counter), b"", data, _command_guard(spi, keys))


def peek_command(packet: bytes) -> CommandHeader:
    """The clear part of a command packet; raises `MalformedPacket` or `ParameterError`."""
    _check_length(packet)
    header_bytes = packet[2]
    if not _COMMAND_CLEAR_BYTES + COUNTER_BYTES + 1 <= header_bytes <= len(packet) - 3:
        raise MalformedPacket(f"CHL {header_bytes} does not fit a command packet of {len(packet)} bytes")
    return CommandHeader(
        Spi.from_bytes(packet[3:5]), KeyByte.from_byte(packet[5]), KeyByte.from_byte(packet[6]), packet[7:10]
    )


def decode_command(packet: bytes, keys: KeySet, *, last_counter: int | None) -> Command:
    """Decrypt and verify a command packet, as the card does.

    `last_counter` is the value the card stored last for this key set; None, for somebody who reads a packet that is
    not his to obey, leaves the counter unchecked. Raises `MalformedPacket`, `ParameterError`,
    or `SecurityFailure` with the status for the proof of receipt. The counter is looked at only after RC or CC hold.
    """
    header = peek_command(packet)
    _check_key_bytes(header, keys)
    try:
        guard = _command_guard(header.spi, keys)
    except ParameterError as error:
        raise SecurityFailure(ResponseStatus.UNDEFINED_SECURITY_ERROR, str(error)) from None
    fields, _, data = _verify(b"", packet, _COMMAND_CLEAR_BYTES, 0, guard)
    counter, padding = int.from_bytes(fields[:COUNTER_BYTES], "big"), fields[COUNTER_BYTES]
    refusal = None if last_counter is None else check_counter(header.spi.counter, counter, last_counter)
    if refusal is not None:
        raise SecurityFailure(refusal, f"counter {counter}, last one {last_counter}", counter)
    return Command(header, counter, padding, data)


def check_counter(mode: CounterMode, counter: int, last: int) -> ResponseStatus | None:
    """None if a card whose last counter was `last` takes `counter`, else why not (TS 102 225 5.1.4)."""
    if mode in (CounterMode.NO_COUNTER, CounterMode.COUNTER_NO_REPLAY_OR_SEQ):
        return None
    if last >= COUNTER_MAX:
        return ResponseStatus.CNTR_BLOCKED
    if counter <= last:
        return ResponseStatus.CNTR_LOW
    if mode is CounterMode.COUNTER_MUST_BE_LOWER and counter != last + 1:
        return ResponseStatus.CNTR_HIGH
    return None


def encode_response(
    status: ResponseStatus, data: bytes = b"", *, header: CommandHeader, counter: int, keys: KeySet | None
) -> bytes:
    """The response packet, beginning with its RPL, protected as the command's SPI asks.

    Without `keys` (an unknown key set or TAR) it goes unprotected, as TS 102 225 has it, and may not carry data.
    """
    if keys is None and data:
        raise ParameterError("a response with data needs a key set")
    guard = _Guard() if keys is None else _response_guard(header.spi, keys)
    return _protect(RESPONSE_UDH, header.tar, _pack_counter(counter), bytes([status]), data, guard)


def decode_response(packet: bytes, *, keys: KeySet, spi: Spi) -> ProofOfReceipt:
    """Decrypt and verify a response packet (from RPL on) to a command sent with `keys` and `spi`.

    Raises `MalformedPacket` or `SecurityFailure`. A bare error report comes back with `secured` False.
    """
    _check_length(packet)
    header_bytes = packet[2]
    if not TAR_BYTES + COUNTER_BYTES + 2 <= header_bytes <= len(packet) - 3:
        raise MalformedPacket(f"RHL {header_bytes} does not fit a response packet of {len(packet)} bytes")
    guard = _response_guard(spi, keys, header_bytes - TAR_BYTES - COUNTER_BYTES - 2)
    if len(packet) == 3 + TAR_BYTES + COUNTER_BYTES + 2 and packet[-1] != ResponseStatus.POR_OK:
        guard = _Guard()  # too short to be protected: no padding, no check
    fields, check, data = _verify(RESPONSE_UDH, packet, TAR_BYTES, 1, guard)
    try:
        status = ResponseStatus(fields[-1])
    except ValueError:
        raise MalformedPacket(f"response status {fields[-1]:02X} is reserved") from None
    counter = int.from_bytes(fields[:COUNTER_BYTES], "big")
    return ProofOfReceipt(packet[3:6], counter, fields[COUNTER_BYTES], status, check, data, guard.protects)


class _Guard(msgspec.Struct, frozen=True):
    """How one packet is protected; the default is not at all."""

    cipher: CipherAlgorithm | None = None
    cipher_key: bytes = b""
    check_bytes: int = 0
    check: Callable[[bytes], bytes] = lambda _: b""

    @property
    def protects(self) -> bool:
        return self.cipher is not None or self.check_bytes > 0


def _command_guard(spi: Spi, keys: KeySet) -> _Guard:
    redundancy = None
    if spi.rc_cc_ds is Integrity.RC:
        try:
            redundancy = RedundancyCheck(keys.kid.algorithm)
        except ValueError:
            raise ParameterError(f"KID {keys.kid.to_byte():02x} names no redundancy check") from None
    return _guard(spi.ciphering, spi.rc_cc_ds, keys, redundancy)


def _response_guard(spi: Spi, keys: KeySet, check_bytes: int | None = None) -> _Guard:
    # Under a redundancy check KID may be that of a checksum and then names no CRC: we send CRC32, and take what came.
    if check_bytes is None:
        redundancy = RedundancyCheck.CRC16 if keys.kid.algorithm == RedundancyCheck.CRC16 else RedundancyCheck.CRC32
    else:
        redundancy = RedundancyCheck.CRC16 if check_bytes == 2 else RedundancyCheck.CRC32
    return _guard(spi.por_shall_be_ciphered, spi.por_rc_cc_ds, keys, redundancy)


def _guard(ciphering: bool, integrity: Integrity, keys: KeySet, redundancy: RedundancyCheck | None) -> _Guard:
    cipher = None
    if ciphering:
        cipher = _algorithm(keys.kic, "KIc")
        crypto.check_key(cipher, keys.kic_key)
    match integrity:
        case Integrity.NO_RC_CC_DS:
            return _Guard(cipher, keys.kic_key)
        case Integrity.RC:
            assert redundancy is not None
            size = 2 if redundancy is RedundancyCheck.CRC16 else 4
            return _Guard(cipher, keys.kic_key, size, lambda data: crypto.redundancy(redundancy, data))
        case Integrity.CC:
            algorithm = _algorithm(keys.kid, "KID")
            crypto.check_key(algorithm, keys.kid_key)
            size = crypto.CHECKSUM_BYTES
            return _Guard(cipher, keys.kic_key, size, lambda data: crypto.checksum(algorithm, keys.kid_key, data))
        case _:
            raise ParameterError("digital signatures (SPI b2 b1 = 11) have no algorithm in TS 102 225")


def _algorithm(byte: KeyByte, name: str) -> CipherAlgorithm:
    try:
        return CipherAlgorithm(byte.algorithm)
    except ValueError:
        raise ParameterError(f"{name} {byte.to_byte():02x} names no known algorithm") from None


def _check_key_bytes(header: CommandHeader, keys: KeySet) -> None:
    used = []
    if header.spi.ciphering:
        used.append(("KIc", header.kic, keys.kic))
    if header.spi.rc_cc_ds in (Integrity.RC, Integrity.CC):
        used.append(("KID", header.kid, keys.kid))
    for name, sent, known in used:
        if sent.key_index != known.key_index or sent.algorithm not in (0, known.algorithm):
            reason = f"{name} {sent.to_byte():02x} is not the key set's {known.to_byte():02x}"
            raise SecurityFailure(ResponseStatus.UNDEFINED_SECURITY_ERROR, reason)


def _protect(prefix: bytes, clear: bytes, counter: bytes, status: bytes, data: bytes, guard: _Guard) -> bytes:
    header_bytes = len(clear) + len(counter) + 1 + len(status) + guard.check_bytes
    ciphered = header_bytes - len(clear) + len(data)
    padding = -ciphered % crypto.block_bytes(guard.cipher) if guard.cipher else 0
    length = 1 + header_bytes + len(data) + padding
    if length > PACKET_BYTES_MAX:
        raise ParameterError(f"{len(data)} bytes of data are too many for one packet")
    front = length.to_bytes(2, "big") + bytes([header_bytes]) + clear
    fields = counter + bytes([padding]) + status
    body = data + bytes(padding)
    inner = fields + guard.check(prefix + front + fields + body) + body
    return front + (crypto.encrypt(guard.cipher, guard.cipher_key, inner) if guard.cipher else inner)


def _verify(
    prefix: bytes, packet: bytes, clear_bytes: int, status_bytes: int, guard: _Guard
) -> tuple[bytes, bytes, bytes]:
    """Fields (counter, padding counter, status), RC/CC, and data without padding; lengths were checked before."""
    fields_bytes = COUNTER_BYTES + 1 + status_bytes
    if packet[2] != clear_bytes + fields_bytes + guard.check_bytes:
        reason = f"header length {packet[2]} does not fit a check of {guard.check_bytes} bytes"
        raise SecurityFailure(ResponseStatus.RC_CC_DS_FAILED, reason)
    front, inner = packet[: 3 + clear_bytes], packet[3 + clear_bytes :]
    if guard.cipher:
        if len(inner) % crypto.block_bytes(guard.cipher):
            raise SecurityFailure(ResponseStatus.CIPHERING_ERROR, f"{len(inner)} ciphered bytes are not whole blocks")
        inner = crypto.decrypt(guard.cipher, guard.cipher_key, inner)
    fields, check = inner[:fields_bytes], inner[fields_bytes : fields_bytes + guard.check_bytes]
    body = inner[fields_bytes + guard.check_bytes :]
    if not hmac.compare_digest(guard.check(prefix + front + fields + body), check):
        raise SecurityFailure(ResponseStatus.RC_CC_DS_FAILED, "the check does not fit the packet")
    padding = fields[COUNTER_BYTES]
    if padding > len(body):
        reason = f"{padding} bytes of padding in {len(body)} bytes of data"
        raise SecurityFailure(ResponseStatus.CIPHERING_ERROR, reason)
    return fields, check, body[: len(body) - padding]


def _check_length(packet: bytes) -> None:
    if len(packet) < 3 or int.from_bytes(packet[:2], "big") != len(packet) - 2:
        raise MalformedPacket(f"a packet of {len(packet)} bytes begins with a length of {packet[:2].hex() or 'none'}")


def _check_tar(tar: bytes) -> None:
    if len(tar) != TAR_BYTES:
        raise ParameterError(f"TAR {tar.hex()} is not {TAR_BYTES} bytes")


def _pack_counter(counter: int) -> bytes:
    if not 0 <= counter <= COUNTER_MAX:
        raise ParameterError(f"counter {counter} is not 0 to {COUNTER_MAX}")
    return counter.to_bytes(COUNTER_BYTES, "big")
