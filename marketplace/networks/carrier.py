"""The carrier of short messages to one's own cards: the `Carrier` of `ota.delivery`, by SMPP or over HTTP.

    carrier = open_carrier(settings.carrier, http, keys.secret("carrier").decode(), find_number, take)

SMPP (`smpp://system-id@host:port`, `smpps://` by TLS) is what short message centres speak; the secret is the account's
password, at most eight characters (SMPP v3.4 5.2.2). `?data-coding=4` is for a centre that refuses F6 of packets for
cards and wants SMPP's own word for binary. What cards say by themselves comes back there too, and goes to `take`.
Over HTTP a card is known by its ICCID, whatever its number, and answers within the call:

    POST {url}/sms/{iccid}     {"tpdus": [hex, …]}      200 {"responses": [hex, …], "submitted": [hex, …]}

with a bearer token. 409 `absent-subscriber`: the same octets again later.
"""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx

from landfall.errors import LandfallError
from marketplace.networks.hlr import read_code
from marketplace.operator_settings import CarrierSettings
from ota.delivery import AbsentCard, Attempt, CarrierError
from ota.smpp.carrier import SmppCarrier
from ota.smpp.esme import Centre

TIMEOUT_S: Final = 60.0
"""A concatenated message to a card in bad reception takes tens of seconds."""

SMPP_PORT: Final = 2775
"""Registered for SMPP; where the URL names none."""


def open_carrier(
    settings: CarrierSettings,
    http: httpx.AsyncClient,
    secret: str,
    find_number: Callable[[str], Awaitable[str]],
    take: Callable[[str, bytes], Awaitable[None]] | None = None,
) -> "HttpCarrier | SmppCarrier":
    """The carrier that the settings name. An SMPP one wants to be run.

    `find_number(iccid)` is the number a card has now; `take(sender, user_data)` gets what a card says by itself.
    """
    url = urlsplit(settings.url)
    if url.scheme not in ("smpp", "smpps"):
        return HttpCarrier(http, url=settings.url, token=secret)
    tls = ssl.create_default_context(cafile=settings.ca) if url.scheme == "smpps" else None
    centre = Centre(
        host=url.hostname or "",
        port=url.port or SMPP_PORT,
        system_id=url.username or "",
        password=secret,
        tls=tls,
        data_coding=_read_coding(url.query),
    )
    return SmppCarrier(centre, find_number, take=take, sender=settings.sender)


def _read_coding(query: str) -> int | None:
    asked = parse_qs(query).get("data-coding")
    if asked is None:
        return None
    if not asked[0].isdecimal() or int(asked[0]) > 0xFF:
        raise LandfallError(f"[carrier] url: data-coding {asked[0]!r} is not a number from 0 to 255; try 4")
    return int(asked[0])


class HttpCarrier:
    """Sends SMS-DELIVER TPDUs to a card and hands back what it answered."""

    may_double = False
    """The card answers within the call."""

    def __init__(self, http: httpx.AsyncClient, *, url: str, token: str) -> None:
        self._http = http
        self._base = f"{url.rstrip('/')}/sms"
        self._headers = {"authorization": f"Bearer {token}"}

    async def send(self, iccid: str, tpdus: Sequence[bytes], attempt: Attempt) -> list[bytes]:
        """One response a TPDU (b"" for none), then what the card submitted itself. Raises `CarrierError`."""
        try:
            response = await self._http.post(
                f"{self._base}/{iccid}",
                json={"tpdus": [tpdu.hex() for tpdu in tpdus]},
                headers=self._headers,
                timeout=TIMEOUT_S,
            )
        except httpx.TransportError as error:
            raise CarrierError(f"the carrier does not answer ({type(error).__name__}): start it") from None
        code = read_code(response) if response.status_code >= 400 else ""
        if code == "absent-subscriber":
            raise AbsentCard("the phone is off or out of reach")
        if response.status_code != 200:
            raise CarrierError(f"the carrier answered {response.status_code} {code}")
        return [bytes.fromhex(text) for text in response.json()["responses"]]
