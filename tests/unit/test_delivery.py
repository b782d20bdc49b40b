"""What a proof of receipt, or its absence, says about a packet."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from ota.delivery import StoredPacket, Verdict, judge
from ota.keysets import CardKeys
from ota.scp80 import (
    CounterMode,
    Integrity,
    KeyByte,
    KeySet,
    ParameterError,
    ResponseStatus,
    Spi,
    encode_command,
    encode_response,
    peek_command,
)
from ota.scp80.remote import CompactResponse
from ota.scp80.sms import wrap_response

AES = KeyByte(1, 2)
KEYS = KeySet(kic=AES, kid=AES, kic_key=bytes(range(16)), kid_key=bytes(range(16, 32)))
CARD = CardKeys(iccid="8949000000000000001", keys=KEYS)
PACKET = StoredPacket(
    id=UUID(int=1),
    iccid=CARD.iccid,
    key_index=1,
    counter=7,
    commands=2,
    packet=encode_command(b"\x80\xe4\x01\x00\x00" * 2, keys=KEYS, spi=CARD.spi, tar=CARD.tar, counter=7),
    prepared_at=datetime(2026, 11, 20, tzinfo=UTC),
    attempts=1,
)


def proof(
    status: ResponseStatus, data: bytes = b"", *, counter: int = 7, keys: KeySet | None = KEYS, tar: bytes = CARD.tar
) -> bytes:
    header = msgspec.structs.replace(peek_command(PACKET.packet), tar=tar)
    return wrap_response(encode_response(status, data, header=header, counter=counter, keys=keys))


def done(executed: int = 2, sw: int = 0x9000) -> bytes:
    return CompactResponse(executed, sw).encode()


def test_two_of_two_commands_done_is_done() -> None:
    outcome = judge(PACKET, CARD, [b"", proof(ResponseStatus.POR_OK, done())])
    assert (outcome.verdict, outcome.executed, outcome.sw) == (Verdict.DONE, 2, 0x9000)
    assert outcome.words == "the card ran 2 of 2 commands, the last with 9000: done"


def test_a_card_that_wants_to_refresh_has_done_its_work() -> None:
    assert judge(PACKET, CARD, [proof(ResponseStatus.POR_OK, done(sw=0x910B))]).verdict is Verdict.DONE


@pytest.mark.parametrize("answer", [done(1, 0x6A83), done(2, 0x6A80), done(1, 0x9000)])
def test_a_command_that_failed_is_named(answer: bytes) -> None:
    assert judge(PACKET, CARD, [proof(ResponseStatus.POR_OK, answer)]).verdict is Verdict.FAILED


def test_a_low_counter_on_the_first_attempt_is_a_refusal_and_on_a_retry_unknown() -> None:
    response = [proof(ResponseStatus.CNTR_LOW)]
    assert judge(PACKET, CARD, response).verdict is Verdict.REFUSED
    outcome = judge(msgspec.structs.replace(PACKET, attempts=2), CARD, response)
    assert outcome.verdict is Verdict.UNKNOWN
    assert "an earlier attempt may have acted" in outcome.words


@pytest.mark.parametrize("status", [status for status in ResponseStatus if status is not ResponseStatus.POR_OK])
def test_every_status_has_words(status: ResponseStatus) -> None:
    outcome = judge(PACKET, CARD, [proof(status)])
    assert outcome.verdict in (Verdict.REFUSED, Verdict.UNKNOWN)
    assert len(outcome.words) > 20


def test_of_two_answers_to_a_doubled_message_the_certain_one_counts() -> None:
    answers = [proof(ResponseStatus.CNTR_LOW), proof(ResponseStatus.POR_OK, done())]
    assert judge(PACKET, CARD, answers).verdict is Verdict.DONE
    assert judge(PACKET, CARD, answers[::-1]).verdict is Verdict.DONE


def test_what_anybody_could_have_sent_proves_nothing() -> None:
    for response in (
        b"",
        b"\x90\x00",
        proof(ResponseStatus.TAR_UNKNOWN, keys=None),
        proof(ResponseStatus.POR_OK, done(), counter=6),
        proof(ResponseStatus.POR_OK, done(), tar=b"\xb0\x00\x00"),
        proof(ResponseStatus.POR_OK, b"\x01"),
        proof(ResponseStatus.POR_OK, done(), keys=msgspec.structs.replace(KEYS, kid_key=bytes(16))),
    ):
        assert judge(PACKET, CARD, [response]).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"iccid": "12"}, "ICCID"),
        ({"spi": Spi(counter=CounterMode.NO_COUNTER)}, "replayed"),
        ({"spi": Spi(rc_cc_ds=Integrity.RC)}, "forged"),
        ({"keys": msgspec.structs.replace(KEYS, kic_key=bytes(15))}, "this one has 15"),
        ({"keys": msgspec.structs.replace(KEYS, kic=KeyByte(2, 2))}, "different key sets"),
    ],
)
def test_key_sets_that_cannot_protect_a_delivery_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        msgspec.structs.replace(CARD, **change)


def test_keys_are_in_no_repr() -> None:
    for hidden in (KEYS.kic_key, KEYS.kid_key):
        assert hidden.hex() not in repr(CARD)
        assert repr(hidden) not in repr(CARD)
