"""Octets from an HLR: a message or a clear error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from osmocom.gsup.message import MsgType

from simulator.gsup import GsupError, Message, decode_message, encode_message

IMSIS = st.text("0123456789", min_size=6, max_size=15)


@given(st.binary(max_size=300))
def test_whatever_octets_come_are_a_message_or_an_error(data: bytes) -> None:
    try:
        message = decode_message(data)
    except GsupError:
        return
    assert isinstance(message, Message)
    assert isinstance(message.imsi, str)


@given(IMSIS, st.binary(min_size=16, max_size=16), st.binary(min_size=14, max_size=14))
def test_a_message_survives_its_octets(imsi: str, rand: bytes, auts: bytes) -> None:
    data = encode_message(MsgType.SEND_AUTH_INFO_REQUEST, imsi, ("rand", rand), ("auts", auts))
    message = decode_message(data)
    assert (message.kind, message.imsi) == (MsgType.SEND_AUTH_INFO_REQUEST, imsi)
    assert (bytes(message.first("rand")), bytes(message.first("auts"))) == (rand, auts)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_cut_message_is_a_message_or_an_error(rand: bytes, data: st.DataObject) -> None:
    octets = encode_message(MsgType.SEND_AUTH_INFO_RESULT, "262011234567890", ("rand", rand))
    cut = data.draw(st.integers(min_value=0, max_value=len(octets)))
    try:
        decode_message(octets[:cut])
    except GsupError:
        return


def test_no_octets_are_an_error() -> None:
    with pytest.raises(GsupError, match="0 octets"):
        decode_message(b"")
