"""Whatever octets come, TAP reading answers with a value or with an error of its own."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from settlement.usage.tap3.ber import (
    CHOICE,
    DIGITS,
    INTEGER,
    LIST,
    OCTETS,
    TEXT,
    BerError,
    Node,
    decode_element,
    encode_element,
    grammar,
)
from settlement.usage.tap3.checks import validate
from settlement.usage.tap3.stream import TapError, open_tap
from settlement.usage.tap3.usage import to_usage
from settlement.usage.tap3.writer import write_batch
from tests import tap_batch

EVENT = grammar("CallEvent")
SAMPLES = [encode_element(EVENT, event) for event in tap_batch.one_of_each()]


@st.composite
def values(draw: st.DrawFn, node: Node) -> Any:
    """A value of a type of the grammar."""
    if node.kind == TEXT:
        return draw(st.text(st.characters(max_codepoint=255), max_size=6))
    if node.kind == DIGITS:
        return draw(st.text("0123456789", max_size=15))
    if node.kind == OCTETS:
        return draw(st.binary(max_size=5)).hex()
    if node.kind == INTEGER:
        return draw(st.integers(-(2**63), 2**63 - 1))
    if node.kind == LIST:
        return [draw(values(node.by_name[""][1])) for _ in range(draw(st.integers(0, 2)))]
    names = draw(st.lists(st.sampled_from(sorted(node.by_name)), max_size=3, unique=True))
    if node.kind == CHOICE:
        names = [draw(st.sampled_from(sorted(node.by_name)))]
    return {name: draw(values(node.by_name[name][1])) for name in names}


def failing_offset(octets: bytes) -> int:
    """Where decoding fails, or the end."""
    try:
        decode_element(EVENT, octets)
    except BerError as error:
        return error.offset
    return len(octets)


@settings(max_examples=60, deadline=None)
@given(values(EVENT))
def test_any_event_comes_back_as_it_went(event: Any) -> None:
    assert decode_element(EVENT, encode_element(EVENT, event)) == event


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_octets_are_a_value_or_an_error_with_an_offset_inside(sample: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    assert 0 <= failing_offset(cut) <= len(cut)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_octets_are_a_value_or_an_error(octets: bytes) -> None:
    assert 0 <= failing_offset(octets) <= len(octets)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tap") / "batch.tap"
    write_batch(path, tap_batch.header(), tap_batch.one_of_each())
    return path


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_validated_or_refused_by_name(batch: Path, data: st.DataObject) -> None:
    damaged = bytearray(batch.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = batch.with_name("damaged.tap")
    path.write_bytes(damaged[: data.draw(st.sampled_from([len(damaged), len(damaged) // 2]))])
    with suppress(TapError):
        validate(path, workers=1)
        with open_tap(path) as tap:
            list(to_usage(tap, {"RUS01": "25001"}))


def test_a_million_levels_are_refused_without_recursion() -> None:
    with pytest.raises(BerError, match="nested deeper"):
        decode_element(EVENT, b"\x6e\x80" + b"\x3f\x2a\x80" * 1_000_000)
