"""A purchase's way: paid, each item one signed request, every end of a request told to subscriber and purse.

buy       items and payment are stored; the task `charge` asks the provider
confirm   paid: a PlaceRequest an item, in the same transaction, with a fresh random user id
follow    entries move the items; an accept becomes the task `deliver` (`storefront.delivery`)
fail      the ledger rejects an item: it is refunded, and what else of the purchase is under way is cancelled, so
          that nobody holds half a package; decline, cancel and expiry refund their item
"""

import secrets
from collections.abc import Mapping
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.follower import Follower
from marketplace.ledger_link.keys import OperatorKeys
from marketplace.ledger_link.outbox import Outbox, now_ms
from marketplace.ledger_link.tasks import Tasks
from marketplace.operator_database import Database
from marketplace.operator_problems import Refusal
from marketplace.packages.pricing import QuotedItem
from marketplace.packages.service import get_package
from marketplace.payments.providers import Charge, PaymentProvider, PaymentState, Return
from marketplace.storefront import repository
from marketplace.storefront.schemas import ItemRow, ItemView, NewPurchase, PaymentView, PurchaseView
from marketplace.subscribers.service import get_subscriber
from marketplace.wholesale.repository import find_offer, get_request, put_ordered, set_request_state
from marketplace.wholesale.schemas import RequestView
from settlement.ledger.api import Entry, Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.messages import (
    AcceptRequest,
    ActivateRequest,
    CancelRequest,
    CloseRequest,
    DeclineRequest,
    DeliverRequest,
    ExpireRequest,
    Message,
    PlaceRequest,
)
from settlement.ledger.rejections import Rejection
from settlement.ledger.state import Request

DAY_MS = 86_400_000
USER_ID_OCTETS = 24
"""192 random bits: opaque, and never the same twice."""
CANCELLABLE = ("ordering", "requested", "accepted", "delivered")
STATES: dict[type[Message], str] = {
    PlaceRequest: "requested",
    AcceptRequest: "accepted",
    DeclineRequest: "declined",
    CancelRequest: "cancelled",
    ExpireRequest: "expired",
    DeliverRequest: "delivered",
    ActivateRequest: "active",
    CloseRequest: "closed",
}
"""What an item is after an entry of a kind; an expiry after the accept closes."""


class Storefront:
    """What this operator's subscribers buy."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerClient,
        outbox: Outbox,
        follower: Follower,
        tasks: Tasks,
        keys: OperatorKeys,
        providers: Mapping[str, PaymentProvider],
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._outbox = outbox
        self._tasks = tasks
        self._keys = keys
        self._providers = providers
        outbox.on_answer(PlaceRequest, self._see_answer)
        for kind in STATES:
            follower.on(kind, self._see_entry)
        tasks.on("charge", self.charge)
        tasks.on("refund", self.refund)

    async def buy(self, new: NewPurchase) -> PurchaseView:
        """Store a purchase and have it paid. Raises Refusal."""
        if new.provider not in self._providers:
            raise Refusal("invalid", f"there is no payment provider {new.provider!r}: set [billing] in operator.toml")
        async with self._database.begin() as connection:
            await get_subscriber(connection, new.subscriber)
            package = await get_package(connection, new.package)
            if package.state != "on-sale":
                raise Refusal("wrong-state", f"package {new.package} is {package.state}")
            purchase, payment = await repository.insert_purchase(connection, new, package)
            await self._tasks.add(connection, "charge", str(payment))
            return await self._view(connection, purchase)

    async def charge(self, subject: str) -> None:
        """Task: ask the provider for a payment."""
        async with self._database.read() as connection:
            payment = await repository.get_payment(connection, UUID(subject))
            purchase = await repository.get_purchase(connection, payment.purchase)
            package = await get_package(connection, purchase.package)
        if payment.state != "created":
            return
        charge = Charge(
            payment=payment.id,
            account=purchase.subscriber,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            description=package.quote.name,
            method=payment.method,
        )
        state = await self._providers[payment.provider].charge(charge)
        await self.confirm(payment.id, state)

    async def confirm(self, payment_id: UUID, state: PaymentState, *, reference: str | None = None) -> None:
        """A provider's word on a payment, from its answer or its webhook; heard again it changes nothing."""
        async with self._database.begin() as connection:
            payment = await repository.get_payment(connection, payment_id, lock=True)
            if payment.state in (PaymentState.PAID, PaymentState.REFUSED) or state == payment.state:
                return
            await repository.set_payment_state(connection, payment_id, state, reference=reference)
            if state is PaymentState.PAID:
                await self._order(connection, payment.purchase)
            elif state is PaymentState.REFUSED:
                await repository.set_purchase_state(connection, payment.purchase, "refused")
                for item in await repository.list_items(connection, payment.purchase):
                    await repository.update_item(connection, item.id, state="refused", cause="payment-refused")

    async def _order(self, connection: AsyncConnection, purchase: UUID) -> None:
        await repository.set_purchase_state(connection, purchase, "placed")
        delivery_key = self._keys.seal_key().public_key().key_id
        for item in await repository.list_items(connection, purchase):
            terms = msgspec.json.decode(item.order_terms, type=QuotedItem)
            offer = await find_offer(connection, item.offer)
            assert offer is not None, "a package's offers are kept when it is published"
            now = now_ms()
            message = self._ledger.make(
                PlaceRequest,
                offer=item.offer,
                user_id=secrets.token_urlsafe(USER_ID_OCTETS),
                delivery_key=delivery_key,
                escrow=terms.escrow_usdr,
                ends=now + terms.days * DAY_MS,
                renewals=terms.renewals,
            )
            await put_ordered(
                connection,
                message,
                home=self._ledger.operator,
                visited=offer.publisher,
                placed_ms=now,
                accept_by_ms=now + offer.terms.accept_within_s * 1000,
            )
            await self._outbox.enqueue(connection, message, subject=str(item.id))
            await repository.update_item(connection, item.id, request=message.id, state="ordering")

    async def _see_answer(
        self, connection: AsyncConnection, _: str, message: Message, answer: Receipt | Rejection
    ) -> None:
        if isinstance(answer, Receipt):
            return
        item = await repository.find_item(connection, message.id)
        assert item is not None, "requests are placed for items only"
        await set_request_state(connection, message.id, "rejected", cause=answer.code)
        await repository.update_item(connection, item.id, state="rejected", cause=answer.code, detail=answer.detail)
        await repository.set_purchase_state(connection, item.purchase, "failed")
        await self._owe(connection, item)
        for sibling in await repository.list_items(connection, item.purchase):
            if sibling.request is not None and sibling.id != item.id and sibling.state in CANCELLABLE:
                await self._cancel(connection, sibling.request, "package-incomplete")

    async def cancel(self, request: UUID, cause: str) -> RequestView:
        """The home cancels: free before the accept, for the offer's fee before activation. Raises Refusal."""
        async with self._database.begin() as connection:
            row = await get_request(connection, request)
            if row.role != "home" or row.state not in CANCELLABLE:
                raise Refusal(
                    "wrong-state", f"request {request} is {row.state} and this operator its {row.role} operator"
                )
            await self._cancel(connection, request, cause)
        return row

    async def _cancel(self, connection: AsyncConnection, request: UUID, cause: str) -> None:
        message = self._ledger.make(CancelRequest, request=request, cause=cause)
        await self._outbox.enqueue(connection, message, subject=str(request))

    async def _see_entry(
        self, connection: AsyncConnection, _: Entry, message: Message, request: Request | None
    ) -> None:
        assert request is not None
        if request.home != self._ledger.operator:
            return
        subject = str(request.id)
        item = await repository.find_item(connection, request.id)
        state = STATES[type(message)]
        never_answered = isinstance(message, ExpireRequest) and not request.report_by
        if isinstance(message, ExpireRequest) and not never_answered:
            state = "closed"
        if isinstance(message, AcceptRequest):
            await self._tasks.add(connection, "deliver", subject)
        if state in ("cancelled", "declined", "expired", "closed"):
            await self._tasks.add(connection, "remove", subject)
        if item is None:
            return  # placed with this operator's key, but not by this node
        await repository.update_item(connection, item.id, state=state, cause=getattr(message, "cause", item.cause))
        if state in ("cancelled", "declined", "expired"):
            await self._owe(connection, item)

    async def _owe(self, connection: AsyncConnection, item: ItemRow) -> None:
        payment = await repository.find_payment(connection, item.purchase)
        if await repository.owe_refund(connection, item, payment.id):
            await self._tasks.add(connection, "refund", str(item.id))

    async def refund(self, subject: str) -> None:
        """Task: give an item's share back."""
        item = UUID(subject)
        async with self._database.read() as connection:
            owed = await repository.find_refund(connection, item)
            assert owed is not None, "the task was added with the refund"
            payment = await repository.get_payment(connection, owed.payment)
        if owed.state == "owed" and owed.amount_minor:
            told = Return(refund=item, payment=payment.id, amount_minor=owed.amount_minor, currency=payment.currency)
            await self._providers[payment.provider].refund(told)
        async with self._database.begin() as connection:
            await repository.pay_refund(connection, item)

    # reading

    async def find(self, purchase: UUID) -> PurchaseView:
        """One purchase with its items and payment. Raises Refusal `not-found`."""
        async with self._database.read() as connection:
            return await self._view(connection, purchase)

    async def list(self, subscriber: UUID | None) -> list[PurchaseView]:
        """Purchases, oldest first, of one subscriber or all."""
        async with self._database.read() as connection:
            rows = await repository.list_purchases(connection, subscriber)
            return [await self._view(connection, row.id) for row in rows]

    async def _view(self, connection: AsyncConnection, purchase: UUID) -> PurchaseView:
        row = await repository.get_purchase(connection, purchase)
        payment = await repository.find_payment(connection, purchase)
        items = []
        for item in await repository.list_items(connection, purchase):
            refund = await repository.find_refund(connection, item.id)
            items.append(
                ItemView(
                    id=item.id,
                    offer=item.offer,
                    name=item.name,
                    share_minor=item.share_minor,
                    request=item.request,
                    state=item.state,
                    cause=item.cause,
                    detail=item.detail,
                    code=None if item.code is None else self._keys.decrypt(item.code, item.id.bytes).decode(),
                    refund=None if refund is None else refund.state,
                )
            )
        return PurchaseView(
            id=row.id,
            subscriber=row.subscriber,
            package=row.package,
            state=row.state,
            placed_ms=row.placed_ms,
            payment=PaymentView(**{name: getattr(payment, name) for name in PaymentView.__struct_fields__}),
            items=tuple(items),
        )
