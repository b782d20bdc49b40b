"""The elementary files of a SIM by name (TS 102 221 §13, TS 31.102 §4, TS 31.103 §4, TS 51.011 §10).

`KNOWN_FILES` maps a path such as `usim/6f07` to its name; `resolve` takes either from a person.
"""

from __future__ import annotations

from landfall.errors import LandfallError

_MF = "2f00 DIR, 2f05 PL, 2f06 ARR, 2f08 UMPC, 2fe2 ICCID"
_TELECOM = "6f06 ARR, 6f3a ADN, 6f3b FDN, 6f3c SMS, 6f40 MSISDN, 6f42 SMSP, 6f43 SMSS, 6f44 LND, 6f47 SMSR, 6f49 SDN"
_GSM = (
    "6f05 LP, 6f07 IMSI, 6f20 Kc, 6f30 PLMNsel, 6f31 HPPLMN, 6f37 ACMmax, 6f38 SST, 6f39 ACM, 6f3e GID1, 6f3f GID2, "
    "6f41 PUCT, 6f45 CBMI, 6f46 SPN, 6f52 KcGPRS, 6f53 LOCIGPRS, 6f60 PLMNwAcT, 6f61 OPLMNwAcT, 6f62 HPLMNwAcT, "
    "6f74 BCCH, 6f78 ACC, 6f7b FPLMN, 6f7e LOCI, 6fad AD, 6fae Phase, 6fb7 ECC"
)
_USIM = (
    "6f05 LI, 6f06 ARR, 6f07 IMSI, 6f08 Keys, 6f09 KeysPS, 6f31 HPPLMN, 6f37 ACMmax, 6f38 UST, 6f39 ACM, 6f3b FDN, "
    "6f3c SMS, 6f3e GID1, 6f3f GID2, 6f40 MSISDN, 6f41 PUCT, 6f42 SMSP, 6f43 SMSS, 6f45 CBMI, 6f46 SPN, 6f47 SMSR, "
    "6f48 CBMID, 6f49 SDN, 6f50 CBMIR, 6f56 EST, 6f57 ACL, 6f5b START-HFN, 6f5c THRESHOLD, 6f60 PLMNwAcT, "
    "6f61 OPLMNwAcT, 6f62 HPLMNwAcT, 6f73 PSLOCI, 6f78 ACC, 6f7b FPLMN, 6f7e LOCI, 6f80 ICI, 6f81 OCI, 6f82 ICT, "
    "6f83 OCT, 6fad AD, 6fb7 ECC, 6fc4 NETPAR, 6fc5 PNN, 6fc6 OPL, 6fc7 MBDN, 6fc9 MBI, 6fca MWIS, 6fcb CFIS, "
    "6fcd SPDI, 6fd9 EHPLMN, 6fdb EHPLMNPI, 6fde SPNI, 6fdf PNNI, 6fe3 EPSLOCI, 6fe4 EPSNSC, 6fe8 NASCONFIG"
)
_5GS = (
    "4f01 5GS3GPPLOCI, 4f02 5GSN3GPPLOCI, 4f03 5GS3GPPNSC, 4f04 5GSN3GPPNSC, 4f05 5GAUTHKEYS, 4f06 UAC_AIC, "
    "4f07 SUCI_Calc_Info, 4f08 OPL5G, 4f09 SUPI_NAI, 4f0a Routing_Indicator"
)
_ISIM = "6f02 IMPI, 6f03 DOMAIN, 6f04 IMPU, 6f06 ARR, 6f07 IST, 6f09 P-CSCF, 6fad AD"


def _list(directory: str, files: str) -> dict[str, str]:
    return {f"{directory}/{fid}": f"EF.{name}" for fid, name in (file.split(" ") for file in files.split(", "))}


KNOWN_FILES: dict[str, str] = {
    **_list("3f00", _MF),
    **_list("3f00/7f10", _TELECOM),
    **_list("3f00/7f20", _GSM),
    **_list("usim", _USIM),
    **_list("usim/5f3b", "4f20 Kc, 4f52 KcGPRS"),
    **_list("usim/5fc0", _5GS),
    **_list("isim", _ISIM),
}
SESSION_KEYS = frozenset(
    f"EF.{name}" for name in "Kc KcGPRS Keys KeysPS EPSNSC 5GS3GPPNSC 5GSN3GPPNSC 5GAUTHKEYS".split()
)
"""Files with keys of the phone's present session, which open what it sends."""

_DIRECTORIES = {"mf": "3f00", "telecom": "3f00/7f10", "gsm": "3f00/7f20", "usim": "usim", "isim": "isim"}


def resolve(text: str) -> tuple[str, ...]:
    """A path to an EF from what a person writes: `usim/6f07`, `usim/EF.IMSI`, `gsm/imsi`; `LandfallError`."""
    directory, _, file = text.strip().lower().rpartition("/")
    directory = _DIRECTORIES.get(directory, directory) or "3f00"
    wanted = file.removeprefix("ef.")
    for path, name in KNOWN_FILES.items():
        if path == f"{directory}/{wanted}" or (path.startswith(f"{directory}/") and name[3:].lower() == wanted):
            return tuple(path.split("/"))
    parts = (*directory.split("/"), wanted)
    if not all(part in ("usim", "isim") or (len(part) == 4 and set(part) <= set("0123456789abcdef")) for part in parts):
        raise LandfallError(f"{text!r} is no file: write usim/6f07, usim/EF.IMSI, gsm/IMSI, mf/ICCID or 3f00/7f20/6f07")
    return parts
