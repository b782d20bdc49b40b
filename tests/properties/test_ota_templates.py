"""What people write for the OTA platform: commands, templates, values, lists of cards. A result or a clear error."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landfall.errors import LandfallError
from marketplace.campaigns.cards_csv import Card, CardReader, CardsError, read_cards
from marketplace.operator_cli.ota import read_command
from ota.commands import read_orders
from ota.scp80 import ParameterError
from ota.scp80.remote import join_commands, split_commands
from ota.templates import OF_THE_CARD, Parameter, Template, TemplateError, check_values, read_template, render

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["{slot}", "enable-slot", "apdu"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
hex_text = st.binary(min_size=1, max_size=40).map(bytes.hex)
orders = st.one_of(
    st.builds(lambda slot: {"do": "enable-slot", "slot": slot}, st.integers(0, 15)),
    st.builds(lambda slot: {"do": "delete-slot", "slot": str(slot)}, st.integers(1, 15)),
)
file_orders = st.builds(
    lambda path, data, offset: {"do": "update-file", "path": path, "data": data, "offset": offset},
    st.sampled_from(["2fe2", "2f05", "7f106f3a"]),
    hex_text,
    st.integers(0, 0x7FFF),
)


@given(st.lists(plain | st.fixed_dictionaries({"do": plain, "slot": plain}), max_size=4))
def test_any_commands_make_a_packet_or_a_clear_error(raw: list[Any]) -> None:
    with suppress(ParameterError):
        made = read_orders(raw)
        assert split_commands(join_commands(made.apdus)) == list(made.apdus)


@given(st.lists(orders, min_size=1, max_size=8) | st.lists(file_orders, min_size=1, max_size=8))
def test_words_become_commands_that_a_card_can_tell_apart(raw: list[Any]) -> None:
    made = read_orders(raw)
    assert len(made.tar) == 3
    assert made.repeatable
    assert made.words.count(";") == len(raw) - 1


@given(plain, st.dictionaries(st.sampled_from(["slot", "spn"]), st.text(max_size=12)))
def test_any_template_renders_or_says_why_not(commands: Any, values: dict[str, str]) -> None:
    with suppress(TemplateError):
        render([commands], values)


@given(st.text(max_size=600))
def test_a_value_fits_its_parameter_or_is_named(value: str) -> None:
    parameters = {"data": Parameter("hex", "00"), "slot": Parameter("integer", "1")}
    with suppress(TemplateError):
        check_values(parameters, {"data": "00", "slot": value})
        assert value.isascii()
        assert value.isdecimal()


def test_a_template_is_tried_with_its_samples() -> None:
    spn = Parameter("text", "Alfa")
    draft = Template(
        name="spn", commands=[{"do": "set-service-provider-name", "spn": "{spn}"}], parameters={"spn": spn}
    )
    assert read_template(draft).words == "show 'Alfa' as the service provider"
    commands = [{"do": "update-file", "path": "7fff6f40", "data": "{iccid}0"}]
    assert read_template(Template(name="of-the-card", commands=commands)).repeatable
    for bad, words in (
        (Template(name="x", commands=[{"do": "enable-slot", "slot": "{slot}"}]), "{slot} is no parameter"),
        (Template(name="x", commands=[{"do": "list-slots"}], parameters={"spn": spn}), "stands in no command"),
        (Template(name="x", commands=[{"do": "list-slots"}], parameters={"iccid": spn}), "comes from the card"),
        (Template(name="x", commands=draft.commands, parameters={"spn": Parameter("integer", "A")}), "no integer"),
        (Template(name="x", commands=draft.commands, parameters={"spn": Parameter("text", "Ä")}), "command 1: spn"),
    ):
        with pytest.raises(TemplateError, match=words):
            read_template(bad)
    assert set(OF_THE_CARD) == {"iccid", "msisdn"}


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_octets_are_cards_or_a_clear_error_however_they_are_cut(content: bytes, size: int) -> None:
    assert _read(content, size) == _read(content, len(content) or 1)


@given(
    st.lists(
        st.tuples(st.from_regex("[0-9]{18,20}", fullmatch=True), st.sampled_from(["2", "name", 'with "it"'])),
        min_size=1,
    )
)
def test_what_a_spreadsheet_writes_is_read(rows: list[tuple[str, str]]) -> None:
    quoted = "".join('{};"{}"\r\n'.format(iccid, value.replace('"', '""')) for iccid, value in rows)
    assert _read(f"ICCID;value\r\n{quoted}".encode(), 7) == [(iccid, {"value": value}) for iccid, value in rows]


def _read(content: bytes, size: int) -> list[Card] | str:
    reader, cards = CardReader(), []
    try:
        for at in range(0, len(content), size):
            cards += reader.feed(content[at : at + size])
        return cards + reader.finish()
    except CardsError as error:
        return str(error)


async def test_a_large_list_is_handed_out_in_batches() -> None:
    async def chunks() -> Any:
        for number in range(2500):
            yield f"8970199{number:012d}\n".encode()

    assert [len(batch) async for batch in read_cards(chunks())] == [1000, 1000, 500]
    with pytest.raises(CardsError, match="row 1 has more than 16384 octets"):
        CardReader().feed(b"1" * 20_000)


@given(st.text(max_size=60))
def test_a_command_line_is_a_command_or_a_clear_error(text: str) -> None:
    with suppress(LandfallError):
        read_command(text)


def test_words_of_the_command_line_are_those_of_the_api() -> None:
    assert read_command("enable-slot slot=2") == {"do": "enable-slot", "slot": "2"}
    assert read_command('{"do": "enable-slot", "slot": 2}') == {"do": "enable-slot", "slot": 2}
    assert read_orders([read_command("set-service-provider-name spn='Alfa Mobile'")]).words.startswith("show 'Alfa M")


def test_a_rotation_of_keys_is_a_template_like_others_and_stands_alone() -> None:
    assert read_template(Template(name="new-keys", commands=[{"do": "rotate-keys"}])).words == "rotate the OTA keys"
    with pytest.raises(TemplateError, match="stands alone"):
        read_template(Template(name="new-keys", commands=[{"do": "list-slots"}, {"do": "rotate-keys"}]))
