"""The whole file tree of our card: MF, DF.TELECOM, DF.GSM, DF.SYSTEM, ADF.USIM and ADF.ISIM.

`CardFiles(iccid)` makes it empty; `identity.write_identity` makes it look like one account.
"""

from __future__ import annotations

from ota.scp80.digits import pack_digits, unpack_digits
from simcard.uicc.files import EF_ARR_OF_MF, MF, Access, Df, Ef, Structure, tlv
from simcard.uicc.isim import ISIM_AID, build_isim
from simcard.uicc.key_files import EF_AUTH_KEY, EF_SIM_AUTH_KEY, KeyFile, build_system
from simcard.uicc.sim import build_gsm, build_telecom
from simcard.uicc.usim import USIM_AID, build_usim, make_access_rules

EF_DIR = 0x2F00
EF_ICCID = 0x2FE2
DIR_RECORD = 38


class CardFiles:
    """The directories of one card, and its key files."""

    def __init__(self, iccid: str) -> None:
        self.usim, self.isim, system = build_usim(), build_isim(), build_system()
        self.telecom, self.gsm = build_telecom(self.usim), build_gsm(self.usim)
        of_usim, of_isim = KeyFile(EF_AUTH_KEY, "EF.USIM_AUTH_KEY"), KeyFile(EF_AUTH_KEY, "EF.ISIM_AUTH_KEY")
        self.usim.add(of_usim)
        self.isim.add(of_isim)
        of_sim = system.efs[EF_SIM_AUTH_KEY]
        assert isinstance(of_sim, KeyFile)
        self.keys = (of_sim, of_usim, of_isim)
        self.mf = Df(MF, "MF").add(
            Ef(
                EF_DIR,
                "EF.DIR",
                _template(USIM_AID, b"USIM") + _template(ISIM_AID, b"ISIM"),
                structure=Structure.LINEAR_FIXED,
                record_length=DIR_RECORD,
                sfi=0x1E,
            ),
            Ef(EF_ICCID, "EF.ICCID", pack_digits(iccid).ljust(10, b"\xff"), sfi=0x02),
            Ef(0x2F05, "EF.PL", b"\xff" * 6, update=Access.PIN, sfi=0x05),
            make_access_rules(EF_ARR_OF_MF),
            self.telecom,
            self.gsm,
            system,
        )
        self.mf.add_applications(self.usim, self.isim)

    @property
    def iccid(self) -> str:
        """Digits of EF.ICCID."""
        return unpack_digits(self.mf.efs[EF_ICCID].content)

    def contents(self) -> dict[str, bytes]:
        """Content of each EF that can change, by one path of it."""
        return {path: ef.content for path, ef in self._changing().items()}

    def restore(self, contents: dict[str, bytes]) -> bool:
        """Put stored contents back; False when some are missing or were stored by another layout."""
        whole = True
        for path, ef in self._changing().items():
            content = contents.get(path)
            if content is not None and len(content) == len(ef.content):
                ef.content = content
            else:
                whole = False
        return whole

    def _changing(self) -> dict[str, Ef]:
        """A file under two directories once; rules and key files not at all."""
        paths = {id(ef): (path, ef) for path, ef in self.mf.walk() if Access.NEVER not in (ef.read, ef.update)}
        return dict(paths.values())


def _template(aid: bytes, label: bytes) -> bytes:
    return tlv(0x61, tlv(0x4F, aid) + tlv(0x50, label)).ljust(DIR_RECORD, b"\xff")
