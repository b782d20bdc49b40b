"""Sealing: only the recipient of one request's delivery can open what the visited operator or service provider sends.

HPKE (RFC 9180, base mode, HKDF-SHA256, AES-256-GCM) to the recipient's public key. The default KEM is the hybrid
ML-KEM-768 + X25519, so that profiles recorded today stay closed to a quantum computer of tomorrow; X25519 alone is
for recipients whose hardware cannot do it. The context of the sealing (origin, sender, key, request) goes into HPKE's
`info`: a sealed payload moved to another request, ledger or key does not open.

    private = SealPrivateKey.generate()
    sealed = seal(profile.encode(), recipient=private.public_key(), info=context)
    assert open_sealed(sealed, recipient=private, info=context) == profile.encode()

Byte forms: a key is its suite byte and the concatenated raw keys (private: the ML-KEM seed of 64 bytes, then X25519);
a sealed payload is the suite byte, the encapsulated key and the ciphertext. HPKE does not authenticate the sender:
the ledger's signed accept does, by the digest of the sealed bytes.
"""

import base64
import hashlib
from enum import IntEnum
from typing import ClassVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from landfall.errors import LandfallError
from ota.scp80.concealed import Concealed

# A profile is some 200 bytes, an activation code less; beyond this somebody sends what does not belong here.
PAYLOAD_BYTES_MAX = 16_384
_X25519_BYTES = 32
_MLKEM_SEED_BYTES = 64
_MLKEM_PUBLIC_BYTES = 1184


class SealError(LandfallError):
    """A key that is none, or a sealed payload that does not open; says what to check."""


class SealSuite(IntEnum):
    """The suite byte that begins keys and sealed payloads."""

    MLKEM768_X25519 = 1
    X25519 = 2


_HPKE = {
    SealSuite.MLKEM768_X25519: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    SealSuite.X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}
_PUBLIC_BYTES = {
    SealSuite.MLKEM768_X25519: _MLKEM_PUBLIC_BYTES + _X25519_BYTES,
    SealSuite.X25519: _X25519_BYTES,
}
_PRIVATE_BYTES = {
    SealSuite.MLKEM768_X25519: _MLKEM_SEED_BYTES + _X25519_BYTES,
    SealSuite.X25519: _X25519_BYTES,
}


class SealContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a sealed payload is bound to, besides the recipient's key: ledger origin, sealing operator, request id."""

    origin: str
    visited: str
    request: str


class SealPublicKey(msgspec.Struct, frozen=True):
    """The recipient's public key; `raw` is ML-KEM-768 ‖ X25519, or X25519 alone. Raises `SealError` for a bad one."""

    suite: SealSuite
    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != _PUBLIC_BYTES[self.suite]:
            raise SealError(
                f"a {self.suite.name} public key has {_PUBLIC_BYTES[self.suite]} bytes, this one {len(self.raw)}"
            )
        _load_public(self)

    @property
    def key_id(self) -> str:
        """Base64url SHA-256 (43 characters) of the key's bytes, suite byte included."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.to_bytes()).digest()).rstrip(b"=").decode()

    def to_bytes(self) -> bytes:
        """Suite byte and raw key: what is published."""
        return bytes([self.suite]) + self.raw

    @classmethod
    def from_bytes(cls, data: bytes) -> "SealPublicKey":
        """Inverse of `to_bytes`; raises `SealError`."""
        return cls(_read_suite(data, "public key"), data[1:])


class SealPrivateKey(Concealed, frozen=True):
    """The recipient's private key; it is never in a repr. Raises `SealError` for a bad one."""

    SECRET: ClassVar[frozenset[str]] = frozenset({"raw"})

    suite: SealSuite
    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != _PRIVATE_BYTES[self.suite]:
            raise SealError(
                f"a {self.suite.name} private key has {_PRIVATE_BYTES[self.suite]} bytes, this one {len(self.raw)}"
            )

    @classmethod
    def generate(cls, suite: SealSuite = SealSuite.MLKEM768_X25519) -> "SealPrivateKey":
        """A fresh key of `suite`."""
        raw = X25519PrivateKey.generate().private_bytes_raw()
        if suite is SealSuite.MLKEM768_X25519:
            raw = MLKEM768PrivateKey.generate().private_bytes_raw() + raw
        return cls(suite, raw)

    def public_key(self) -> SealPublicKey:
        """The key to publish."""
        raw = X25519PrivateKey.from_private_bytes(self.raw[-_X25519_BYTES:]).public_key().public_bytes_raw()
        if self.suite is SealSuite.MLKEM768_X25519:
            seed = self.raw[:_MLKEM_SEED_BYTES]
            raw = MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw() + raw
        return SealPublicKey(self.suite, raw)

    def to_bytes(self) -> bytes:
        """Suite byte and raw key, for the keystore only."""
        return bytes([self.suite]) + self.raw

    @classmethod
    def from_bytes(cls, data: bytes) -> "SealPrivateKey":
        """Inverse of `to_bytes`; raises `SealError`."""
        return cls(_read_suite(data, "private key"), data[1:])


def seal(payload: bytes, *, recipient: SealPublicKey, info: SealContext) -> bytes:
    """Encrypt `payload` to `recipient`, bound to `info`: a mobile profile, an eSIM activation code, an SP code.

    Raises `SealError` for a payload that is too long or a weak key.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise SealError(f"a payload of {len(payload)} bytes; at most {PAYLOAD_BYTES_MAX} are sealed")
    try:
        sealed = _HPKE[recipient.suite].encrypt(payload, _load_public(recipient), _bind(info, recipient))
    except ValueError:
        raise SealError(f"public key {recipient.key_id} is a weak point nobody may seal to; ask for another") from None
    return bytes([recipient.suite]) + sealed


def open_sealed(sealed: bytes, *, recipient: SealPrivateKey, info: SealContext) -> bytes:
    """Decrypt what `seal` made for `recipient` and `info`; raises `SealError` for anything else."""
    suite = _read_suite(sealed, "sealed payload")
    if suite is not recipient.suite:
        raise SealError(f"this payload is sealed for a {suite.name} key, yours is {recipient.suite.name}")
    try:
        return _HPKE[suite].decrypt(sealed[1:], _load_private(recipient), _bind(info, recipient.public_key()))
    except (InvalidTag, ValueError):
        raise SealError(
            f"the payload sealed by {info.visited} for request {info.request} does not open with key "
            f"{recipient.public_key().key_id}: another key or request, or altered bytes; ask for it to be resealed"
        ) from None


def _bind(info: SealContext, recipient: SealPublicKey) -> bytes:
    parts = (info.origin, info.visited, recipient.key_id, info.request)
    return b"".join(len(part).to_bytes(2, "big") + part for part in (text.encode() for text in parts))


def _load_public(key: SealPublicKey) -> X25519PublicKey | MLKEM768X25519PublicKey:
    try:
        x25519 = X25519PublicKey.from_public_bytes(key.raw[-_X25519_BYTES:])
        if key.suite is SealSuite.X25519:
            return x25519
        return MLKEM768X25519PublicKey(MLKEM768PublicKey.from_public_bytes(key.raw[:_MLKEM_PUBLIC_BYTES]), x25519)
    except ValueError as error:
        raise SealError(f"these bytes are no {key.suite.name} public key: {error}") from None


def _load_private(key: SealPrivateKey) -> X25519PrivateKey | MLKEM768X25519PrivateKey:
    x25519 = X25519PrivateKey.from_private_bytes(key.raw[-_X25519_BYTES:])
    if key.suite is SealSuite.X25519:
        return x25519
    return MLKEM768X25519PrivateKey(MLKEM768PrivateKey.from_seed_bytes(key.raw[:_MLKEM_SEED_BYTES]), x25519)


def _read_suite(data: bytes, what: str) -> SealSuite:
    try:
        return SealSuite(data[0])
    except (IndexError, ValueError):
        raise SealError(
            f"a {what} begins with a suite byte 01 or 02, this one with {data[:1].hex() or 'nothing'}"
        ) from None
