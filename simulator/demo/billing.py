"""The billing system of a home operator: puts charges on the phone bill, and says so by signed webhook.

It stands where an operator's own system stands, behind the contract of `marketplace.payments.providers`: every call
is signed, every outcome is told by a webhook under the same secret, and a deed is done once whatever is repeated.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from litestar import Litestar, Request, Response, post
from msgspec import Struct

from marketplace.networks.webhooks import BadWebhook, verify
from simulator.webhook import Webhooks

PATH: Final = "/charges"


class Deed(Struct, frozen=True, kw_only=True):
    """A charge or refund as the node asks for it."""

    type: str
    payment: str
    amount_minor: int
    currency: str
    refund: str | None = None


class PhoneBill:
    """What was charged and given back, by id; `refused` are calls whose signature did not fit."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.webhook_url = ""
        self.charges: dict[str, Deed] = {}
        self.refunds: dict[str, Deed] = {}
        self.refused = 0
        self._webhooks: Webhooks

    def app(self) -> Litestar:
        """The HTTP application."""

        @asynccontextmanager
        async def lifespan(_: Litestar) -> AsyncIterator[None]:
            self._webhooks = Webhooks()
            try:
                yield
            finally:
                await self._webhooks.close()

        @post(PATH, status_code=202)
        async def take(request: Request[Any, Any, Any]) -> Response[None]:
            return self._take(dict(request.headers), await request.body())

        return Litestar([take], lifespan=[lifespan], openapi_config=None)

    def _take(self, headers: dict[str, str], body: bytes) -> Response[None]:
        try:
            message = verify(self._secret, headers, body)
            deed = msgspec.json.decode(body, type=Deed)
        except (BadWebhook, msgspec.MsgspecError):
            self.refused += 1
            return Response(None, status_code=401)
        if deed.type == "refund":
            self.refunds[message] = deed
            return Response(None, status_code=202)
        if message not in self.charges:
            self.charges[message] = deed
            told = {"payment": deed.payment, "state": "paid", "reference": f"bill line {len(self.charges)}"}
            self._webhooks.send(self.webhook_url, self._secret.decode(), f"paid-{message}", msgspec.json.encode(told))
        return Response(None, status_code=202)
