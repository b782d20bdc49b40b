"""Signed statements about the log: C2SP checkpoints and cosignatures on signed notes (`note`).

The log signs `Checkpoint(origin, size, root)` into a note; a validator that found it consistent with all it saw before
adds a timestamped cosignature line; a client verifies both with verifier keys it was given in another way:

    note = sign(checkpoint, log_signer)
    note = append_signatures(note, [cosign(checkpoint, validator_signer, time_s=now)])
    checkpoint = verify(note, log_key)
    seen_at = verify_cosignatures(note, validator_keys)      # {key: seconds since the epoch}; the quorum is its length

Each checkpoint has one spelling: decimals without leading zeros, canonical base64.
Nothing here keeps state: that two checkpoints of one log agree is for who compares them (`merkle.verify_consistency`).
"""

import re
from collections.abc import Iterable
from typing import Self

import msgspec

from settlement.ledger.merkle import HASH_BYTES, MAX_SIZE
from settlement.ledger.note import (
    NoteError,
    SignatureKind,
    Signer,
    UnsignedNoteError,
    VerifierKey,
    check_text,
    decode_base64,
    encode_base64,
    parse_note,
)

MAX_TIME_S = 2**63 - 1
"""tlog-cosignature, Format."""

_DECIMAL = re.compile(r"0|[1-9][0-9]*", re.ASCII)


class WrongOriginError(NoteError):
    """The checkpoint is of another log than the key's."""


class Checkpoint(msgspec.Struct, frozen=True):
    """The head of log `origin`: `size` leaves under `root`, 32 octets (tlog-checkpoint).

    Landfall's ledger writes no extension lines; those of other logs are kept, for the text must stay what was signed.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or "\n" in line:
                raise NoteError(f"{line[:80]!r} cannot be a checkpoint's line: it must be one line and not empty")
            check_text(line)
        if not 0 <= self.size <= MAX_SIZE:
            raise NoteError(f"{self.size} is no tree size: it is 0 to {MAX_SIZE}")
        if len(self.root) != HASH_BYTES:
            raise NoteError(f"a root of {len(self.root)} octets, not {HASH_BYTES}")

    def text(self) -> str:
        """The note text that is signed, down to its final newline."""
        return "\n".join((self.origin, str(self.size), encode_base64(self.root), *self.extensions, ""))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a note text. Raises `NoteError` on all that `text` would not write."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1]:
            raise NoteError(f"{text[:80]!r} is no checkpoint: it needs origin, size and root, a line each")
        origin, size, root, *extensions = lines[:-1]
        if len(size) > len(str(MAX_SIZE)) or not _DECIMAL.fullmatch(size):
            raise NoteError(f"{size[:80]!r} is no tree size: it is written in decimal, without leading zeros")
        return cls(origin, int(size), decode_base64(root, "root hash"), tuple(extensions))


def sign(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """Sign a checkpoint as its log. Raises `WrongOriginError` unless the signer's name is the origin."""
    if signer.verifier.kind is not SignatureKind.NOTE:
        raise NoteError(f"{signer.verifier.name} is a cosigner's key: give the log's own signer")
    _check_origin(checkpoint, signer.verifier)
    text = checkpoint.text()
    return f"{text}\n{signer.sign_line(text.encode())}".encode()


def cosign(checkpoint: Checkpoint, signer: Signer, *, time_s: int) -> bytes:
    """Signature line by which a validator says: at `time_s` (POSIX), the largest consistent head I have seen.

    (tlog-cosignature, Ed25519.) What is said must be true: verify consistency, and store the head, before.
    """
    if signer.verifier.kind is not SignatureKind.COSIGNATURE:
        raise NoteError(f"{signer.verifier.name} is a log's key: give a signer of kind COSIGNATURE")
    return signer.sign_line(_cosigned(checkpoint.text(), time_s), time_s.to_bytes(8, "big")).encode()


def verify(note: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint that the log holding `key` signed.

    Raises `UnsignedNoteError`, `ForgedNoteError`, `WrongOriginError` when the origin is not the key's name,
    or plain `NoteError`.
    """
    if key.kind is not SignatureKind.NOTE:
        raise NoteError(f"{key.name} is a cosigner's key: give the log's own")
    parsed = parse_note(note)
    signatures = parsed.by(key)
    if not signatures:
        raise UnsignedNoteError(
            f"the note has no signature by {key.name} with key id {key.key_id.hex()}: is this verifier key the log's?"
        )
    for octets in signatures:
        key.check(parsed.text.encode(), octets)
    checkpoint = Checkpoint.parse(parsed.text)
    _check_origin(checkpoint, key)
    return checkpoint


def verify_cosignatures(note: bytes, keys: Iterable[VerifierKey]) -> dict[VerifierKey, int]:
    """Which of these cosigners signed the note's checkpoint, and when (POSIX seconds; the latest, if repeatedly).

    The log's own signature is `verify`'s business. Raises `ForgedNoteError` when one in the name of these keys is bad,
    and `NoteError` when two names share one key: the Ed25519 message does not hold the name, one vote would be two.
    """
    keys = tuple(keys)
    if len({key.public_key for key in keys}) != len(keys):
        raise NoteError("two of the cosigners' keys are the same: each cosigner needs its own")
    parsed = parse_note(note)
    Checkpoint.parse(parsed.text)
    seen: dict[VerifierKey, int] = {}
    for key in keys:
        if key.kind is not SignatureKind.COSIGNATURE:
            raise NoteError(f"{key.name} is a log's key: give verifier keys of cosigners")
        for octets in parsed.by(key):
            time_s = int.from_bytes(octets[:8], "big")
            key.check(_cosigned(parsed.text, time_s), octets[8:])
            seen[key] = max(time_s, seen.get(key, 0))
    return seen


def _cosigned(text: str, time_s: int) -> bytes:
    if not 0 <= time_s <= MAX_TIME_S:
        raise NoteError(f"{time_s} is no time in seconds since the epoch: it is 0 to {MAX_TIME_S}")
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _check_origin(checkpoint: Checkpoint, key: VerifierKey) -> None:
    if checkpoint.origin != key.name:
        raise WrongOriginError(
            f"a checkpoint of {checkpoint.origin!r} under the key of {key.name!r}: it is another log's"
        )
