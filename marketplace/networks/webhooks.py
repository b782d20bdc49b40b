"""Signed webhooks, both ways, in Standard Webhooks form (standardwebhooks.com, specification 1.0).

    headers = sign(secret, message_id, body)                 # webhook-id, webhook-timestamp, webhook-signature
    message_id = verify(secret, request.headers, body)       # raises BadWebhook

The signature is `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`; the header may hold several, divided by
spaces, while a secret is being replaced. Who receives remembers ids: a message may come more than once.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Final

TOLERANCE_S: Final = 300
"""How old or early a timestamp may be, as the specification's own libraries have it: clocks differ, replays age."""


class BadWebhook(ValueError):  # noqa: N818 - what it is
    """A webhook without a fitting, fresh signature; says which."""


def sign(secret: bytes, message_id: str, body: bytes, *, at: int | None = None) -> dict[str, str]:
    """The three headers of a message; `at` in seconds since the epoch, by default now."""
    timestamp = str(int(time.time()) if at is None else at)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{_mac(secret, message_id, timestamp, body)}",
    }


def verify(secret: bytes, headers: Mapping[str, str], body: bytes, *, now: float | None = None) -> str:
    """The message's id, if one of its signatures fits and its time is near. Raises `BadWebhook`."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not timestamp.isascii() or not timestamp.isdecimal():
        raise BadWebhook("webhook-id or webhook-timestamp is missing or no number")
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE_S:
        raise BadWebhook(f"webhook-timestamp {timestamp} is more than {TOLERANCE_S} s away: check both clocks")
    expected = _mac(secret, message_id, timestamp, body).encode()
    for offered in headers.get("webhook-signature", "").split():
        version, _, value = offered.partition(",")
        if version == "v1" and hmac.compare_digest(value.encode(), expected):
            return message_id
    raise BadWebhook("no webhook-signature fits: check the secret, and that the body is signed as it is sent")


def _mac(secret: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
