"""Packages from draft to sale: the offers fetched from the ledger, the quote seen, then published as it was seen."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import Database, execute, fetch, fetch_one
from marketplace.operator_problems import Refusal
from marketplace.packages.pricing import PackageDraft, Quote, price
from marketplace.wholesale import repository
from settlement.ledger.client import LedgerClient
from settlement.ledger.ids import new_id
from settlement.ledger.state import Offer
from settlement.sdr import load_rates


class Package(Struct, frozen=True):
    """A package on sale or withdrawn; `quote` is as it was when it was published."""

    id: UUID
    state: str
    quote: Quote
    published_ms: int


class _Row(Struct, frozen=True):
    id: UUID
    state: str
    quote: str
    published_ms: int

    def view(self) -> Package:
        return Package(self.id, self.state, msgspec.json.decode(self.quote, type=Quote), self.published_ms)


class Packages:
    """The home operator's range."""

    def __init__(self, database: Database, ledger: LedgerClient, rates: Path | None) -> None:
        self._database = database
        self._ledger = ledger
        self._rates = rates

    async def preview(self, draft: PackageDraft) -> Quote:
        """The price and margin of a draft today. Raises Refusal, RateError, Rejected."""
        return (await self._quote(draft))[0]

    async def publish(self, draft: PackageDraft) -> Package:
        """Put a package on sale at today's quote. Raises as `preview`."""
        quote, offers = await self._quote(draft)
        async with self._database.begin() as connection:
            for offer in offers:
                await repository.remember_offer(connection, offer)
            row = await fetch_one(
                connection,
                _Row,
                "INSERT INTO packages (id, quote, published_ms) VALUES (:id, :quote, :now) RETURNING *",
                id=new_id(),
                quote=msgspec.json.encode(quote).decode(),
                now=now_ms(),
            )
        assert row is not None, "an insert returns its row"
        return row.view()

    async def withdraw(self, package: UUID) -> Package:
        """Take a package off sale; what was bought goes on. Raises Refusal."""
        async with self._database.begin() as connection:
            await execute(connection, "UPDATE packages SET state = 'withdrawn' WHERE id = :id", id=package)
            return await get_package(connection, package)

    async def list_all(self) -> list[Package]:
        """All packages, oldest first."""
        async with self._database.read() as connection:
            return [row.view() for row in await fetch(connection, _Row, "SELECT * FROM packages ORDER BY id")]

    async def _quote(self, draft: PackageDraft) -> tuple[Quote, list[Offer]]:
        offers = [await self._ledger.offer(offer) for offer in dict.fromkeys(item.offer for item in draft.items)]
        now = datetime.now(UTC)
        for offer in offers:
            if offer.status != "open" or offer.terms.valid_until <= now.timestamp() * 1000:
                raise Refusal("invalid", f"offer {offer.id} of {offer.publisher} takes no new requests")
        terms = {offer.id: (offer.publisher, offer.terms) for offer in offers}
        return price(draft, terms, on=now.date(), rates=load_rates(self._rates)), offers


async def get_package(connection: AsyncConnection, package: UUID) -> Package:
    """One package. Raises Refusal `not-found`."""
    row = await fetch_one(connection, _Row, "SELECT * FROM packages WHERE id = :id", id=package)
    if row is None:
        raise Refusal("not-found", f"there is no package {package}")
    return row.view()
