"""BER-TLV as cards use it (ETSI TS 101 220 clause 7.1.2, ISO/IEC 7816-4): definite lengths, tags of one or two bytes.

Reading is strict: a length that runs past the end, an indefinite length or trailing bytes is an error, because what
is read here came over the air.
"""

from collections.abc import Iterable

from ota.scp80.parameters import ScpError


class TlvError(ScpError):
    """Bytes that are not well-formed BER-TLV; the message says at which offset."""


def encode_tlv(tag: int, value: bytes) -> bytes:
    """One data object: tag (1 or 2 bytes), definite length in its shortest form, value."""
    length = len(value)
    if length < 0x80:
        coded = bytes([length])
    else:
        octets = (length.bit_length() + 7) // 8
        coded = bytes([0x80 | octets]) + length.to_bytes(octets, "big")
    return tag.to_bytes(2 if tag > 0xFF else 1, "big") + coded + value


def encode_tlvs(objects: Iterable[tuple[int, bytes]]) -> bytes:
    """Several data objects one after another."""
    return b"".join(encode_tlv(tag, value) for tag, value in objects)


def decode_tlvs(data: bytes) -> list[tuple[int, bytes]]:
    """All data objects of `data`, in order; raises `TlvError` unless they fill it exactly."""
    objects: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        tag, value, at = _decode_one(data, at)
        objects.append((tag, value))
    return objects


def decode_only(data: bytes, tag: int) -> bytes:
    """The value of the single object `tag` that `data` must consist of; raises `TlvError`."""
    objects = decode_tlvs(data)
    if len(objects) != 1 or objects[0][0] != tag:
        found = " ".join(f"{found:02X}" for found, _ in objects) or "nothing"
        raise TlvError(f"expected one object with tag {tag:02X}, found {found}")
    return objects[0][1]


def _decode_one(data: bytes, start: int) -> tuple[int, bytes, int]:
    at = start
    tag = data[at]
    at += 1
    if tag & 0x1F == 0x1F:
        if at >= len(data) or data[at] & 0x80:
            raise TlvError(f"tag at offset {start} is cut off or longer than two bytes")
        tag = tag << 8 | data[at]
        at += 1
    if at >= len(data):
        raise TlvError(f"object {tag:02X} at offset {start} has no length")
    length = data[at]
    at += 1
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 3 or at + octets > len(data):
            raise TlvError(f"object {tag:02X} at offset {start} has a bad length byte {length:02X}")
        length = int.from_bytes(data[at : at + octets], "big")
        at += octets
    if at + length > len(data):
        raise TlvError(f"object {tag:02X} at offset {start} needs {length} bytes, {len(data) - at} are there")
    return tag, data[at : at + length], at + length
