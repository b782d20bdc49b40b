"""C2SP signed notes: text, and below it lines by which keys sign that text.

Who signs has a `Signer`, and hands out its `verifier`, a `VerifierKey` that is one line of text for people to exchange.
Who reads takes a note apart with `parse_note`, which promises form and nothing else, and checks what stands there in
the name (`Note.by`) of a key it was given in another way. Lines by unknown keys are ignored, as they must be for
rotation and cosigning, but have to be well-formed. Each base64 text has one spelling.
What a note says of the log, and how it is verified, is in `checkpoint`.
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple, Self

import msgspec

from settlement.ledger.signatures import PUBLIC_SIZE, SEED_SIZE, PrivateKey, is_signed

MAX_NOTE_BYTES = 256 * 1024
"""signed-note asks for room for 16 signatures, and the largest post-quantum ones take 7 KB in base64."""
MAX_SIGNATURES = 100
"""As Go's sumdb/note; far more validators than a quorum needs."""

_SIGNATURE_MARK = "— "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteError(ValueError):
    """A note, checkpoint or key that is not well-formed, or is not what it should be."""


class UnsignedNoteError(NoteError):
    """The note bears no signature by the key asked for."""


class ForgedNoteError(NoteError):
    """The note bears a signature in the name of a known key which that key did not make."""


class SignatureKind(IntEnum):
    """Signature type identifier octets of signed-note that this module makes and checks."""

    NOTE = 0x01
    COSIGNATURE = 0x04


class VerifierKey(msgspec.Struct, frozen=True):
    """A public key that notes are verified with: key name, signature kind, Ed25519 public key of 32 octets."""

    name: str
    kind: SignatureKind
    public_key: bytes

    def __post_init__(self) -> None:
        _check_key_name(self.name)
        if len(self.public_key) != PUBLIC_SIZE:
            raise NoteError(f"the public key of {self.name} has {len(self.public_key)} octets, not {PUBLIC_SIZE}")

    @property
    def key_id(self) -> bytes:
        """The 4 octets that, with the name, identify the key in a signature line (signed-note, Signatures)."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public_key).digest()[:4]

    def __str__(self) -> str:
        """The verifier key in one line: `name+<8 hex digits of key id>+base64(kind ‖ public key)`."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.kind]) + self.public_key)}"

    def check(self, message: bytes, signature: bytes) -> None:
        """Raise `ForgedNoteError` unless this key made the Ed25519 `signature`, 64 octets, over `message`."""
        if not is_signed(message, signature, self.public_key):
            raise ForgedNoteError(
                f"the signature by {self.name} ({self.key_id.hex()}) is not of this text: do not trust the note"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the one-line form. Raises `NoteError` if it is not well-formed, or its key id is not the key's."""
        name, _, rest = text.strip().partition("+")
        stated_id, _, encoded = rest.partition("+")
        material = decode_base64(encoded, "verifier key")
        if len(material) != 1 + PUBLIC_SIZE or material[0] not in tuple(SignatureKind):
            raise NoteError(f"verifier key {text[:120]!r} is no Ed25519 key of a kind known here: ask its owner again")
        key = cls(name, SignatureKind(material[0]), material[1:])
        if stated_id != key.key_id.hex():
            raise NoteError(
                f"verifier key {text[:120]!r} has key id {key.key_id.hex()}: it was damaged, ask for it again"
            )
        return key


class Signer:
    """Signs notes (`SignatureKind.NOTE`) or cosigns checkpoints with an Ed25519 key made from a seed of 32 octets."""

    def __init__(self, name: str, seed: bytes, kind: SignatureKind = SignatureKind.NOTE) -> None:
        if len(seed) != SEED_SIZE:
            raise NoteError(f"the seed of {name!r} has {len(seed)} octets, not {SEED_SIZE}")
        self._key = PrivateKey(seed)
        self.verifier = VerifierKey(name, kind, self._key.public)
        """The public half, to hand to those who verify."""

    def sign_line(self, message: bytes, prefix: bytes = b"") -> str:
        """Sign `message` into a note's signature line; `prefix` goes before the signature proper."""
        body = self.verifier.key_id + prefix + self._key.sign(message)
        return f"{_SIGNATURE_MARK}{self.verifier.name} {encode_base64(body)}\n"


class Signature(NamedTuple):
    """One signature line: who is said to have signed, with which key, and the octets after the key id."""

    name: str
    key_id: bytes
    octets: bytes


class Note(NamedTuple):
    """A well-formed note: its text, and its signatures, of which none has been verified."""

    text: str
    signatures: tuple[Signature, ...]

    def by(self, key: VerifierKey) -> list[bytes]:
        """What stands in the note in the name of `key`, unverified."""
        return [octets for name, key_id, octets in self.signatures if (name, key_id) == (key.name, key.key_id)]


def parse_note(note: bytes) -> Note:
    """Take a note apart (signed-note, Format). Raises `NoteError` if it is not well-formed or too large."""
    if len(note) > MAX_NOTE_BYTES:
        raise NoteError(f"a note of {len(note)} octets is more than {MAX_NOTE_BYTES}: it is refused unread")
    try:
        whole = note.decode()
    except UnicodeDecodeError as error:
        raise NoteError(f"the note is not UTF-8 at octet {error.start}: take it again, unchanged") from error
    check_text(whole)
    # The last empty line divides them: the text may hold others.
    text, divider, tail = whole.rpartition("\n\n")
    lines = tail.split("\n")
    if not divider or lines.pop() or not lines:
        raise NoteError(f"{whole[:80]!r} is no signed note: text, an empty line and signature lines are needed")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"the note has {len(lines)} signatures, more than {MAX_SIGNATURES}")
    return Note(text + "\n", tuple(_parse_signature(line) for line in lines))


def append_signatures(note: bytes, lines: Iterable[bytes]) -> bytes:
    """Add signature lines, each with its newline, to a note. Raises `NoteError` if the outcome is not well-formed."""
    extended = note + b"".join(lines)
    if parse_note(extended).text != parse_note(note).text:
        raise NoteError("a signature line with an empty line in it would change the note's text: it is refused")
    return extended


def _parse_signature(line: str) -> Signature:
    if not line.startswith(_SIGNATURE_MARK):
        raise NoteError(f"{line[:80]!r} is no signature line: it starts with an em dash and a space")
    name, _, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
    _check_key_name(name)
    octets = decode_base64(encoded, "signature")
    if len(octets) < 5:
        raise NoteError(f"the signature by {name!r} has {len(octets)} octets: key id and signature are at least 5")
    return Signature(name, octets[:4], octets[4:])


def _check_key_name(name: str) -> None:
    check_text(name)
    if not name or "+" in name or any(character.isspace() for character in name):
        raise NoteError(f"{name[:80]!r} is no key name: it is not empty, without spaces and plus signs")


def check_text(text: str) -> None:
    """Raise `NoteError` unless a note may hold this text (signed-note, Format)."""
    if (bad := _CONTROL.search(text)) is not None:
        raise NoteError(f"character {bad.group()!r} at {bad.start()} has no place in a note: only newlines control it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NoteError(f"{text[error.start]!r} at {error.start} has no UTF-8 form: write text") from error


def encode_base64(octets: bytes) -> str:
    """Write base64 (RFC 4648 §4)."""
    return b64encode(octets).decode()


def decode_base64(text: str, what: str) -> bytes:
    """Read base64 (RFC 4648 §4) as `_encode` writes it and in no other spelling."""
    try:
        octets = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError(f"{what} {text[:80]!r} is not base64: {error}") from error
    if encode_base64(octets) != text:
        raise NoteError(f"{what} {text[:80]!r} is not canonical base64: its last character carries stray bits")
    return octets
