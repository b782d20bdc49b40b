"""Shapes of purchases on the node's API. Amounts in `_minor` are in the currency's smallest unit."""

from typing import Literal
from uuid import UUID

from msgspec import Struct


class NewPurchase(Struct, frozen=True, forbid_unknown_fields=True):
    """A subscriber buys a package. `provider`: test or billing; `method`: the provider's own word for how."""

    subscriber: UUID
    package: UUID
    provider: Literal["test", "billing"] = "test"
    method: str = "default"


class ItemRow(Struct, frozen=True, kw_only=True):
    """A purchase item as it is stored; `code` is encrypted."""

    id: UUID
    purchase: UUID
    number: int
    offer: UUID
    name: str
    order_terms: str
    share_minor: int
    request: UUID | None
    state: str
    cause: str | None
    detail: str | None
    code: bytes | None


class ItemView(Struct, frozen=True, kw_only=True):
    """One item. `state`: waiting, then the request's; rejected where the ledger said no (`cause` is its code).

    `code`: the SP code, once delivered. `refund`: owed or paid.
    """

    id: UUID
    offer: UUID
    name: str
    share_minor: int
    request: UUID | None
    state: str
    cause: str | None = None
    detail: str | None = None
    code: str | None = None
    refund: str | None = None

    def __repr__(self) -> str:
        return f"ItemView({self.id}, {self.state})"


class PaymentView(Struct, frozen=True, kw_only=True):
    """The payment of a purchase; `state`: created, pending, paid or refused."""

    id: UUID
    provider: str
    method: str
    amount_minor: int
    currency: str
    state: str
    reference: str | None
    refunded_minor: int


class PurchaseView(Struct, frozen=True, kw_only=True):
    """A purchase. `state`: paying, refused (not paid), placed, or failed where the ledger took not all of it."""

    id: UUID
    subscriber: UUID
    package: UUID
    state: str
    placed_ms: int
    payment: PaymentView
    items: tuple[ItemView, ...]


class PaymentNotice(Struct, frozen=True):
    """What a payment provider's webhook tells."""

    payment: UUID
    state: Literal["paid", "refused"]
    reference: str | None = None
