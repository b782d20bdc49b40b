"""Round trips for every combination of parameters, and decoders that survive random bytes."""

import contextlib
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ota.profile import MobileProfile, ProfileError, SlotEntry, encode_slot_list, parse_slot_list
from ota.scp80 import packet, remote, sms, tlv
from ota.scp80.crypto import KEY_BYTES
from ota.scp80.packet import CommandHeader, KeySet, SecurityFailure
from ota.scp80.parameters import (
    COUNTER_MAX,
    CipherAlgorithm,
    CounterMode,
    Integrity,
    KeyByte,
    Por,
    RedundancyCheck,
    ResponseStatus,
    ScpError,
    Spi,
)

octets = st.binary(max_size=400)
checked = st.sampled_from([Integrity.NO_RC_CC_DS, Integrity.RC, Integrity.CC])
spis = st.builds(
    Spi,
    counter=st.sampled_from(CounterMode),
    ciphering=st.booleans(),
    rc_cc_ds=checked,
    por=st.sampled_from(Por),
    por_rc_cc_ds=checked,
    por_shall_be_ciphered=st.booleans(),
    por_in_submit=st.booleans(),
)


@st.composite
def protections(draw: st.DrawFn) -> tuple[Spi, KeySet]:
    """An SPI and a key set that can serve it: every algorithm and key length."""
    spi = draw(spis)
    cipher, check = draw(st.sampled_from(CipherAlgorithm)), draw(st.sampled_from(CipherAlgorithm))
    kid_nibble: int = check
    if spi.rc_cc_ds is Integrity.RC:
        # One half byte names both the CRC of the command and the checksum of its proof of receipt.
        kid_nibble = draw(st.sampled_from(RedundancyCheck))
        check = CipherAlgorithm(kid_nibble)
    index = draw(st.integers(0, 15))
    keys = KeySet(
        kic=KeyByte(index, cipher),
        kid=KeyByte(index, kid_nibble),
        kic_key=draw(st.sampled_from(KEY_BYTES[cipher]).flatmap(lambda size: st.binary(min_size=size, max_size=size))),
        kid_key=draw(st.sampled_from(KEY_BYTES[check]).flatmap(lambda size: st.binary(min_size=size, max_size=size))),
    )
    return spi, keys


@given(protections(), octets, st.binary(min_size=3, max_size=3), st.integers(1, COUNTER_MAX))
def test_a_command_packet_comes_back_whatever_its_parameters(
    protection: tuple[Spi, KeySet], data: bytes, tar: bytes, counter: int
) -> None:
    spi, keys = protection
    encoded = packet.encode_command(data, keys=keys, spi=spi, tar=tar, counter=counter)
    command = packet.decode_command(encoded, keys, last_counter=counter - 1)
    assert (command.data, command.counter) == (data, counter)
    assert command.header == CommandHeader(spi, keys.kic, keys.kid, tar)
    if spi.counter in (CounterMode.COUNTER_MUST_BE_HIGHER, CounterMode.COUNTER_MUST_BE_LOWER):
        with pytest.raises(SecurityFailure) as refusal:
            packet.decode_command(encoded, keys, last_counter=counter)
        blocked = counter == COUNTER_MAX
        assert refusal.value.status is (ResponseStatus.CNTR_BLOCKED if blocked else ResponseStatus.CNTR_LOW)


@given(protections(), octets, st.sampled_from(ResponseStatus), st.integers(0, COUNTER_MAX))
def test_a_proof_of_receipt_comes_back_whatever_its_parameters(
    protection: tuple[Spi, KeySet], data: bytes, status: ResponseStatus, counter: int
) -> None:
    spi, keys = protection
    header = CommandHeader(spi, keys.kic, keys.kid, b"LFM")
    encoded = packet.encode_response(status, data, header=header, counter=counter, keys=keys)
    proof = packet.decode_response(encoded, keys=keys, spi=spi)
    assert (proof.status, proof.data, proof.counter, proof.tar) == (status, data, counter, b"LFM")


@given(protections(), octets, st.data())
def test_no_flipped_bit_passes_a_cryptographic_checksum(
    protection: tuple[Spi, KeySet], data: bytes, draw: st.DataObject
) -> None:
    spi, keys = protection
    if spi.rc_cc_ds is not Integrity.CC:
        return
    encoded = bytearray(packet.encode_command(data, keys=keys, spi=spi, tar=b"LFM", counter=5))
    bit = draw.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        command = packet.decode_command(bytes(encoded), keys, last_counter=4)
    except ScpError:
        return
    # The flip switched the check off in the SPI itself; the card's minimum security level refuses that.
    assert command.header.spi.rc_cc_ds is not Integrity.CC


@given(octets, protections(), st.integers(0, COUNTER_MAX))
@example(b"", (Spi(), KeySet(kic=KeyByte(0, 0), kid=KeyByte(0, 0))), 0)
def test_random_bytes_are_a_typed_error_or_a_packet(
    data: bytes, protection: tuple[Spi, KeySet], last_counter: int
) -> None:
    spi, keys = protection
    framed = len(data).to_bytes(2, "big") + data
    for candidate in (data, framed):
        for decode in (
            lambda candidate=candidate: packet.decode_command(candidate, keys, last_counter=last_counter),
            lambda candidate=candidate: packet.decode_response(candidate, keys=keys, spi=spi),
        ):
            with contextlib.suppress(ScpError):
                decode()


@given(octets)
def test_random_bytes_in_any_decoder_are_a_typed_error(data: bytes) -> None:
    decoders = (
        sms.parse_deliver,
        sms.parse_submit,
        sms.parse_envelope,
        sms.parse_user_data,
        sms.unwrap_response,
        sms.Reassembler().add,
        tlv.decode_tlvs,
        remote.split_commands,
        remote.decode_script,
        remote.CompactResponse.decode,
        remote.ExpandedResponse.decode,
        MobileProfile.decode,
        MobileProfile.from_slot_tlv,
        parse_slot_list,
    )
    for decode in decoders:
        for candidate in (data, tlv.encode_tlv(0xD1, data), tlv.encode_tlv(0xE1, data), b"\x40" + data, b"\x01" + data):
            with contextlib.suppress(ScpError):
                decode(candidate)


@given(st.binary(max_size=2000), st.randoms(use_true_random=False), st.integers(0, 255))
def test_parts_come_together_in_any_order_and_doubled(data: bytes, shuffle: random.Random, reference: int) -> None:
    secured = len(data).to_bytes(2, "big") + data
    tpdus = sms.build_delivers(secured, originator="+4366412345", timestamp=bytes(7), reference=reference)
    assert all(len(sms.parse_deliver(tpdu).user_data) <= sms.USER_DATA_BYTES for tpdu in tpdus)
    last = shuffle.randrange(len(tpdus))
    others = [tpdu for number, tpdu in enumerate(tpdus) if number != last]
    early = others + [tpdu for tpdu in others if shuffle.random() < 0.5]
    shuffle.shuffle(early)
    reassembler = sms.Reassembler()
    for tpdu in early:
        assert reassembler.add(sms.parse_deliver(tpdu).user_data) is None
    assert reassembler.add(sms.parse_deliver(tpdus[last]).user_data) == (sms.IEI_COMMAND, secured)


@given(st.binary(max_size=600), st.integers(0, 255))
def test_a_proof_of_receipt_travels_in_submits(data: bytes, reference: int) -> None:
    reassembler = sms.Reassembler()
    whole = None
    for tpdu in sms.build_submits(data, destination="12345", reference=reference):
        message = sms.parse_submit(tpdu)
        assert message.destination == "12345"
        whole = reassembler.add(message.user_data)
    assert whole == (sms.IEI_RESPONSE, data)


digits = st.text("0123456789")
plmns = st.from_regex(r"\A[0-9]{5,6}\Z")


@st.composite
def profiles(draw: st.DrawFn) -> MobileProfile:
    """Any mobile profile."""
    plmn = draw(plmns)
    return MobileProfile(
        imsi=plmn + draw(st.text("0123456789", min_size=1, max_size=15 - len(plmn))),
        k=draw(st.binary(min_size=16, max_size=16)),
        opc=draw(st.binary(min_size=16, max_size=16)),
        plmn=plmn,
        spn=draw(st.text(st.characters(codec="utf-8"), max_size=16)),
        acc=draw(st.integers(0, 0xFFFF)),
        smsc="+" + draw(st.text("0123456789", min_size=5, max_size=15)),
        coverage=tuple(draw(st.lists(st.from_regex(r"\A([0-9]{3}|[0-9]{5,6})\Z"), max_size=85))),
        msisdn=draw(st.none() | st.from_regex(r"\A\+[0-9]{5,15}\Z")),
        iccid=draw(st.none() | st.from_regex(r"\A[0-9]{18,20}\Z")),
        sqn=draw(st.integers(0, (1 << 48) - 1)),
    )


@given(profiles())
def test_a_profile_comes_back_from_its_sealed_form_and_from_its_slot(profile: MobileProfile) -> None:
    assert MobileProfile.decode(profile.encode()) == profile
    assert MobileProfile.from_slot_tlv(profile.to_slot_tlv()) == profile


@given(profiles(), st.data())
def test_a_damaged_slot_is_a_profile_error_or_another_profile(profile: MobileProfile, draw: st.DataObject) -> None:
    damaged = bytearray(profile.to_slot_tlv())
    damaged[draw.draw(st.integers(0, len(damaged) - 1))] ^= draw.draw(st.integers(1, 255))
    with contextlib.suppress(ProfileError):
        MobileProfile.from_slot_tlv(bytes(damaged))


@given(st.lists(st.builds(SlotEntry, st.integers(0, 15), st.booleans(), plmns, st.binary(min_size=4, max_size=4))))
def test_a_slot_list_comes_back(entries: list[SlotEntry]) -> None:
    assert parse_slot_list(encode_slot_list(entries)) == tuple(entries)
