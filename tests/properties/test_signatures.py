"""Signatures: one verdict on every octet string, the same as libsodium's, whoever made it."""

import nacl.bindings
import nacl.exceptions
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from settlement.ledger.signatures import SIGNATURE_SIZE, PrivateKey, is_signed, is_strong

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the prime-order group (RFC 8032 §5.1)."""
PRIME = 2**255 - 19
SMALL = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
"""The eight points of small order."""
POINTS = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.sampled_from(SMALL).map(bytes.fromhex),
    st.integers(PRIME, 2**255 - 1).map(lambda y: y.to_bytes(32, "little")),  # not canonical
)
SCALARS = st.one_of(
    st.binary(min_size=32, max_size=32), st.integers(0, 8 * ORDER).map(lambda s: (s % 2**256).to_bytes(32, "little"))
)


def libsodium_says(octets: bytes, signature: bytes, public: bytes) -> bool:
    try:
        nacl.bindings.crypto_sign_open(signature + octets, public)
    except (nacl.exceptions.BadSignatureError, ValueError):
        return False
    return True


@given(seed=st.binary(min_size=32, max_size=32), octets=st.binary(max_size=300))
def test_a_signature_is_what_every_implementation_makes(seed: bytes, octets: bytes) -> None:
    key = PrivateKey(seed)
    signature = key.sign(octets)
    assert signature == Ed25519PrivateKey.from_private_bytes(seed).sign(octets)
    assert len(signature) == SIGNATURE_SIZE
    assert is_signed(octets, signature, key.public)
    assert libsodium_says(octets, signature, key.public)
    assert is_strong(key.public)


@given(
    seed=st.binary(min_size=32, max_size=32),
    octets=st.binary(max_size=80),
    place=st.integers(0, 95),
    flip=st.integers(1, 255),
)
def test_a_changed_octet_of_signature_or_key_is_judged_as_libsodium_judges(
    seed: bytes, octets: bytes, place: int, flip: int
) -> None:
    key = PrivateKey(seed)
    both = bytearray(key.sign(octets) + key.public)
    both[place] ^= flip
    signature, public = bytes(both[:64]), bytes(both[64:])
    assert is_signed(octets, signature, public) == libsodium_says(octets, signature, public) is False


@given(point=POINTS, scalar=SCALARS, public=POINTS, octets=st.binary(max_size=80))
def test_points_and_scalars_of_any_kind_are_judged_as_libsodium_judges(
    point: bytes, scalar: bytes, public: bytes, octets: bytes
) -> None:
    assert is_signed(octets, point + scalar, public) == libsodium_says(octets, point + scalar, public)


@given(seed=st.binary(min_size=32, max_size=32), octets=st.binary(max_size=80), times=st.integers(1, 15))
def test_a_scalar_that_is_not_reduced_signs_nothing(seed: bytes, octets: bytes, times: int) -> None:
    key = PrivateKey(seed)
    signature = key.sign(octets)
    scalar = int.from_bytes(signature[32:], "little") + times * ORDER
    again = signature[:32] + (scalar % 2**256).to_bytes(32, "little")
    assert not is_signed(octets, again, key.public)
    assert not libsodium_says(octets, again, key.public)


@pytest.mark.parametrize("point", SMALL)
def test_a_key_of_small_order_signs_nothing(point: str) -> None:
    weak = bytes.fromhex(point)
    assert not is_strong(weak)
    for other in SMALL:  # [0]B = R + [k]A holds for many of these
        assert not is_signed(b"anything", bytes.fromhex(other) + bytes(32), weak)


@given(octets=st.binary(max_size=40), signature=st.binary(max_size=100), public=st.binary(max_size=40))
def test_what_has_the_wrong_size_is_by_nobody(octets: bytes, signature: bytes, public: bytes) -> None:
    assert not is_signed(octets, signature, public)


def test_a_seed_of_another_size_is_no_key() -> None:
    with pytest.raises(ValueError, match="32 octets"):
        PrivateKey(b"short")
