"""BER for `tap3.asn`: values in and out, by tables made from the grammar.

A decoded value is what JSON can say, and encodes back to the same octets: a SEQUENCE is a dict of the fields that were
there, a SEQUENCE OF a list, a CHOICE a dict of one name, an INTEGER an int, octets a str (`Text`, `Digits`, `Octets`
of the grammar). Reading is lenient where files of the field are (any order of fields, indefinite lengths, fields of a
release we do not know, which are counted and passed over) and strict where a lie would cost memory or be believed: a
length past its parent's end, a field twice, a huge integer, deep nesting. Errors tell the offset and the field's path.

    event = decode_element(grammar("CallEvent"), octets)          # {"gprsCall": {…}}
    encode_element(grammar("CallEvent"), event)

Why not asn1tools' own decoder, which reads the grammar here: `docs/decisions/0095-own-ber-tables.md`.
"""

from functools import cache
from importlib.resources import files
from typing import Any, Final

import asn1tools
from msgspec import Struct

MAX_INTEGER: Final = 8
"""Octets of an INTEGER: amounts and volumes are below 2^63; a longer one is no count of anything."""
MAX_NESTING: Final = 32
"""Levels of an unknown or indefinite element: known ones end at 12, a file of the field has no reason for more."""
MAX_TAG: Final = 4
"""Octets of a tag: TAP's largest number is 555, in three."""
MAX_UNKNOWN: Final = 100
"""Unknown fields told of one element: enough to see what they are."""

TEXT, DIGITS, OCTETS, INTEGER, SEQUENCE, LIST, CHOICE = range(7)
_OCTETS: Final = {"Text": TEXT, "Digits": DIGITS, "Octets": OCTETS}
_CLASSES: Final = {"UNIVERSAL": 0x00, "APPLICATION": 0x40, "CONTEXT": 0x80, "PRIVATE": 0xC0}


class BerError(Exception):
    """Octets or a value that are not what the grammar says. `offset` is into what was given, -1 when encoding."""

    def __init__(self, why: str, offset: int = -1) -> None:
        super().__init__(why)
        self.why = why
        self.offset = offset
        self.path: list[str] = []
        """Names of fields, innermost first."""

    @property
    def field(self) -> str:
        """The path to the field, as `gprsCall.gprsServiceUsed.dataVolumeIncoming`."""
        return ".".join(reversed(self.path))


class Unknown(Struct, frozen=True):
    """A field the grammar has not: its offset, tag octets in hexadecimal, and the structure it stands in."""

    offset: int
    tag: str
    within: str


class Node:
    """One type of the grammar, ready for use. `by_tag`: tag → (field, alternative, type); `by_name` the way back."""

    __slots__ = ("by_name", "by_tag", "kind", "name")

    def __init__(self, kind: int, name: str) -> None:
        self.kind = kind
        self.name = name
        self.by_tag: dict[bytes, tuple[str, str, Node]] = {}
        self.by_name: dict[str, tuple[bytes, Node]] = {}


@cache
def grammar(name: str) -> Node:
    """The table of a type of `tap3.asn`, such as `DataInterChange` or `CallEvent`."""
    return _tables()[name]


@cache
def _tables() -> dict[str, Node]:
    text = (files(__package__) / "tap3.asn").read_text(encoding="ascii")
    types: dict[str, Any] = asn1tools.parse_string(text)["Tap3"]["types"]
    built: dict[str, Node] = {}
    for name in types:
        _resolve(name, types, built)
    return built


def _resolve(name: str, types: dict[str, Any], built: dict[str, Node]) -> Node:
    if name not in built:
        built[name] = _build(name, types[name], types, built)
    return built[name]


def _build(name: str, spec: dict[str, Any], types: dict[str, Any], built: dict[str, Node]) -> Node:
    kind = spec["type"]
    if name in _OCTETS:
        return Node(_OCTETS[name], name)
    if kind == "INTEGER":
        return Node(INTEGER, name)
    if kind == "SEQUENCE OF":
        node = Node(LIST, name)
        _add(node, "", spec["element"], types, built)
    elif kind in ("SEQUENCE", "CHOICE"):
        node = Node(SEQUENCE if kind == "SEQUENCE" else CHOICE, name)
        for member in spec["members"]:
            _add(node, member["name"], member, types, built)
    else:
        return _resolve(kind, types, built)
    return node


def _add(node: Node, field: str, spec: dict[str, Any], types: dict[str, Any], built: dict[str, Node]) -> None:
    """Enter a field under its own tag, its type's tag, or, being an untagged CHOICE, those of its alternatives."""
    tag = spec.get("tag") or types.get(spec["type"], {}).get("tag")
    inline = spec["type"] in ("SEQUENCE", "SEQUENCE OF", "CHOICE")
    child = _build(field, spec, types, built) if inline else _build_named(spec["type"], types, built)
    if tag is None:
        assert child.kind == CHOICE, f"{node.name}.{field} has no tag"
        for key, (_, alternative, inner) in child.by_tag.items():
            node.by_tag[key] = (field, alternative, inner)
        node.by_name[field] = (b"", child)
        return
    key = _tag_octets(tag, child.kind >= SEQUENCE)
    assert key not in node.by_tag, f"{node.name}.{field} has the tag of another field"
    node.by_tag[key] = (field, field if node.kind == CHOICE else "", child)
    node.by_name[field] = (key, child)


def _build_named(name: str, types: dict[str, Any], built: dict[str, Node]) -> Node:
    return Node(INTEGER, name) if name == "INTEGER" else _resolve(name, types, built)


def _tag_octets(tag: dict[str, Any], constructed: bool) -> bytes:
    lead, number = _CLASSES[tag["class"]] | (0x20 if constructed else 0), tag["number"]
    if number < 31:
        return bytes([lead | number])
    octets = [number & 0x7F]
    while number := number >> 7:
        octets.append(0x80 | number & 0x7F)
    return bytes([lead | 31, *reversed(octets)])


def read_header(buffer: Any, at: int, end: int) -> tuple[bytes, int, int, int]:
    """Read a tag and a length at `at`: (tag octets, first octet of content, its end, where the next element begins).

    `buffer` is bytes or an mmap; nothing is read at or beyond `end`. An indefinite length is resolved by its end.
    """
    start = at
    if at >= end:
        raise BerError("a tag is missing: the data end here", at)
    if buffer[at] & 0x1F == 0x1F:
        at += 1
        while at < end and buffer[at] & 0x80:
            at += 1
        if at - start >= MAX_TAG:
            raise BerError(f"a tag of more than {MAX_TAG} octets", start)
    at += 1
    if at >= end:
        raise BerError("the data end within a tag or before a length", start)
    tag = bytes(buffer[start:at])
    length = buffer[at]
    at += 1
    if length < 0x80:
        stop = at + length
    elif length == 0x80:
        if not tag[0] & 0x20:
            raise BerError(f"tag {tag.hex()}: an indefinite length on a primitive element", start)
        stop = _find_end(buffer, at, end)
        return tag, at, stop, stop + 2
    else:
        size = length & 0x7F
        if size > 8 or at + size > end:
            raise BerError(f"tag {tag.hex()}: a length of {size} octets", start)
        stop = at + size + int.from_bytes(buffer[at : at + size], "big")
        at += size
    if stop > end:
        raise BerError(f"tag {tag.hex()} claims {stop - at} octets where {end - at} are left", start)
    return tag, at, stop, stop


def _find_end(buffer: Any, at: int, end: int) -> int:
    """Where the end-of-contents octets of an indefinite element stand (X.690 §8.1.5), without recursion."""
    start, depth = at, 1
    while at < end:
        if buffer[at] == 0 and at + 1 < end and buffer[at + 1] == 0:
            depth -= 1
            if not depth:
                return at
            at += 2
            continue
        content = at + 1
        if buffer[at] & 0x1F == 0x1F:
            while content < end and buffer[content] & 0x80:
                content += 1
            content += 1
        if content < end and buffer[content] == 0x80:
            depth += 1
            if depth > MAX_NESTING:
                raise BerError(f"nested deeper than {MAX_NESTING} levels", at)
            at = content + 1
        else:
            at = read_header(buffer, at, end)[3]
    raise BerError("an indefinite length without its end", start)


def decode_element(node: Node, buffer: bytes, unknown: list[Unknown] | None = None) -> Any:
    """Decode one whole element of a CHOICE type, such as `CallEvent`. Raises `BerError`."""
    tag, at, stop, following = read_header(buffer, 0, len(buffer))
    if tag not in node.by_tag:
        raise BerError(f"tag {tag.hex()} begins no {node.name}", 0)
    if following != len(buffer):
        raise BerError(f"{len(buffer) - following} octets follow the element", following)
    _, name, child = node.by_tag[tag]
    return {name: _decode(child, name, buffer, at, stop, [] if unknown is None else unknown)}


def decode_content(node: Node, buffer: bytes, unknown: list[Unknown] | None = None) -> Any:
    """Decode the content octets of an element whose tag and length were read. Raises `BerError`."""
    return _decode(node, "", buffer, 0, len(buffer), [] if unknown is None else unknown)


def _decode(node: Node, name: str, buffer: bytes, at: int, end: int, unknown: list[Unknown]) -> Any:
    kind = node.kind
    try:
        if kind == TEXT:
            return buffer[at:end].decode("latin-1")
        if kind == INTEGER:
            if not 0 < end - at <= MAX_INTEGER:
                raise BerError(f"an INTEGER of {end - at} octets", at)
            return int.from_bytes(buffer[at:end], "big", signed=True)
        if kind == SEQUENCE:
            return _decode_fields(node, buffer, at, end, unknown)
        if kind == LIST:
            return _decode_list(node, buffer, at, end, unknown)
        if kind == DIGITS:
            digits = buffer[at:end].hex().upper()
            return digits[:-1] if digits.endswith("F") else digits
        if kind == OCTETS:
            return buffer[at:end].hex()
        tag, inner, stop, following = read_header(buffer, at, end)
        if tag not in node.by_tag or following != end:
            raise BerError(f"tag {tag.hex()} is none of {', '.join(node.by_name)}, or more follows it", at)
        _, alternative, child = node.by_tag[tag]
        return {alternative: _decode(child, alternative, buffer, inner, stop, unknown)}
    except BerError as error:
        if name:
            error.path.append(name)
        raise


def _decode_fields(node: Node, buffer: bytes, at: int, end: int, unknown: list[Unknown]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    by_tag = node.by_tag
    while at < end:
        start = at
        tag, inner, stop, at = read_header(buffer, at, end)
        if (found := by_tag.get(tag)) is None:
            _note(node, tag, start, by_tag, unknown)
            continue
        name, alternative, child = found
        if name in value:
            raise BerError(f"the field {name} occurs twice", start)
        decoded = _decode(child, name, buffer, inner, stop, unknown)
        value[name] = {alternative: decoded} if alternative else decoded
    return value


def _decode_list(node: Node, buffer: bytes, at: int, end: int, unknown: list[Unknown]) -> list[Any]:
    values: list[Any] = []
    by_tag = node.by_tag
    while at < end:
        start = at
        tag, inner, stop, at = read_header(buffer, at, end)
        if (found := by_tag.get(tag)) is None:
            _note(node, tag, start, by_tag, unknown)
            continue
        _, alternative, child = found
        decoded = _decode(child, f"[{len(values)}]", buffer, inner, stop, unknown)
        values.append({alternative: decoded} if alternative else decoded)
    return values


def _note(node: Node, tag: bytes, at: int, by_tag: dict[bytes, tuple[str, str, Node]], unknown: list[Unknown]) -> None:
    """Pass over an unknown field, unless it is a known one in the wrong form."""
    if (other := by_tag.get(bytes([tag[0] ^ 0x20]) + tag[1:])) is not None:
        form = "constructed" if tag[0] & 0x20 else "primitive"
        raise BerError(f"the field {other[0] or other[1] or node.name} is {form}, which its type is not", at)
    if len(unknown) < MAX_UNKNOWN:
        unknown.append(Unknown(at, tag.hex(), node.name))


def encode_element(node: Node, value: dict[str, Any]) -> bytes:
    """Encode one element of a CHOICE type, in definite lengths. Raises `BerError` naming the field."""
    return _encode_choice(node, value)


def encode_field(node: Node, name: str, value: Any) -> bytes:
    """Encode one field of a SEQUENCE type with its tag and length. Raises `BerError`."""
    tag, child = node.by_name[name]
    return wrap(tag, _encode(child, name, value))


def wrap(tag: bytes, content: bytes) -> bytes:
    """An element: tag, definite length, content."""
    return tag + length_octets(len(content)) + content


def length_octets(length: int) -> bytes:
    """A definite length (X.690 §8.1.3)."""
    if length < 0x80:
        return bytes([length])
    size = (length.bit_length() + 7) // 8
    return bytes([0x80 | size]) + length.to_bytes(size, "big")


def _encode(node: Node, name: str, value: Any) -> bytes:
    kind = node.kind
    try:
        if kind == INTEGER:
            if type(value) is not int or not -(2**63) <= value < 2**63:
                raise BerError(f"{value!r:.80} is no whole number of at most {MAX_INTEGER} octets")
            size = (value if value >= 0 else ~value).bit_length() // 8 + 1  # the fewest octets: X.690 8.3.2
            return value.to_bytes(size, "big", signed=True)
        if kind == SEQUENCE:
            return _encode_fields(node, value)
        if kind == LIST:
            return _encode_list(node, value)
        if kind == CHOICE:
            return _encode_choice(node, value)
        if not isinstance(value, str):
            raise BerError(f"{value!r:.80} is no text")
        if kind == TEXT:
            return value.encode("latin-1")
        return bytes.fromhex(value + "F" if kind == DIGITS and len(value) % 2 else value)
    except ValueError as error:
        why = BerError(f"{value!r:.80} cannot be written: {error}")
        why.path.append(name)
        raise why from None
    except BerError as error:
        error.path.append(name)
        raise


def _encode_fields(node: Node, value: Any) -> bytes:
    if not isinstance(value, dict):
        raise BerError(f"{value!r:.80} is no object of fields")
    if strange := value.keys() - node.by_name.keys():
        raise BerError(f"{node.name} has no field {sorted(map(str, strange))[0]!r}; it has {', '.join(node.by_name)}")
    parts = []
    for name, (tag, child) in node.by_name.items():
        if name in value:
            content = _encode(child, name, value[name])
            parts.append(wrap(tag, content) if tag else content)
    return b"".join(parts)


def _encode_list(node: Node, value: Any) -> bytes:
    if not isinstance(value, list):
        raise BerError(f"{value!r:.80} is no list")
    tag, child = node.by_name[""]
    parts = []
    for number, element in enumerate(value):
        content = _encode(child, f"[{number}]", element)
        parts.append(wrap(tag, content) if tag else content)
    return b"".join(parts)


def _encode_choice(node: Node, value: Any) -> bytes:
    if not isinstance(value, dict) or len(value) != 1 or (name := next(iter(value))) not in node.by_name:
        raise BerError(f"{value!r:.80} is not one of {', '.join(node.by_name)}")
    tag, child = node.by_name[name]
    return wrap(tag, _encode(child, name, value[name]))
