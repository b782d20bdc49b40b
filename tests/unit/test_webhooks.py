"""Signed webhooks: only fresh ones by who knows the secret."""

import pytest

from marketplace.networks.webhooks import TOLERANCE_S, BadWebhook, sign, verify

BODY, SECRET, NOW = b'{"payment": "1"}', b"shared secret", 1_800_000_000


def test_a_signed_message_verifies_and_tells_its_id() -> None:
    assert verify(SECRET, sign(SECRET, "msg_1", BODY, at=NOW), BODY, now=NOW) == "msg_1"


def test_the_signature_is_that_of_the_specification() -> None:
    # The example of the Standard Webhooks specification, its whsec_ secret in octets.
    import base64

    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', at=1614265330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("change", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_changed_or_missing_header_does_not(change: str) -> None:
    headers = sign(SECRET, "msg_1", BODY, at=NOW)
    for value in (headers[change][:-1] + "7" if change != "webhook-signature" else "v1,AAAA", ""):
        with pytest.raises(BadWebhook):
            verify(SECRET, {**headers, change: value}, BODY, now=NOW)


def test_another_body_or_secret_does_not() -> None:
    headers = sign(SECRET, "msg_1", BODY, at=NOW)
    with pytest.raises(BadWebhook):
        verify(SECRET, headers, BODY + b" ", now=NOW)
    with pytest.raises(BadWebhook):
        verify(b"other", headers, BODY, now=NOW)


def test_an_old_message_is_not_taken_again() -> None:
    headers = sign(SECRET, "msg_1", BODY, at=NOW)
    verify(SECRET, headers, BODY, now=NOW + TOLERANCE_S)
    with pytest.raises(BadWebhook, match="clocks"):
        verify(SECRET, headers, BODY, now=NOW + TOLERANCE_S + 1)


def test_one_of_several_signatures_is_enough_while_a_secret_is_replaced() -> None:
    old, new = sign(b"old", "msg_1", BODY, at=NOW), sign(SECRET, "msg_1", BODY, at=NOW)
    both = f"{old['webhook-signature']} v2,x {new['webhook-signature']}"
    assert verify(SECRET, {**new, "webhook-signature": both}, BODY, now=NOW) == "msg_1"
