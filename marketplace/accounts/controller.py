"""`/v1/account`: the caller's balances."""

from typing import Any

from litestar import Controller, Request, get

from marketplace.access.caller import BearerAuthentication, Caller
from marketplace.accounts.repository import read_account
from marketplace.ledger_node import Node
from marketplace.openapi import BEARER
from settlement.ledger.api import Path
from settlement.ledger.state import Account


class AccountController(Controller):
    """Balances."""

    path = Path.ACCOUNT
    tags = ("account",)
    middleware = (BearerAuthentication,)
    security = BEARER

    @get(summary="Your balances")
    async def read(self, request: Request[Caller, Any, Any], node: Node) -> Account:
        """Micro-SDRt of the caller: `available`, in `escrow` of its requests, and `held` by redemptions.

        Example: `curl -H "authorization: Bearer $TOKEN" …/v1/account`
        """
        return await read_account(node.store.pool, request.user.operator)
