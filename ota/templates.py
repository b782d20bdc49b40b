"""Message templates: a named list of commands with places for values, filled in for each card.

    template = read_template(draft)                     # checked by rendering with its own sample values
    orders = render(template.commands, {"slot": "2", "iccid": …})

A place is `{name}` in any text of a command; a text that is one place alone may stand where a number is wanted. Every
place is a declared parameter, or one of `OF_THE_CARD`, which the card itself brings. Values are text.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from landfall.errors import LandfallError
from ota.commands import ORDERS_MAX, Orders, read_orders
from ota.scp80.parameters import ScpError

OF_THE_CARD: Final = {"iccid": "8970199000000000017", "msisdn": "+79990000001"}
"""Parameters that need no declaration, with the samples a template is tried with."""
VALUE_CHARACTERS_MAX: Final = 510
"""A value may be the whole content of a file: 255 octets in hexadecimal."""
PARAMETERS_MAX: Final = 16

_PLACE: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
_KINDS: Final = {
    "integer": re.compile(r"[0-9]{1,9}"),
    "hex": re.compile(r"(?:[0-9A-Fa-f]{2})+"),
    "digits": re.compile(r"\+?[0-9]+"),
    "text": re.compile(r"[^\x00-\x1f{}]*"),
}

Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,63}$")]
ParameterName = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]
Value = Annotated[str, Meta(max_length=VALUE_CHARACTERS_MAX)]
Values = dict[ParameterName, Value]
Commands = Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=ORDERS_MAX)]


class TemplateError(LandfallError):
    """A template or a value for it that cannot be used; says which and why."""


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may stand in a place, an example of it, and what it is for."""

    kind: Literal["integer", "hex", "digits", "text"]
    sample: Value
    about: Annotated[str, Meta(max_length=200)] = ""


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Commands with places, and what the places are."""

    name: Name
    commands: Commands
    parameters: Annotated[dict[ParameterName, Parameter], Meta(max_length=PARAMETERS_MAX)] = {}
    about: Annotated[str, Meta(max_length=500)] = ""


def read_template(draft: Template) -> Orders:
    """What the template makes of its sample values. Raises `TemplateError` where that is nothing a card could take."""
    declared = draft.parameters.keys()
    if taken := sorted(OF_THE_CARD.keys() & declared):
        raise TemplateError(f"parameter {taken[0]} comes from the card: leave its declaration out")
    if unused := sorted(declared - find_places(draft.commands)):
        raise TemplateError(f"parameter {unused[0]} stands in no command: write {{{unused[0]}}} there, or leave it out")
    samples = {name: parameter.sample for name, parameter in draft.parameters.items()}
    check_values(draft.parameters, samples)
    return render(draft.commands, {**OF_THE_CARD, **samples})


def find_places(commands: Sequence[Any]) -> set[str]:
    """Names of all places in commands."""
    return {name for text in _texts(list(commands)) for name in _PLACE.findall(text)}


def check_values(parameters: Mapping[str, Parameter], values: Mapping[str, str]) -> None:
    """Raise `TemplateError` unless `values` has each parameter, nothing else, and each fits its kind."""
    if missing := sorted(parameters.keys() - values.keys()):
        raise TemplateError(f"parameter {missing[0]} has no value")
    for name, value in values.items():
        if name not in parameters:
            known = ", ".join(sorted(parameters)) or "none"
            raise TemplateError(f"there is no parameter {name}: the template has {known}")
        if not _KINDS[parameters[name].kind].fullmatch(value):
            raise TemplateError(f"{name}: {value!r} is no {parameters[name].kind}")


def render(commands: Sequence[Any], values: Mapping[str, str]) -> Orders:
    """The commands with their places filled. Raises `TemplateError` for a place without a value and for what follows
    from values that do not fit the commands.
    """
    try:
        return read_orders(_fill(list(commands), values))
    except ScpError as error:
        raise TemplateError(str(error)) from None


def _fill(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _fill(item, values) for name, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, values) for item in value]
    if not isinstance(value, str):
        return value

    def put(place: re.Match[str]) -> str:
        if place[1] not in values:
            known = ", ".join(sorted(values)) or "none"
            raise TemplateError(f"place {place[0]} is no parameter: there are {known}")
        return values[place[1]]

    return _PLACE.sub(put, value)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []
