"""Files of a card through any link: select, read whole, update in place (ETSI TS 102 221 §11.1).

    file = open_file(link, "usim", "6f07")        # None where the card has no such file
    file.read()                                   # bytes, or None where the card denies it
    file.update(content)

A path begins with `3f00`, `usim` or `isim`; the applications are selected by the beginning of their AID.
"""

from __future__ import annotations

import msgspec

from landfall.errors import LandfallError
from simcard.readers.contract import Link

APPLICATIONS = {"usim": "a0000000871002", "isim": "a0000000871004"}
# Data of one short APDU (ISO/IEC 7816-4); a card's own reply is at most 256, and 255 suits every reader.
CHUNK_BYTES = 255
# An offset has 15 bits, a record number counts to 254 (TS 102 221 §11.1.3, §8.2.2.2).
SIZE_MAX = 0x7FFF
RECORDS_MAX = 254
NOT_THERE = ("6a82", "6a81", "6a86", "6985", "6d00")
DENIED = ("6982", "6985", "6986")
KINDS = {1: "transparent", 2: "linear fixed", 6: "cyclic"}


class FileError(LandfallError):
    """A file that cannot be used as asked; names the file and the card's status word."""


class CardFile(msgspec.Struct, frozen=True):
    """The EF that was selected last on `link`. `record_bytes` and `records` are 0 for a transparent one."""

    link: Link
    path: str
    kind: str
    size: int
    record_bytes: int
    records: int

    def read(self) -> bytes | None:
        """The whole content of a transparent EF; None when access is denied."""
        content = b""
        while len(content) < self.size:
            length = min(CHUNK_BYTES, self.size - len(content))
            data, sw = self.link.send_apdu(f"00b0{len(content):04x}{length:02x}")
            if sw in DENIED:
                return None
            if not self._require(data, sw, "read"):
                raise FileError(f"{self.path} has {self.size} octets, but the card gives only {len(content)}")
            content += bytes.fromhex(data)
        return content

    def read_record(self, number: int) -> bytes | None:
        """One record, counted from 1; None when access is denied."""
        data, sw = self.link.send_apdu(f"00b2{number:02x}04{self.record_bytes:02x}")
        return None if sw in DENIED else bytes.fromhex(self._require(data, sw, f"read record {number} of"))

    def update(self, content: bytes, offset: int = 0) -> None:
        """Write `content` from `offset` into a transparent EF; `FileError` when the card refuses."""
        for at in range(0, len(content), CHUNK_BYTES):
            part = content[at : at + CHUNK_BYTES]
            data, sw = self.link.send_apdu(f"00d6{offset + at:04x}{len(part):02x}{part.hex()}")
            self._require(data, sw, "update")

    def update_record(self, number: int, content: bytes) -> None:
        """Replace one record; `FileError` when the card refuses."""
        data, sw = self.link.send_apdu(f"00dc{number:02x}04{len(content):02x}{content.hex()}")
        self._require(data, sw, f"update record {number} of")

    def _require(self, data: str, sw: str, verb: str) -> str:
        if not sw.startswith(("90", "91", "62", "63")):
            raise FileError(f"the card refuses to {verb} {self.path}: {sw}")
        return data


def open_file(link: Link, *path: str) -> CardFile | None:
    """Select the EF at `path`; None when the card has no such file. `FileError` when it is a directory."""
    told = "/".join(path)
    data = ""
    for fid in path:
        selector = APPLICATIONS.get(fid)
        pdu = f"00a40404{len(selector) // 2:02x}{selector}" if selector else f"00a4000402{fid}"
        data, sw = link.send_apdu(pdu)
        if sw in NOT_THERE:
            return None
        if not sw.startswith(("90", "91")):
            raise FileError(f"the card refuses to select {told}: {sw}")
    return _describe(link, told, bytes.fromhex(data))


def _describe(link: Link, path: str, fcp: bytes) -> CardFile:
    """From the file control parameters (TS 102 221 §11.1.1.3): descriptor `82` and size `80`."""
    fields = _fields(fcp[2:]) if fcp[:1] == b"\x62" else {}
    descriptor, size = fields.get(0x82, b""), int.from_bytes(fields.get(0x80, b""), "big")
    kind = KINDS.get(descriptor[0] & 0x07) if descriptor and descriptor[0] & 0x38 != 0x38 else None
    if kind is None or size > SIZE_MAX:
        raise FileError(f"{path} is not an EF this program reads: {fcp.hex()}")
    if kind == "transparent":
        return CardFile(link, path, kind, size, 0, 0)
    record_bytes = int.from_bytes(descriptor[2:4], "big")
    if not 1 <= record_bytes <= CHUNK_BYTES or size // record_bytes > RECORDS_MAX:
        raise FileError(f"{path} has records of no length, or too many: {fcp.hex()}")
    return CardFile(link, path, kind, size, record_bytes, size // record_bytes)


def _fields(data: bytes) -> dict[int, bytes]:
    """One-octet tags and lengths; what runs beyond the end is cut."""
    fields, at = {}, 0
    while at + 2 <= len(data):
        length = data[at + 1]
        fields[data[at]] = data[at + 2 : at + 2 + length]
        at += 2 + length
    return fields
