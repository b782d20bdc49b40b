"""Calls to an operator's node, as its subscribers' app and its staff's programs make them."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import httpx

from loadtests.load.plan import HomeNode

CALL_S: Final = 60.0
POLL_S: Final = 0.1
MOST_POLL_S: Final = 1.0
DONE_S: Final = 60.0
"""For a node to do what it promised."""
ENDED: Final = ("failed", "refused")
"""Purchases that the ledger or the payment provider said no to."""
JOB_ENDS: Final = ("proven", "failed", "cancelled", "expired")


class NodeError(OSError):
    """The node answered with a problem, or not at all."""


def open_node(node: HomeNode) -> httpx.AsyncClient:
    """A pool of connections to a node, as its staff."""
    headers = {"authorization": f"Bearer {node.token}"}
    return httpx.AsyncClient(base_url=node.url, headers=headers, timeout=CALL_S, trust_env=False)


async def call(http: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    """One call; JSON in, JSON out. Raises NodeError."""
    try:
        response = await http.request(method, path, **({} if body is None else {"json": body}))
    except httpx.TransportError as error:
        raise NodeError(f"{method} {http.base_url}{path}: {error!r}") from None
    if response.status_code >= httpx.codes.BAD_REQUEST:
        raise NodeError(f"{method} {path}: {response.status_code} {response.text[:200]}")
    return response.json()


async def wait_for(http: httpx.AsyncClient, path: str, holds: Callable[[Any], bool]) -> Any:
    """Read until `holds`, at most DONE_S; what was seen last. Raises NodeError."""
    pause_s, deadline = POLL_S, time.monotonic() + DONE_S
    while not holds(seen := await call(http, "GET", path)) and time.monotonic() < deadline:
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, MOST_POLL_S)
    return seen


def is_ordered(purchase: Any) -> bool:
    """Whether a purchase has come to where its requests are in the log, or will never be."""
    return purchase["state"] in ENDED or all(item["state"] not in ("waiting", "ordering") for item in purchase["items"])


def has_ended(job: Any) -> bool:
    """Whether an OTA job has come to its end."""
    return bool(job["state"] in JOB_ENDS)
