"""The operator's keys: signing, sealing, recovery, and the mark that keeps secrets from being used twice.

In the keystore: `sign` (Ed25519 seed in use), `sign-next` (being introduced), `seal-0001` … (every sealing key there
was, the last is in use: what was sealed to an older one must still open), `data` (encrypts what the database holds).
The recovery key is made at `init`, handed over once for a file that is kept offline, and never stored here.
"""

import hashlib
import hmac
import secrets
from typing import Final

from landfall.keystore import Keystore, seal, unseal
from ota.sealing import SealPrivateKey
from settlement.ledger.envelope import Signer
from settlement.ledger.keys import to_base64url
from settlement.ledger.messages import Party

SIGN: Final = "sign"
SIGN_NEXT: Final = "sign-next"
_SEAL: Final = "seal-"
_SEED_SIZE: Final = 32


class OperatorKeys:
    """The keys of one operator, from its keystore."""

    def __init__(self, keystore: Keystore) -> None:
        self._store = keystore
        self._data = keystore.get_or_create("data", lambda: secrets.token_bytes(32), purpose="secrets in the database")

    # what goes into the database

    def encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt a secret for the database; `context` says whose it is and must be given to decrypt."""
        return seal(self._data, plaintext, context)

    def decrypt(self, ciphertext: bytes, context: bytes) -> bytes:
        """Inverse of `encrypt`. Raises `KeystoreError`."""
        return unseal(self._data, ciphertext, context)

    def mark(self, secret: bytes) -> bytes:
        """A keyed digest by which a secret is found again or known to have been there; it gives nothing away."""
        return hmac.digest(self._data, b"landfall mark v1\0" + secret, hashlib.sha256)

    # what the ledger knows

    def create(self) -> None:
        """Make the signing key and the first sealing key where they are missing."""
        self._store.get_or_create(SIGN, lambda: secrets.token_bytes(_SEED_SIZE), purpose="ledger signature")
        if not self._seal_names():
            self.create_seal()

    def signer(self) -> Signer:
        """The signing key in use."""
        return Signer(self._store.get(SIGN))

    def create_next_signer(self) -> Signer:
        """The signing key that is to follow: the one that waits to be taken into use, or a new one."""
        if SIGN_NEXT not in self._store.names() or Signer(self._store.get(SIGN_NEXT)).kid == self.signer().kid:
            self._store.put(SIGN_NEXT, secrets.token_bytes(_SEED_SIZE), purpose="next ledger signature")
        return Signer(self._store.get(SIGN_NEXT))

    def promote(self, kid: str) -> Signer:
        """Take the next signing key into use, once the ledger has it. Does nothing where that was done."""
        if SIGN_NEXT in self._store.names() and (following := Signer(self._store.get(SIGN_NEXT))).kid == kid:
            self._store.put(SIGN, following.key.seed, purpose="ledger signature")
        return self.signer()

    def create_seal(self) -> SealPrivateKey:
        """A further sealing key (hybrid ML-KEM-768 + X25519), in use from now on."""
        key = SealPrivateKey.generate()
        self._store.put(f"{_SEAL}{len(self._seal_names()) + 1:04d}", key.to_bytes(), purpose="opens sealed payloads")
        return key

    def seal_key(self) -> SealPrivateKey:
        """The sealing key in use."""
        return SealPrivateKey.from_bytes(self._store.get(self._seal_names()[-1]))

    def seal_key_of(self, key_id: str) -> SealPrivateKey | None:
        """The sealing key of that id, in use or former."""
        keys = (SealPrivateKey.from_bytes(self._store.get(name)) for name in reversed(self._seal_names()))
        return next((key for key in keys if key.public_key().key_id == key_id), None)

    def secret(self, name: str) -> bytes:
        """A shared secret by name: `carrier`, `network-<plmn>`, `webhook-<plmn>`, `billing`. Raises `KeystoreError`."""
        return self._store.get(name)

    def put_secret(self, name: str, secret: bytes) -> None:
        """Store a shared secret."""
        self._store.put(name, secret, purpose="shared secret")

    def _seal_names(self) -> list[str]:
        return [name for name in self._store.names() if name.startswith(_SEAL)]


def make_recovery_key() -> tuple[bytes, str]:
    """A fresh recovery key: its seed, for the offline file, and its public key as the ledger writes it."""
    signer = Signer(secrets.token_bytes(_SEED_SIZE))
    return signer.key.seed, to_base64url(signer.public)


def make_party(
    signer: Signer,
    *,
    recovery_public: str,
    operator: str,
    name: str,
    country: str,
    tadig: str | None,
    plmns: tuple[str, ...],
) -> Party:
    """What the issuer admits."""
    return Party(
        id=operator,
        name=name,
        country=country,
        tadig=tadig,
        plmns=plmns,
        key=to_base64url(signer.public),
        recovery_key=recovery_public,
    )
