"""The book: this operator's own entries, each taken once and in order, and what they come to.

    await book.catch_up(until_ms)                 # raises BookError where the log does not add up

A page of entries is booked in one transaction with the cursor. Three things are kept: `book_charges`, every record that
was reported, rated anew by the rules the ledger settles by, and prices and fees beside them; `book_movements`, what
changed this operator's total of available, escrow and held; `book_debts`, how obligations began and became smaller.

A receipt names what was refused of each record, so that the charges of a report follow without the ledger's own state;
that they add up to what the ledger says was settled is checked entry by entry.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from landfall.errors import LandfallError
from marketplace.operator_database import Database, execute, execute_many, fetch, fetch_one, scalar
from marketplace.wholesale.repository import find_offer, remember_offer
from settlement.ledger.api import Entry
from settlement.ledger.client import LedgerClient, Rejected, message_of
from settlement.ledger.messages import (
    ActivateRequest,
    CancelRequest,
    Message,
    Mint,
    PlaceRequest,
    PublishOffer,
    Redeemed,
    ReportUsage,
    RequestBids,
    Terms,
    UsageRecord,
)
from settlement.ledger.settling import AcceptDispute, Consent, DecideDispute, ExpireDispute, Pay
from settlement.ledger.state import Cycle, Dispute, Proposal
from settlement.money import MAX_AMOUNT
from settlement.usage.rating import MINUTE_MS, Meter, charge
from settlement.usage.tariff import Bundle

PAGE: Final = 200
"""Entries booked in one transaction: at most 13 MB of envelopes, a fraction of a second."""
PRICE: Final = -1
FEE: Final = -2
"""Positions, before all records, of a bundle's or code's price and of a cancellation fee."""


class BookError(LandfallError):
    """The entries do not come to what the ledger says was settled; nothing of the page was booked."""


class BookedRequest(Struct, frozen=True):
    """A request as far as it is booked; `meter` is MessagePack of a `Meter`."""

    id: UUID
    offer: UUID
    home: str
    visited: str
    meter: bytes


class _Told(Struct):
    """What the ledger was asked about a page beforehand, so that booking needs no network."""

    proposals: dict[str, Proposal]
    cycles: dict[UUID, Cycle]
    disputes: dict[UUID, Dispute]
    terms: dict[UUID, tuple[str, Terms, bool]]


class Book:
    """Keeps the book of one operator."""

    def __init__(self, database: Database, ledger: LedgerClient) -> None:
        self._database = database
        self._ledger = ledger

    async def catch_up(self, until_ms: int) -> int:
        """Book entries up to the first at or after `until_ms`, or the last there is; how many were booked."""
        booked = 0
        while True:
            async with self._database.read() as connection:
                cursor = int(await scalar(connection, "SELECT cursor FROM book"))
            entries = await self._ledger.entries(after=cursor, limit=PAGE)
            if not entries:
                return booked
            told = await self._ask(entries)
            async with self._database.begin() as connection:
                sql = "UPDATE book SET cursor = :last WHERE cursor = :cursor"
                if not await execute(connection, sql, last=entries[-1].index, cursor=cursor):
                    continue  # another process has booked this page
                for entry in entries:
                    await self._book(connection, entry, message_of(entry), told)
            booked += len(entries)
            if entries[-1].time >= until_ms:
                return booked

    async def _ask(self, entries: list[Entry]) -> _Told:
        told = _Told({}, {}, {}, {})
        for entry in entries:
            match message_of(entry):
                case Consent(proposal=leaf):
                    proposal = told.proposals[leaf] = await self._ledger.proposal(leaf)
                    if proposal.kind == "cycle" and proposal.state == "effective":
                        told.cycles[proposal.subject] = await self._ledger.cycle(proposal.subject)
                case AcceptDispute(dispute=dispute) | DecideDispute(dispute=dispute) | ExpireDispute(dispute=dispute):
                    told.disputes[dispute] = await self._ledger.dispute(dispute)
                case PlaceRequest(offer=offer) if offer not in told.terms:
                    told.terms[offer] = await self._read_terms(offer)
                case ReportUsage() | ActivateRequest() | CancelRequest() as message:
                    await self._ask_terms(message, told)
                case _:
                    pass
        return told

    async def _ask_terms(self, message: ReportUsage | ActivateRequest | CancelRequest, told: _Told) -> None:
        requests = (
            [group.request for group in message.groups] if isinstance(message, ReportUsage) else [message.request]
        )
        async with self._database.read() as connection:
            sql = "SELECT DISTINCT offer FROM book_requests WHERE id = ANY(:ids)"
            for row in await fetch(connection, _Offer, sql, ids=requests):
                if row.offer not in told.terms:
                    told.terms[row.offer] = await self._read_terms(row.offer)

    async def _read_terms(self, offer: UUID) -> tuple[str, Terms, bool]:
        """Publisher and terms of an offer, and whether a deal stands behind it."""
        try:
            found = await self._ledger.offer(offer)
        except Rejected:
            async with self._database.read() as connection:
                kept = await find_offer(connection, offer)
            if kept is None:
                raise BookError(f"the terms of offer {offer} are neither on the ledger nor here") from None
            return kept.publisher, kept.terms, False
        async with self._database.begin() as connection:
            await remember_offer(connection, found)
        return found.publisher, found.terms, found.deal is not UNSET

    async def _book(self, connection: AsyncConnection, entry: Entry, message: Message, told: _Told) -> None:
        own = self._ledger.operator
        match message:
            case PlaceRequest():
                visited, terms, _ = told.terms[message.offer]
                await _open_request(connection, entry, message, visited, terms)
            case ActivateRequest() | CancelRequest():
                await self._book_price(connection, entry, message, told)
            case ReportUsage():
                await self._book_usage(connection, entry, message, told)
            case Mint(to=to, amount=amount) if to == own:
                await _move(connection, entry, "mint", entry.sender, message.deposit, amount)
            case Redeemed() if entry.sender != own:
                await _move(connection, entry, "redemption", entry.sender, message.payment, -entry.settled)
            case PublishOffer() | RequestBids() if entry.sender == own and entry.settled:
                await _move(connection, entry, "listing", "", str(message.id), -entry.settled)
            case Pay():
                paying = entry.sender == own
                partner = (entry.counterparty or "") if paying else entry.sender
                amount = -message.amount if paying else message.amount
                await _move(connection, entry, "payment", partner, str(message.obligation), amount)
                await _owe(connection, entry, message.obligation, "payment", None, -message.amount)
            case Consent():
                await self._book_consent(connection, entry, told.proposals[message.proposal], told.cycles)
            case AcceptDispute() | DecideDispute() | ExpireDispute():
                dispute = told.disputes[message.dispute]
                home = dispute.home == own
                partner = dispute.visited if home else dispute.home
                amount = entry.settled if home else -entry.settled
                await _move(connection, entry, "dispute", partner, str(dispute.id), amount)
            case _:
                pass

    async def _book_price(
        self, connection: AsyncConnection, entry: Entry, message: ActivateRequest | CancelRequest, told: _Told
    ) -> None:
        """An activation's price or a cancellation's fee; an activated bundle's first period begins."""
        request = await _find(connection, message.request)
        activated = isinstance(message, ActivateRequest)
        at = message.at * MINUTE_MS if isinstance(message, ActivateRequest) else entry.time
        if isinstance(message, ActivateRequest):
            meter = msgspec.msgpack.decode(request.meter, type=Meter)
            await _put_meter(connection, request.id, meter.activate(told.terms[request.offer][1].tariff, at))
        if entry.settled:
            position, service = (PRICE, "period") if activated else (FEE, "fee")
            row = _charge_row(self._ledger.operator, entry, request, position)
            row |= {"service": service, "start": at, "units": 1, "charge": entry.settled}
            await _put_charges(connection, [row])
            await self._move_charge(connection, entry, request, "" if activated else "fee")

    async def _book_usage(self, connection: AsyncConnection, entry: Entry, message: ReportUsage, told: _Told) -> None:
        refused = {(one.request, one.record): one.amount for one in entry.refused}
        rows: list[dict[str, Any]] = []
        on_credit, request = False, None
        for group in message.groups:
            request = await _find(connection, group.request)
            _, terms, deal = told.terms[request.offer]
            on_credit = on_credit or deal
            meter = msgspec.msgpack.decode(request.meter, type=Meter)
            for position, record in enumerate(group.records):
                charged = rate_again(meter, record, terms, refused.get((group.request, position), 0))
                row = _charge_row(self._ledger.operator, entry, request, position)
                row |= {
                    "service": record.service,
                    "start": record.start * MINUTE_MS,
                    "offset": record.offset,
                    "duration": record.duration,
                    "units": record.units,
                    "place": record.place,
                    "charge": charged,
                }
                rows.append(row)
            await _put_meter(connection, group.request, meter)
        total = sum(row["charge"] for row in rows)
        if total != entry.settled and not (on_credit and total > entry.settled):
            raise BookError(f"entry {entry.index} settled {entry.settled} µSDRt, its records come to {total}")
        assert request is not None, "a report has a group or more"
        await _put_charges(connection, rows)
        if entry.settled:
            await self._move_charge(connection, entry, request, "")

    async def _move_charge(self, connection: AsyncConnection, entry: Entry, request: BookedRequest, cause: str) -> None:
        home = request.home == self._ledger.operator
        partner = request.visited if home else request.home
        amount = -entry.settled if home else entry.settled
        await _move(connection, entry, cause or ("charge" if home else "earning"), partner, str(request.id), amount)

    async def _book_consent(
        self, connection: AsyncConnection, entry: Entry, proposal: Proposal, cycles: Mapping[UUID, Cycle]
    ) -> None:
        """The last consent makes an invoice a debt, or executes a cycle; those before it change nothing."""
        if proposal.state != "effective" or proposal.consented[-1] != entry.sender:
            return
        if proposal.kind == "invoice":
            await _owe(connection, entry, proposal.subject, "opened", None, 0)
        elif proposal.kind == "cycle":
            for change in cycles[proposal.subject].changes:
                await _owe(connection, entry, change.obligation, "netting", proposal.subject, -change.reduction)


class _Offer(Struct, frozen=True):
    offer: UUID


def rate_again(meter: Meter, record: UsageRecord, terms: Terms, refused: int) -> int:
    """What the ledger charged a record of which it refused so much (units of a bundle, µSDRt else); moves the meter.

    Escrow and credit are not known here and need not be: what they did not cover is what was refused.
    """
    meter.escrow = MAX_AMOUNT
    if isinstance(terms.tariff, Bundle):
        taken = msgspec.structs.replace(record, units=record.units - refused)
        return charge(meter, taken, terms.tariff).settled
    settled = charge(meter, record, terms.tariff).settled - refused
    meter.charged -= refused
    return settled


async def _open_request(
    connection: AsyncConnection, entry: Entry, message: PlaceRequest, visited: str, terms: Terms
) -> None:
    meter = Meter(escrow=message.escrow, renewals=message.renewals)
    await execute(
        connection,
        "INSERT INTO book_requests (id, offer, home, visited, meter) VALUES (:id, :offer, :home, :visited, :meter)",
        id=message.id,
        offer=message.offer,
        home=entry.sender,
        visited=visited,
        meter=msgspec.msgpack.encode(meter),
    )


async def _find(connection: AsyncConnection, request: UUID) -> BookedRequest:
    found = await fetch_one(connection, BookedRequest, "SELECT * FROM book_requests WHERE id = :id", id=request)
    if found is None:
        raise BookError(f"request {request} is used before it was placed: the entries read have a gap")
    return found


async def _put_meter(connection: AsyncConnection, request: UUID, meter: Meter) -> None:
    sql = "UPDATE book_requests SET meter = :meter WHERE id = :id"
    await execute(connection, sql, id=request, meter=msgspec.msgpack.encode(meter))


def _charge_row(own: str, entry: Entry, request: BookedRequest, position: int) -> dict[str, Any]:
    home = request.home == own
    return {
        "entry": entry.index,
        "request": request.id,
        "position": position,
        "time": entry.time,
        "role": "home" if home else "visited",
        "partner": request.visited if home else request.home,
        "offer": request.offer,
        "offset": 0,
        "duration": 0,
        "place": "",
    }


async def _put_charges(connection: AsyncConnection, rows: list[dict[str, Any]]) -> None:
    await execute_many(
        connection,
        "INSERT INTO book_charges (entry, request, position, time_ms, role, partner, offer, service, start_ms,"
        " offset_min, duration, units, place, charge_usdr) VALUES (:entry, :request, :position, :time, :role, :partner,"
        " :offer, :service, :start, :offset, :duration, :units, :place, :charge)",
        rows,
    )


async def _move(
    connection: AsyncConnection, entry: Entry, cause: str, partner: str, reference: str, amount: int
) -> None:
    await execute(
        connection,
        "INSERT INTO book_movements (entry, time_ms, cause, partner, reference, amount_usdr)"
        " VALUES (:entry, :time, :cause, :partner, :reference, :amount)",
        entry=entry.index,
        time=entry.time,
        cause=cause,
        partner=partner,
        reference=reference,
        amount=amount,
    )


async def _owe(
    connection: AsyncConnection, entry: Entry, obligation: UUID, cause: str, source: UUID | None, amount: int
) -> None:
    await execute(
        connection,
        "INSERT INTO book_debts (entry, obligation, time_ms, cause, source, amount_usdr)"
        " VALUES (:entry, :obligation, :time, :cause, :source, :amount)",
        entry=entry.index,
        obligation=obligation,
        time=entry.time,
        cause=cause,
        source=source,
        amount=amount,
    )
