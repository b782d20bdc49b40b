"""What is on the card: MF and USIM with the EFs a phone reads (3GPP TS 31.102 §4.2), and how a profile is written
there.

`build_files(iccid)` makes the empty tree; `write_identity(usim, profile)` makes the USIM look like one account,
forgetting where and with which keys the last one was registered, for every access technology. K and OPc are in no file.
"""

from __future__ import annotations

import codecs

from osmocom.construct import gsm0338  # noqa: F401  registers the codec gsm03.38 of TS 23.038

from ota.profile import SPN_CHARACTERS, MobileProfile
from ota.scp80.digits import pack_address, pack_digits, pack_imsi, pack_plmn, unpack_digits
from simcard.uicc.files import (
    ARR_RECORD,
    CURRENT_ADF,
    EF_ARR_OF_ADF,
    EF_ARR_OF_MF,
    MF,
    Access,
    Df,
    Ef,
    Structure,
    encode_access_rules,
    tlv,
)

USIM_AID = bytes.fromhex("A0000000871002FFFFFFFF8907090000")

EF_DIR = 0x2F00
EF_ICCID = 0x2FE2
EF_IMSI = 0x6F07
EF_KEYS = 0x6F08
EF_KEYS_PS = 0x6F09
EF_UST = 0x6F38
EF_MSISDN = 0x6F40
EF_SMSP = 0x6F42
EF_SPN = 0x6F46
EF_PSLOCI = 0x6F73
EF_ACC = 0x6F78
EF_FPLMN = 0x6F7B
EF_LOCI = 0x6F7E
EF_AD = 0x6FAD
EF_EHPLMN = 0x6FD9
EF_EPSLOCI = 0x6FE3
EF_EPSNSC = 0x6FE4

# UST services (TS 31.102 §4.2.8): SMS parameters, SPN, MSISDN, GSM access, SMS-PP download, toolkit by AUTHENTICATE
# with even INS ("shall be set"), equivalent HPLMN, EPS mobility information.
SERVICES = (12, 19, 21, 27, 28, 33, 71, 85)
UST_LENGTH = 15

# Record lengths sysmocom's cards have, which provisioning tools expect (alpha identifier included).
MSISDN_RECORD = 34
SMSP_RECORD = 52
EPSNSC_RECORD = 80
FPLMN_ENTRIES = 10
NO_KEY = b"\x07"  # KSI 7: no key available (TS 31.102 §4.2.3)
NOT_UPDATED = b"\x01"  # location update status (TS 31.102 §4.2.17)


def build_files(iccid: str) -> tuple[Df, Df]:
    """MF and ADF.USIM of a card with that ICCID (18 to 20 digits); IMSI and the like are still FF."""
    mf = Df(MF, "MF")
    usim = Df(CURRENT_ADF, "ADF.USIM", aid=USIM_AID)
    template = tlv(0x61, tlv(0x4F, USIM_AID) + tlv(0x50, b"USIM"))
    mf.add(
        Ef(EF_DIR, "EF.DIR", template.ljust(38, b"\xff"), structure=Structure.LINEAR_FIXED, record_length=38, sfi=0x1E),
        Ef(EF_ICCID, "EF.ICCID", pack_digits(iccid).ljust(10, b"\xff"), sfi=0x02),
        Ef(0x2F05, "EF.PL", b"\xff" * 6, update=Access.PIN, sfi=0x05),
        _access_rules(EF_ARR_OF_MF, "EF.ARR"),
        usim,
    )
    usim.add(
        _access_rules(EF_ARR_OF_ADF, "EF.ARR"),
        _ef(0x6F05, "EF.LI", 4, Access.ALWAYS, Access.PIN, sfi=0x02),
        _ef(EF_IMSI, "EF.IMSI", 9, Access.PIN, Access.ADM, sfi=0x07),
        _ef(EF_KEYS, "EF.Keys", 33, Access.PIN, Access.PIN, sfi=0x08),
        _ef(EF_KEYS_PS, "EF.KeysPS", 33, Access.PIN, Access.PIN, sfi=0x09),
        _ef(0x6F31, "EF.HPPLMN", 1, Access.PIN, Access.ADM, content=b"\x02", sfi=0x12),
        _ef(EF_UST, "EF.UST", UST_LENGTH, Access.PIN, Access.ADM, content=_service_table(), sfi=0x04),
        _records(EF_MSISDN, "EF.MSISDN", MSISDN_RECORD, Access.PIN, Access.PIN),
        _records(EF_SMSP, "EF.SMSP", SMSP_RECORD, Access.PIN, Access.PIN),
        _ef(EF_SPN, "EF.SPN", 1 + SPN_CHARACTERS, Access.ALWAYS, Access.ADM),
        _ef(0x6F5B, "EF.START-HFN", 6, Access.PIN, Access.PIN, content=bytes.fromhex("F00000F00000"), sfi=0x0F),
        _ef(0x6F5C, "EF.THRESHOLD", 3, Access.PIN, Access.ADM, sfi=0x10),
        _ef(EF_PSLOCI, "EF.PSLOCI", 14, Access.PIN, Access.PIN, sfi=0x0C),
        _ef(EF_ACC, "EF.ACC", 2, Access.PIN, Access.ADM, sfi=0x06),
        _ef(EF_FPLMN, "EF.FPLMN", 3 * FPLMN_ENTRIES, Access.PIN, Access.PIN, sfi=0x0D),
        _ef(EF_LOCI, "EF.LOCI", 11, Access.PIN, Access.PIN, sfi=0x0B),
        _ef(EF_AD, "EF.AD", 4, Access.ALWAYS, Access.ADM, content=b"\0\0\0\x02", sfi=0x03),
        _records(0x6FB7, "EF.ECC", 4, Access.ALWAYS, Access.ADM, content=bytes.fromhex("11F2FF00"), sfi=0x01),
        _ef(EF_EHPLMN, "EF.EHPLMN", 3, Access.PIN, Access.ADM, sfi=0x1D),
        _ef(EF_EPSLOCI, "EF.EPSLOCI", 18, Access.PIN, Access.PIN, sfi=0x1E),
        _records(EF_EPSNSC, "EF.EPSNSC", EPSNSC_RECORD, Access.PIN, Access.PIN, sfi=0x18),
    )
    return mf, usim


def write_identity(usim: Df, profile: MobileProfile) -> None:
    """Rewrite every EF that belongs to one account, and forget the last registration: LOCI, keys and FPLMN."""
    plmn = pack_plmn(profile.plmn)
    values = {
        EF_IMSI: pack_imsi(profile.imsi),
        EF_AD: bytes((0, 0, 0, len(profile.plmn) - 3)),
        EF_ACC: profile.acc.to_bytes(2, "big"),
        EF_SPN: b"\x01" + encode_name(profile.spn, SPN_CHARACTERS),
        EF_SMSP: encode_smsp(profile.smsc),
        EF_MSISDN: encode_msisdn(profile.msisdn),
        EF_EHPLMN: plmn,
        EF_LOCI: b"\xff" * 4 + plmn + b"\0\0\xff" + NOT_UPDATED,
        EF_PSLOCI: b"\xff" * 7 + plmn + b"\0\0\xff" + NOT_UPDATED,
        EF_EPSLOCI: b"\xff" * 12 + plmn + b"\0\0" + NOT_UPDATED,
        EF_KEYS: NO_KEY,
        EF_KEYS_PS: NO_KEY,
        EF_EPSNSC: b"",
        EF_FPLMN: b"",
    }
    for fid, value in values.items():
        usim.efs[fid].fill(value)


def read_iccid(content: bytes) -> str:
    """Digits of EF.ICCID."""
    return unpack_digits(content)


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


def _service_table() -> bytes:
    table = bytearray(UST_LENGTH)
    for service in SERVICES:
        table[(service - 1) // 8] |= 1 << (service - 1) % 8
    return bytes(table)


def _access_rules(fid: int, name: str) -> Ef:
    return Ef(
        fid,
        name,
        encode_access_rules(),
        structure=Structure.LINEAR_FIXED,
        record_length=ARR_RECORD,
        update=Access.NEVER,
    )


def _ef(
    fid: int, name: str, size: int, read: Access, update: Access, *, content: bytes = b"", sfi: int | None = None
) -> Ef:
    return Ef(fid, name, content.ljust(size, b"\xff"), read=read, update=update, sfi=sfi)


def _records(
    fid: int, name: str, length: int, read: Access, update: Access, *, content: bytes = b"", sfi: int | None = None
) -> Ef:
    return Ef(
        fid,
        name,
        content.ljust(length, b"\xff"),
        structure=Structure.LINEAR_FIXED,
        record_length=length,
        read=read,
        update=update,
        sfi=sfi,
    )
