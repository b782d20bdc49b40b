"""ADF.ISIM: who the subscriber is in IMS (3GPP TS 31.103 §4.2). Without other names they follow from the IMSI."""

from __future__ import annotations

from ota.profile import MobileProfile
from simcard.uicc.files import CURRENT_ADF, EF_ARR_OF_ADF, Access, Df, tlv
from simcard.uicc.usim import make_access_rules, make_ef, make_records

ISIM_AID = bytes.fromhex("A0000000871004FFFFFFFF8907090000")

EF_IMPI, EF_DOMAIN, EF_IMPU, EF_IST, EF_PCSCF, EF_AD = 0x6F02, 0x6F03, 0x6F04, 0x6F07, 0x6F09, 0x6FAD
# IST services (TS 31.103 §4.2.7): P-CSCF address.
IST = b"\x01\0"
NAME_LENGTH = 128
PUBLIC_IDENTITIES = 2


def build_isim() -> Df:
    """ADF.ISIM."""
    return Df(CURRENT_ADF, "ADF.ISIM", aid=ISIM_AID).add(
        make_access_rules(EF_ARR_OF_ADF),
        make_ef(EF_IMPI, "EF.IMPI", NAME_LENGTH, Access.PIN, Access.ADM, sfi=0x02),
        make_ef(EF_DOMAIN, "EF.DOMAIN", NAME_LENGTH, Access.PIN, Access.ADM, sfi=0x05),
        make_records(EF_IMPU, "EF.IMPU", NAME_LENGTH, Access.PIN, Access.ADM, number=PUBLIC_IDENTITIES, sfi=0x04),
        make_ef(EF_IST, "EF.IST", len(IST), Access.PIN, Access.ADM, content=IST, sfi=0x07),
        make_records(EF_PCSCF, "EF.P-CSCF", NAME_LENGTH, Access.PIN, Access.ADM),
        make_ef(EF_AD, "EF.AD", 4, Access.ALWAYS, Access.ADM, content=b"\0\0\0\x02", sfi=0x03),
    )


def ims_values(profile: MobileProfile) -> dict[int, bytes]:
    """Content of IMPI, DOMAIN and IMPU as TS 23.003 §13.2 to §13.4 derives them from IMSI and PLMN."""
    mcc, mnc = profile.plmn[:3], profile.plmn[3:]
    domain = f"ims.mnc{mnc:0>3}.mcc{mcc}.3gppnetwork.org"
    private = f"{profile.imsi}@{domain}"
    values = {EF_IMPI: private, EF_DOMAIN: domain, EF_IMPU: f"sip:{private}"}
    return {fid: tlv(0x80, value.encode()) for fid, value in values.items()}
