"""What provisioning writes: pure, from a `Personalisation` and the card's kind to `Write`s in their order.

Files of the USIM come first and must be there. The same EFs of DF.GSM and DF.TELECOM, one and the same file on most
cards, follow where they exist. A new IMSI makes the card forget where the old one was registered. Keys come last: until
then the card still answers as it did.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ota.profile import SPN_CHARACTERS
from ota.scp80.digits import pack_address, pack_imsi, pack_plmn
from simcard.personalisation import Personalisation
from simcard.provisioning_kinds import CardKind
from simcard.uicc.coding import encode_name
from simcard.uicc.key_files import encode_keys

# Configuration octet of a sysmocom key file: the bits above OPc-is-given tell how Milenage's RES is cut, and stay.
MILENAGE_NIBBLE, KEPT_BITS = 0x04, 0xE0
GSM, TELECOM, USIM = ("3f00", "7f20"), ("3f00", "7f10"), ("usim",)
NO_KEY = b"\x07"


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one EF: `data` at `offset`, or, for `record`, at that record's end with FF before it.

    `fill` sets the rest of a transparent EF to FF. One that is not `needed` is passed over where the card lacks or
    denies the file. `secret` values are not shown.
    """

    file: str
    path: tuple[str, ...]
    data: bytes
    offset: int = 0
    record: int = 0
    fill: bool = True
    needed: bool = True
    secret: bool = False

    def __repr__(self) -> str:
        return f"Write(file={self.file!r}, path={self.path!r})"

    def compose(self, size: int, before: bytes | None) -> bytes:
        """The whole octets to write from `offset`, into a record or file of `size` that held `before`, if known."""
        if self.record:
            return self.data.rjust(size, b"\xff")
        if self.secret and before and {before[0] & 0x0F, self.data[0] & 0x0F} == {MILENAGE_NIBBLE}:
            return bytes((before[0] & KEPT_BITS | self.data[0],)) + self.data[1:]
        return self.data.ljust(size, b"\xff") if self.fill else self.data


def plan_writes(card: Personalisation, kind: CardKind) -> list[Write]:
    """Every write for `card`, in order. The caller has seen that the kind has files for the algorithm's keys."""
    return [*_names(card), *_forgotten(card), *_keys(card, kind)]


def _names(card: Personalisation) -> Iterator[Write]:
    if card.imsi is not None:
        yield from _doubled("EF.IMSI", "6f07", pack_imsi(card.imsi), GSM)
    if card.access_class is not None:
        yield from _doubled("EF.ACC", "6f78", card.access_class.to_bytes(2, "big"), GSM)
    if card.plmn is not None:
        # Octet 4 of EF.AD is the length of the MNC (TS 31.102 §4.2.18); those before it stay.
        length = bytes((len(card.plmn) - 3,))
        yield from _doubled("EF.AD", "6fad", length, GSM, offset=3, fill=False)
        yield Write(file="EF.EHPLMN", path=(*USIM, "6fd9"), data=pack_plmn(card.plmn), needed=False)
    if card.spn is not None:
        yield from _doubled("EF.SPN", "6f46", b"\x01" + encode_name(card.spn, SPN_CHARACTERS), GSM)
    if card.smsc is not None:
        yield from _doubled("EF.SMSP", "6f42", _sms_parameters(card.smsc), TELECOM, record=1)
    if card.msisdn is not None:
        address = pack_address(card.msisdn)
        tail = bytes((len(address),)) + address.ljust(13, b"\xff")
        yield from _doubled("EF.MSISDN", "6f40", tail, TELECOM, record=1)


def _forgotten(card: Personalisation) -> Iterator[Write]:
    if card.imsi is None:
        return
    plmn = pack_plmn(card.plmn) if card.plmn else b"\xff\xff\xff"
    values = {
        "EF.LOCI": ("6f7e", b"\xff" * 4 + plmn + b"\0\0\xff\x01"),
        "EF.PSLOCI": ("6f73", b"\xff" * 7 + plmn + b"\0\0\xff\x01"),
        "EF.EPSLOCI": ("6fe3", b"\xff" * 12 + plmn + b"\0\0\x01"),
        "EF.Keys": ("6f08", NO_KEY),
        "EF.KeysPS": ("6f09", NO_KEY),
        "EF.FPLMN": ("6f7b", b""),
    }
    for file, (fid, data) in values.items():
        yield Write(file=file, path=(*USIM, fid), data=data, needed=False)


def _keys(card: Personalisation, kind: CardKind) -> Iterator[Write]:
    if card.keys is None:
        return
    data = encode_keys(card.algorithm, *card.keys)
    for number, (file, path) in enumerate(kind.key_files.get(card.algorithm, ())):
        yield Write(file=file, path=path, data=data, fill=False, needed=number == 0, secret=True)


def _doubled(
    file: str, fid: str, data: bytes, also: tuple[str, ...], *, offset: int = 0, record: int = 0, fill: bool = True
) -> Iterator[Write]:
    for path, needed in ((USIM, True), (also, False)):
        place = f"{file}{'' if needed else ' of ' + ('DF.GSM' if also == GSM else 'DF.TELECOM')}"
        yield Write(file=place, path=(*path, fid), data=data, offset=offset, record=record, fill=fill, needed=needed)


def _sms_parameters(smsc: str) -> bytes:
    """The last 28 octets of EF.SMSP (TS 31.102 §4.2.27): service centre, PID 0, DCS 0, the longest validity."""
    address = pack_address(smsc)
    return b"\xe1" + b"\xff" * 12 + bytes((len(address),)) + address.ljust(11, b"\xff") + b"\0\0\xff"
