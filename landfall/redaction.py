"""What a log line may not carry, and the structlog processor that takes it out.

Two nets. Fields are judged by name: `imsi`, `card_key`, `accessToken` and their like lose their value whatever it is,
at any depth. Then every remaining text, the message and tracebacks included, is searched for what looks like one: 32
hexadecimal digits (a K, an OPc, an AES-128 key), the digits of an IMSI or ICCID, a number in international form, a
token, a password in a URL, an activation code. Octets are never shown, only counted. Hashes (64 digits) and UUIDs pass.

It is a net, not a licence: log identifiers of ours (request id, slot, operator), not a subscriber's.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import msgspec

REDACTED: Final = "[redacted]"

_DEEPEST: Final = 8
"""A log line nests two or three deep; what goes further is cut rather than searched."""

_WHOLE_NAMES: Final = frozenset({"k", "op", "sub", "subscriber_name", "full_name", "given_name", "family_name"})
_WORDS: Final = frozenset(
    "imsi msisdn iccid imei eid ki opc kic pin puk kek dek key secret password passphrase token authorization cookie "
    "credential assertion private plaintext email phone".split()
)
_CARD_KEYS: Final = re.compile(r"adm\d*")
_PUBLIC: Final = frozenset({"public", "fingerprint", "thumbprint"})

_WORD_BOUNDARY: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\s.:/-]+")

_LOOKS_SECRET: Final = re.compile(
    r"""
      (?<![0-9A-Za-z_-]) [0-9A-Fa-f]{32} (?![0-9A-Za-z_-])   # K, OPc, an AES-128 key
    | (?<![0-9A-Za-z_.-]) (?: \d{15} | \d{18,20} ) (?![0-9A-Za-z_-]) # IMSI or IMEI; ICCID
    | \+ \d{8,15} (?!\d)                                     # E.164 number
    | eyJ [\w-]+ \. [\w-]+ (?: \. [\w-]* )?                  # JWT, JWS
    | (?i: bearer ) \s+ [\w.~+/=-]+
    | (?<= :// ) [^\s:/@]+ : [^\s/@]+ (?= @ )                # user:password in a URL
    | LPA:1\$ \S+                                            # eSIM activation code (SGP.22 4.1)
    """,
    re.VERBOSE,
)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take every secret out of a log event; the structlog processor to stand just before the renderer."""
    return {str(name): REDACTED if names_secret(str(name)) else clean(value) for name, value in event.items()}


def names_secret(name: str) -> bool:
    """Whether a field of this name holds a secret or a person's identifier, in whatever way the name is written."""
    words = [word.lower() for word in _WORD_BOUNDARY.sub("_", name).split("_") if word]
    if "_".join(words) in _WHOLE_NAMES:
        return True
    if not _PUBLIC.isdisjoint(words):
        return False
    return any(word.removesuffix("s") in _WORDS or _CARD_KEYS.fullmatch(word) for word in words)


def clean(value: Any, depth: int = 0) -> Any:
    """Return a value fit to be logged: built-in types only, secrets taken out at any depth."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} octets>"
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, msgspec.Struct):
        value = {field: getattr(value, field) for field in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {
            str(name): REDACTED if names_secret(str(name)) else clean(item, depth + 1) for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(item, depth + 1) for item in value]
    return clean_text(str(value) if isinstance(value, BaseException) else repr(value))


def clean_text(text: str) -> str:
    """Replace what looks like a secret inside a text."""
    return _LOOKS_SECRET.sub(REDACTED, text)
