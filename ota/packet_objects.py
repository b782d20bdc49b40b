"""Packets as JSON objects in the words of the interoperability vectors: what `landfall ota packet` reads and writes.

`encode_object` makes the packet and TPDUs of a command; `decode_object` reads a proof of receipt, or a command as the
card would. Both answer `{"name", "error"}` where that is impossible, and raise nothing.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from ota.scp80.packet import KeySet, decode_command, decode_response, encode_command, peek_command
from ota.scp80.parameters import (
    CipherAlgorithm,
    Integrity,
    KeyByte,
    ParameterError,
    RedundancyCheck,
    ScpError,
    Spi,
)
from ota.scp80.remote import COMPACT_BYTES_MIN, CompactResponse
from ota.scp80.sms import (
    IEI_RESPONSE,
    Reassembler,
    build_delivers,
    pack_timestamp,
    parse_deliver,
    parse_envelope,
    unwrap_response,
)

# The vectors' sender and date: the default, so that the same object always gives the same TPDUs.
VECTOR_ORIGINATOR = "12345678"
VECTOR_TIME = datetime(2022, 7, 25, tzinfo=UTC)

# What the vectors call the algorithm of a proof of receipt.
_POR_ALGORITHMS = {
    "single_des": CipherAlgorithm.SINGLE_DES,
    "3des2": CipherAlgorithm.TRIPLE_DES_CBC2,
    "3des3": CipherAlgorithm.TRIPLE_DES_CBC3,
    "aes128": CipherAlgorithm.AES_CBC,
    "aes192": CipherAlgorithm.AES_CBC,
    "aes256": CipherAlgorithm.AES_CBC,
}
EXAMPLE_COMMAND = {
    "name": "select the MF and EF ICCID, read ten bytes",
    "kic_byte": "12",
    "kid_byte": "12",
    "kic_key": "000102030405060708090a0b0c0d0e0f",
    "kid_key": "101112131415161718191a1b1c1d1e1f",
    "tar": "b00000",
    "counter": 1,
    "apdu": "00a40004023f0000a40004022fe200b000000a",
    "spi": Spi().to_words(),
}
EXAMPLE_PROOF = {
    "name": "a counter that skipped",
    "algo": "aes128",
    "kic_key": "000102030405060708090a0b0c0d0e0f",
    "kid_key": "101112131415161718191a1b1c1d1e1f",
    "packet": "027100000b0ab0000000000000050003",
    "spi": Spi(por_shall_be_ciphered=False, por_rc_cc_ds=Integrity.NO_RC_CC_DS).to_words(),
}

_RESPONSE_UDH_HEX = f"02{IEI_RESPONSE:02x}00"


class _Keyed(msgspec.Struct, frozen=True, kw_only=True):
    name: Any = None
    kic_key: str | None = None
    kid_key: str | None = None
    kic_byte: str | None = None
    kid_byte: str | None = None
    key_index: int = 0
    algo: str | None = None
    algo_crypt: str | None = None
    algo_auth: str | None = None


class _EncodeObject(_Keyed, frozen=True, kw_only=True):
    spi: dict[str, Any]
    tar: str
    counter: int = 0
    apdu: str = ""


class _DecodeObject(_Keyed, frozen=True, kw_only=True):
    spi: dict[str, Any] | None = None
    last_counter: int | None = None
    packet: str | None = None
    sms: list[str] = []
    secured_packet_with_cpl: str | None = None
    sms_deliver_tpdu: str | None = None
    envelope_sms_pp: str | None = None


_Given = TypeVar("_Given", bound=_Keyed)


def encode_object(
    line: bytes, *, originator: str = VECTOR_ORIGINATOR, time: datetime = VECTOR_TIME, reference: int = 0
) -> dict[str, Any]:
    """A command object to `{"name", "packet" (from CPL on), "sms": [SMS-DELIVER TPDUs]}`, all in hexadecimal."""

    def encode(given: _EncodeObject) -> dict[str, Any]:
        spi = Spi.from_words(given.spi)
        packet = encode_command(
            _octets(given.apdu, "apdu"),
            keys=_read_keys(given, spi.rc_cc_ds),
            spi=spi,
            tar=_octets(given.tar, "tar"),
            counter=given.counter,
        )
        tpdus = build_delivers(packet, originator=originator, timestamp=pack_timestamp(time), reference=reference)
        return {"packet": packet.hex(), "sms": [tpdu.hex() for tpdu in tpdus]}

    return _answer(line, _EncodeObject, encode)


def decode_object(line: bytes) -> dict[str, Any]:
    """A proof of receipt (`packet` beginning 027100) or a command to its fields, in the vectors' words.

    A command is given as `packet` or `secured_packet_with_cpl` (from CPL on), `sms` (TPDUs in any order),
    `sms_deliver_tpdu` or `envelope_sms_pp`. Its counter is checked only against a given `last_counter`.
    """

    def decode(given: _DecodeObject) -> dict[str, Any]:
        if given.packet is not None and given.packet.lower().startswith(_RESPONSE_UDH_HEX):
            return _decode_response(given, _octets(given.packet, "packet"))
        return _decode_command(given, _find_command(given))

    return _answer(line, _DecodeObject, decode)


def _answer(line: bytes, shape: type[_Given], work: Callable[[_Given], dict[str, Any]]) -> dict[str, Any]:
    name = None
    try:
        plain = msgspec.json.decode(line)
        name = plain.get("name") if isinstance(plain, dict) else None
        return {"name": name, **work(msgspec.convert(plain, shape))}
    except (ScpError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return {"name": name, "error": str(error)}


def _decode_response(given: _DecodeObject, data: bytes) -> dict[str, Any]:
    if given.spi is None:
        raise ParameterError("field spi is missing: it says how the proof of receipt is protected")
    response = unwrap_response(data)
    spi = Spi.from_words(given.spi)
    proof = decode_response(response, keys=_read_keys(given, spi.por_rc_cc_ds), spi=spi)
    compact = None
    if len(proof.data) >= COMPACT_BYTES_MIN:
        answer = CompactResponse.decode(proof.data)
        compact = {"n": answer.executed, "sw": f"{answer.sw:04x}", "data": answer.data.hex()}
    return {
        "rpl": int.from_bytes(response[:2], "big"),
        "rhl": response[2],
        "tar": proof.tar.hex(),
        "cntr": f"{proof.counter:010x}",
        "pcntr": proof.padding,
        "response_status": proof.status.word,
        "cc": proof.check.hex(),
        "secured_data": proof.data.hex(),
        "compact": compact,
    }


def _decode_command(given: _DecodeObject, packet: bytes) -> dict[str, Any]:
    keys = _read_keys(given, peek_command(packet).spi.rc_cc_ds)
    command = decode_command(packet, keys, last_counter=given.last_counter)
    header = command.header
    return {
        "spi_bytes": header.spi.to_bytes().hex(),
        "spi": header.spi.to_words(),
        "kic_byte": f"{header.kic.to_byte():02x}",
        "kid_byte": f"{header.kid.to_byte():02x}",
        "tar": header.tar.hex(),
        "counter": command.counter,
        "pcntr": command.padding,
        "apdu": command.data.hex(),
    }


def _find_command(given: _DecodeObject) -> bytes:
    if given.packet is not None:
        return _octets(given.packet, "packet")
    if given.secured_packet_with_cpl is not None:
        return _octets(given.secured_packet_with_cpl, "secured_packet_with_cpl")
    tpdus = [_octets(tpdu, "sms") for tpdu in given.sms]
    if given.sms_deliver_tpdu is not None:
        tpdus = [_octets(given.sms_deliver_tpdu, "sms_deliver_tpdu")]
    elif given.envelope_sms_pp is not None:
        tpdus = [parse_envelope(_octets(given.envelope_sms_pp, "envelope_sms_pp"))[0]]
    if not tpdus:
        raise ParameterError("there is no packet, sms, secured_packet_with_cpl, sms_deliver_tpdu or envelope_sms_pp")
    parts = Reassembler()
    for tpdu in tpdus:
        whole = parts.add(parse_deliver(tpdu).user_data)
        if whole is not None:
            return whole[1]
    raise ParameterError(f"sms: parts are missing, {len(tpdus)} are given")


def _read_keys(given: _Keyed, integrity: Integrity) -> KeySet:
    kic = _read_byte(given.kic_byte, "kic_byte") or KeyByte(given.key_index, _cipher_nibble(given))
    kid = _read_byte(given.kid_byte, "kid_byte") or KeyByte(given.key_index, _check_nibble(given, integrity))
    return KeySet(
        kic=kic,
        kid=kid,
        kic_key=_octets(given.kic_key or "", "kic_key"),
        kid_key=_octets(given.kid_key or "", "kid_key"),
    )


def _cipher_nibble(given: _Keyed) -> int:
    if given.algo is not None:
        if given.algo not in _POR_ALGORITHMS:
            raise ParameterError(f"algo {given.algo!r} is not one of {', '.join(_POR_ALGORITHMS)}")
        return _POR_ALGORITHMS[given.algo]
    if given.algo_crypt is None:
        raise ParameterError("field kic_byte is missing, or algo_crypt and key_index in its place")
    return int(CipherAlgorithm.from_word(given.algo_crypt))


def _check_nibble(given: _Keyed, integrity: Integrity) -> int:
    if given.algo_auth is None:
        return _cipher_nibble(given)
    if integrity is Integrity.RC:
        return int(RedundancyCheck.from_word(given.algo_auth))
    word = "aes_cbc" if given.algo_auth == "aes_cmac" else given.algo_auth
    return int(CipherAlgorithm.from_word(word))


def _read_byte(text: str | None, field: str) -> KeyByte | None:
    if text is None:
        return None
    octet = _octets(text, field)
    if len(octet) != 1:
        raise ParameterError(f"{field} {text!r} is not one byte")
    return KeyByte.from_byte(octet[0])


def _octets(text: str, field: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ParameterError(f"{field} is not hexadecimal") from None
