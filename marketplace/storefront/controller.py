"""Purchases and payment webhooks over HTTP."""

from uuid import UUID

import msgspec
from litestar import Controller, Request, get, post
from litestar.datastructures import State

from landfall.keystore import KeystoreError
from marketplace.networks.webhooks import BadWebhook, verify
from marketplace.operator_node import Node
from marketplace.operator_problems import Refusal
from marketplace.payments.providers import PaymentState
from marketplace.storefront.schemas import NewPurchase, PaymentNotice, PurchaseView
from marketplace.wholesale.controller import HEADERS


class PurchaseController(Controller):
    """What subscribers buy."""

    path = "/purchases"
    tags = ("home",)

    @post("/")
    async def buy(self, node: Node, data: NewPurchase) -> PurchaseView:
        """Buy a package; read the purchase again to see it go on."""
        return await node.storefront.buy(data)

    @get("/")
    async def list_all(self, node: Node, subscriber: UUID | None = None) -> list[PurchaseView]:
        """List purchases."""
        return await node.storefront.list(subscriber)

    @get("/{purchase:uuid}")
    async def find(self, node: Node, purchase: UUID) -> PurchaseView:
        """Show one purchase."""
        return await node.storefront.find(purchase)


class PaymentController(Controller):
    """What the billing system tells."""

    path = "/webhooks/payments"
    tags = ("webhooks",)
    opt = {"exclude_from_auth": True}  # noqa: RUF012 - Litestar's own form

    @post("/", status_code=204)
    async def take(self, node: Node, request: Request[None, None, State]) -> None:
        """Take the outcome of a charge, signed with the secret `billing`."""
        body = await request.body()
        try:
            verify(node.keys.secret("billing"), {name: request.headers.get(name, "") for name in HEADERS}, body)
            notice = msgspec.json.decode(body, type=PaymentNotice)
        except KeystoreError:
            raise Refusal("bad-signature", "this node has no secret `billing`") from None
        except BadWebhook as error:
            raise Refusal("bad-signature", str(error)) from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Refusal("invalid", f"the body is no payment notice: {error}") from None
        await node.storefront.confirm(notice.payment, PaymentState(notice.state), reference=notice.reference)
