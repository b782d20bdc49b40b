"""Webhooks to operator nodes, signed as Standard Webhooks has it.

`Webhooks.send` returns at once; delivery goes on in the background, with the same id in each try, until the node
answers 2xx or the pauses are used up. `close` waits for nothing: what is under way is dropped.
"""

from __future__ import annotations

import asyncio
import logging

import httpx

from marketplace.networks.webhooks import sign

# The field lives for one demonstration: a node that is down for a minute is waited for, one that is gone is not.
PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
ANSWER_TIMEOUT_S = 10.0

_log = logging.getLogger(__name__)


class Webhooks:
    """Sends webhooks in the background of the running event loop."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=ANSWER_TIMEOUT_S, trust_env=False)
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, url: str, secret: str, message_id: str, body: bytes) -> None:
        """Deliver `body` (JSON) to `url`."""
        task = asyncio.create_task(self._deliver(url, secret, message_id, body))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        """Stop delivering."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._client.aclose()

    async def _deliver(self, url: str, secret: str, message_id: str, body: bytes) -> None:
        for pause_s in (*PAUSES_S, None):
            if await self._try(url, secret, message_id, body):
                return
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        _log.error("webhook %s was not taken by %s after %d tries", message_id, url, len(PAUSES_S) + 1)

    async def _try(self, url: str, secret: str, message_id: str, body: bytes) -> bool:
        headers = {"content-type": "application/json", **sign(secret.encode(), message_id, body)}
        try:
            answer = await self._client.post(url, content=body, headers=headers)
        except httpx.HTTPError:
            return False
        return answer.is_success
