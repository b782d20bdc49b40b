"""How one account looks in the files, both ways.

`write_identity` makes the card look like a profile and forgets where and with which keys the last one was registered,
for every access technology. `read_identity` is the way back: what a provisioning tool has written into the files, the
profile should say too.
"""

from __future__ import annotations

import contextlib

import msgspec

from ota.profile import SPN_CHARACTERS, MobileProfile, ProfileError
from ota.scp80.digits import DigitError, pack_imsi, pack_plmn, unpack_imsi
from simcard.uicc.coding import decode_msisdn, decode_name, decode_smsp, encode_msisdn, encode_name, encode_smsp
from simcard.uicc.files import Df
from simcard.uicc.isim import EF_AD as EF_AD_OF_ISIM
from simcard.uicc.isim import ims_values
from simcard.uicc.sim import EF_KC, EF_KC_GPRS, EF_LOCI_GPRS
from simcard.uicc.tree import CardFiles
from simcard.uicc.usim import (
    DF_5GS,
    DF_GSM_ACCESS,
    EF_5G_AUTH_KEYS,
    EF_5GS_LOCI,
    EF_5GS_N3_LOCI,
    EF_5GS_N3_NSC,
    EF_5GS_NSC,
    EF_ACC,
    EF_ACCESS_KC,
    EF_ACCESS_KC_GPRS,
    EF_AD,
    EF_EHPLMN,
    EF_EPSLOCI,
    EF_EPSNSC,
    EF_FPLMN,
    EF_HPLMN_ACT,
    EF_IMSI,
    EF_KEYS,
    EF_KEYS_PS,
    EF_LOCI,
    EF_MSISDN,
    EF_PSLOCI,
    EF_SMSP,
    EF_SPN,
    PLMN_ACT_ENTRIES,
)

NO_KEY = b"\x07"  # KSI 7: no key available (TS 31.102 §4.2.3)
NO_GSM_KEY = b"\xff" * 8 + b"\x07"
NOT_UPDATED = b"\x01"  # location update status (TS 31.102 §4.2.17)
# UTRAN, E-UTRAN, NG-RAN and GSM (TS 31.102 §4.2.5).
ANY_ACCESS = b"\xc8\x80"


def write_identity(files: CardFiles, profile: MobileProfile) -> None:
    """Rewrite every EF that belongs to one account, and forget the last registration: LOCI, keys and FPLMN."""
    plmn = pack_plmn(profile.plmn)
    no_place = plmn + b"\0\0\xff" + NOT_UPDATED
    _fill(files.usim, _identity_values(profile))
    _fill(
        files.usim,
        {
            EF_EHPLMN: plmn,
            EF_HPLMN_ACT: plmn + ANY_ACCESS + bytes.fromhex("FFFFFF0000") * (PLMN_ACT_ENTRIES - 1),
            EF_LOCI: b"\xff" * 4 + no_place,
            EF_PSLOCI: b"\xff" * 7 + no_place,
            EF_EPSLOCI: b"\xff" * 12 + plmn + b"\0\0" + NOT_UPDATED,
            EF_KEYS: NO_KEY,
            EF_KEYS_PS: NO_KEY,
            EF_EPSNSC: b"",
            EF_FPLMN: b"",
        },
    )
    _fill(files.usim.dfs[DF_GSM_ACCESS], {EF_ACCESS_KC: NO_GSM_KEY, EF_ACCESS_KC_GPRS: NO_GSM_KEY})
    no_5gs_place = b"\xff" * 13 + plmn + b"\0\0\0" + NOT_UPDATED
    _fill(
        files.usim.dfs[DF_5GS],
        {
            EF_5GS_LOCI: no_5gs_place,
            EF_5GS_N3_LOCI: no_5gs_place,
            EF_5GS_NSC: b"",
            EF_5GS_N3_NSC: b"",
            EF_5G_AUTH_KEYS: b"",
        },
    )
    _fill(files.gsm, {EF_KC: NO_GSM_KEY, EF_KC_GPRS: NO_GSM_KEY, EF_LOCI_GPRS: b"\xff" * 7 + no_place})
    _fill(files.isim, {**ims_values(profile), EF_AD_OF_ISIM: bytes((0, 0, 0, len(profile.plmn) - 3))})


def read_identity(files: CardFiles, profile: MobileProfile) -> MobileProfile:
    """`profile` with what the files now say otherwise. What fits no profile, as a number that is not international or
    half of an IMSI, is left as it was.
    """
    for fid, value in _identity_values(profile).items():
        content = files.usim.efs[fid].content
        if content != value.ljust(len(content), b"\xff"):
            with contextlib.suppress(DigitError, ProfileError):
                profile = msgspec.structs.replace(profile, **_read(files, fid, content))
    return profile


def _read(files: CardFiles, fid: int, content: bytes) -> dict[str, object]:
    """The profile's fields that an EF of that content stands for."""
    if fid in (EF_IMSI, EF_AD):
        imsi = unpack_imsi(files.usim.efs[EF_IMSI].content)
        mnc_length = 3 if files.usim.efs[EF_AD].content[3] & 0x0F == 3 else 2
        return {"imsi": imsi, "plmn": imsi[: 3 + mnc_length]}
    if fid == EF_ACC:
        return {"acc": int.from_bytes(content, "big")}
    if fid == EF_SPN:
        return {"spn": decode_name(content[1:])[:SPN_CHARACTERS]}
    if fid == EF_MSISDN:
        return {"msisdn": decode_msisdn(content)}
    smsc = decode_smsp(content)
    return {} if smsc is None else {"smsc": smsc}


def _identity_values(profile: MobileProfile) -> dict[int, bytes]:
    """What of ADF.USIM is the account's name and address."""
    return {
        EF_IMSI: pack_imsi(profile.imsi),
        EF_AD: bytes((0, 0, 0, len(profile.plmn) - 3)),
        EF_ACC: profile.acc.to_bytes(2, "big"),
        EF_SPN: b"\x01" + encode_name(profile.spn, SPN_CHARACTERS),
        EF_SMSP: encode_smsp(profile.smsc),
        EF_MSISDN: encode_msisdn(profile.msisdn),
    }


def _fill(df: Df, values: dict[int, bytes]) -> None:
    for fid, value in values.items():
        df.efs[fid].fill(value)
