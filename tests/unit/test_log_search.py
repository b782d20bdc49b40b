"""What of a person stands in the log is found, whatever its form, and nothing else is."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota.scp80.digits import pack_digits
from settlement.ledger.keys import to_base64url
from simulator import log_book
from simulator.log_book import _Search

IMSI, KEY = "262990000000017", "00112233445566778899aabbccddeeff"


def envelope(text: str) -> bytes:
    return b"header." + to_base64url(text.encode()).encode() + b".signature"


def search(texts: list[str], *, secrets: list[str], plmns: list[str]) -> list[str]:
    found = _Search(secrets, plmns)
    for index, text in enumerate(texts):
        found.add(index, envelope(text))
    return found.finish()


@pytest.mark.parametrize(
    ("secret", "form"),
    [
        (IMSI, IMSI),
        (IMSI, IMSI.encode().hex()),
        (IMSI, pack_digits(IMSI).hex()),
        (IMSI, base64.b64encode(IMSI.encode()).decode()),
        (KEY, KEY),
        (KEY, KEY.encode().hex()),
        (KEY, base64.b64encode(KEY.encode()).decode().rstrip("=")),
        (KEY, KEY.upper()),
        (KEY, to_base64url(bytes.fromhex(KEY))),
        (KEY, base64.b64encode(b"k" + bytes.fromhex(KEY) + b"opc").decode()),
        (IMSI, pack_digits(IMSI).hex().upper()),
        (IMSI, to_base64url(b"ab" + pack_digits(IMSI) + b"c")),
    ],
)
def test_a_secret_is_found_in_the_entry_that_has_it(secret: str, form: str) -> None:
    texts = ["nothing", f'{{"user_id":"x{form}y"}}', "nothing either"]
    found = search(texts, secrets=["8988250000000000011", IMSI, KEY], plmns=["25099"])
    assert set(found) == {f"entry 1: a secret of {len(secret)} characters"}


def test_what_is_shaped_as_an_imsi_of_a_network_is_found() -> None:
    texts = ["262990000000017", "x262990000000017", "2629900000000171", '"262990000000018"', "262980000000017"]
    found = search(texts, secrets=[], plmns=["26299"])
    assert found == [f"entry {index}: what looks like an IMSI, 262990…" for index in (0, 3)]


@given(st.lists(st.text(max_size=40), max_size=30), st.integers(0, 29), st.integers(1, 5))
def test_heaps_change_nothing(texts: list[str], place: int, heap: int) -> None:
    texts = [text.replace(KEY, "") for text in texts]
    planted = [text + KEY if index == place else text for index, text in enumerate(texts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_book, "HEAP", heap)
        found = search(planted, secrets=[KEY], plmns=["26299"])
    assert set(found) == ({f"entry {place}: a secret of 32 characters"} if place < len(texts) else set())
