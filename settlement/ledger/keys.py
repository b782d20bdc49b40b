"""Keys on the ledger: reading, naming and refusing them.

A signing key is 32 octets of Ed25519 named by its RFC 7638 thumbprint (so a `kid` can never come to mean another key);
a seal key is `suite octet ‖ public key` (see `ota.sealing`) named by the SHA-256 of those octets.
"""

import base64
import binascii
import hashlib
from typing import Final

from settlement.ledger.signatures import PUBLIC_SIZE, PrivateKey, is_signed, is_strong

_LAST_OF_TWO, _LAST_OF_THREE = frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_POSSESSION: Final = b"landfall key possession v1\n"


class InvalidKey(ValueError):  # noqa: N818 - what it says is that the key is invalid
    """Not a usable public key; the message says why."""


def to_base64url(octets: bytes) -> str:
    """RFC 7515 §2: URL-safe, no padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def from_base64url(text: bytes) -> bytes:
    """The octets, if `text` is their one canonical form: no padding, no stray bits. Raises ValueError."""
    rest = len(text) & 3
    if (rest == 2 and text[-1] not in _LAST_OF_TWO) or (rest == 3 and text[-1] not in _LAST_OF_THREE) or rest == 1:
        raise ValueError("base64url is not canonical: its last character has stray bits")
    if b"+" in text or b"/" in text or b"=" in text:
        raise ValueError("base64url has no +, no / and no padding (RFC 7515 §2)")
    try:
        return binascii.a2b_base64(text.translate(_STANDARD) + b"=" * (-rest & 3), strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"not base64url: {error}") from None


def read_signing_key(text: str) -> bytes:
    """The 32 octets of an Ed25519 public key. Raises InvalidKey for a wrong size or a weak (small-order) point."""
    try:
        public = from_base64url(text.encode())
    except ValueError as error:
        raise InvalidKey(f"the key {text[:16]}… is not base64url: {error}") from None
    if len(public) != PUBLIC_SIZE:
        raise InvalidKey(f"an Ed25519 public key has {PUBLIC_SIZE} octets, this one {len(public)}")
    if not is_strong(public):
        raise InvalidKey(f"the key {text[:16]}… is no point of the prime-order group, so anyone could sign for it")
    return public


def thumbprint(public: bytes) -> str:
    """RFC 7638 thumbprint of an Ed25519 public key (RFC 8037 §2: members crv, kty, x)."""
    jwk = b'{"crv":"Ed25519","kty":"OKP","x":"%s"}' % to_base64url(public).encode()
    return to_base64url(hashlib.sha256(jwk).digest())


def seal_key_id(key: bytes) -> str:
    """Name of a seal key: base64url SHA-256 of `suite octet ‖ public key`."""
    return to_base64url(hashlib.sha256(key).digest())


def prove_possession(key: PrivateKey, origin: str, operator: str) -> str:
    """Signature by a new key over whose it will be, so that nobody can register another's key as its own."""
    return to_base64url(key.sign(_possession(origin, operator)))


def proves_possession(public: bytes, proof: str, origin: str, operator: str) -> bool:
    """Whether `proof` was made by `prove_possession` with the key's private half."""
    try:
        return is_signed(_possession(origin, operator), from_base64url(proof.encode()), public)
    except ValueError:
        return False


def _possession(origin: str, operator: str) -> bytes:
    return _POSSESSION + f"{origin}\n{operator}\n".encode()
