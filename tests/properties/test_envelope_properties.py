"""Any octets are an envelope or an EnvelopeError, and nothing else happens."""

import base64
import contextlib

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from settlement.ledger.envelope import EnvelopeError, Signer, header, parse
from settlement.ledger.keys import from_base64url, to_base64url
from tests.market_story import tell_story

SIGNER = Signer(bytes(32))
GOOD = [raw for _, raw in tell_story().entries]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def take(raw: bytes) -> None:
    code = None
    try:
        parse(raw).verify(SIGNER.public)
    except EnvelopeError as error:
        code = error.code
    assert code in (None, "malformed", "too-large", "bad-signature")


@given(st.binary(max_size=300))
def test_any_octets(raw: bytes) -> None:
    take(raw)


@given(st.binary(max_size=300))
def test_any_payload(payload: bytes) -> None:
    take(b".".join((header(SIGNER.kid), base64.urlsafe_b64encode(payload).rstrip(b"="), b"A" * 86)))


@given(json_values)
def test_any_json(value: object) -> None:
    take(b".".join((header(SIGNER.kid), to_base64url(msgspec.json.encode(value)).encode(), b"A" * 86)))


@settings(max_examples=300)
@given(st.sampled_from(GOOD), st.data())
def test_a_good_payload_with_any_value_in_place_of_any_other(raw: bytes, draw: st.DataObject) -> None:
    message = msgspec.json.decode(from_base64url(raw.split(b".")[1]))
    field = draw.draw(st.sampled_from(sorted(message)))
    message[field] = draw.draw(json_values)
    take(b".".join((header(SIGNER.kid), to_base64url(msgspec.json.encode(message)).encode(), b"A" * 86)))


@settings(max_examples=300)
@given(st.sampled_from(GOOD), st.data())
def test_a_good_envelope_with_any_octet_changed(raw: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(raw) - 1))
    take(raw[:at] + bytes([draw.draw(st.integers(0, 255))]) + raw[at + 1 :])


@given(st.binary(max_size=100))
def test_base64url_has_one_spelling_of_any_octets(octets: bytes) -> None:
    text = to_base64url(octets).encode()
    assert from_base64url(text) == octets
    with contextlib.suppress(ValueError):
        assert to_base64url(from_base64url(octets)).encode() == octets
