"""Ed25519 (RFC 8032, pure), in one place: every signature on envelopes, notes and readings is made and checked here.

    key = PrivateKey(seed)                         # 32 octets
    signature = key.sign(octets)                   # 64 octets, the same ones each time
    is_signed(octets, signature, key.public)       # True
    is_strong(key.public)                          # True: a canonical point of the prime-order group

A signature has one spelling and one verdict: a scalar that is not reduced, a point in another than its canonical form
and a point of small order are refused, and the equation is checked without the cofactor, as libsodium does it. For keys
that `is_strong`, verifiers with and without the cofactor agree, so that an auditor in another language does, too.
"""

from typing import Final

import nacl.bindings
from dryoc.exceptions import DryocError
from dryoc.sign import SigningKey, VerifyKey

SEED_SIZE: Final = 32
PUBLIC_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64


class PrivateKey:
    """A private key, made from its seed of 32 octets. Raises ValueError for another size."""

    __slots__ = ("_key", "public", "seed", "sign")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise ValueError(f"the seed of an Ed25519 key has {SEED_SIZE} octets, this one {len(seed)}")
        self._key = SigningKey.from_seed(seed)
        self.seed = seed
        """What to keep secret."""
        self.public = bytes(self._key.verify_key)
        """The 32 octets that others verify with."""
        self.sign = self._key.sign
        """The signature over some octets."""

    def __repr__(self) -> str:
        return f"PrivateKey(public={self.public.hex()})"


def is_signed(octets: bytes, signature: bytes, public: bytes) -> bool:
    """Whether `signature` over `octets` is by the key `public`; what has the wrong size is by nobody."""
    try:
        VerifyKey(public).verify(signature, octets)
    except DryocError:
        return False
    return True


def is_strong(public: bytes) -> bool:
    """Whether a public key is a canonically written point of the prime-order group; for others anybody could sign."""
    return len(public) == PUBLIC_SIZE and nacl.bindings.crypto_core_ed25519_is_valid_point(public)
