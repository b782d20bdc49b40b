"""TOML with the line of everything in it, checked field by field against structs, so that all faults are told at once.

table, lines, complaints = parse_table(text)
value = check_table(table, Scenario, lines, complaints)      # None where anything is wrong
"""

import re
import tomllib
import types
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta, Struct

Place = tuple[str | int, ...]
"""Keys and indices that lead to a value: ("operators", 1, "country")."""
Complaint = tuple[int, str]
"""Line, and what is wrong there."""
T = TypeVar("T", bound=Struct)

_HEADER: Final = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?")
_KEY: Final = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*=")
_LINE: Final = re.compile(r"line (\d+)")


class Lines:
    """Where each key stands; what has no line of its own stands where its table begins."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        counts: dict[str, int] = {}
        table: Place = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _HEADER.match(line):
                name = header[2]
                table = tuple(name.split("."))
                if header[1] == "[[":
                    table = (*table, counts.get(name, 0))
                    counts[name] = counts.get(name, 0) + 1
                self._lines.setdefault(table, number)
            elif key := _KEY.match(line):
                self._lines.setdefault((*table, key[1]), number)

    def find(self, place: Place) -> int:
        """The line of a place, or of the nearest thing around it."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)


def parse_table(text: str) -> tuple[dict[str, Any], Lines, list[Complaint]]:
    """TOML as a table, its lines, and what is wrong with it as TOML."""
    lines = Lines(text)
    try:
        return tomllib.loads(text), lines, []
    except tomllib.TOMLDecodeError as error:
        found = _LINE.search(str(error))
        return {}, lines, [(int(found[1]) if found else len(text.splitlines()), f"this is not TOML: {error}")]


def check_table(
    table: dict[str, Any], kind: type[T], lines: Lines, complaints: list[Complaint], place: Place = ()
) -> T | None:
    """The table as a struct; what is wrong with any of its fields goes to `complaints`, and then it is None."""
    before = len(complaints)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    hints = get_type_hints(kind, include_extras=True)
    for key in table.keys() - fields.keys():
        near = get_close_matches(key, fields, n=1)
        hint = f"do you mean {near[0]}?" if near else f"known are {', '.join(fields)}"
        complaints.append((lines.find((*place, key)), f"{_name(place, key)} is not known: {hint}"))
    values: dict[str, Any] = {}
    for key, field in fields.items():
        if key in table:
            values[field.name] = _check_value(table[key], hints[field.name], lines, complaints, (*place, key))
        elif field.default is NODEFAULT and field.default_factory is NODEFAULT:
            complaints.append((lines.find(place), f"{_name(place, key)} is missing: {_expected(hints[field.name])}"))
    return kind(**values) if len(complaints) == before else None


def _check_value(value: Any, hint: Any, lines: Lines, complaints: list[Complaint], place: Place) -> Any:
    if isinstance(hint, type) and issubclass(hint, Struct):
        if isinstance(value, dict):
            return check_table(value, hint, lines, complaints, place)
        complaints.append((lines.find(place), f"{_name(place)} is {value!r}: write a table [{place[-1]}]"))
        return None
    if (inner := _struct_items(hint)) is not None:
        if isinstance(value, list) and all(isinstance(one, dict) for one in value):
            return tuple(
                check_table(one, inner, lines, complaints, (*place, number)) for number, one in enumerate(value)
            )
        complaints.append((lines.find(place), f"{_name(place)} is {value!r}: write tables [[{place[-1]}]]"))
        return None
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        wrong = str(error).split(" - at ")[0].replace("`", "")
        complaints.append((lines.find(place), f"{_name(place)} is {_show(value)}: {_remedy(hint) or wrong}"))
        return None


def _remedy(hint: Any) -> str:
    """What to write where choices are few, or the field's own description says it; else nothing."""
    if get_origin(hint) is Literal:
        return f"write one of {', '.join(map(str, get_args(hint)))}"
    told = [part.description for part in get_args(hint)[1:] if isinstance(part, Meta) and part.description]
    return f"write {told[0]}" if told else ""


def _struct_items(hint: Any) -> type[Struct] | None:
    """The struct that a tuple is of, if it is of one."""
    arguments = get_args(hint)
    if get_origin(hint) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        inner = arguments[0]
        return inner if isinstance(inner, type) and issubclass(inner, Struct) else None
    return None


def _name(place: Place, *more: str) -> str:
    parts = [f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in (*place, *more)]
    return "".join(parts).lstrip(".")


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _expected(hint: Any) -> str:
    base = get_args(hint)[0] if get_origin(hint) not in (None, types.UnionType) else hint
    return f"write {getattr(base, '__name__', str(base))}"


def tables_of(table: dict[str, Any], key: str) -> Iterable[tuple[int, dict[str, Any]]]:
    """The tables of an array, with their numbers, as far as they are tables."""
    found = table.get(key)
    return [(n, one) for n, one in enumerate(found) if isinstance(one, dict)] if isinstance(found, list) else []
