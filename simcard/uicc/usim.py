"""ADF.USIM: the EFs a phone reads (3GPP TS 31.102 §4.2), with DF.GSM-ACCESS (§4.4.3) and DF.5GS (§4.4.11).

Everything starts empty; `identity.write_identity` fills in one account. K and OPc are in no file that can be read.
"""

from __future__ import annotations

from functools import cache

from ota.profile import SPN_CHARACTERS
from simcard.uicc.coding import MSISDN_RECORD, SMSP_RECORD
from simcard.uicc.files import (
    ARR_RECORD,
    CURRENT_ADF,
    EF_ARR_OF_ADF,
    Access,
    Df,
    Ef,
    Structure,
    encode_access_rules,
)

USIM_AID = bytes.fromhex("A0000000871002FFFFFFFF8907090000")

EF_IMSI = 0x6F07
EF_KEYS = 0x6F08
EF_KEYS_PS = 0x6F09
EF_UST = 0x6F38
EF_MSISDN = 0x6F40
EF_SMSP = 0x6F42
EF_SPN = 0x6F46
EF_HPLMN_ACT = 0x6F62
EF_PSLOCI = 0x6F73
EF_ACC = 0x6F78
EF_FPLMN = 0x6F7B
EF_LOCI = 0x6F7E
EF_AD = 0x6FAD
EF_EHPLMN = 0x6FD9
EF_EPSLOCI = 0x6FE3
EF_EPSNSC = 0x6FE4
DF_GSM_ACCESS, EF_ACCESS_KC, EF_ACCESS_KC_GPRS = 0x5F3B, 0x4F20, 0x4F52
DF_5GS = 0x5FC0
EF_SUCI_OF_PHONE, EF_ROUTING_INDICATOR = 0x4F07, 0x4F0A
# Where cards keep what they calculate a SUCI from themselves; no standard's, the eUICC profile format's and sysmocom's.
DF_SAIP, EF_SUCI_OF_CARD, SUCI_INFO = 0x5FD0, 0x4F01, 160
EF_5GS_LOCI, EF_5GS_N3_LOCI, EF_5GS_NSC, EF_5GS_N3_NSC, EF_5G_AUTH_KEYS = 0x4F01, 0x4F02, 0x4F03, 0x4F04, 0x4F05

# UST services (TS 31.102 §4.2.8): FDN, SMS storage, status reports, SMS parameters, AoC, CBMI, CBMIR, GID1, GID2, SPN,
# PLMN selectors, MSISDN, GSM access, SMS-PP download, CBMID, AUTHENTICATE with even INS ("shall be set"), network names
# and their places, mailbox numbers, message waiting, call forwarding, PLMNs to show the SPN in, equivalent HPLMN and
# whether to show it, EPS mobility information, 5GS mobility information and security parameters.
SERVICES = (
    *(2, 10, 11, 12, 13, 15, 16, 17, 18, 19, 20, 21, 27, 28, 29, 33),
    *(42, 43, 45, 46, 47, 48, 49, 51, 71, 73, 85, 122, 123),
)
UST_LENGTH = 17

EPSNSC_RECORD = 80
NSC_RECORD = 62
SMS_RECORD = 176
ADN_RECORD = 34
FPLMN_ENTRIES = 10
# Five octets each: PLMN and access technologies (TS 31.102 §4.2.5).
PLMN_ACT_ENTRIES = 12


def build_usim() -> Df:
    """ADF.USIM with its subdirectories."""
    gsm_access = Df(DF_GSM_ACCESS, "DF.GSM-ACCESS").add(
        make_ef(EF_ACCESS_KC, "EF.Kc", 9, Access.PIN, Access.PIN, sfi=0x01),
        make_ef(EF_ACCESS_KC_GPRS, "EF.KcGPRS", 9, Access.PIN, Access.PIN, sfi=0x02),
    )
    fifth = Df(DF_5GS, "DF.5GS").add(
        make_ef(EF_5GS_LOCI, "EF.5GS3GPPLOCI", 20, Access.PIN, Access.PIN, sfi=0x01),
        make_ef(EF_5GS_N3_LOCI, "EF.5GSN3GPPLOCI", 20, Access.PIN, Access.PIN, sfi=0x02),
        make_records(EF_5GS_NSC, "EF.5GS3GPPNSC", NSC_RECORD, Access.PIN, Access.PIN, sfi=0x03),
        make_records(EF_5GS_N3_NSC, "EF.5GSN3GPPNSC", NSC_RECORD, Access.PIN, Access.PIN, sfi=0x04),
        make_ef(EF_5G_AUTH_KEYS, "EF.5GAUTHKEYS", 68, Access.PIN, Access.PIN, sfi=0x05),
        make_ef(0x4F06, "EF.UAC_AIC", 4, Access.PIN, Access.ADM, content=bytes(4), sfi=0x06),
        make_ef(EF_SUCI_OF_PHONE, "EF.SUCI_Calc_Info", SUCI_INFO, Access.PIN, Access.ADM, sfi=0x07),
        make_ef(
            EF_ROUTING_INDICATOR, "EF.Routing_Indicator", 4, Access.PIN, Access.ADM, content=b"\xf0\xff\0\0", sfi=0x0A
        ),
    )
    saip = Df(DF_SAIP, "DF.SAIP").add(
        make_ef(EF_SUCI_OF_CARD, "EF.SUCI_Calc_Info", SUCI_INFO, Access.ADM, Access.ADM),
    )
    return Df(CURRENT_ADF, "ADF.USIM", aid=USIM_AID).add(
        make_access_rules(EF_ARR_OF_ADF),
        make_ef(0x6F05, "EF.LI", 4, Access.ALWAYS, Access.PIN, sfi=0x02),
        make_ef(EF_IMSI, "EF.IMSI", 9, Access.PIN, Access.ADM, sfi=0x07),
        make_ef(EF_KEYS, "EF.Keys", 33, Access.PIN, Access.PIN, sfi=0x08),
        make_ef(EF_KEYS_PS, "EF.KeysPS", 33, Access.PIN, Access.PIN, sfi=0x09),
        make_ef(0x6F31, "EF.HPPLMN", 1, Access.PIN, Access.ADM, content=b"\x02", sfi=0x12),
        make_ef(0x6F37, "EF.ACMmax", 3, Access.PIN, Access.PIN, content=bytes(3)),
        make_ef(EF_UST, "EF.UST", UST_LENGTH, Access.PIN, Access.ADM, content=_service_table(), sfi=0x04),
        Ef(
            0x6F39,
            "EF.ACM",
            bytes(15),
            structure=Structure.CYCLIC,
            record_length=3,
            read=Access.PIN,
            update=Access.PIN,
            increase=Access.PIN,
            sfi=0x1C,
        ),
        make_records(0x6F3B, "EF.FDN", ADN_RECORD, Access.PIN, Access.ADM, number=5),
        make_records(0x6F3C, "EF.SMS", SMS_RECORD, Access.PIN, Access.PIN, number=5, content=b"\0"),
        make_ef(0x6F3E, "EF.GID1", 4, Access.PIN, Access.ADM),
        make_ef(0x6F3F, "EF.GID2", 4, Access.PIN, Access.ADM),
        make_records(EF_MSISDN, "EF.MSISDN", MSISDN_RECORD, Access.PIN, Access.PIN),
        make_ef(0x6F41, "EF.PUCT", 5, Access.PIN, Access.PIN, content=b"\xff\xff\xff\0\0"),
        make_records(EF_SMSP, "EF.SMSP", SMSP_RECORD, Access.PIN, Access.PIN),
        make_ef(0x6F43, "EF.SMSS", 2, Access.PIN, Access.PIN),
        make_ef(EF_SPN, "EF.SPN", 1 + SPN_CHARACTERS, Access.ALWAYS, Access.ADM),
        make_ef(0x6F56, "EF.EST", 1, Access.PIN, Access.PIN, content=b"\0", sfi=0x05),
        make_ef(0x6F5B, "EF.START-HFN", 6, Access.PIN, Access.PIN, content=bytes.fromhex("F00000F00000"), sfi=0x0F),
        make_ef(0x6F5C, "EF.THRESHOLD", 3, Access.PIN, Access.ADM, sfi=0x10),
        make_ef(0x6F60, "EF.PLMNwAcT", 5 * PLMN_ACT_ENTRIES, Access.PIN, Access.PIN, content=no_plmns(), sfi=0x0A),
        make_ef(0x6F61, "EF.OPLMNwAcT", 5 * PLMN_ACT_ENTRIES, Access.PIN, Access.ADM, content=no_plmns(), sfi=0x11),
        make_ef(EF_HPLMN_ACT, "EF.HPLMNwAcT", 5 * PLMN_ACT_ENTRIES, Access.PIN, Access.ADM, sfi=0x13),
        make_ef(EF_PSLOCI, "EF.PSLOCI", 14, Access.PIN, Access.PIN, sfi=0x0C),
        make_ef(EF_ACC, "EF.ACC", 2, Access.PIN, Access.ADM, sfi=0x06),
        make_ef(EF_FPLMN, "EF.FPLMN", 3 * FPLMN_ENTRIES, Access.PIN, Access.PIN, sfi=0x0D),
        make_ef(EF_LOCI, "EF.LOCI", 11, Access.PIN, Access.PIN, sfi=0x0B),
        make_ef(EF_AD, "EF.AD", 4, Access.ALWAYS, Access.ADM, content=b"\0\0\0\x02", sfi=0x03),
        make_records(0x6FB7, "EF.ECC", 4, Access.ALWAYS, Access.ADM, content=bytes.fromhex("11F2FF00"), sfi=0x01),
        *_messages_and_names(),
        make_ef(EF_EHPLMN, "EF.EHPLMN", 3, Access.PIN, Access.ADM, sfi=0x1D),
        make_ef(EF_EPSLOCI, "EF.EPSLOCI", 18, Access.PIN, Access.PIN, sfi=0x1E),
        make_records(EF_EPSNSC, "EF.EPSNSC", EPSNSC_RECORD, Access.PIN, Access.PIN, sfi=0x18),
        gsm_access,
        fifth,
        saip,
    )


def _messages_and_names() -> tuple[Ef, ...]:
    """Cell broadcast, network names, mailbox: read by phones when their services are announced; empty."""
    return (
        make_ef(0x6F45, "EF.CBMI", 10, Access.PIN, Access.PIN),
        make_records(0x6F47, "EF.SMSR", 30, Access.PIN, Access.PIN, number=2, content=b"\0"),
        make_ef(0x6F48, "EF.CBMID", 10, Access.PIN, Access.ADM, sfi=0x0E),
        make_ef(0x6F50, "EF.CBMIR", 20, Access.PIN, Access.PIN),
        make_ef(0x6FC4, "EF.NETPAR", 46, Access.PIN, Access.PIN),
        make_records(0x6FC5, "EF.PNN", 24, Access.ALWAYS, Access.ADM, number=2, sfi=0x19),
        make_records(0x6FC6, "EF.OPL", 8, Access.ALWAYS, Access.ADM, number=2, sfi=0x1A),
        make_records(0x6FC7, "EF.MBDN", ADN_RECORD, Access.PIN, Access.PIN),
        make_records(0x6FC9, "EF.MBI", 4, Access.PIN, Access.PIN, content=bytes(4)),
        make_records(0x6FCA, "EF.MWIS", 5, Access.PIN, Access.PIN, content=bytes(5)),
        make_records(0x6FCB, "EF.CFIS", 16, Access.PIN, Access.PIN, content=b"\1\0"),
        make_ef(0x6FCD, "EF.SPDI", 16, Access.PIN, Access.ADM, sfi=0x1B),
        make_ef(0x6FDB, "EF.EHPLMNPI", 1, Access.PIN, Access.ADM, content=b"\0"),
    )


def make_access_rules(fid: int) -> Ef:
    """EF.ARR: content is the program's own, the same on every card."""
    return Ef(
        fid,
        "EF.ARR",
        encode_access_rules(),
        structure=Structure.LINEAR_FIXED,
        record_length=ARR_RECORD,
        update=Access.NEVER,
    )


def make_ef(
    fid: int, name: str, size: int, read: Access, update: Access, *, content: bytes = b"", sfi: int | None = None
) -> Ef:
    """A transparent EF of `size` octets, filled up with FF."""
    return Ef(fid, name, _fill(content, size), read=read, update=update, sfi=sfi)


def make_records(
    fid: int,
    name: str,
    length: int,
    read: Access,
    update: Access,
    *,
    content: bytes = b"",
    number: int = 1,
    sfi: int | None = None,
) -> Ef:
    """A linear fixed EF of `number` records, each with `content` filled up with FF to `length` octets."""
    return Ef(
        fid,
        name,
        _fill(content, length, number),
        structure=Structure.LINEAR_FIXED,
        record_length=length,
        read=read,
        update=update,
        sfi=sfi,
    )


@cache
def _fill(content: bytes, length: int, number: int = 1) -> bytes:
    """What a file begins with, one object for all cards of a process."""
    return content.ljust(length, b"\xff") * number


def no_plmns() -> bytes:
    """A PLMN selector without an entry (TS 31.102 §4.2.5)."""
    return bytes.fromhex("FFFFFF0000") * PLMN_ACT_ENTRIES


def _service_table() -> bytes:
    table = bytearray(UST_LENGTH)
    for service in SERVICES:
        table[(service - 1) // 8] |= 1 << (service - 1) % 8
    return bytes(table)
