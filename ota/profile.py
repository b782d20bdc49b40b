"""The mobile profile, and how it reaches a slot of a multi-account SIM.

A visited operator fills a `MobileProfile` from its pool and seals it (`ota.sealing`). The home operator opens it,
turns it into the slot's TLV (`to_slot_tlv`), and sends it to the card as remote commands of the *multi-account
application* (`store_slot`, `delete_slot`, `enable_slot`, `list_slots`) in SCP80 packets for that application's TAR.
The card decodes with `from_slot_tlv`. Keys, IMSI and MSISDN are in no repr, log or error text.

Slot TLV, as ETSI TS 101 220 BER-TLV with definite lengths; unknown inner tags are ignored by the card:

    E1  slot template, constructed
      80  IMSI, as in EF(IMSI) (TS 31.102 4.2.2)              mandatory
      81  K, 16 bytes (32 for TUAK-256)                       mandatory
      82  OPc, 16 bytes (TOPc, 32, for TUAK; else empty)      mandatory
      83  algorithm: 01 Milenage, 02 TUAK, 03 XOR (TS 34.108),
          11, 12, 13 COMP128 version 1, 2, 3                  mandatory
      84  PLMN of the profile, 3 bytes                        mandatory
      85  ACC, 2 bytes, as in EF(ACC)                         mandatory
      86  service provider name, UTF-8, up to 16 characters   mandatory
      87  coverage: 3-byte PLMNs as in EF(PLMNsel), first to be tried first; MNC FFF means the
          whole country (MCC 232: 32 F2 FF)                   mandatory, may be empty
      88  SMSC: TON/NPI and swapped BCD digits                mandatory
      89  MSISDN: TON/NPI and swapped BCD digits              optional
      8A  ICCID of the profile, swapped BCD                   optional
      8B  SQN to start from, 6 bytes                          optional, default 0

Remote commands, class 80, in the compact format (TS 102 226 5.1.1):

    E2  STORE SLOT   P1 slot, P2 block number from 0 with b8 set on the last block; data: the TLV in blocks of up
                     to 255 bytes. Block 0 starts afresh; nothing changes before the last block. An occupied slot
                     is replaced. Answers 9000, 6A80 (bad TLV), 6A83 (no such slot, or slot 0), 6A86 (block out
                     of order).
    E4  DELETE SLOT  P1 slot. 9000 also when it was empty; deleting the enabled slot returns to slot 0 first.
    44  ENABLE SLOT  P1 slot, 0 is the home profile. 9000, or 6A83 when empty.
    F2  LIST SLOTS   answers the list below: one C1 for each occupied slot, ascending, with slot 0 first.

    E2  slot list, constructed
      C1  slot (1) ‖ state (1: b1 stored, b2 enabled) ‖ PLMN (3) ‖ fingerprint (4)

The fingerprint, the first four bytes of SHA-256 over the stored slot TLV, tells what a slot holds after a delivery
whose outcome is unknown; it is zero for slot 0.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import ClassVar

import msgspec

from ota.scp80.concealed import Concealed
from ota.scp80.digits import (
    pack_address,
    pack_digits,
    pack_imsi,
    pack_plmn,
    unpack_address,
    unpack_digits,
    unpack_imsi,
    unpack_plmn,
)
from ota.scp80.parameters import ScpError
from ota.scp80.tlv import decode_only, decode_tlvs, encode_tlv, encode_tlvs

# A proprietary placeholder RID, "LANDFAL", the TAR in bytes 13-15 (ETSI TS 101 220 annex D), provider byte 01.
# Decision 0011 says how a deployment replaces it by a registered one.
MULTI_ACCOUNT_AID = bytes.fromhex("A00000F04C") + b"LANDFAL" + b"LFM" + b"\x01"
MULTI_ACCOUNT_TAR = MULTI_ACCOUNT_AID[12:15]

CLA_MULTI_ACCOUNT = 0x80
INS_STORE_SLOT = 0xE2
INS_DELETE_SLOT = 0xE4
INS_ENABLE_SLOT = 0x44
INS_LIST_SLOTS = 0xF2
LAST_BLOCK = 0x80

HOME_SLOT = 0
# P1 is a byte; 16 accounts are what the applet reserves memory for at most, and a list of 16 still fits one response.
SLOTS_MAX = 16
# Lc of a short APDU (ISO/IEC 7816-4).
BLOCK_BYTES = 255
# EF(SPN) holds 16 characters (TS 31.102 4.2.12).
SPN_CHARACTERS = 16
# 3 bytes each in one transparent EF of 255 bytes.
COVERAGE_ENTRIES = 85
FINGERPRINT_BYTES = 4

TAG_SLOT = 0xE1
TAG_SLOT_LIST = 0xE2
TAG_SLOT_ENTRY = 0xC1
_IMSI, _K, _OPC, _ALGORITHM, _PLMN, _ACC, _SPN, _COVERAGE, _SMSC, _MSISDN, _ICCID, _SQN = range(0x80, 0x8C)
_MANDATORY = frozenset(range(_IMSI, _MSISDN))

_ALGORITHMS = {"milenage": 0x01, "tuak": 0x02, "xor": 0x03, "comp128v1": 0x11, "comp128v2": 0x12, "comp128v3": 0x13}
_ALGORITHM_NAMES = {code: name for name, code in _ALGORITHMS.items()}
_KEY_LENGTHS = {**dict.fromkeys(_ALGORITHMS, ((16,), (0,))), "milenage": ((16,), (16,)), "tuak": ((16, 32), (32,))}
_E164 = re.compile(r"\+[0-9]{5,15}")
_IMSI_DIGITS = re.compile(r"[0-9]{6,15}")
_PLMN_DIGITS = re.compile(r"[0-9]{5,6}")
_COVERAGE_DIGITS = re.compile(r"[0-9]{3}|[0-9]{5,6}")
_ICCID_DIGITS = re.compile(r"[0-9]{18,20}")


class ProfileError(ScpError, ValueError):
    """A profile or slot coding that is wrong; the message names the field, never a secret's value."""


class MobileProfile(Concealed, frozen=True, kw_only=True):
    """What lets a SIM register as the visited operator's own subscriber.

    `imsi`, `plmn`, `iccid` are digits; `smsc`, `msisdn` E.164 with "+"; `k` and `opc` bytes; `acc` the 16 bits of
    EF(ACC); `coverage` PLMNs ("23201") and countries by MCC ("232"), the preferred ones first; `sqn` the 48-bit
    sequence number to start from. Raises `ProfileError` when a field does not fit.
    """

    SECRET: ClassVar[frozenset[str]] = frozenset({"k", "opc", "imsi", "msisdn"})

    imsi: str
    k: bytes
    opc: bytes
    plmn: str
    spn: str
    acc: int
    smsc: str
    coverage: tuple[str, ...]
    algorithm: str = "milenage"
    msisdn: str | None = None
    iccid: str | None = None
    sqn: int = 0

    def __post_init__(self) -> None:
        _require(self.algorithm in _ALGORITHMS, f"algorithm {self.algorithm!r} is not one of {', '.join(_ALGORITHMS)}")
        k_lengths, opc_lengths = _KEY_LENGTHS[self.algorithm]
        _require(len(self.k) in k_lengths, f"K has {len(self.k)} bytes; {self.algorithm} takes {k_lengths}")
        _require(len(self.opc) in opc_lengths, f"OPc has {len(self.opc)} bytes; {self.algorithm} takes {opc_lengths}")
        _require(_IMSI_DIGITS.fullmatch(self.imsi), "the IMSI is not 6 to 15 digits")
        _require(_PLMN_DIGITS.fullmatch(self.plmn), f"plmn {self.plmn!r} is not 5 or 6 digits")
        _require(self.imsi.startswith(self.plmn), f"the IMSI does not begin with its PLMN {self.plmn}")
        _require(0 <= self.acc <= 0xFFFF, f"acc {self.acc} is not 16 bits")
        _require(len(self.spn) <= SPN_CHARACTERS, f"spn {self.spn!r} is longer than {SPN_CHARACTERS} characters")
        _require(_E164.fullmatch(self.smsc), f"smsc {self.smsc!r} is not '+' and 5 to 15 digits")
        _require(len(self.coverage) <= COVERAGE_ENTRIES, f"coverage has more than {COVERAGE_ENTRIES} entries")
        for entry in self.coverage:
            _require(_COVERAGE_DIGITS.fullmatch(entry), f"coverage {entry!r} is neither an MCC nor a PLMN")
        _require(self.msisdn is None or _E164.fullmatch(self.msisdn), "the MSISDN is not '+' and 5 to 15 digits")
        _require(self.iccid is None or _ICCID_DIGITS.fullmatch(self.iccid), "the ICCID is not 18 to 20 digits")
        _require(0 <= self.sqn < 1 << 48, f"sqn {self.sqn} is not 48 bits")

    def encode(self) -> bytes:
        """The profile as MessagePack, the plaintext that is sealed."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "MobileProfile":
        """Inverse of `encode`; raises `ProfileError`."""
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProfileError(f"this is not an encoded mobile profile: {error}") from None

    def to_slot_tlv(self) -> bytes:
        """The slot TLV of the module's docstring; the same profile always gives the same bytes."""
        objects = [
            (_IMSI, pack_imsi(self.imsi)),
            (_K, self.k),
            (_OPC, self.opc),
            (_ALGORITHM, bytes([_ALGORITHMS[self.algorithm]])),
            (_PLMN, pack_plmn(self.plmn)),
            (_ACC, self.acc.to_bytes(2, "big")),
            (_SPN, self.spn.encode()),
            (_COVERAGE, b"".join(map(pack_plmn, self.coverage))),
            (_SMSC, pack_address(self.smsc)),
        ]
        if self.msisdn is not None:
            objects.append((_MSISDN, pack_address(self.msisdn)))
        if self.iccid is not None:
            objects.append((_ICCID, pack_digits(self.iccid)))
        if self.sqn:
            objects.append((_SQN, self.sqn.to_bytes(6, "big")))
        return encode_tlv(TAG_SLOT, encode_tlvs(objects))

    @classmethod
    def from_slot_tlv(cls, data: bytes) -> "MobileProfile":
        """Inverse of `to_slot_tlv`; raises `ProfileError` on anything else than one well-formed slot."""
        try:
            fields = dict(decode_tlvs(decode_only(data, TAG_SLOT)))
            _require(fields.keys() >= _MANDATORY, _missing(fields))
            _require(len(fields[_ALGORITHM]) == 1, "the algorithm is not one byte")
            _require(len(fields[_ACC]) == 2, "the ACC is not two bytes")
            _require(len(fields.get(_SQN, bytes(6))) == 6, "the SQN is not six bytes")
            return cls(
                imsi=unpack_imsi(fields[_IMSI]),
                k=fields[_K],
                opc=fields[_OPC],
                algorithm=_ALGORITHM_NAMES.get(fields[_ALGORITHM][0], f"{fields[_ALGORITHM][0]:02X}"),
                plmn=unpack_plmn(fields[_PLMN]),
                acc=int.from_bytes(fields[_ACC], "big"),
                spn=fields[_SPN].decode(),
                coverage=unpack_coverage(fields[_COVERAGE]),
                smsc=unpack_address(fields[_SMSC]),
                msisdn=unpack_address(fields[_MSISDN]) if _MSISDN in fields else None,
                iccid=unpack_digits(fields[_ICCID]) if _ICCID in fields else None,
                sqn=int.from_bytes(fields.get(_SQN, b""), "big"),
            )
        except ProfileError:
            raise
        except UnicodeDecodeError:
            raise ProfileError("the service provider name is not UTF-8") from None
        except ScpError as error:
            raise ProfileError(str(error)) from None


class SlotEntry(msgspec.Struct, frozen=True):
    """One line of the LIST SLOTS answer."""

    slot: int
    enabled: bool
    plmn: str
    fingerprint: bytes = bytes(FINGERPRINT_BYTES)


def unpack_coverage(data: bytes) -> tuple[str, ...]:
    """PLMNs and country wildcards of an EF(PLMNsel) coding, in order; unused entries (FFFFFF) are left out."""
    _require(len(data) % 3 == 0, f"a coverage list of {len(data)} bytes is not a multiple of 3")
    entries = (data[i : i + 3] for i in range(0, len(data), 3))
    return tuple(unpack_plmn(entry) for entry in entries if entry != b"\xff\xff\xff")


def fingerprint(slot_tlv: bytes) -> bytes:
    """Four bytes that tell which profile a slot holds, and nothing about its keys."""
    return hashlib.sha256(slot_tlv).digest()[:FINGERPRINT_BYTES]


def store_slot(slot: int, profile: MobileProfile) -> list[bytes]:
    """C-APDUs that write `profile` into `slot` (1 to 15), in order; an earlier content is replaced."""
    _require(slot != HOME_SLOT, "slot 0 holds the home profile and is never overwritten")
    tlv = profile.to_slot_tlv()
    blocks = [tlv[i : i + BLOCK_BYTES] for i in range(0, len(tlv), BLOCK_BYTES)]
    return [
        _command(INS_STORE_SLOT, slot, number | (LAST_BLOCK if number == len(blocks) - 1 else 0), block)
        for number, block in enumerate(blocks)
    ]


def delete_slot(slot: int) -> bytes:
    """C-APDU that empties `slot` (1 to 15)."""
    _require(slot != HOME_SLOT, "slot 0 holds the home profile and is never deleted")
    return _command(INS_DELETE_SLOT, slot, 0, b"")


def enable_slot(slot: int) -> bytes:
    """C-APDU that makes `slot` the active account; 0 returns home."""
    return _command(INS_ENABLE_SLOT, slot, 0, b"")


def list_slots() -> bytes:
    """C-APDU that asks for the slot list; as the last command of a packet its answer is in the proof of receipt."""
    return bytes([CLA_MULTI_ACCOUNT, INS_LIST_SLOTS, 0, 0, 0])


def encode_slot_list(entries: Iterable[SlotEntry]) -> bytes:
    """The card's answer to LIST SLOTS."""
    return encode_tlv(
        TAG_SLOT_LIST,
        b"".join(
            encode_tlv(
                TAG_SLOT_ENTRY,
                bytes([entry.slot, 0x03 if entry.enabled else 0x01]) + pack_plmn(entry.plmn) + entry.fingerprint,
            )
            for entry in entries
        ),
    )


def parse_slot_list(data: bytes) -> tuple[SlotEntry, ...]:
    """Inverse of `encode_slot_list`; raises `ProfileError`."""
    entries = []
    try:
        for tag, value in decode_tlvs(decode_only(data, TAG_SLOT_LIST)):
            if tag != TAG_SLOT_ENTRY or len(value) != 5 + FINGERPRINT_BYTES:
                raise ProfileError(f"slot list has an unexpected object {tag:02X} of {len(value)} bytes")
            entries.append(SlotEntry(value[0], bool(value[1] & 2), unpack_plmn(value[2:5]), value[5:]))
    except ProfileError:
        raise
    except ScpError as error:
        raise ProfileError(str(error)) from None
    return tuple(entries)


def _command(ins: int, slot: int, p2: int, data: bytes) -> bytes:
    _require(0 <= slot < SLOTS_MAX, f"slot {slot} is not 0 to {SLOTS_MAX - 1}")
    return bytes([CLA_MULTI_ACCOUNT, ins, slot, p2, len(data)]) + data


def _missing(fields: dict[int, bytes]) -> str:
    return "slot TLV lacks " + " ".join(f"{tag:02X}" for tag in sorted(_MANDATORY - fields.keys()))


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ProfileError(message)
