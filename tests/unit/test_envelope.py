"""Envelopes: one spelling of each thing, and whatever two readers could understand differently is refused."""

import base64
import json
from typing import Any

import pytest

from settlement.ledger.envelope import MAX_RAW, EnvelopeError, Signer, header, parse
from settlement.ledger.keys import from_base64url, to_base64url
from settlement.ledger.messages import AcceptRequest, Mint, PublishOffer
from settlement.money import MAX_AMOUNT
from tests.ledger_model import HOUR, ORIGIN, SDRT, Member, World, bundle, refused, seed_of, terms

SIGNER = Signer(seed_of("issuer"))
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the Ed25519 base point (RFC 8032 §5.1)."""


@pytest.fixture
def world() -> World:
    return World()


def base64url(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def signed(payload: bytes, head: bytes | None = None) -> bytes:
    """An envelope around any octets, with a good signature."""
    octets = (header(SIGNER.kid) if head is None else base64url(head)) + b"." + base64url(payload)
    return octets + b"." + base64url(SIGNER.key.sign(octets))


def mint(**changes: Any) -> dict[str, Any]:
    identity = "019520a5-0000-7000-8000-000000000001"
    fields = {"type": "mint", "id": identity, "aud": ORIGIN, "exp": 2**42, "to": "issuer", "amount": 1, "deposit": "a"}
    return {key: value for key, value in {**fields, **changes}.items() if value is not ...}


def test_what_is_signed_is_read_back() -> None:
    message = World().make(Mint, to="alfa", amount=5 * SDRT, deposit="4711")
    envelope = parse(SIGNER.sign(message))
    envelope.verify(SIGNER.public)
    assert (envelope.message, envelope.kid, envelope.id) == (message, SIGNER.kid, message.id)


def test_spaces_and_the_order_of_fields_are_the_senders_choice() -> None:
    text = json.dumps(dict(reversed(mint().items())), indent=2).encode()
    assert isinstance(parse(signed(text)).message, Mint)


@pytest.mark.parametrize(
    "changes",
    [
        {"more": 1},
        {"amount": ...},
        {"amount": -1},
        {"amount": 0},
        {"amount": MAX_AMOUNT + 1},
        {"amount": 2**64},
        {"amount": 10**400},
        {"amount": 1.0},
        {"amount": "1"},
        {"amount": True},
        {"amount": None},
        {"deposit": ""},
        {"deposit": "x" * 141},
        {"deposit": "a\0"},
        {"deposit": "a\n"},
        {"to": "Alfa"},
        {"to": "alfa\n"},
        {"to": "alfa\0"},
        {"exp": -1},
        {"exp": 2**48},
        {"aud": ""},
        {"id": "019520a5-0000-4000-8000-000000000001"},
        {"id": "{019520a5-0000-7000-8000-000000000001}"},
        {"id": 1},
        {"type": "burn"},
        {"type": ...},
    ],
)
def test_fields_out_of_bounds_are_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError) as caught:
        parse(signed(json.dumps(mint(**changes)).encode()))
    assert caught.value.code == "malformed"


def test_a_key_that_stands_twice_is_refused_at_any_depth() -> None:
    once = json.dumps(mint()).encode()
    parse(signed(once))
    with pytest.raises(EnvelopeError, match="twice"):
        parse(signed(once[:-1] + b', "amount": 2}'))
    with pytest.raises(EnvelopeError, match="twice"):
        parse(signed(once[:-1] + b', "\\u0061mount": 1}'))
    offer = World().make(PublishOffer, terms=terms(bundle(), name={"en": "A"}))
    text = from_base64url(Signer(seed_of("a")).sign(offer).split(b".")[1])
    for part, twice in ((b'"en":"A"', b'"en":"B","en":"A"'), (b'"hours":24', b'"hours":1,"hours":24')):
        assert part in text
        with pytest.raises(EnvelopeError, match="twice"):
            parse(signed(text.replace(part, twice)))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"{",
        b'"mint"',
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[" * 10_000,
        b'{"type":"mint"}',
        b"1e999",
    ],
)
def test_what_is_no_message_is_malformed(payload: bytes) -> None:
    with pytest.raises(EnvelopeError) as caught:
        parse(signed(payload))
    assert caught.value.code == "malformed"


@pytest.mark.parametrize(
    "head",
    [
        {"typ": "JWT", "alg": "EdDSA", "kid": SIGNER.kid},
        {"typ": "landfall+jws", "alg": "none", "kid": SIGNER.kid},
        {"typ": "landfall+jws", "alg": "ES256", "kid": SIGNER.kid},
        {"typ": "landfall+jws", "alg": "EdDSA"},
        {"typ": "landfall+jws", "alg": "EdDSA", "kid": SIGNER.kid, "crit": ["b64"], "b64": False},
        {"typ": "landfall+jws", "alg": "EdDSA", "kid": SIGNER.kid, "jwk": {}},
        {"typ": "landfall+jws", "alg": "EdDSA", "kid": "a\0" + "b" * 41},
        {"typ": "landfall+jws", "alg": "EdDSA", "kid": SIGNER.kid + "\n"},
        {"typ": "landfall+jws", "alg": "EdDSA", "kid": ""},
        [],
    ],
)
def test_a_header_says_typ_alg_and_kid_and_nothing_else(head: Any) -> None:
    with pytest.raises(EnvelopeError) as caught:
        parse(signed(json.dumps(mint()).encode(), json.dumps(head).encode()))
    assert caught.value.code == "malformed"


def test_a_header_with_a_key_twice_is_refused() -> None:
    head = b'{"typ":"landfall+jws","alg":"none","alg":"EdDSA","kid":"%s"}' % SIGNER.kid.encode()
    with pytest.raises(EnvelopeError, match="twice"):
        parse(signed(json.dumps(mint()).encode(), head))


# base64url


@pytest.mark.parametrize(
    "text",
    [
        b"AA==",
        b"AAA=",
        b"AAAA====",
        b"AB",
        b"AAB",
        b"A",
        b"AAAAA",
        b"+AAA",
        b"/AAA",
        b"A AA",
        b"AA\nA",
        b"AA.A",
        "ä".encode(),
    ],
)
def test_base64url_has_one_spelling(text: bytes) -> None:
    with pytest.raises(ValueError, match="base64url"):
        from_base64url(text)


@pytest.mark.parametrize("octets", [b"", b"\0", b"\0\0", b"\xff\xfe\xfd", bytes(range(256))])
def test_base64url_gives_its_octets_back(octets: bytes) -> None:
    assert from_base64url(to_base64url(octets).encode()) == octets


def test_no_part_of_an_envelope_may_be_padded_or_carry_stray_bits() -> None:
    parts = SIGNER.sign(World().make(Mint, to="alfa", amount=1, deposit="4711")).split(b".")
    for place in range(3):
        for spoilt in (parts[place] + b"=", parts[place] + b"==", parts[place][:-1], parts[place] + b"\n"):
            raw = b".".join(spoilt if at == place else part for at, part in enumerate(parts))
            with pytest.raises(EnvelopeError):
                parse(raw).verify(SIGNER.public)
    last = parts[2][-1:]
    assert last in b"AQgw", "64 octets leave four bits in the last character"
    stray = bytes([last[0] + 1])
    with pytest.raises(EnvelopeError, match="stray bits"):
        parse(b".".join((parts[0], parts[1], parts[2][:-1] + stray)))


# signatures


def test_a_tampered_envelope_does_not_verify(world: World) -> None:
    raw = SIGNER.sign(world.make(Mint, to="issuer", amount=1, deposit="a"))
    head, payload, signature = raw.split(b".")
    more = base64url(from_base64url(payload).replace(b'"amount":1', b'"amount":9'))
    assert world.send_raw(b".".join((head, more, signature))) == refused("bad-signature")
    assert world.send_raw(b".".join((head, payload, base64url(bytes(64))))) == refused("bad-signature")
    assert world.balance(world.issuer) == (0, 0, 0)


def test_a_signature_with_the_group_order_added_is_refused(world: World) -> None:
    raw = SIGNER.sign(world.make(Mint, to="issuer", amount=1, deposit="a"))
    signed_part, _, signature = raw.rpartition(b".")
    octets = from_base64url(signature)
    scalar = int.from_bytes(octets[32:], "little") + ORDER
    malleable = octets[:32] + scalar.to_bytes(32, "little")
    assert world.send_raw(signed_part + b"." + base64url(malleable)) == refused("bad-signature")
    assert world.send_raw(raw) != refused("bad-signature")


def test_anothers_key_in_the_header_does_not_verify(world: World) -> None:
    world.admit("alfa")
    alfa = Signer(seed_of("alfa"))
    octets = header(world.issuer.signer.kid) + b"." + base64url(json.dumps(mint()).encode())
    forged = octets + b"." + base64url(alfa.key.sign(octets))
    assert world.send_raw(forged) == refused("bad-signature")


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_has_64_octets(length: int) -> None:
    parts = signed(json.dumps(mint()).encode()).split(b".")
    with pytest.raises(EnvelopeError, match="64 octets"):
        parse(b".".join((*parts[:2], base64url(bytes(length)))))


@pytest.mark.parametrize("raw", [b"", b".", b"..", b"...", b"a.b", b"a.b.c.d"])
def test_an_envelope_has_three_parts(raw: bytes) -> None:
    with pytest.raises(EnvelopeError):
        parse(raw)


# size, audience, time


def sized(length: int) -> bytes:
    """An envelope of exactly so many octets, by spaces in its payload."""
    empty = len(signed(b""))
    room = (length - empty) // 4 * 3 + {0: 0, 2: 1, 3: 2}[(length - empty) % 4]
    raw = signed(json.dumps(mint()).encode().ljust(room))
    assert len(raw) == length
    return raw


def test_an_entry_is_as_large_as_a_bundle_can_hold_and_no_larger(world: World) -> None:
    fits = MAX_RAW if (MAX_RAW - len(signed(b""))) % 4 != 1 else MAX_RAW - 1
    assert world.send_raw(sized(fits)) not in (refused("too-large"), refused("malformed"))
    assert world.send_raw(sized(fits + 3)) == refused("too-large")
    with pytest.raises(EnvelopeError) as caught:
        SIGNER.sign(world.make(AcceptRequest, request=world.new_id(), payload="a" * 70_000))
    assert caught.value.code == "too-large"


def test_a_foreign_origin_is_refused(world: World) -> None:
    answer = world.send(world.issuer, Mint, to="issuer", amount=1, deposit="a", aud="ledger.example/other")
    assert answer == refused("wrong-audience")


def test_an_envelope_is_accepted_before_its_expiry_and_not_at_it(world: World) -> None:
    early, late = (
        SIGNER.sign(world.make(Mint, to="issuer", amount=1, deposit=deposit, exp=world.time + HOUR)) for deposit in "ab"
    )
    world.wait(HOUR - 1)
    assert not isinstance(world.send_raw(early), type(refused("expired")))
    world.wait(1)
    assert world.send_raw(late) == refused("expired")


def test_an_unknown_key_is_refused(world: World) -> None:
    assert world.send(Member("nobody"), Mint, to="issuer", amount=1, deposit="a") == refused("unknown-key")
