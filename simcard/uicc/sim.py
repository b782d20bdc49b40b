"""DF.TELECOM and DF.GSM, as a 2G SIM has them and phones and tools of class A0 read them (3GPP TS 51.011 §10).

What SIM and USIM both have is one file under two directories (TS 31.102 annex D): IMSI, ACC, numbers, PLMN lists.
"""

from __future__ import annotations

from simcard.uicc.files import Access, Df, Ef, Structure
from simcard.uicc.usim import ADN_RECORD, make_ef, make_records

DF_TELECOM, DF_GSM = 0x7F10, 0x7F20
EF_SST, EF_KC, EF_KC_GPRS, EF_LOCI_GPRS = 0x6F38, 0x6F20, 0x6F52, 0x6F53

# Phase 2+, which announces the toolkit (TS 51.011 §10.3.16).
PHASE = b"\x03"
# SST services (TS 51.011 §10.3.7): PIN may be disabled, ADN, FDN, SMS, AoC, PLMN selector, MSISDN, SMS parameters, LND,
# CBMI, GID1, GID2, SPN, SMS-PP download, CBMIR, proactive SIM, CBMID, status reports; GPRS; PLMN selectors with access
# technology; network names, mailbox numbers, message waiting, call forwarding, PLMNs to show the SPN in.
SERVICES = (
    *(1, 2, 3, 4, 5, 7, 9, 12, 13, 14, 15, 16, 17, 26, 29, 30, 31, 35, 38),
    *(43, 44, 45, 51, 52, 53, 54, 55, 56),
)
SST_LENGTH = 14

SHARED_WITH_TELECOM = (0x6F3B, 0x6F3C, 0x6F40, 0x6F42, 0x6F43, 0x6F47)
SHARED_WITH_GSM = (
    *(0x6F07, 0x6F31, 0x6F37, 0x6F39, 0x6F3E, 0x6F3F, 0x6F41, 0x6F45, 0x6F46, 0x6F48, 0x6F50),
    *(0x6F60, 0x6F61, 0x6F62, 0x6F78, 0x6F7B, 0x6F7E, 0x6FAD),
    *(0x6FC5, 0x6FC6, 0x6FC7, 0x6FC9, 0x6FCA, 0x6FCB, 0x6FCD),
)


def build_telecom(usim: Df) -> Df:
    """DF.TELECOM, sharing with `usim` what both have."""
    return Df(DF_TELECOM, "DF.TELECOM").add(
        *(usim.efs[fid] for fid in SHARED_WITH_TELECOM),
        make_records(0x6F3A, "EF.ADN", ADN_RECORD, Access.PIN, Access.PIN, number=10),
        Ef(
            0x6F44,
            "EF.LND",
            b"\xff" * ADN_RECORD * 5,
            structure=Structure.CYCLIC,
            record_length=ADN_RECORD,
            read=Access.PIN,
            update=Access.PIN,
        ),
        make_records(0x6F4A, "EF.EXT1", 13, Access.PIN, Access.PIN, content=b"\0", number=2),
    )


def build_gsm(usim: Df) -> Df:
    """DF.GSM, sharing with `usim` what both have."""
    return Df(DF_GSM, "DF.GSM").add(
        *(usim.efs[fid] for fid in SHARED_WITH_GSM),
        make_ef(0x6F05, "EF.LP", 2, Access.ALWAYS, Access.PIN),
        make_ef(EF_KC, "EF.Kc", 9, Access.PIN, Access.PIN),
        make_ef(0x6F30, "EF.PLMNsel", 36, Access.PIN, Access.PIN),
        make_ef(EF_SST, "EF.SST", SST_LENGTH, Access.PIN, Access.ADM, content=_service_table()),
        make_ef(EF_KC_GPRS, "EF.KcGPRS", 9, Access.PIN, Access.PIN),
        make_ef(EF_LOCI_GPRS, "EF.LOCIGPRS", 14, Access.PIN, Access.PIN),
        make_ef(0x6F74, "EF.BCCH", 16, Access.PIN, Access.PIN),
        make_ef(0x6FAE, "EF.Phase", 1, Access.ALWAYS, Access.ADM, content=PHASE),
        make_ef(0x6FB7, "EF.ECC", 3, Access.ALWAYS, Access.ADM, content=bytes.fromhex("11F2FF")),
    )


def _service_table() -> bytes:
    """Two bits a service: allocated and activated."""
    table = bytearray(SST_LENGTH)
    for service in SERVICES:
        table[(service - 1) // 4] |= 0x03 << 2 * ((service - 1) % 4)
    return bytes(table)
