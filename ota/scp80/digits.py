"""Decimal digits as SIM files and SMS carry them: swapped BCD, PLMN codes, addresses, the IMSI.

Clauses: 3GPP TS 24.008 10.5.1.13 (PLMN), 3GPP TS 31.102 4.2.2 (EF IMSI), 3GPP TS 23.040 9.1.2.5 (addresses).
"""

from ota.scp80.parameters import ScpError

# TON/NPI byte of 3GPP TS 23.040 9.1.2.5 with ISDN/telephone numbering plan.
INTERNATIONAL = 0x91
UNKNOWN = 0x81

# A PLMN's two or three MNC digits all F: every network of the country (the multi-account application's wildcard).
WILDCARD_MNC = "FFF"

_DIGITS = frozenset("0123456789")


class DigitError(ScpError):
    """Digits that cannot be coded, or bytes that are not digits."""


def pack_digits(digits: str) -> bytes:
    """Swapped BCD, an odd last digit filled with F: "12345" -> 21 43 F5."""
    if not _DIGITS.issuperset(digits):
        raise DigitError(f"{digits!r} has characters other than 0-9")
    even = digits + "F" * (len(digits) % 2)
    return bytes(int(even[i + 1] + even[i], 16) for i in range(0, len(even), 2))


def unpack_digits(data: bytes) -> str:
    """Inverse of `pack_digits`; F may only fill the very last half byte(s). Raises `DigitError`."""
    digits = "".join(f"{byte & 15:X}{byte >> 4:X}" for byte in data).rstrip("F")
    if not _DIGITS.issuperset(digits):
        raise DigitError(f"{len(data)} bytes that are not swapped BCD")
    return digits


def pack_plmn(plmn: str) -> bytes:
    """Three bytes of EF(PLMNsel) for "MCCMNC", or for "MCC" alone the wildcard of that country: "232" -> 32 F2 FF."""
    if len(plmn) not in (3, 5, 6) or not _DIGITS.issuperset(plmn):
        raise DigitError(f"PLMN {plmn!r} is neither MCC (3 digits) nor MCC and MNC (5 or 6 digits)")
    mcc, mnc = plmn[:3], plmn[3:] or WILDCARD_MNC
    third = mnc[2:] or "F"
    return bytes.fromhex(f"{mcc[1]}{mcc[0]}{third}{mcc[2]}{mnc[1]}{mnc[0]}")


def unpack_plmn(data: bytes) -> str:
    """Inverse of `pack_plmn`; raises `DigitError`."""
    if len(data) != 3:
        raise DigitError(f"a PLMN has 3 bytes, {data.hex()} has {len(data)}")
    half = data.hex().upper()
    mcc, mnc = half[1] + half[0] + half[3], half[5] + half[4] + half[2]
    mnc = "" if mnc == WILDCARD_MNC else mnc.removesuffix("F")
    if not _DIGITS.issuperset(mcc + mnc):
        raise DigitError(f"{data.hex()} is not a PLMN")
    return mcc + mnc


def pack_imsi(imsi: str) -> bytes:
    """The IMSI as in EF(IMSI): length, then digits with the parity half byte in front."""
    odd = len(imsi) % 2
    body = pack_digits(("9" if odd else "1") + imsi)
    return bytes([len(body)]) + body


def unpack_imsi(data: bytes) -> str:
    """Inverse of `pack_imsi`; bytes after the coded length must be FF. Raises `DigitError`."""
    if not data or not 1 <= data[0] <= len(data) - 1:
        raise DigitError("an IMSI needs its length byte and that many bytes")
    digits = unpack_digits(data[1 : 1 + data[0]])
    if digits[:1] != ("9" if len(digits) % 2 == 0 else "1"):
        raise DigitError("the IMSI's parity half byte does not fit its number of digits")
    return digits[1:]


def pack_address(number: str) -> bytes:
    """TON/NPI byte and digits of "+4366412345" (international) or "12345" (unknown type)."""
    ton = INTERNATIONAL if number.startswith("+") else UNKNOWN
    return bytes([ton]) + pack_digits(number.removeprefix("+"))


def unpack_address(data: bytes) -> str:
    """Inverse of `pack_address`; raises `DigitError`."""
    if not data:
        raise DigitError("an address needs its type-of-number byte")
    plus = "+" if data[0] & 0x70 == 0x10 else ""
    return plus + unpack_digits(data[1:])
