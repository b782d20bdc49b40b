"""Sealing binds a payload to one key, request, ledger and sender."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota.sealing import SealContext, SealError, SealPrivateKey, SealPublicKey, SealSuite, open_sealed, seal

CONTEXT = SealContext(origin="landfall.test/log", visited="A1", request="018f-1")
KEYS = {suite: SealPrivateKey.generate(suite) for suite in SealSuite}
suites = pytest.mark.parametrize("suite", list(SealSuite))


@suites
def test_what_is_sealed_opens_with_the_private_key_and_the_same_context(suite: SealSuite) -> None:
    sealed = seal(b"profile", recipient=KEYS[suite].public_key(), info=CONTEXT)
    assert b"profile" not in sealed
    assert open_sealed(sealed, recipient=KEYS[suite], info=CONTEXT) == b"profile"


@suites
@pytest.mark.parametrize("field", ["origin", "visited", "request"])
def test_another_context_does_not_open_it(suite: SealSuite, field: str) -> None:
    sealed = seal(b"profile", recipient=KEYS[suite].public_key(), info=CONTEXT)
    other = msgspec.structs.replace(CONTEXT, **{field: "other"})
    with pytest.raises(SealError, match="does not open"):
        open_sealed(sealed, recipient=KEYS[suite], info=other)


def test_contexts_that_concatenate_alike_are_different() -> None:
    sealed = seal(b"x", recipient=KEYS[SealSuite.X25519].public_key(), info=CONTEXT)
    shifted = msgspec.structs.replace(CONTEXT, origin=CONTEXT.origin + "A", visited="1")
    with pytest.raises(SealError):
        open_sealed(sealed, recipient=KEYS[SealSuite.X25519], info=shifted)


@suites
def test_another_key_does_not_open_it(suite: SealSuite) -> None:
    sealed = seal(b"profile", recipient=KEYS[suite].public_key(), info=CONTEXT)
    with pytest.raises(SealError, match="another key or request"):
        open_sealed(sealed, recipient=SealPrivateKey.generate(suite), info=CONTEXT)


def test_a_key_of_another_suite_is_named() -> None:
    sealed = seal(b"profile", recipient=KEYS[SealSuite.X25519].public_key(), info=CONTEXT)
    with pytest.raises(SealError, match="sealed for a X25519 key, yours is MLKEM768_X25519"):
        open_sealed(sealed, recipient=KEYS[SealSuite.MLKEM768_X25519], info=CONTEXT)


@suites
def test_every_altered_byte_is_refused(suite: SealSuite) -> None:
    sealed = seal(b"profile", recipient=KEYS[suite].public_key(), info=CONTEXT)
    for at in range(0, len(sealed), 1 if suite is SealSuite.X25519 else 37):
        damaged = bytearray(sealed)
        damaged[at] ^= 1
        with pytest.raises(SealError):
            open_sealed(bytes(damaged), recipient=KEYS[suite], info=CONTEXT)


@suites
def test_keys_survive_their_bytes_and_keep_their_id(suite: SealSuite) -> None:
    private = KEYS[suite]
    public = private.public_key()
    assert SealPrivateKey.from_bytes(private.to_bytes()) == private
    assert SealPublicKey.from_bytes(public.to_bytes()) == public
    assert len(public.key_id) == 43
    assert private.raw.hex() not in repr(private)


def test_nobody_seals_to_a_weak_point() -> None:
    with pytest.raises(SealError, match="weak"):
        seal(b"x", recipient=SealPublicKey(SealSuite.X25519, bytes(32)), info=CONTEXT)


@given(st.binary(max_size=1400))
def test_random_bytes_are_a_seal_error(data: bytes) -> None:
    for candidate in (data, b"\x01" + data, b"\x02" + data):
        for suite in SealSuite:
            with pytest.raises(SealError):
                open_sealed(candidate, recipient=KEYS[suite], info=CONTEXT)
        for load in (SealPublicKey.from_bytes, SealPrivateKey.from_bytes):
            try:
                load(candidate)
            except SealError:
                continue
