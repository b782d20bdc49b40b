"""Settled usage as records: each record of each usage report between this operator and a partner, and what it cost.

    await reported.gather("bravo")                       # entries of the ledger that are not taken yet
    rows = await reported.groups("bravo", from_ms, to_ms)

The ledger says what a report settled, not what each of its records did: that follows from the log, and is computed here
by the ledger's own rating (`settlement.usage.rating`), from the request's escrow on. Entries are fetched when somebody
asks, so usage that was followed before this was here is taken as well. A bundle's price at activation is a record too.
"""

from collections import defaultdict
from typing import Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from landfall.errors import LandfallError
from marketplace.operator_database import Database, execute, fetch, fetch_one, scalar
from settlement.ledger.api import MAX_PAGE, Entry
from settlement.ledger.client import LedgerClient, message_of
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.messages import ActivateRequest, PlaceRequest, ReportUsage, UsageGroup, UsageRecord
from settlement.ledger.rules.context import Refusal
from settlement.ledger.state import Offer
from settlement.money import MAX_AMOUNT
from settlement.usage.rating import MINUTE_MS, Meter, charge
from settlement.usage.tariff import Metered, Tariff

ACTIVATION: Final = 0
"""Sequence of the record that is a price at activation: groups count from 1."""
_GATHERING: Final = 0x67617468657200  # "gather": two members may ask at once

_records = msgspec.json.Decoder(tuple[UsageRecord, ...])
_charges = msgspec.json.Decoder(tuple[int, ...])
_meters = msgspec.json.Decoder(Meter)


class ReportedError(LandfallError):
    """What the ledger settled does not follow from the reports by its rules."""


class Group(Struct, frozen=True, kw_only=True):
    """The records of one request in one report. `leaf`: hash of the entry. `from_ms`, `to_ms`: of their starts."""

    entry: int
    request: UUID
    partner: str
    visited: str
    sequence: int
    time_ms: int
    leaf: str
    records: str
    charges: str
    from_ms: int
    to_ms: int

    def priced(self) -> list[tuple[UsageRecord, int]]:
        """Each record with what it was charged."""
        return list(zip(_records.decode(self.records), _charges.decode(self.charges), strict=True))


class Activation(Struct, frozen=True):
    """A price that was charged at activation."""

    request: UUID
    visited: str
    time_ms: int
    charged_usdr: int


class ReportedUsage:
    """Usage between this operator and others, from the entries this operator may read."""

    def __init__(self, database: Database, ledger: LedgerClient) -> None:
        self._database = database
        self._ledger = ledger
        self._offers: dict[UUID, Offer] = {}

    async def gather(self, partner: str) -> int:
        """Take the reports between this operator and a partner that were not taken yet; how many.

        Raises ReportedError, Unreachable.
        """
        async with self._database.read() as connection:
            missing = await fetch(
                connection,
                _Index,
                "SELECT e.index, e.role FROM entries e WHERE e.kind = 'usage' AND e.partner = :partner"
                " AND NOT EXISTS (SELECT FROM reported_groups g WHERE g.entry = e.index) ORDER BY e.index",
                partner=partner,
            )
        wanted = {one.index: one.role for one in missing}
        after, last = (min(wanted) - 1, max(wanted)) if wanted else (0, -1)
        while after < last:
            page = await self._ledger.entries(after=after, limit=MAX_PAGE)
            for entry in page:
                if (role := wanted.get(entry.index)) is not None:
                    await self._take(entry, partner, role)
            after = page[-1].index if page else last
        return len(wanted)

    async def _take(self, entry: Entry, partner: str, role: str) -> None:
        message = message_of(entry)
        assert isinstance(message, ReportUsage), "the node's own table says it is one"
        refused: dict[UUID, dict[int, Refusal]] = defaultdict(dict)
        for refusal in entry.refused:
            refused[refusal.request][refusal.record] = refusal
        leaf = leaf_hash(leaf_data(entry.time, entry.envelope.encode())).hex()
        total, on_credit = 0, False
        async with self._database.begin() as connection:
            await scalar(connection, "SELECT pg_advisory_xact_lock(:lock)", lock=_GATHERING)
            if await scalar(connection, "SELECT EXISTS (SELECT FROM reported_groups WHERE entry = :e)", e=entry.index):
                return
            for group in message.groups:
                offer, meter = await self._restore(connection, group.request)
                charges = trace(meter, group, offer.terms.tariff, refused[group.request])
                total, on_credit = total + sum(charges), on_credit or offer.deal is not UNSET
                await self._keep(connection, entry, group, charges, leaf, partner, role)
                sql = "UPDATE reported_meters SET meter = :meter WHERE request = :request"
                await execute(connection, sql, meter=msgspec.json.encode(meter).decode(), request=group.request)
            if total != entry.settled and not on_credit:  # under a deal, part of it is owed instead of paid
                raise ReportedError(f"entry {entry.index} settled {entry.settled} µSDRt, its records come to {total}")

    async def _keep(
        self,
        connection: AsyncConnection,
        entry: Entry,
        group: UsageGroup,
        charges: list[int],
        leaf: str,
        partner: str,
        role: str,
    ) -> None:
        starts = [record.start * MINUTE_MS for record in group.records]
        await execute(
            connection,
            "INSERT INTO reported_groups VALUES (:entry, :request, :partner, :visited, :sequence, :time, :leaf,"
            " :records, :charges, :from_ms, :to_ms)",
            entry=entry.index,
            request=group.request,
            partner=partner,
            visited=partner if role == "home" else self._ledger.operator,
            sequence=group.sequence,
            time=entry.time,
            leaf=leaf,
            records=msgspec.json.encode(group.records).decode(),
            charges=msgspec.json.encode(charges).decode(),
            from_ms=min(starts),
            to_ms=max(starts),
        )

    async def _restore(self, connection: AsyncConnection, request: UUID) -> tuple[Offer, Meter]:
        """The request's meter where the last group left it; at its first group, as its activation made it."""
        row = await fetch_one(
            connection,
            _Placed,
            "SELECT r.offer, m.meter,"
            " (SELECT index FROM entries WHERE request = r.id AND kind = 'request') AS placed,"
            " (SELECT index FROM entries WHERE request = r.id AND kind = 'activate') AS activated"
            " FROM requests r LEFT JOIN reported_meters m ON m.request = r.id WHERE r.id = :request",
            request=request,
        )
        if row is None or row.placed is None or row.activated is None:
            raise ReportedError(f"request {request} was used before this node followed its entries")
        if row.offer not in self._offers:
            self._offers[row.offer] = await self._ledger.offer(row.offer)
        offer = self._offers[row.offer]
        if row.meter is not None:
            return offer, _meters.decode(row.meter)
        placed, activated = [
            message_of((await self._ledger.entries(after=index - 1, limit=1))[0])
            for index in (row.placed, row.activated)
        ]
        assert isinstance(placed, PlaceRequest)
        assert isinstance(activated, ActivateRequest)
        meter = Meter(escrow=placed.escrow, renewals=placed.renewals)
        meter = meter.activate(offer.terms.tariff, activated.at * MINUTE_MS)
        sql = "INSERT INTO reported_meters VALUES (:request, :meter)"
        await execute(connection, sql, request=request, meter=msgspec.json.encode(meter).decode())
        return offer, meter

    async def groups(self, partner: str, *, from_ms: int, to_ms: int) -> list[Group]:
        """Groups with a record that starts in the period."""
        async with self._database.read() as connection:
            return await fetch(
                connection,
                Group,
                "SELECT * FROM reported_groups WHERE partner = :partner AND to_ms >= :from_ms AND from_ms < :to_ms"
                " ORDER BY entry, request",
                partner=partner,
                from_ms=from_ms,
                to_ms=to_ms,
            )

    async def of_request(self, request: UUID) -> list[Group]:
        """All groups of a request, in order."""
        async with self._database.read() as connection:
            sql = "SELECT * FROM reported_groups WHERE request = :request ORDER BY sequence"
            return await fetch(connection, Group, sql, request=request)

    async def activations(self, partner: str, *, from_ms: int, to_ms: int) -> list[Activation]:
        """Prices charged at activations in the period."""
        async with self._database.read() as connection:
            return await fetch(
                connection,
                Activation,
                "SELECT r.id AS request, r.visited, r.activated_ms AS time_ms, e.settled_usdr AS charged_usdr"
                " FROM entries e JOIN requests r ON r.id = e.request WHERE e.kind = 'activate' AND e.settled_usdr > 0"
                " AND e.partner = :partner AND r.activated_ms >= :from_ms AND r.activated_ms < :to_ms ORDER BY e.index",
                partner=partner,
                from_ms=from_ms,
                to_ms=to_ms,
            )


class _Index(Struct, frozen=True):
    index: int
    role: Literal["home", "visited"]


class _Placed(Struct, frozen=True):
    offer: UUID
    meter: str | None
    placed: int | None
    activated: int | None


def trace(meter: Meter, group: UsageGroup, tariff: Tariff, refused: dict[int, Refusal]) -> list[int]:
    """What each record of a group was charged; moves the meter.

    What was refused for want of cover is the ledger's word: under a deal's credit limit it depends on other requests.
    """
    charges = []
    for position, record in enumerate(group.records):
        escrow, short = meter.escrow, refused.get(position)
        if isinstance(tariff, Metered) or short is None:
            meter.escrow = MAX_AMOUNT  # whatever cover there was, what it did not pay was named
        settled = charge(meter, record, tariff).settled
        if isinstance(tariff, Metered) and short is not None:
            settled -= short.amount
            meter.charged -= short.amount
        meter.escrow = max(0, escrow - settled)
        charges.append(settled)
    return charges
