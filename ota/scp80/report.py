"""The account report: after each change of account a card tells its home OTA platform how to reach it now.

It is the user data, 8-bit and without a header, of one SMS-SUBMIT to the address the last accepted packet came from:

    E3  report, constructed
      5A  ICCID of the card, swapped BCD
      C1  slot (1) ‖ PLMN (3) ‖ fingerprint (4)     the account in use
      88  its SMSC: TON/NPI and swapped BCD digits
      89  its MSISDN, likewise                      optional: without it, the short message's sender
      8C  report counter, 5 bytes                   rises with each report of the card
      8D  KID, 1 byte                               key set and algorithm of the checksum
      8E  cryptographic checksum, 8 bytes           over all before it within E3, by that key

    iccid, kid = peek_report(data)                   # whose it is, before anything is believed
    report = decode_report(data, key_set)            # then the counter must be above the last one's

It is in clear: a receiver learns whose number it is from the short message anyway. No key is in it.
"""

from __future__ import annotations

import hmac

import msgspec

from ota.scp80.crypto import CHECKSUM_BYTES, checksum
from ota.scp80.digits import pack_address, pack_digits, pack_plmn, unpack_address, unpack_digits, unpack_plmn
from ota.scp80.packet import KeySet
from ota.scp80.parameters import CipherAlgorithm, KeyByte, ScpError
from ota.scp80.tlv import decode_only, decode_tlvs, encode_tlv, encode_tlvs

TAG_REPORT = 0xE3
_ICCID, _ACCOUNT, _SMSC, _MSISDN, _COUNTER, _KID, _CHECKSUM = 0x5A, 0xC1, 0x88, 0x89, 0x8C, 0x8D, 0x8E
_ACCOUNT_BYTES = 8
COUNTER_BYTES = 5


class ReportError(ScpError):
    """User data that is no account report, or one whose checksum is wrong."""


class AccountReport(msgspec.Struct, frozen=True, kw_only=True):
    """Which account a card uses, and where it is reached. `fingerprint` is that of LIST SLOTS."""

    iccid: str
    slot: int
    plmn: str
    fingerprint: bytes
    smsc: str
    msisdn: str | None
    counter: int

    def __repr__(self) -> str:
        return f"AccountReport(iccid={self.iccid!r}, slot={self.slot}, plmn={self.plmn!r}, counter={self.counter})"


def encode_report(report: AccountReport, keys: KeySet) -> bytes:
    """User data of the short message; raises `ParameterError` when KID is no key for a checksum."""
    objects = [
        (_ICCID, pack_digits(report.iccid)),
        (_ACCOUNT, bytes((report.slot,)) + pack_plmn(report.plmn) + report.fingerprint),
        (_SMSC, pack_address(report.smsc)),
    ]
    if report.msisdn is not None:
        objects.append((_MSISDN, pack_address(report.msisdn)))
    objects += [
        (_COUNTER, report.counter.to_bytes(COUNTER_BYTES, "big")),
        (_KID, bytes((keys.kid.to_byte(),))),
    ]
    body = encode_tlvs(objects)
    return encode_tlv(TAG_REPORT, body + encode_tlv(_CHECKSUM, _check(body, keys)))


def peek_report(data: bytes) -> tuple[str, KeyByte]:
    """ICCID and KID that a report names; nothing is verified. Raises `ScpError` when it is none."""
    fields = _fields(data)
    return unpack_digits(fields[_ICCID]), KeyByte.from_byte(fields[_KID][0])


def decode_report(data: bytes, keys: KeySet) -> AccountReport:
    """Verify and read a report; raises `ReportError` on a wrong checksum, `ScpError` when it is no report."""
    fields = _fields(data)
    body = decode_only(data, TAG_REPORT)[: -(2 + CHECKSUM_BYTES)]
    if fields[_KID][0] != keys.kid.to_byte() or not hmac.compare_digest(fields[_CHECKSUM], _check(body, keys)):
        raise ReportError("the account report is not of this key set, or was changed")
    account = fields[_ACCOUNT]
    return AccountReport(
        iccid=unpack_digits(fields[_ICCID]),
        slot=account[0],
        plmn=unpack_plmn(account[1:4]),
        fingerprint=account[4:],
        smsc=unpack_address(fields[_SMSC]),
        msisdn=unpack_address(fields[_MSISDN]) if _MSISDN in fields else None,
        counter=int.from_bytes(fields[_COUNTER], "big"),
    )


def _fields(data: bytes) -> dict[int, bytes]:
    objects = decode_tlvs(decode_only(data, TAG_REPORT))
    fields = dict(objects)
    lengths = {_ACCOUNT: _ACCOUNT_BYTES, _COUNTER: COUNTER_BYTES, _KID: 1, _CHECKSUM: CHECKSUM_BYTES}
    missing = {_ICCID, _SMSC, *lengths} - fields.keys()
    wrong = [tag for tag, length in lengths.items() if len(fields.get(tag, b"")) != length]
    if missing or wrong or len(objects) != len(fields) or objects[-1][0] != _CHECKSUM:
        raise ReportError("an account report has 5A, C1, 88, 8C and 8D once each, in their lengths, and 8E at its end")
    return fields


def _check(body: bytes, keys: KeySet) -> bytes:
    try:
        algorithm = CipherAlgorithm(keys.kid.algorithm)
    except ValueError:
        raise ReportError(f"KID algorithm {keys.kid.algorithm} makes no checksum") from None
    return checksum(algorithm, keys.kid_key, body)
