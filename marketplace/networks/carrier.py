"""The carrier of short messages to one's own cards: the `Carrier` of `ota.delivery`, by SMPP or over HTTP.

    carrier = open_carrier(settings.carrier, http, keys.secret("carrier").decode(), find_number, take)

SMPP (`smpp://system-id@host:port`, `smpps://` by TLS) is what short message centres speak; the secret is the account's
password, at most eight characters (SMPP v3.4 5.2.2). `?data-coding=4` is for a centre that refuses F6 of packets for
cards and wants SMPP's own word for binary; `validity-seconds` is how long the centre tries, `proof-seconds` how long
a card that has the packet may take to its proof. What cards say by themselves comes back there too, and goes to `take`.
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
from ota.smpp.carrier import PROOF_S, VALIDITY_S, SmppCarrier
from ota.smpp.esme import Centre

TIMEOUT_S: Final = 60.0
"""A concatenated message to a card in bad reception takes tens of seconds."""

SMPP_PORT: Final = 2775
"""Registered for SMPP; where the URL names none."""

WAITS_S: Final = range(1, 601)
"""Ten minutes at most: a card's other packets wait as long."""


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
        data_coding=_read_number(url.query, "data-coding", range(0x100), "try 4"),
    )
    validity_s = _read_number(url.query, "validity-seconds", WAITS_S, f"{VALIDITY_S:.0f} when left out")
    proof_s = _read_number(url.query, "proof-seconds", WAITS_S, f"{PROOF_S:.0f} when left out")
    return SmppCarrier(
        centre,
        find_number,
        take=take,
        sender=settings.sender,
        validity_s=validity_s or VALIDITY_S,
        proof_s=proof_s or PROOF_S,
    )


def _read_number(query: str, name: str, allowed: range, advice: str) -> int | None:
    asked = parse_qs(query).get(name)
    if asked is None:
        return None
    if not (asked[0].isascii() and asked[0].isdecimal()) or int(asked[0]) not in allowed:
        told = f"a number from {allowed.start} to {allowed.stop - 1}; {advice}"
        raise LandfallError(f"[carrier] url: {name} {asked[0]!r} is not {told}")
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
