"""The card's file tree (ETSI TS 102 221 §8): MF, DFs, ADFs; transparent, linear fixed and cyclic EFs; their FCP.

Content is one byte string an EF; a record is a slice of it, and record 1 of a cyclic file is the newest. Who may read
and update is an `Access` of each EF; `Session` asks before it touches one. `Df.walk` lists every EF with its path. One
`Ef` may stand in several directories, as EF.IMSI does in ADF.USIM and DF.GSM (TS 31.102 annex D): written in one, read
in the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, StrEnum
from functools import cache

from simcard.uicc.apdu import StatusError, Sw

MF = 0x3F00
CURRENT_ADF = 0x7FFF
EF_ARR_OF_MF = 0x2F06
EF_ARR_OF_ADF = 0x6F06

PIN1 = 0x01
ADM1 = 0x0A


class Structure(StrEnum):
    """How an EF is organised (TS 102 221 §8.3)."""

    TRANSPARENT = "transparent"
    LINEAR_FIXED = "linear fixed"
    CYCLIC = "cyclic"


class Access(Enum):
    """What an operation asks for; the value is its security condition DO in EF.ARR (TS 102 221 §9.2.4)."""

    ALWAYS = bytes.fromhex("9000")
    PIN = bytes.fromhex("A406830101950108")
    ADM = bytes.fromhex("A40683010A950108")
    NEVER = bytes.fromhex("9700")


RULES = tuple((read, update, increase) for increase in (None, Access.PIN) for read in Access for update in Access)
"""Every (read, update, increase) that files have; its index plus one is the record of EF.ARR that says so."""


@cache
def encode_access_rules() -> bytes:
    """Content of EF.ARR: one record for each of `RULES`, filled with FF to `ARR_RECORD` octets."""
    return b"".join(_rule(*rule).ljust(ARR_RECORD, b"\xff") for rule in RULES)


def _rule(read: Access, update: Access, increase: Access | None) -> bytes:
    # Access mode DOs: 80 for reading and updating, 84 with the instruction for INCREASE (TS 102 221 §9.2.2).
    more = b"" if increase is None else bytes.fromhex("840132") + increase.value
    return bytes.fromhex("800101") + read.value + bytes.fromhex("800102") + update.value + more


# Three access mode DOs of 3 octets, each with a security condition of at most 8.
ARR_RECORD = 33


class Ef:
    """An elementary file. `record_length` is 0 for a transparent one; `sfi` its short identifier or None.

    `increase` is who may INCREASE a cyclic one; None where nobody counts.
    """

    # A card has a hundred of them, and a process thousands of cards.
    __slots__ = ("content", "fid", "increase", "name", "read", "record_length", "sfi", "structure", "update")

    def __init__(
        self,
        fid: int,
        name: str,
        content: bytes,
        *,
        structure: Structure = Structure.TRANSPARENT,
        record_length: int = 0,
        read: Access = Access.ALWAYS,
        update: Access = Access.ADM,
        increase: Access | None = None,
        sfi: int | None = None,
    ) -> None:
        assert (structure is Structure.TRANSPARENT) == (record_length == 0)
        assert record_length == 0 or (len(content) % record_length == 0 and record_length <= 255)
        self.fid, self.name, self.content = fid, name, content
        self.structure, self.record_length = structure, record_length
        self.read, self.update, self.increase, self.sfi = read, update, increase, sfi

    @property
    def records(self) -> int:
        """How many records it has; 0 when transparent."""
        return len(self.content) // self.record_length if self.record_length else 0

    def read_record(self, number: int) -> bytes:
        """Record `number`, counted from 1; `StatusError(6A83)` when there is none."""
        self._require_record(number)
        return self.content[(number - 1) * self.record_length : number * self.record_length]

    def update_record(self, number: int, data: bytes) -> None:
        """Replace one record; `StatusError(6700)` unless `data` has exactly the record's length."""
        self._require_record(number)
        if len(data) != self.record_length:
            raise StatusError(Sw.WRONG_LENGTH)
        at = (number - 1) * self.record_length
        self.content = self.content[:at] + data + self.content[at + self.record_length :]

    def append_cyclic(self, data: bytes) -> None:
        """Write the oldest record of a cyclic file, which becomes record 1."""
        if len(data) != self.record_length:
            raise StatusError(Sw.WRONG_LENGTH)
        self.content = data + self.content[: -self.record_length]

    def read_binary(self, offset: int, length: int) -> bytes:
        """`length` octets from `offset`; `StatusError(6B00)` beyond the end."""
        if offset + length > len(self.content):
            raise StatusError(Sw.WRONG_OFFSET)
        return self.content[offset : offset + length]

    def update_binary(self, offset: int, data: bytes) -> None:
        """Replace octets from `offset`; `StatusError(6B00)` beyond the end."""
        if offset + len(data) > len(self.content):
            raise StatusError(Sw.WRONG_OFFSET)
        self.content = self.content[:offset] + data + self.content[offset + len(data) :]

    def fill(self, value: bytes) -> None:
        """Set the whole content, filled up with FF; for the card itself, not for APDUs."""
        assert len(value) <= len(self.content), (self.name, len(value))
        self.content = value.ljust(len(self.content), b"\xff")

    def encode_fcp(self, arr: int) -> bytes:
        """File control parameters (TS 102 221 §11.1.1.3); `arr` is the EF.ARR its rule stands in."""
        kind = {Structure.TRANSPARENT: 0x41, Structure.LINEAR_FIXED: 0x42, Structure.CYCLIC: 0x46}[self.structure]
        descriptor = bytes((kind, 0x21))
        if self.record_length:
            descriptor += self.record_length.to_bytes(2, "big") + bytes((self.records,))
        rule = arr.to_bytes(2, "big") + bytes((RULES.index((self.read, self.update, self.increase)) + 1,))
        return tlv(
            0x62,
            tlv(0x82, descriptor)
            + tlv(0x83, self.fid.to_bytes(2, "big"))
            + tlv(0x8A, b"\x05")
            + tlv(0x8B, rule)
            + tlv(0x80, len(self.content).to_bytes(2, "big"))
            + tlv(0x88, b"" if self.sfi is None else bytes((self.sfi << 3,))),
        )

    def _require_record(self, number: int) -> None:
        if not 1 <= number <= self.records:
            raise StatusError(Sw.RECORD_NOT_FOUND)


class Df:
    """A dedicated file: MF, DF, or ADF when `aid` is given. Children are added once, when the card is built."""

    __slots__ = ("aid", "applications", "dfs", "efs", "fid", "name", "parent")

    def __init__(self, fid: int, name: str, *, aid: bytes | None = None) -> None:
        self.fid, self.name, self.aid = fid, name, aid
        self.parent: Df | None = None
        self.efs: dict[int, Ef] = {}
        self.dfs: dict[int, Df] = {}
        self.applications: list[Df] = []
        """ADFs of an MF: selected by AID; they have no FID to be selected by."""

    def add(self, *members: Ef | Df) -> Df:
        """Put files in; returns itself."""
        for member in members:
            assert member.fid not in {*self.efs, *self.dfs}, f"{member.fid:04X} twice in {self.name}"
            if isinstance(member, Ef):
                self.efs[member.fid] = member
            else:
                member.parent = self
                self.dfs[member.fid] = member
        return self

    def add_applications(self, *applications: Df) -> None:
        """Put ADFs under the MF."""
        for adf in applications:
            adf.parent = self
            self.applications.append(adf)

    def walk(self, path: str = "") -> Iterator[tuple[str, Ef]]:
        """Every EF below, with its path in hex such as `3F007F206F07`; an ADF's begins with its AID."""
        here = f"{path}{self.fid:04X}" if self.aid is None else self.aid.hex().upper()
        for fid, ef in self.efs.items():
            yield f"{here}{fid:04X}", ef
        for df in (*self.dfs.values(), *self.applications):
            yield from df.walk(here)

    @property
    def arr(self) -> int:
        """FID of the EF.ARR that rules of this directory's EFs stand in: the application's, or the MF's."""
        if self.aid:
            return EF_ARR_OF_ADF
        return self.parent.arr if self.parent else EF_ARR_OF_MF

    def with_sfi(self, sfi: int) -> Ef:
        """The EF of a short identifier (1 to 30); `StatusError(6A82)` when there is none."""
        for ef in self.efs.values():
            if ef.sfi == sfi:
                return ef
        raise StatusError(Sw.FILE_NOT_FOUND)

    def encode_fcp(self, pin_enabled: bool) -> bytes:
        """File control parameters with the PIN status template (TS 102 221 §11.1.1.4)."""
        status = tlv(0x90, b"\x80" if pin_enabled else b"\x00") + tlv(0x83, bytes((PIN1,))) + tlv(0x83, bytes((ADM1,)))
        name = tlv(0x84, self.aid) if self.aid else b""
        # UICC characteristics: clock stop allowed, no power class limits (§11.1.1.4.6.1).
        proprietary = tlv(0xA5, tlv(0x80, b"\x71")) if self.fid == MF else b""
        # In a DF's rule the same bits mean deleting and creating files, which nobody can (TS 102 221 §9.2.2).
        rule = EF_ARR_OF_MF.to_bytes(2, "big") + bytes((RULES.index((Access.NEVER, Access.NEVER, None)) + 1,))
        return tlv(
            0x62,
            tlv(0x82, b"\x78\x21")
            + tlv(0x83, self.fid.to_bytes(2, "big"))
            + name
            + proprietary
            + tlv(0x8A, b"\x05")
            + tlv(0x8B, rule)
            + tlv(0xC6, status),
        )


def tlv(tag: int, value: bytes) -> bytes:
    """One BER-TLV with a one-octet tag and a short or `81` length."""
    assert len(value) <= 255
    length = bytes((len(value),)) if len(value) < 0x80 else bytes((0x81, len(value)))
    return bytes((tag,)) + length + value
