"""`landfall ota packet` speaks the vectors' words."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ota.cli import app
from ota.packet_objects import decode_object, encode_object

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "scp80.json").read_text())
QUESTION = ("name", "kic_key", "kid_key", "algo_crypt", "algo_auth", "key_index", "tar", "counter", "spi", "apdu")


def run(command: str, *objects: dict[str, Any] | str) -> list[dict[str, Any]]:
    lines = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in objects)
    result = CliRunner().invoke(app, ["packet", command, "--json"], input=lines)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


@pytest.mark.parametrize("key_bytes", [("kic_byte", "kid_byte"), ()])
def test_encode_answers_every_vector_line_by_line(key_bytes: tuple[str, ...]) -> None:
    questions = [{field: vector.get(field) for field in QUESTION + key_bytes} for vector in VECTORS["commands"]]
    answers = run("encode", *questions)
    assert len(answers) == len(VECTORS["commands"])
    for vector, answer in zip(VECTORS["commands"], answers, strict=True):
        if "error" in vector:
            assert answer.keys() == {"name", "error"}
        else:
            assert answer == {
                "name": vector["name"],
                "packet": vector["secured_packet_with_cpl"],
                "sms": [vector["sms_deliver_tpdu"]],
            }


def test_decode_answers_every_proof_of_receipt_in_the_vectors_words() -> None:
    questions = [{field: value for field, value in vector.items() if field != "decoded"} for vector in VECTORS["por"]]
    for vector, answer in zip(VECTORS["por"], run("decode", *questions), strict=True):
        assert answer == {"name": vector["name"], **vector["decoded"]}


@pytest.mark.parametrize("field", ["secured_packet_with_cpl", "sms_deliver_tpdu", "envelope_sms_pp"])
def test_decode_reads_commands_as_the_card_would(field: str) -> None:
    vectors = [vector for vector in VECTORS["commands"] if "error" not in vector]
    kept = ("name", "kic_key", "kid_key", "kic_byte", "kid_byte", field)
    answers = run("decode", *({name: vector[name] for name in kept} for vector in vectors))
    for vector, answer in zip(vectors, answers, strict=True):
        for word in ("name", "spi", "spi_bytes", "kic_byte", "kid_byte", "tar", "counter", "apdu"):
            assert answer[word] == vector[word]


def test_a_long_packet_is_several_messages_that_decode_in_any_order() -> None:
    question = {**VECTORS["commands"][12], "apdu": "00d6000064" + "aa" * 100 + "00d6006464" + "bb" * 100}
    (answer,) = run("encode", question)
    assert len(answer["sms"]) == 2
    keys = {name: question[name] for name in ("name", "kic_key", "kid_key", "kic_byte", "kid_byte")}
    (back,) = run("decode", {**keys, "sms": answer["sms"][::-1]})
    assert back["apdu"] == question["apdu"]
    (missing,) = run("decode", {**keys, "sms": answer["sms"][:1]})
    assert "parts are missing" in missing["error"]


def test_an_impossible_line_is_an_error_by_name_and_the_next_is_read() -> None:
    vector = VECTORS["commands"][0]
    spi = vector["spi"]
    impossible = [
        {**vector, "spi": {**spi, "rc_cc_ds": "ds"}},
        {**vector, "spi": {**spi, "counter": "sideways"}},
        {**vector, "spi": {}},
        {**vector, "tar": "b0"},
        {**vector, "apdu": "xx"},
        {**vector, "counter": 1 << 40},
        {**vector, "counter": "1"},
        {**vector, "kic_byte": "1234"},
        {**vector, "spi": {**spi, "ciphering": True}, "kic_key": "00"},
        {**vector, "apdu": "00" * 70_000},
    ]
    nested_deep = "[" * 100_000
    answers = run("encode", *impossible, "not json", nested_deep, vector)
    assert all(answer.keys() == {"name", "error"} for answer in answers[:-1])
    assert [answer["name"] for answer in answers[:-1]] == [vector["name"]] * len(impossible) + [None, None]
    assert answers[-1]["packet"] == vector["secured_packet_with_cpl"]


@pytest.mark.parametrize(("kind", "command"), [("command", "encode"), ("proof", "decode")])
def test_the_examples_work(kind: str, command: str) -> None:
    printed = CliRunner().invoke(app, ["packet", "example", kind]).output
    (answer,) = run(command, printed)
    assert "error" not in answer
    table = CliRunner().invoke(app, ["packet", command], input=printed).output
    assert str(answer["name"]) in table


values = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.binary(max_size=40).map(bytes.hex)
fields = st.sampled_from([*QUESTION, "kic_byte", "algo", "packet", "sms", "last_counter", "envelope_sms_pp"])


@given(st.binary(max_size=50), st.sampled_from(VECTORS["por"] + VECTORS["commands"]), st.dictionaries(fields, values))
def test_no_line_breaks_it(line: bytes, vector: dict[str, Any], changes: dict[str, Any]) -> None:
    for candidate in (line, json.dumps({**vector, **changes}).encode(), json.dumps(changes).encode()):
        for work in (encode_object, decode_object):
            assert "name" in work(candidate)
