"""What one card is to carry: who it is, its keys, its numbers. What is None stays as it is on the card."""

from __future__ import annotations

import re
from typing import ClassVar

from landfall.errors import LandfallError
from ota.profile import SPN_CHARACTERS, MobileProfile
from ota.scp80.concealed import Concealed
from ota.scp80.packet import KeySet
from simcard.uicc.algorithms import ALGORITHMS, choose_algorithm
from simcard.uicc.codes import encode_code

_ICCID = re.compile(r"[0-9]{18,20}")
_IMSI = re.compile(r"[0-9]{6,15}")
_PLMN = re.compile(r"[0-9]{5,6}")
WITH_OPC = frozenset({"milenage", "tuak"})
"""Algorithms that have an OPc (TUAK: TOPc) beside K."""
_E164 = re.compile(r"\+[0-9]{5,15}")


class PersonalisationError(LandfallError):
    """A value that does not fit: `wrong` says why, of the value in `column`."""

    def __init__(self, column: str, wrong: str) -> None:
        super().__init__(f"{column} {wrong}")
        self.column, self.wrong = column, wrong


class Personalisation(Concealed, frozen=True, kw_only=True):
    """One card. Digits as text; `acc` 16 bits; numbers E.164 with "+".

    `algorithm` is one of `ALGORITHMS`; `k` 16 bytes (TUAK also 32); `opc` OPc, 16 bytes, for TUAK TOPc, 32, else None.
    `iccid` says which card is meant and is never written to one that has another. Raises `PersonalisationError`.
    """

    SECRET: ClassVar[frozenset[str]] = frozenset({"k", "opc", "adm", "ota"})

    iccid: str
    imsi: str | None = None
    plmn: str | None = None
    algorithm: str = "milenage"
    k: bytes | None = None
    opc: bytes | None = None
    adm: str | None = None
    acc: int | None = None
    msisdn: str | None = None
    smsc: str | None = None
    spn: str | None = None
    ota: tuple[KeySet, ...] = ()

    def __post_init__(self) -> None:
        _require("ICCID", _ICCID.fullmatch(self.iccid), "is not 18 to 20 digits")
        _require("IMSI", self.imsi is None or _IMSI.fullmatch(self.imsi), "is not 6 to 15 digits")
        _require("PLMN", self.plmn is None or _PLMN.fullmatch(self.plmn), "is not MCC and MNC, 5 or 6 digits")
        if self.plmn and self.imsi:
            _require("IMSI", self.imsi.startswith(self.plmn), f"does not begin with its PLMN {self.plmn}")
        _require("ALGORITHM", self.algorithm in ALGORITHMS, f"is none of {', '.join(ALGORITHMS)}")
        self._require_keys()
        _require("ACC", self.acc is None or 0 <= self.acc <= 0xFFFF, "is not 16 bits")
        _require("MSISDN", self.msisdn is None or _E164.fullmatch(self.msisdn), "is not + and 5 to 15 digits")
        _require("SMSC", self.smsc is None or _E164.fullmatch(self.smsc), "is not + and 5 to 15 digits")
        _require("SPN", self.spn is None or len(self.spn) <= SPN_CHARACTERS, f"is over {SPN_CHARACTERS} characters")
        if self.adm is not None:
            try:
                encode_code(self.adm)
            except ValueError:
                raise PersonalisationError("ADM", "is not 4 to 8 digits or 16 hex digits") from None

    def _require_keys(self) -> None:
        if self.algorithm not in WITH_OPC:
            _require("OPC", self.opc is None, f"is nothing {self.algorithm} knows: leave it out")
        else:
            _require("OPC", (self.k is None) == (self.opc is None), "goes with K: one of them is missing")
        try:
            if self.keys is not None:
                choose_algorithm(self.algorithm, *self.keys)
        except ValueError as error:
            column = "K" if str(error).startswith("K ") else "OPC"
            _require(column, fits=False, wrong=f"is not what {self.algorithm} takes: {error}")

    @property
    def keys(self) -> tuple[bytes, bytes] | None:
        """K, and OPc or TOPc or nothing, as `choose_algorithm` takes them; None when no keys are told."""
        return None if self.k is None else (self.k, self.opc or b"")

    @property
    def access_class(self) -> int | None:
        """ACC as given, else from the IMSI's last digit (TS 31.102 §4.2.15); None without either."""
        if self.acc is not None or self.imsi is None:
            return self.acc
        return 1 << int(self.imsi[-1])

    def to_home_profile(self) -> MobileProfile:
        """The home profile of a card made anew; `PersonalisationError` for what such a card must have."""
        imsi, plmn, smsc, keys = self.imsi, self.plmn, self.smsc, self.keys
        if imsi is None or plmn is None or smsc is None or keys is None:
            needed = {"IMSI": imsi, "PLMN": plmn, "SMSC": smsc, "K": keys}
            missing = ", ".join(column for column, value in needed.items() if value is None)
            raise PersonalisationError(missing, f"needed to make card {self.iccid} anew")
        return MobileProfile(
            imsi=imsi,
            algorithm=self.algorithm,
            k=keys[0],
            opc=keys[1],
            plmn=plmn,
            spn=self.spn or "",
            acc=self.access_class or 0,
            smsc=smsc,
            coverage=(plmn[:3],),
            msisdn=self.msisdn,
        )


def _require(column: str, fits: object, wrong: str) -> None:
    if not fits:
        raise PersonalisationError(column, wrong)
