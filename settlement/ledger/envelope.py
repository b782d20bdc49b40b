"""Envelopes: compact JWS (RFC 7515) with EdDSA (RFC 8037) around one JSON message.

    raw = seal(message, key, kid)          # the sender
    envelope = parse(raw)                  # the ledger: form, header, message; nothing is known of the signer yet
    envelope.verify(public)                # the signature over the exact octets received

Nothing is canonicalised: the octets received are what is hashed, stored and verified again. What several JSON readers
could understand differently is refused here: unknown fields, duplicate keys, floats, stray base64 bits.
"""

import json
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from settlement.ledger import messages, settling
from settlement.ledger.keys import from_base64url, thumbprint, to_base64url
from settlement.ledger.messages import MAX_ENVELOPE, Message, Thumbprint
from settlement.ledger.signatures import SIGNATURE_SIZE, PrivateKey, is_signed

TIME_SIZE: Final = 8
"""Octets of the time that stands before the envelope in a leaf."""
MAX_RAW: Final = MAX_ENVELOPE - TIME_SIZE
TYP: Final = "landfall+jws"

Transaction = messages.Transaction | settling.Transaction
"""Every message there is, of all versions of the rules."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Transaction)


class EnvelopeError(ValueError):
    """An envelope that cannot be taken. `code` is one of docs/rejections.md."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class _Header(Struct, forbid_unknown_fields=True):
    typ: str
    alg: str
    kid: Thumbprint


_header_decoder = msgspec.json.Decoder(_Header)


class Envelope(Struct, frozen=True, gc=False, weakref=False):
    """One envelope in its parts. `raw` is what was received; `signed` is its signing input."""

    raw: bytes
    kid: str
    message: Transaction
    signed: bytes
    signature: bytes

    @property
    def id(self) -> UUID:
        """The message's id."""
        return self.message.id

    def verify(self, public: bytes) -> None:
        """Check the signature (strictly: no small-order point, no non-canonical encoding). Raises EnvelopeError."""
        if not is_signed(self.signed, self.signature, public):
            raise EnvelopeError("bad-signature", f"the signature is not by the key {self.kid}")


def header(kid: str) -> bytes:
    """The protected header for a key, as it stands before the first dot."""
    return to_base64url(_encoder.encode({"typ": TYP, "alg": "EdDSA", "kid": kid})).encode()


class Signer:
    """A private signing key and its name: what a sender needs to make envelopes."""

    def __init__(self, seed: bytes) -> None:
        self.key = PrivateKey(seed)
        """The private key itself, for what is signed beside envelopes (possession, client assertions)."""
        self.public = self.key.public
        self.kid = thumbprint(self.public)
        self._prefix = header(self.kid) + b"."

    def __repr__(self) -> str:
        return f"Signer({self.kid})"

    def sign(self, message: Message) -> bytes:
        """The envelope of a message. Raises EnvelopeError `too-large`."""
        signed = self._prefix + to_base64url(_encoder.encode(message)).encode()
        raw = signed + b"." + to_base64url(self.key.sign(signed)).encode()
        _check_size(raw)
        return raw


def parse(raw: bytes) -> Envelope:
    """Take an envelope apart. Raises EnvelopeError `malformed` or `too-large`; the signature is not looked at."""
    _check_size(raw)
    parts = raw.split(b".")
    if len(parts) != 3:
        raise EnvelopeError("malformed", f"a compact JWS has three parts divided by dots, this has {len(parts)}")
    protected, payload, signature = parts
    kid = _read_header(protected)
    try:
        text, signature_octets = from_base64url(payload), from_base64url(signature)
    except ValueError as error:
        raise EnvelopeError("malformed", str(error)) from None
    if len(signature_octets) != SIGNATURE_SIZE:
        raise EnvelopeError("malformed", f"an Ed25519 signature has 64 octets, this has {len(signature_octets)}")
    message = read_message(text)
    return Envelope(raw, kid, message, raw[: len(protected) + 1 + len(payload)], signature_octets)


def read_message(text: bytes) -> Transaction:
    """The message in a payload, every field within its bounds and every key once. Raises EnvelopeError `malformed`."""
    try:
        message: Transaction = _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EnvelopeError("malformed", f"the payload is no message of the protocol: {error}") from None
    if b"\\u0000" in text:
        raise EnvelopeError("malformed", "the payload has a NUL character, which no text of the protocol may have")
    if (message.id.int >> 76) & 15 != 7:
        raise EnvelopeError("malformed", f"id {message.id} is not a UUID of version 7")
    if _encoder.encode(message) != text:  # what we would write has no duplicate keys; anything else is looked through
        _refuse_duplicate_keys(text)
    return message


def _check_size(raw: bytes) -> None:
    if len(raw) > MAX_RAW:
        raise EnvelopeError("too-large", f"the envelope has {len(raw)} octets, at most {MAX_RAW} fit an entry")


@lru_cache(maxsize=65_536)  # one line a key in use; headers of a key are always the same octets
def _read_header(protected: bytes) -> str:
    try:
        head = _header_decoder.decode(from_base64url(protected))
        _refuse_duplicate_keys(from_base64url(protected))
    except EnvelopeError:
        raise
    except (ValueError, RecursionError) as error:
        raise EnvelopeError("malformed", f"the protected header is not typ, alg and kid: {error}") from None
    if head.typ != TYP or head.alg != "EdDSA":
        raise EnvelopeError("malformed", f"the header says typ {head.typ!r}, alg {head.alg!r}; it must be {TYP}, EdDSA")
    return head.kid


def _refuse_duplicate_keys(text: bytes) -> None:
    def once(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise EnvelopeError("malformed", f"a key stands twice in one object: {sorted(names)}")

    try:
        json.loads(text, object_pairs_hook=once)
    except EnvelopeError:
        raise
    except (ValueError, RecursionError) as error:  # what one reader takes and another does not is not taken
        raise EnvelopeError("malformed", f"not JSON to every reader: {error}") from None
