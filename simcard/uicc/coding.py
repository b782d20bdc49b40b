"""How names and numbers stand in elementary files (3GPP TS 31.102 §4.2.26, §4.2.27 and annex A)."""

from __future__ import annotations

import codecs

from osmocom.construct import gsm0338  # noqa: F401  registers the codec gsm03.38 of TS 23.038

from ota.scp80.digits import pack_address, unpack_address

# Record lengths sysmocom's cards have, which provisioning tools expect (alpha identifier included).
MSISDN_RECORD = 34
SMSP_RECORD = 52


def encode_name(name: str, room: int) -> bytes:
    """A name in the GSM alphabet, else in UCS2 after `80`; cut to what `room` octets hold (TS 31.102 annex A)."""
    try:
        return codecs.encode(name, "gsm03.38")[:room]
    except UnicodeEncodeError:
        return b"\x80" + name.encode("utf-16-be")[: (room - 1) // 2 * 2]


def decode_name(data: bytes) -> str:
    """Inverse of `encode_name`; FF at the end is filling."""
    if data[:1] == b"\x80":
        body = data[1:]
        even = body[: len(body) // 2 * 2]
        return even.decode("utf-16-be", errors="replace").rstrip("\uffff")
    return codecs.decode(data.rstrip(b"\xff"), "gsm03.38", "replace")


def encode_msisdn(number: str | None) -> bytes:
    """One record of EF.MSISDN (TS 31.102 §4.2.26): empty alpha identifier, then the number of up to 20 digits."""
    if number is None:
        return b""
    address = pack_address(number)
    return b"\xff" * (MSISDN_RECORD - 14) + bytes((len(address),)) + address.ljust(11, b"\xff")


def decode_msisdn(record: bytes) -> str | None:
    """The number in one record of EF.MSISDN, or None; raises `DigitError` when it is no number."""
    return _counted_address(record[-14:])


def encode_smsp(smsc: str) -> bytes:
    """One record of EF.SMSP (TS 31.102 §4.2.27) with the service centre, PID 0, DCS 0 and the longest validity."""
    address = pack_address(smsc)
    # Indicators: destination absent, service centre, PID, DCS and validity present.
    return (
        b"\xff" * (SMSP_RECORD - 28)
        + b"\xe1"
        + b"\xff" * 12
        + bytes((len(address),))
        + address.ljust(11, b"\xff")
        + b"\0\0\xff"
    )


def decode_smsp(record: bytes) -> str | None:
    """The service centre in one record of EF.SMSP, or None; raises `DigitError` when it is no number."""
    return _counted_address(record[-15:])


def _counted_address(data: bytes) -> str | None:
    """A number preceded by the length of its type-of-number octet and digits; FF is none."""
    if data[0] in (0x00, 0xFF):
        return None
    return unpack_address(data[1 : 1 + data[0]])
