"""Key sets written and deleted over the air: PUT KEY and DELETE of TS 102 226 §8.2.1.5 and GlobalPlatform 2.3 §11.

    put_key(new, under=old)      80 D8  P1 00 (a new version) P2 81 (from key identifier 01, several)
                                 version ‖ KIc ‖ KID, each: type ‖ length ‖ enciphered key ‖ 03 ‖ check value
    delete_key(1)                80 E4 00 00   D2 01 version: the key set with all its keys

They go to the issuer security domain, TAR 000000. A key version is the index of a key set, 1 to 15; identifiers 01 and
02 are KIc and KID. Keys are enciphered by the KIc of the key set that protects the packet, which stands for the KIk of
cards that have one (GlobalPlatform: the data encryption key): AES in CBC, triple DES in ECB, key type 88 or 80. A key
that is not whole blocks (AES-192) is preceded by its length and padded. The check value is the first three octets of a
block of ones (AES) or zeros (DES) enciphered by the key (GlobalPlatform B.5, B.6).

A new key set's counter is 0.
"""

from collections.abc import Callable, Iterator

from ota.scp80 import crypto
from ota.scp80.concealed import Concealed
from ota.scp80.packet import KeySet
from ota.scp80.parameters import CipherAlgorithm, KeyByte, ParameterError

ISD_TAR = bytes(3)
"""The issuer security domain (TS 101 220 annex D, remote application management)."""
CLA_KEYS = 0x80
INS_PUT_KEY = 0xD8
INS_DELETE = 0xE4

NEW_VERSION = 0x00
KIC_AND_FOLLOWING = 0x81
"""P2: the first key's identifier, 01, and b8 for several."""
CHECK_BYTES = 3
VERSIONS = range(1, 16)

_TAG_VERSION = 0xD2
_TYPE_DES, _TYPE_AES = 0x80, 0x88


class KeyBlockError(ParameterError):
    """A PUT KEY or DELETE that is malformed, or whose keys do not decipher; `wrong_key` says the latter."""

    def __init__(self, words: str, *, wrong_key: bool = False) -> None:
        super().__init__(words)
        self.wrong_key = wrong_key


class PutKey(Concealed, frozen=True):
    """A PUT KEY read by the card: the version it replaces (0: none) and the new key set."""

    replaces: int
    keys: KeySet


def check_value(algorithm: CipherAlgorithm, key: bytes) -> bytes:
    """Three octets that tell which key it is, and nothing about it."""
    block = (b"\x01" if algorithm is CipherAlgorithm.AES_CBC else b"\0") * crypto.block_bytes(algorithm)
    return crypto.encrypt(algorithm, key, block)[:CHECK_BYTES]


def put_key(new: KeySet, *, under: KeySet) -> bytes:
    """C-APDU that gives the card the key set `new`, in a packet under another one.

    Raises `ParameterError` for a version that is none, or keys PUT KEY cannot carry.
    """
    version = new.kic.key_index
    if version not in VERSIONS or new.kid.key_index != version:
        raise ParameterError(f"key set {version} is not 1 to 15, or KIc and KID differ in it")
    if version == under.kic.key_index:
        raise ParameterError(f"key set {version} protects the packet and cannot be replaced by it: use another index")
    data = bytes([version])
    for byte, key in ((new.kic, new.kic_key), (new.kid, new.kid_key)):
        algorithm = _algorithm(byte)
        crypto.check_key(algorithm, key)
        kind = _TYPE_AES if algorithm is CipherAlgorithm.AES_CBC else _TYPE_DES
        coded = _encipher(under, key)
        data += bytes([kind, len(coded)]) + coded + bytes([CHECK_BYTES]) + check_value(algorithm, key)
    return bytes([CLA_KEYS, INS_PUT_KEY, NEW_VERSION, KIC_AND_FOLLOWING, len(data)]) + data


def delete_key(version: int) -> bytes:
    """C-APDU that deletes a key set; not the one that protects the packet."""
    if version not in VERSIONS:
        raise ParameterError(f"key set {version} is not 1 to 15")
    return bytes([CLA_KEYS, INS_DELETE, 0, 0, 3, _TAG_VERSION, 1, version])


def read_put_key(p1: int, p2: int, data: bytes, *, under: KeySet) -> PutKey:
    """The card's reading of PUT KEY; raises `KeyBlockError`."""
    if p2 != KIC_AND_FOLLOWING or not data or data[0] not in VERSIONS:
        raise KeyBlockError("not KIc and KID of a key set 1 to 15")
    version = data[0]
    blocks = list(_read_blocks(data[1:], under))
    if len(blocks) != 2:
        raise KeyBlockError(f"{len(blocks)} keys, a key set has KIc and KID")
    (kic, kic_key), (kid, kid_key) = blocks
    return PutKey(p1, KeySet(kic=KeyByte(version, kic), kid=KeyByte(version, kid), kic_key=kic_key, kid_key=kid_key))


def read_delete_key(data: bytes) -> int:
    """The version that DELETE names; raises `KeyBlockError`."""
    if len(data) != 3 or data[:2] != bytes([_TAG_VERSION, 1]):
        raise KeyBlockError("not one key version (tag D2)")
    return data[2]


def _read_blocks(data: bytes, under: KeySet) -> Iterator[tuple[CipherAlgorithm, bytes]]:
    at = 0
    while at < len(data):
        head = data[at : at + 2]
        end = at + 2 + (head[1] if len(head) == 2 else 0)
        check = data[end + 1 : end + 1 + CHECK_BYTES]
        if len(head) < 2 or data[end : end + 1] != bytes([CHECK_BYTES]) or len(check) < CHECK_BYTES:
            raise KeyBlockError(f"the key at offset {at} is cut off or has no check value")
        key = _decipher(under, data[at + 2 : end])
        algorithm = _algorithm_of(head[0], key)
        if check_value(algorithm, key) != check:
            raise KeyBlockError("the key does not fit its check value", wrong_key=True)
        yield algorithm, key
        at = end + 1 + CHECK_BYTES


def _algorithm_of(kind: int, key: bytes) -> CipherAlgorithm:
    found = {
        (_TYPE_AES, 16): CipherAlgorithm.AES_CBC,
        (_TYPE_AES, 24): CipherAlgorithm.AES_CBC,
        (_TYPE_AES, 32): CipherAlgorithm.AES_CBC,
        (_TYPE_DES, 16): CipherAlgorithm.TRIPLE_DES_CBC2,
        (_TYPE_DES, 24): CipherAlgorithm.TRIPLE_DES_CBC3,
    }.get((kind, len(key)))
    if found is None:
        raise KeyBlockError(f"key type {kind:02X} with {len(key)} octets is none this card has")
    return found


def _algorithm(byte: KeyByte) -> CipherAlgorithm:
    try:
        return CipherAlgorithm(byte.algorithm)
    except ValueError:
        raise ParameterError(f"algorithm {byte.algorithm} of a key is none that is known") from None


def _encipher(under: KeySet, key: bytes) -> bytes:
    algorithm = _algorithm(under.kic)
    block = crypto.block_bytes(algorithm)
    if len(key) % block == 0:
        return _blocks(algorithm, under.kic_key, key, crypto.encrypt)
    return bytes([len(key)]) + _blocks(algorithm, under.kic_key, crypto.pad(key, block), crypto.encrypt)


def _decipher(under: KeySet, coded: bytes) -> bytes:
    algorithm = _algorithm(under.kic)
    length, block = len(coded), crypto.block_bytes(algorithm)
    if length and length % block == 0:
        return _blocks(algorithm, under.kic_key, coded, crypto.decrypt)
    if length > 1 and (length - 1) % block == 0 and coded[0] <= length - 1:
        return _blocks(algorithm, under.kic_key, coded[1:], crypto.decrypt)[: coded[0]]
    raise KeyBlockError(f"{length} octets are no enciphered key")


def _blocks(
    algorithm: CipherAlgorithm, key: bytes, data: bytes, work: Callable[[CipherAlgorithm, bytes, bytes], bytes]
) -> bytes:
    """AES in CBC with a zero IV; DES in ECB, which is CBC of one block at a time."""
    if algorithm is CipherAlgorithm.AES_CBC:
        return work(algorithm, key, data)
    return b"".join(work(algorithm, key, data[at : at + 8]) for at in range(0, len(data), 8))
