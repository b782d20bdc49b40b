"""IPA, the framing beneath Osmocom's GSUP and CTRL: two octets of length, one of protocol, then so many octets.

    writer.write(encode_frame(OSMO, bytes((GSUP,)) + message))
    protocol, payload = await read_frame(reader)

Protocol OSMO carries extensions, named by the payload's first octet; CCM is the link's own business: who is there
(`answer_identity`) and whether it still is (`PING`, `PONG`).
"""

from __future__ import annotations

import asyncio
from typing import Final

OSMO: Final = 0xEE
CCM: Final = 0xFE
# Extensions of OSMO.
CTRL: Final = 0x00
GSUP: Final = 0x05
# Messages of CCM.
PING: Final = 0x00
PONG: Final = 0x01
IDENTITY_REQUEST: Final = 0x04
_IDENTITY_RESPONSE: Final = 0x05
_SERIAL_NUMBER, _UNIT_NAME, _UNIT_ID = 0x00, 0x01, 0x08
# A unit id has the form site/transceiver/…: osmo-hlr wants one, and goes by the serial number.
_NO_UNIT: Final = "0/0/0"
PAYLOAD_MAX: Final = 0xFFFF
"""What two octets of length can say."""


def encode_frame(protocol: int, payload: bytes) -> bytes:
    """One frame; `ValueError` where the payload is longer than a frame's length can say."""
    if len(payload) > PAYLOAD_MAX:
        raise ValueError(f"{len(payload)} octets are too long for an IPA frame: at most {PAYLOAD_MAX}")
    return len(payload).to_bytes(2, "big") + bytes((protocol,)) + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Protocol and payload of the next frame; `asyncio.IncompleteReadError` where the connection ends."""
    header = await reader.readexactly(3)
    return header[2], await reader.readexactly(int.from_bytes(header[:2], "big"))


def answer_identity(name: str) -> bytes:
    """The frame that tells an asking server who we are; it knows its clients apart by `name`."""
    objects = ((_UNIT_ID, _NO_UNIT), (_UNIT_NAME, name), (_SERIAL_NUMBER, name))
    body = bytes((_IDENTITY_RESPONSE,))
    for tag, text in objects:
        value = text.encode("ascii") + b"\0"
        body += (len(value) + 1).to_bytes(2, "big") + bytes((tag,)) + value
    return encode_frame(CCM, body)
