"""SMPP PDUs: round trips of every field, and a decoder and a session that survive random bytes."""

import asyncio
import contextlib
import string
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ota.smpp.pdu import Bind, Command, Named, Pdu, PduError, ShortMessage, Status, decode_pdu, encode_pdu
from ota.smpp.receipt import Receipt, State, build_receipt, pack_validity, parse_receipt, parse_validity
from ota.smpp.session import Session

octet = st.integers(0, 255)
tlvs = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=300)), max_size=3).map(tuple)
binds = st.sampled_from([Command.BIND_TRANSCEIVER, Command.BIND_RECEIVER, Command.BIND_TRANSMITTER])
answers = st.sampled_from([Command.SUBMIT_SM_RESP, Command.DELIVER_SM_RESP, Command.BIND_TRANSCEIVER_RESP])


def texts(size: int) -> st.SearchStrategy[str]:
    return st.text(string.ascii_letters + string.digits + " é", max_size=size)


bodies = st.one_of(
    st.tuples(
        binds,
        st.builds(
            Bind,
            system_id=texts(15),
            password=texts(8),
            system_type=texts(12),
            interface_version=octet,
            ton=octet,
            npi=octet,
            address_range=texts(40),
        ),
    ),
    st.tuples(answers, st.builds(Named, texts(64), tlvs)),
    st.tuples(
        st.sampled_from([Command.SUBMIT_SM, Command.DELIVER_SM]),
        st.builds(
            ShortMessage,
            source=texts(20),
            source_ton=octet,
            source_npi=octet,
            destination=texts(20),
            destination_ton=octet,
            destination_npi=octet,
            service_type=texts(5),
            esm_class=octet,
            protocol_id=octet,
            priority=octet,
            schedule=texts(16),
            validity=texts(16),
            registered_delivery=octet,
            replace=octet,
            data_coding=octet,
            default_message=octet,
            message=st.binary(max_size=254),
            tlvs=tlvs,
        ),
    ),
    st.tuples(
        st.sampled_from([Command.UNBIND, Command.ENQUIRE_LINK, Command.ENQUIRE_LINK_RESP, Command.GENERIC_NACK]),
        st.none(),
    ),
)
pdus = st.builds(lambda one, sequence: Pdu(one[0], sequence, Status.OK, one[1]), bodies, st.integers(0, 0xFFFFFFFF))
commands = st.sampled_from([command.value for command in Command]) | st.integers(0, 0xFFFFFFFF)


@given(pdus)
def test_what_is_encoded_is_decoded(pdu: Pdu) -> None:
    assert decode_pdu(encode_pdu(pdu)) == pdu


@given(st.binary(max_size=80))
@example(b"")
def test_random_bytes_give_a_pdu_error_only(data: bytes) -> None:
    with pytest.raises(PduError):
        decode_pdu(data)


@given(commands, octet, st.integers(0, 0xFFFFFFFF), st.binary(max_size=200))
def test_a_fitting_header_over_random_bytes_gives_a_pdu_or_a_pdu_error(
    command: int, status: int, sequence: int, body: bytes
) -> None:
    data = struct.pack(">IIII", 16 + len(body), command, status, sequence) + body
    with contextlib.suppress(PduError):
        pdu = decode_pdu(data)
        assert (pdu.command, pdu.status, pdu.sequence) == (command, status, sequence)


@given(pdus, st.data())
def test_a_flipped_byte_gives_a_pdu_or_a_pdu_error(pdu: Pdu, data: st.DataObject) -> None:
    raw = bytearray(encode_pdu(pdu))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(PduError):
        decode_pdu(bytes(raw))


@pytest.mark.parametrize(
    "body",
    [
        Bind(system_id="x" * 16),
        ShortMessage(message=bytes(255)),
        ShortMessage(source="1\0"),
        ShortMessage(priority=256),
    ],
)
def test_a_value_its_field_does_not_hold_is_refused(body: Bind | ShortMessage) -> None:
    with pytest.raises(PduError):
        encode_pdu(Pdu(Command.SUBMIT_SM, 1, body=body))


@given(st.sampled_from(State), texts(20).filter(lambda text: text.isalnum() and text.isascii()), st.booleans())
def test_a_receipt_is_read_from_its_text_and_from_its_parameters(state: State, message_id: str, bare: bool) -> None:
    submitted = ShortMessage(source="12345", destination="491701234567")
    message = build_receipt(Receipt(message_id, state), submitted, submitted_at=datetime(2026, 11, 20, tzinfo=UTC))
    assert message.is_receipt
    assert (message.source, message.destination) == ("491701234567", "12345")
    if bare:
        message = ShortMessage(esm_class=4, message=message.message)
    assert parse_receipt(message) == Receipt(message_id, state)


@given(st.binary(max_size=254), tlvs)
def test_a_random_receipt_is_read_or_a_pdu_error(text: bytes, parameters: tuple[tuple[int, bytes], ...]) -> None:
    with contextlib.suppress(PduError):
        parse_receipt(ShortMessage(esm_class=4, message=text, tlvs=parameters))


@given(st.integers(1, 99 * 86400 - 1))
def test_a_validity_period_comes_back_in_seconds(seconds: int) -> None:
    assert parse_validity(pack_validity(seconds)) == seconds


@given(st.lists(st.binary(max_size=60) | pdus.map(encode_pdu), max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_session_outlives_whatever_it_is_sent(pieces: list[bytes]) -> None:
    async def run() -> None:
        replies: list[bytes] = []
        ended = asyncio.Event()

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            session = Session(reader, writer, lambda pdu: Pdu(Command.GENERIC_NACK, pdu.sequence))
            await session.run()
            ended.set()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"".join(pieces))
            writer.write_eof()
            replies.append(await reader.read())
            async with asyncio.timeout(5):
                await ended.wait()
            writer.close()

    asyncio.run(run())
