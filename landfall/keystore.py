"""Private keys and other secrets at rest: encrypted, one small file each, in a folder of their own.

    kek = derive_kek(os.environ["LANDFALL_KEK"])               # 32 octets from outside the data folder
    store = Keystore.open(Path("data/keys"), kek)
    key = store.get_or_create("signing", generate, purpose="ledger signature")

Two layers. `store.dek` holds a random data-encryption key (DEK), wrapped under the key-encryption key (KEK); every
`<name>.key` is encrypted under the DEK. So changing the KEK rewrites one file, in one step that a crash cannot halve,
and a wrong KEK is known on opening. Encryption is AES-256-GCM with random 96-bit nonces (NIST SP 800-38D); what a file
claims to be, its name and its purpose, is authenticated with it, so files cannot be swapped or renamed.

Any number of processes may use a folder at once: files appear whole or not at all, and of two that create the same key
one wins and both get that one. Nothing is cached and nothing prints.
"""

import base64
import binascii
import os
import re
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from landfall.errors import LandfallError

KEY_SIZE: Final = 32
"""AES-256, for the KEK and the DEK."""

NONCE_SIZE: Final = 12
"""96 bits (SP 800-38D 8.2.2); random ones are safe for 2^32 encryptions under one key, far beyond any key folder."""

HOW_TO_MAKE_A_KEK: Final = "make one with: openssl rand -base64 32"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_DEK_FILE: Final = "store.dek"
_DEK_CONTEXT: Final = b"landfall keystore dek"


class KeystoreError(LandfallError):
    """A key is not there, not what it says it is, or cannot be decrypted."""


class WrongKek(KeystoreError):  # noqa: N818 - reads as the thing that happened
    """The key-encryption key is not the one this folder was made with."""


class StoredKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key file: what it is for in clear, the secret sealed."""

    name: str
    purpose: str
    sealed: bytes


def derive_kek(text: str) -> bytes:
    """Read a key-encryption key: 32 octets in base64 or as 64 hexadecimal digits, nothing weaker.

    Passwords are refused: a person's password has too little chance in it to stand alone between a stolen disk and the
    keys. Raises `KeystoreError`, which does not repeat the text.
    """
    text = text.strip()
    try:
        kek = bytes.fromhex(text) if len(text) == 2 * KEY_SIZE else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        kek = b""
    if len(kek) != KEY_SIZE:
        raise KeystoreError(
            f"a key-encryption key is {KEY_SIZE} octets in base64 or hexadecimal, "
            f"not these {len(text)} characters: {HOW_TO_MAKE_A_KEK}"
        )
    return kek


def seal(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Encrypt under a 32-octet key: nonce ‖ ciphertext ‖ tag. `context` must be given again to open it."""
    nonce = secrets.token_bytes(NONCE_SIZE)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Decrypt what `seal` made. Raises `KeystoreError` for another key or context, or for altered octets."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], context)
    except (InvalidTag, ValueError):
        raise KeystoreError("this was sealed with another key or for another place, or was altered since") from None


class Keystore:
    """A folder of encrypted keys, opened with its KEK."""

    def __init__(self, folder: Path, dek: bytes) -> None:
        self._folder = folder
        self._dek = dek

    @classmethod
    def open(cls, folder: Path, kek: bytes) -> Self:
        """Open the store, making it on first use (mode 0700). Raises `WrongKek`."""
        if len(kek) != KEY_SIZE:
            raise KeystoreError(f"a key-encryption key is {KEY_SIZE} octets, not {len(kek)}: {HOW_TO_MAKE_A_KEK}")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wrapped = folder / _DEK_FILE
        if not wrapped.exists():
            if any(folder.glob("*.key")):
                raise KeystoreError(
                    f"{folder} holds keys but not {_DEK_FILE}, which opens them: restore it from a backup"
                )
            _write(wrapped, seal(kek, secrets.token_bytes(KEY_SIZE), _DEK_CONTEXT), replace=False)
        try:
            return cls(folder, unseal(kek, wrapped.read_bytes(), _DEK_CONTEXT))
        except KeystoreError:
            raise WrongKek(
                f"the key-encryption key given does not open {folder}: "
                "check LANDFALL_KEK or LANDFALL_KEK_FILE; it must be the one the folder was made with."
            ) from None

    def put(self, name: str, secret: bytes, *, purpose: str) -> None:
        """Store a secret under a name, in place of what was there."""
        _write(self._path(name), self._encode(name, secret, purpose), replace=True)

    def get(self, name: str) -> bytes:
        """Return a secret. Raises `KeystoreError` where it is missing or its file was altered, swapped or renamed."""
        path = self._path(name)
        try:
            stored = msgspec.json.decode(path.read_bytes(), type=StoredKey)
            if stored.name != name:
                raise KeystoreError(f"it is the key {stored.name!r}, not {name!r}")
            return unseal(self._dek, stored.sealed, _context(stored.name, stored.purpose))
        except FileNotFoundError:
            raise KeystoreError(f"there is no key {name!r} in {self._folder}; there are: {self.names()}") from None
        except (msgspec.DecodeError, KeystoreError) as error:
            raise KeystoreError(f"the key file {path} is damaged ({error}): restore it from a backup") from None

    def get_or_create(self, name: str, make: Callable[[], bytes], *, purpose: str) -> bytes:
        """Return a secret, making it where there is none; of several processes at once all get the same one."""
        path = self._path(name)
        if not path.exists():
            _write(path, self._encode(name, make(), purpose), replace=False)
        return self.get(name)

    def names(self) -> list[str]:
        """Return the names of all keys, in order."""
        return sorted(path.stem for path in self._folder.glob("*.key"))

    def rotate_kek(self, new: bytes) -> None:
        """Put the store under another KEK. The keys themselves stay, and so do processes that have the store open."""
        if len(new) != KEY_SIZE:
            raise KeystoreError(f"a key-encryption key is {KEY_SIZE} octets, not {len(new)}: {HOW_TO_MAKE_A_KEK}")
        _write(self._folder / _DEK_FILE, seal(new, self._dek, _DEK_CONTEXT), replace=True)

    def __repr__(self) -> str:
        return f"Keystore({str(self._folder)!r})"

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise KeystoreError(
                f"{name!r} is not a key name: 1 to 100 of a-z 0-9 . _ -, starting with a letter or digit"
            )
        return self._folder / f"{name}.key"

    def _encode(self, name: str, secret: bytes, purpose: str) -> bytes:
        return msgspec.json.encode(StoredKey(name, purpose, seal(self._dek, secret, _context(name, purpose))))


def _context(name: str, purpose: str) -> bytes:
    # A name has no NUL, so the pair reads back in one way only.
    return b"landfall keystore key\0" + name.encode() + b"\0" + purpose.encode()


def _write(path: Path, content: bytes, *, replace: bool) -> None:
    """Write a file whole and durably (mode 0600), or, without `replace`, leave the one that is already there."""
    handle, draft = tempfile.mkstemp(prefix=".draft-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
        else:
            try:
                os.link(draft, path)
            except FileExistsError:
                return
    finally:
        Path(draft).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
