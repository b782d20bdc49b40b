"""Provisioning in the HLR of one's own network, over HTTP.

    PUT    {url}/networks/{plmn}/subscribers/{imsi}      {"k", "opc" (hex), "msisdn", "algorithm"}    204; again is 204
    POST   {url}/networks/{plmn}/subscribers/{imsi}/bar                                            204

with the network's bearer token. Errors name status and code, never the IMSI or a key.
"""

from typing import Final

import httpx

from landfall.errors import LandfallError
from ota.profile import MobileProfile

TIMEOUT_S: Final = 10.0
"""Provisioning is a row in a database; one that takes longer is tried again as a task."""


class HlrError(LandfallError):
    """The HLR did not do it; says why and whether it may be tried again."""


class HlrClient:
    """The HLR of one network."""

    def __init__(self, http: httpx.AsyncClient, *, url: str, plmn: str, token: str) -> None:
        self._http = http
        self._base = f"{url.rstrip('/')}/networks/{plmn}/subscribers"
        self._headers = {"authorization": f"Bearer {token}"}
        self.plmn = plmn

    async def provision(self, profile: MobileProfile) -> None:
        """Enter a subscriber with its keys; again is harmless. Raises `HlrError`."""
        body = {
            "k": profile.k.hex(),
            "opc": profile.opc.hex(),
            "msisdn": (profile.msisdn or "").lstrip("+"),
            "algorithm": profile.algorithm,
        }
        await self._call("PUT", profile.imsi, body)

    async def bar(self, imsi: str) -> None:
        """Cut the subscriber off and keep it off. One that is not there counts as barred. Raises `HlrError`."""
        await self._call("POST", f"{imsi}/bar", None)

    async def _call(self, method: str, path: str, body: dict[str, str] | None) -> None:
        try:
            response = await self._http.request(
                method, f"{self._base}/{path}", json=body, headers=self._headers, timeout=TIMEOUT_S
            )
        except httpx.TransportError as error:
            raise HlrError(f"the HLR of {self.plmn} does not answer ({type(error).__name__}): start it") from None
        if response.status_code == 404 and method == "POST" and read_code(response) == "unknown-imsi":
            return
        if response.status_code >= 300:
            raise HlrError(f"the HLR of {self.plmn} answered {response.status_code} {read_code(response)}")


def read_code(response: httpx.Response) -> str:
    """The `code` of an RFC 9457 answer, or ''. Its detail is left alone: it may name a subscriber."""
    try:
        code = response.json().get("code", "")
    except (ValueError, AttributeError):
        return ""
    return code if isinstance(code, str) else ""
