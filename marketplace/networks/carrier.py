"""The carrier of short messages to one's own cards, over HTTP: the `Carrier` of `ota.delivery`.

    POST {url}/sms/{iccid}     {"tpdus": [hex, …]}      200 {"responses": [hex, …], "submitted": [hex, …]}

with a bearer token. 409 `absent-subscriber`: the same octets again later.
"""

from collections.abc import Sequence
from typing import Final

import httpx

from marketplace.networks.hlr import read_code
from ota.delivery import AbsentCard, Attempt, CarrierError

TIMEOUT_S: Final = 60.0
"""A concatenated message to a card in bad reception takes tens of seconds."""


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
