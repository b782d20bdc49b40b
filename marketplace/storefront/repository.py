"""Purchases, items, payments and refunds in the node's database."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import execute, execute_many, fetch, fetch_one
from marketplace.operator_problems import Refusal
from marketplace.packages.service import Package
from marketplace.storefront.schemas import ItemRow, NewPurchase, PaymentView
from settlement.ledger.ids import new_id


class PurchaseRow(Struct, frozen=True):
    """A purchase's own row."""

    id: UUID
    subscriber: UUID
    package: UUID
    state: str
    placed_ms: int


class PaymentRow(PaymentView, frozen=True, kw_only=True):
    """A payment with what it is for."""

    purchase: UUID


class RefundRow(Struct, frozen=True):
    """A refund of one item."""

    item: UUID
    payment: UUID
    amount_minor: int
    state: str


async def insert_purchase(connection: AsyncConnection, new: NewPurchase, package: Package) -> tuple[UUID, UUID]:
    """A purchase with its items and its payment, nothing of it done yet; ids of purchase and payment."""
    purchase, payment, quote = new_id(), new_id(), package.quote
    await execute(
        connection,
        "INSERT INTO purchases (id, subscriber, package, state, placed_ms) VALUES (:id, :s, :p, 'paying', :now)",
        id=purchase,
        s=new.subscriber,
        p=new.package,
        now=now_ms(),
    )
    rows: list[dict[str, Any]] = [
        {
            "id": new_id(),
            "purchase": purchase,
            "number": number,
            "offer": item.offer,
            "name": item.name,
            "terms": msgspec.json.encode(item).decode(),
            "share": item.share_minor,
        }
        for number, item in enumerate(quote.items)
    ]
    await execute_many(
        connection,
        "INSERT INTO purchase_items (id, purchase, number, offer, name, order_terms, share_minor, state)"
        " VALUES (:id, :purchase, :number, :offer, :name, :terms, :share, 'waiting')",
        rows,
    )
    await execute(
        connection,
        "INSERT INTO payments (id, purchase, provider, method, amount_minor, currency, state)"
        " VALUES (:id, :purchase, :provider, :method, :amount, :currency, 'created')",
        id=payment,
        purchase=purchase,
        provider=new.provider,
        method=new.method,
        amount=quote.retail_minor,
        currency=quote.currency,
    )
    return purchase, payment


async def get_purchase(connection: AsyncConnection, purchase: UUID) -> PurchaseRow:
    """One purchase. Raises Refusal `not-found`."""
    row = await fetch_one(connection, PurchaseRow, "SELECT * FROM purchases WHERE id = :id", id=purchase)
    if row is None:
        raise Refusal("not-found", f"there is no purchase {purchase}")
    return row


async def list_purchases(connection: AsyncConnection, subscriber: UUID | None) -> list[PurchaseRow]:
    """Purchases, oldest first."""
    sql = "SELECT * FROM purchases WHERE CAST(:s AS uuid) IS NULL OR subscriber = :s ORDER BY id"
    return await fetch(connection, PurchaseRow, sql, s=subscriber)


async def set_purchase_state(connection: AsyncConnection, purchase: UUID, state: str) -> None:
    """Move a purchase on."""
    await execute(connection, "UPDATE purchases SET state = :state WHERE id = :id", id=purchase, state=state)


async def list_items(connection: AsyncConnection, purchase: UUID) -> list[ItemRow]:
    """A purchase's items, in order."""
    sql = "SELECT * FROM purchase_items WHERE purchase = :p ORDER BY number"
    return await fetch(connection, ItemRow, sql, p=purchase)


async def find_item(connection: AsyncConnection, request: UUID) -> ItemRow | None:
    """The item that a request was placed for."""
    return await fetch_one(connection, ItemRow, "SELECT * FROM purchase_items WHERE request = :r", r=request)


async def update_item(connection: AsyncConnection, item: UUID, **values: Any) -> None:
    """Set columns of an item: state, request, cause, detail, code."""
    assert values.keys() <= {"state", "request", "cause", "detail", "code"}
    columns = ", ".join(f"{name} = :{name}" for name in values)
    await execute(connection, f"UPDATE purchase_items SET {columns} WHERE id = :id", id=item, **values)  # noqa: S608


async def get_payment(connection: AsyncConnection, payment: UUID, *, lock: bool = False) -> PaymentRow:
    """One payment. Raises Refusal `not-found`."""
    sql = "SELECT * FROM payments WHERE id = :id" + (" FOR UPDATE" if lock else "")  # noqa: S608 - no value in it
    row = await fetch_one(connection, PaymentRow, sql, id=payment)
    if row is None:
        raise Refusal("not-found", f"there is no payment {payment}")
    return row


async def find_payment(connection: AsyncConnection, purchase: UUID) -> PaymentRow:
    """The payment of a purchase."""
    row = await fetch_one(connection, PaymentRow, "SELECT * FROM payments WHERE purchase = :p", p=purchase)
    assert row is not None, "a purchase is stored with its payment"
    return row


async def set_payment_state(
    connection: AsyncConnection, payment: UUID, state: str, *, reference: str | None = None
) -> None:
    """Move a payment on."""
    await execute(
        connection,
        "UPDATE payments SET state = :state, reference = coalesce(:reference, reference) WHERE id = :id",
        id=payment,
        state=state,
        reference=reference,
    )


async def owe_refund(connection: AsyncConnection, item: ItemRow, payment: UUID) -> bool:
    """Note that an item's share is to be given back; False where it was noted before."""
    added = await execute(
        connection,
        "INSERT INTO refunds (item, payment, amount_minor) VALUES (:i, :p, :a) ON CONFLICT DO NOTHING",
        i=item.id,
        p=payment,
        a=item.share_minor,
    )
    return added == 1


async def find_refund(connection: AsyncConnection, item: UUID) -> RefundRow | None:
    """The refund of an item."""
    return await fetch_one(connection, RefundRow, "SELECT * FROM refunds WHERE item = :i", i=item)


async def pay_refund(connection: AsyncConnection, item: UUID) -> None:
    """Note that a refund was made, once."""
    row = await fetch_one(
        connection,
        RefundRow,
        "UPDATE refunds SET state = 'paid' WHERE item = :i AND state = 'owed' RETURNING *",
        i=item,
    )
    if row is not None:
        sql = "UPDATE payments SET refunded_minor = refunded_minor + :a WHERE id = :id"
        await execute(connection, sql, a=row.amount_minor, id=row.payment)
