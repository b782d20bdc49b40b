"""Whatever bytes come, the card answers with a status word, keeps its state, and shows no key."""

from __future__ import annotations

import contextlib

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ota.profile import MULTI_ACCOUNT_AID, MULTI_ACCOUNT_TAR, MobileProfile, list_slots, store_slot
from ota.scp80.packet import KeySet, encode_command
from ota.scp80.parameters import KeyByte, ScpError, Spi
from ota.scp80.remote import join_commands
from ota.scp80.report import decode_report, peek_report
from ota.scp80.sms import build_delivers, build_envelope
from simcard.uicc import Card, personalise
from simcard.uicc.files import ADM1

KEYS = KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=bytes(range(0x90, 0xA0)), kid_key=bytes(range(0xA0, 0xB0)))


def make_profile(imsi: str, plmn: str) -> MobileProfile:
    return MobileProfile(
        imsi=imsi,
        k=bytes(range(0xC0, 0xD0)),
        opc=bytes(range(0xD0, 0xE0)),
        plmn=plmn,
        spn="Net",
        acc=1,
        smsc="+79990000000",
        coverage=(plmn[:3],),
    )


HOME, ABROAD = make_profile("250990000000001", "25099"), make_profile("262011234567890", "26201")
SECRETS = (KEYS.kic_key, KEYS.kid_key, HOME.k, HOME.opc)


def make_card() -> Card:
    return personalise(iccid="8970199000000000017", home=HOME, ota=[KEYS], adm="12345678")


def envelope(tpdu: bytes) -> bytes:
    data = build_envelope(tpdu, smsc="+79990000000")
    return bytes((0x80, 0xC2, 0, 0, len(data))) + data


def packets(counter: int) -> list[bytes]:
    data = join_commands([*store_slot(1, ABROAD), list_slots()])
    packet = encode_command(data, keys=KEYS, spi=Spi(), tar=MULTI_ACCOUNT_TAR, counter=counter)
    return build_delivers(packet, originator="+79990000001", timestamp=bytes(7), reference=counter)


def store_named(drawn: tuple[int, str]) -> str:
    """STORE SLOT with a profile of that name, in one block."""
    slot, name = drawn
    return store_slot(slot, msgspec.structs.replace(ABROAD, spn=name))[0].hex()


FIDS = st.sampled_from(
    "3f00 2f00 2fe2 2f06 7fff 7f10 7f20 a515 5f3b 5fc0 6f07 6f08 6f20 6f39 6f3a 6f3c "
    "6f40 6f42 6f7b 6fad 6fe4 af20 4f03".split()
)
SENSIBLE = st.one_of(
    st.sampled_from(
        [
            "00a4040007a0000000871002",
            f"00a4040010{MULTI_ACCOUNT_AID.hex()}",
            "00a4040007a0000000871004",
            "0020000a083132333435363738",
            "a020000a083132333435363738",
            "0070000001",
            "00708001",
            "8010000008ffffffffffffffff",
            "80c2000009d70782028281a40101",
            "80c2000009d30782020181900101",
            "80c2000015d61399010382028281" + "9b0100" + "930762f21000010001",
            "801200000b",
            "80f2000c",
            "80f2000000",
            "80140000118103012600820282818301009307",
            "801400001581030126008202828183010093075262f21000010001",
            "8044010000",
            "80e4010000",
        ]
    ),
    st.tuples(st.integers(1, 15), st.text(max_size=16)).map(store_named),
    st.just("8078000100"),
    FIDS.map(lambda fid: f"00a4000402{fid}"),
    FIDS.map(lambda fid: f"a0a4000002{fid}"),
    st.tuples(
        st.sampled_from(["00", "01", "80", "a0"]),
        st.sampled_from(["b0", "b2", "d6", "dc", "c0", "88", "a2", "32", "f2", "70"]),
        st.binary(min_size=3, max_size=40),
    ).map(lambda drawn: f"{drawn[0]}{drawn[1]}{drawn[2].hex()}"),
).map(bytes.fromhex)
NOISE = st.tuples(st.sampled_from([0x00, 0x01, 0x80, 0xA0]), st.binary(max_size=60)).map(
    lambda drawn: bytes((drawn[0],)) + drawn[1]
)
BROKEN_SMS = st.tuples(st.integers(0, 200), st.integers(1, 255), st.integers(1, 9)).map(
    lambda drawn: flip(packets(drawn[2])[0], drawn[0], drawn[1])
)


def flip(tpdu: bytes, at: int, bits: int) -> bytes:
    changed = bytearray(tpdu)
    changed[at % len(changed)] ^= bits
    return envelope(bytes(changed))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(SENSIBLE, NOISE, st.binary(max_size=60), BROKEN_SMS), max_size=40))
def test_any_bytes_get_a_status_word_and_counters_only_rise(apdus: list[bytes]) -> None:
    card = make_card()
    state = card._state
    counter, sequence, opened = 0, 0, False
    for apdu in apdus:
        answer = card.transmit(apdu)
        assert len(answer) >= 2
        assert answer[-2] >> 4 in (6, 9)
        assert not any(secret in answer for secret in SECRETS)
        assert state.ota[1].counter >= counter
        counter = state.ota[1].counter
        home = state.accounts.slots[0]
        if ADM1 not in card._channels.verified and home.profile == HOME:
            assert home.sequence.highest >= sequence
            sequence = home.sequence.highest
        opened = opened or ADM1 in card._channels.verified
        assert opened or home.profile == HOME
        assert state.accounts.enabled in state.accounts.slots


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(6)), st.data())
def test_packets_have_their_effect_at_most_once_in_whatever_order_they_come(
    order: list[int], data: st.DataObject
) -> None:
    card = make_card()
    sent = [packets(counter + 1) for counter in range(6)]
    accepted = []
    for number in [*order, *order]:
        before = card._state.ota[1].counter
        for tpdu in data.draw(st.permutations(sent[number])):
            card.transmit(envelope(tpdu))
        if card._state.ota[1].counter != before:
            accepted.append(number + 1)
    assert accepted == sorted(set(accepted))
    assert accepted[-1] == 6


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_make_a_report_or_a_clear_error(data: bytes) -> None:
    for read in (peek_report, lambda raw: decode_report(raw, KEYS)):
        with contextlib.suppress(ScpError):
            read(data)
