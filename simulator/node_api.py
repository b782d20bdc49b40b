"""One operator's node as its own staff use it: its HTTP API, nothing else.

answer = await node.post("/purchases", {"subscriber": …})          # raises NodeError with the node's own words
done = await node.wait("/purchases/…", lambda view: view["state"] == "placed", "the purchase is placed")
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from simulator.processes import NodeError

CALL_TIMEOUT_S: Final = 30.0
WAIT_S: Final = 30.0
"""What nodes do by themselves takes parts of a second; what takes this long does not happen."""
POLL_S: Final = 0.05
MOST_POLL_S: Final = 0.5


class Refused(NodeError):  # noqa: N818 - what the node did
    """The node said no; `code` is the problem's."""

    def __init__(self, node: str, call: str, response: httpx.Response) -> None:
        problem = _problem(response)
        self.code = str(problem.get("code", ""))
        self.detail = str(problem.get("detail", response.text[:500]))
        super().__init__(f"{node} answered {response.status_code} {self.code} to {call}: {self.detail}")


class NodeApi:
    """The API of one operator's node."""

    def __init__(self, operator: str, url: str, token: str) -> None:
        self.operator = operator
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {token}"},
            timeout=CALL_TIMEOUT_S,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, path: str, **params: str | int) -> Any:
        """GET as JSON. Raises `Refused`."""
        return await self._call("GET", path, params=params)

    async def get_octets(self, path: str, **params: str | int) -> bytes:
        """GET a file. Raises `Refused`."""
        return (await self._send("GET", path, params=params)).content

    async def post(self, path: str, body: Any = None) -> Any:
        """POST JSON, answered by JSON. Raises `Refused`."""
        return await self._call("POST", path, **({} if body is None else {"json": body}))

    async def post_text(self, path: str, text: str, media_type: str) -> Any:
        """POST text, as a CSV file. Raises `Refused`."""
        return await self._call("POST", path, content=text.encode(), headers={"content-type": media_type})

    async def wait(
        self, path: str, holds: Callable[[Any], object], claim: str, *, timeout_s: float = WAIT_S, **params: str | int
    ) -> Any:
        """Read until `holds`. Raises `NodeError` with what was last seen."""
        deadline, pause_s = time.monotonic() + timeout_s, POLL_S
        while True:
            seen = await self.get(path, **params)
            if holds(seen):
                return seen
            if time.monotonic() > deadline:
                raise NodeError(
                    f"{self.operator}: after {timeout_s:.0f} s it is not so that {claim}; seen: {_short(seen)}"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.3, MOST_POLL_S)

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        response = await self._send(method, path, **options)
        return response.json() if response.content else None

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise NodeError(f"the node of {self.operator} does not answer {method} {path}: {error!r}") from None
        if response.status_code >= httpx.codes.BAD_REQUEST:
            raise Refused(self.operator, f"{method} {path}", response)
        return response


def _problem(response: httpx.Response) -> Mapping[str, Any]:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _short(seen: Any) -> str:
    text = str(seen)
    return text if len(text) < 1500 else f"{text[:1500]}…"
