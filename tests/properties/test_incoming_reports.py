"""Octets and messages from a centre on their way to being a card's report: believed, or refused by name."""

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte, ScpError
from ota.scp80.report import TAG_REPORT, AccountReport, decode_report, encode_report, peek_report
from ota.scp80.tlv import encode_tlv
from ota.smpp.carrier import SmppCarrier
from ota.smpp.esme import Centre
from ota.smpp.pdu import UDHI, Command, Named, Pdu, ShortMessage, Status

KEYS = KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=bytes(range(16)), kid_key=bytes(range(16, 32)))
DIGITS = st.text("0123456789", min_size=5, max_size=15)
REPORTS = st.builds(
    AccountReport,
    iccid=st.text("0123456789", min_size=18, max_size=20),
    slot=st.integers(0, 15),
    plmn=st.text("0123456789", min_size=5, max_size=6),
    fingerprint=st.binary(min_size=4, max_size=4),
    smsc=DIGITS.map("+{}".format),
    msisdn=st.none() | DIGITS.map("+{}".format),
    counter=st.integers(0, 2**40 - 1),
)


@given(st.binary(max_size=200) | st.binary(max_size=120).map(lambda body: encode_tlv(TAG_REPORT, body)))
@example(b"")
@example(bytes.fromhex("e300"))
def test_whatever_octets_come_are_no_report_of_a_card(data: bytes) -> None:
    for read in (peek_report, lambda octets: decode_report(octets, KEYS)):
        try:
            read(data)
        except ScpError:
            continue
        assert read is peek_report, "eight octets of checksum are not guessed"


@given(REPORTS)
def test_a_report_is_read_as_it_was_made(report: AccountReport) -> None:
    data = encode_report(report, KEYS)
    assert peek_report(data) == (report.iccid, KEYS.kid)
    assert decode_report(data, KEYS) == report


@given(REPORTS, st.data())
def test_a_report_with_one_bit_changed_or_cut_is_refused(report: AccountReport, data: st.DataObject) -> None:
    octets = bytearray(encode_report(report, KEYS))
    if data.draw(st.booleans()):
        octets[data.draw(st.integers(0, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del octets[data.draw(st.integers(0, len(octets) - 1)) :]
    with pytest.raises(ScpError):
        decode_report(bytes(octets), KEYS)


@settings(max_examples=200, deadline=None)  # an event loop each, on busy machines
@given(
    st.builds(
        ShortMessage,
        source=st.text("0123456789", max_size=20),
        source_ton=st.integers(0, 6),
        destination=st.text("0123456789", max_size=20),
        esm_class=st.integers(0, 255),
        protocol_id=st.integers(0, 255),
        data_coding=st.integers(0, 255),
        message=st.binary(max_size=254),
    ),
    st.booleans(),
)
def test_every_message_of_a_centre_is_answered_and_what_is_no_proof_is_handed_on(
    message: ShortMessage, fails: bool
) -> None:
    """Through the client's own handler, as a session calls it."""
    taken: list[tuple[str, bytes]] = []

    async def take(sender: str, user_data: bytes) -> None:
        taken.append((sender, user_data))
        if fails:
            raise ConnectionError("the database is gone")

    async def find_number(_: str) -> str:
        return "1"

    async def hear() -> Pdu:
        carrier = SmppCarrier(Centre(host="127.0.0.1", port=1, system_id="ota"), find_number, take=take)
        answer = carrier.esme._answer(Pdu(Command.DELIVER_SM, 7, body=message))
        return answer if isinstance(answer, Pdu) else await answer

    answer = asyncio.run(hear())
    assert (answer.command, answer.sequence, answer.body) == (Command.DELIVER_SM_RESP, 7, Named())
    handed_on = not message.is_receipt and not message.esm_class & UDHI
    assert len(taken) == handed_on
    assert answer.status == (Status.TEMPORARY_ERROR if handed_on and fails else Status.OK)
    if handed_on:
        assert taken[0][1] == message.content
