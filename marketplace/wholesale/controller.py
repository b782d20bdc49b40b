"""Offers and requests over HTTP."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Request, get, post
from litestar.datastructures import State
from litestar.params import Parameter
from msgspec import UNSET

from landfall.keystore import KeystoreError
from marketplace.networks.webhooks import BadWebhook, verify
from marketplace.operator_node import Node
from marketplace.operator_problems import Refusal
from marketplace.wholesale import repository
from marketplace.wholesale.schemas import NewBidRequest, NewOffer, OfferView, Registration, RequestView, Taken, WhyNot
from settlement.ledger.state import BidRequest, Offer
from settlement.ledger.state import Request as LedgerRequest

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class OfferController(Controller):
    """Own offers."""

    path = "/offers"
    tags = ("wholesale",)

    @post("/")
    async def publish(self, node: Node, data: NewOffer) -> OfferView:
        """Publish an offer; it is `open` once the ledger has taken it."""
        return await node.wholesale.publish(data)

    @get("/")
    async def list_own(self, node: Node) -> list[OfferView]:
        """List own offers."""
        async with node.database.read() as connection:
            return await repository.list_offers(connection, node.settings.id)

    @post("/{offer:uuid}/withdraw", status_code=202)
    async def withdraw(self, node: Node, offer: UUID) -> OfferView:
        """Take no new requests on an offer."""
        return await node.wholesale.withdraw(offer)


class MarketController(Controller):
    """The market as the ledger shows it to this operator."""

    path = "/market/offers"
    tags = ("home",)

    @get("/")
    async def search(
        self,
        node: Node,
        country: str | None = None,
        plmn: str | None = None,
        category: str | None = None,
        service: str | None = None,
        publisher: str | None = None,
        max_price: int | None = None,
        valid_at: int | None = None,
    ) -> list[Offer]:
        """Search offers: country, PLMN, category, service, publisher, price up to, valid at. Deals' come first."""
        wanted = {
            "country": country,
            "plmn": plmn,
            "category": category,
            "service": service,
            "publisher": publisher,
            "max_price": max_price,
            "valid_at": valid_at,
        }
        found = await node.ledger.offers(**{name: value for name, value in wanted.items() if value is not None})
        return sorted(found, key=lambda offer: offer.deal is UNSET)


class BidRequestController(Controller):
    """Requests for bids, on either side."""

    path = "/market/requests-for-bids"
    tags = ("home",)

    @get("/")
    async def search(self, node: Node, country: str | None = None, buyer: str | None = None) -> list[BidRequest]:
        """What buyers look for now, by country and buyer. To bid, publish an offer with `bid_for`."""
        wanted = {"country": country, "buyer": buyer}
        return await node.ledger.requests_for_bids(**{name: value for name, value in wanted.items() if value})

    @post("/", status_code=202)
    async def ask(self, node: Node, data: NewBidRequest) -> Taken:
        """Tell what this operator looks for; a rejection by the ledger shows in the outbox."""
        return await node.wholesale.request_bids(data)

    @post("/{bids:uuid}/withdraw", status_code=202)
    async def withdraw(self, node: Node, bids: UUID) -> Taken:
        """Take no further bids."""
        return await node.wholesale.withdraw_bids(bids)


class RequestController(Controller):
    """Requests in either role."""

    path = "/requests"
    tags = ("requests",)

    @get("/")
    async def list_all(
        self,
        node: Node,
        role: str | None = None,
        in_state: Annotated[str | None, Parameter(query="state")] = None,
    ) -> list[RequestView]:
        """List requests by role (home, visited) and state."""
        async with node.database.read() as connection:
            return await repository.list_requests(connection, role=role, state=in_state)

    @get("/{request_id:uuid}")
    async def find(self, node: Node, request_id: UUID) -> RequestView:
        """Show one request as this node has it."""
        async with node.database.read() as connection:
            return await repository.get_request(connection, request_id)

    @get("/{request_id:uuid}/ledger")
    async def find_on_ledger(self, node: Node, request_id: UUID) -> LedgerRequest:
        """Show one request as the ledger has it now, use and allowance included."""
        return await node.ledger.request(request_id)

    @post("/{request_id:uuid}/accept", status_code=202)
    async def accept(self, node: Node, request_id: UUID) -> RequestView:
        """Visited: accept a held request."""
        return await node.wholesale.accept(request_id)

    @post("/{request_id:uuid}/decline", status_code=202)
    async def decline(self, node: Node, request_id: UUID, data: WhyNot) -> RequestView:
        """Visited: decline a request, with a cause."""
        return await node.wholesale.decline(request_id, data.cause)

    @post("/{request_id:uuid}/close", status_code=202)
    async def close(self, node: Node, request_id: UUID) -> RequestView:
        """Visited: report what there is and close."""
        return await node.wholesale.close(request_id)

    @post("/{request_id:uuid}/cancel", status_code=202)
    async def cancel(self, node: Node, request_id: UUID, data: WhyNot) -> RequestView:
        """Home: cancel a request, with a cause."""
        return await node.storefront.cancel(request_id, data.cause)


class RegistrationController(Controller):
    """What one's own networks tell."""

    path = "/webhooks/registrations"
    tags = ("webhooks",)
    opt = {"exclude_from_auth": True}  # noqa: RUF012 - Litestar's own form

    @post("/", status_code=204)
    async def register(self, node: Node, request: Request[None, None, State]) -> None:
        """Take a first registration, signed with the network's secret (`webhook-<plmn>`)."""
        body = await request.body()
        try:
            registration = msgspec.json.decode(body, type=Registration)
            secret = node.keys.secret(f"webhook-{registration.plmn}")
            verify(secret, {name: request.headers.get(name, "") for name in HEADERS}, body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Refusal("invalid", "the body is no registration: imsi, plmn, time_ms") from None
        except (BadWebhook, KeystoreError) as error:
            raise Refusal("bad-signature", str(error) if isinstance(error, BadWebhook) else "unknown network") from None
        await node.wholesale.register(registration)
