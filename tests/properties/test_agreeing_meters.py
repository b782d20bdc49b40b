"""Whatever is posted to a meter: only its device is heard, counters only go up, replays change nothing."""

import itertools
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from marketplace.agreeing.meters import Reading, Stored, check_next
from marketplace.operator_problems import Refusal
from settlement.evidence import Metered

REQUEST = UUID(int=9)
DEVICE, OTHER = SigningKey(bytes(32)), SigningKey(bytes([1]) * 32)
NOW = 29_900_000


def sign(minute: int, octets: int, seconds: int, messages: int, *, key: SigningKey = DEVICE) -> Reading:
    fields: dict[str, Any] = {"request": REQUEST, "minute": minute, "octets": octets, "seconds": seconds}
    fields["messages"] = messages
    unsigned = Metered(**fields, signature=b"")
    return Reading(**fields, signature=key.sign(unsigned.signed_octets).signature)


def store(reading: Reading) -> Stored:
    return Stored(**{name: getattr(reading, name) for name in reading.__struct_fields__}, key=bytes(DEVICE.verify_key))


def refuses(act: Callable[[], object]) -> str | None:
    try:
        act()
    except Refusal as refusal:
        return refusal.code
    return None


SMALL = st.integers(0, 6)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(NOW - 5, NOW + 20), SMALL, SMALL, SMALL, st.booleans()), max_size=12))
def test_what_is_kept_is_the_devices_own_and_only_goes_up(posts: list[tuple[int, int, int, int, bool]]) -> None:
    kept: list[Stored] = []
    for minute, octets, seconds, messages, honest in posts:
        reading = sign(minute, octets, seconds, messages, key=DEVICE if honest else OTHER)
        last = kept[-1] if kept else None
        try:
            new = check_next(last, reading, bytes(DEVICE.verify_key), now_minute=NOW)
        except Refusal:
            continue
        assert honest
        if new:
            kept.append(store(reading))
        else:
            assert kept[-1] == store(reading)
        for old in kept[:-1]:
            again = Reading(**{name: getattr(old, name) for name in Reading.__struct_fields__})
            code = refuses(lambda again=again: check_next(kept[-1], again, None, now_minute=NOW))  # type: ignore[misc]
            assert code == "wrong-state", "an older one, played again"
    for one, other in itertools.pairwise(kept):
        assert one.minute < other.minute <= NOW + 15
        assert all(getattr(one, name) <= getattr(other, name) for name in ("octets", "seconds", "messages"))


@settings(max_examples=100, deadline=None)
@given(SMALL, SMALL, st.sampled_from(["minute", "octets", "seconds", "messages"]), st.integers(1, 5))
def test_a_reading_that_was_touched_is_nobodys(octets: int, seconds: int, field: str, more: int) -> None:
    reading = sign(NOW, octets, seconds, 0)
    touched = msgspec.structs.replace(reading, **{field: getattr(reading, field) + more})
    assert refuses(lambda: check_next(None, touched, bytes(DEVICE.verify_key), now_minute=NOW)) == "bad-signature"
    assert refuses(lambda: check_next(None, reading, None, now_minute=NOW)) == "bad-signature", "nobody is enrolled"
    assert check_next(None, reading, bytes(DEVICE.verify_key), now_minute=NOW)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_are_a_reading_or_refused(octets: bytes) -> None:
    try:
        reading = msgspec.json.decode(octets, type=Reading)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    assert reading.octets >= 0
