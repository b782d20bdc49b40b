"""Ciphers and checks of secured packets (ETSI TS 102 225 clauses 5.1.2 and 5.1.3).

CBC with a zero IV throughout; data is padded with zeros to whole blocks. A DES checksum is the last block of the CBC
encryption (ISO/IEC 9797-1 algorithm 1), an AES one the first eight bytes of CMAC (NIST SP 800-38B).
"""

import binascii

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from ota.scp80.parameters import CipherAlgorithm, ParameterError, RedundancyCheck

# TS 102 225 5.1.3.1 and 5.1.3.2: both kinds of checksum are carried as eight bytes.
CHECKSUM_BYTES = 8

KEY_BYTES: dict[CipherAlgorithm, tuple[int, ...]] = {
    CipherAlgorithm.SINGLE_DES: (8,),
    CipherAlgorithm.AES_CBC: (16, 24, 32),
    CipherAlgorithm.TRIPLE_DES_CBC2: (16,),
    CipherAlgorithm.TRIPLE_DES_CBC3: (24,),
}


def check_key(algorithm: CipherAlgorithm, key: bytes) -> None:
    """Raise `ParameterError` unless `key` has a length `algorithm` takes."""
    if len(key) not in KEY_BYTES[algorithm]:
        lengths = " or ".join(map(str, KEY_BYTES[algorithm]))
        raise ParameterError(f"{algorithm.word} takes a key of {lengths} bytes, this one has {len(key)}")


def block_bytes(algorithm: CipherAlgorithm) -> int:
    """16 for AES, 8 for the DES family."""
    return 16 if algorithm is CipherAlgorithm.AES_CBC else 8


def pad(data: bytes, block: int) -> bytes:
    """`data` with zeros up to whole blocks."""
    return data + bytes(-len(data) % block)


def encrypt(algorithm: CipherAlgorithm, key: bytes, data: bytes) -> bytes:
    """CBC encryption of whole blocks; raises `ParameterError` for a key of the wrong length."""
    encryptor = _cbc(algorithm, key).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def decrypt(algorithm: CipherAlgorithm, key: bytes, data: bytes) -> bytes:
    """Inverse of `encrypt`; `data` must be whole blocks."""
    decryptor = _cbc(algorithm, key).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def checksum(algorithm: CipherAlgorithm, key: bytes, data: bytes) -> bytes:
    """Cryptographic checksum of eight bytes; raises `ParameterError` for a key of the wrong length."""
    if algorithm is CipherAlgorithm.AES_CBC:
        check_key(algorithm, key)
        mac = CMAC(algorithms.AES(key))
        mac.update(data)
        return mac.finalize()[:CHECKSUM_BYTES]
    return encrypt(algorithm, key, pad(data, 8))[-CHECKSUM_BYTES:]


def redundancy(algorithm: RedundancyCheck, data: bytes) -> bytes:
    """CRC16 (ISO/IEC 13239, two bytes) or CRC32 (four bytes), most significant byte first.

    TS 102 225 gives 22EC and 470B99F4 for 0102030405.
    """
    if algorithm is RedundancyCheck.CRC32:
        return binascii.crc32(data).to_bytes(4, "big")
    # The reflected CRC of ISO/IEC 13239, computed with the unreflected one of the standard library.
    crc = binascii.crc_hqx(data.translate(_REVERSED), 0xFFFF) ^ 0xFFFF
    return bytes([crc & 0xFF, crc >> 8]).translate(_REVERSED)


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _cbc(algorithm: CipherAlgorithm, key: bytes) -> Cipher[modes.CBC]:
    check_key(algorithm, key)
    if algorithm is CipherAlgorithm.AES_CBC:
        return Cipher(algorithms.AES(key), modes.CBC(bytes(16)))
    # One- and two-key forms are three-key ones with keys repeated: K K K, K1 K2 K1.
    return Cipher(TripleDES((key * 3)[:24]), modes.CBC(bytes(8)))
