"""What a closing charges partners for: invoices of what was earned, the records they are of, and credit notes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.closing import figures, repository
from marketplace.closing.paper import Frame, Known, Paper, subject_of
from marketplace.closing.words import say, say_entries
from marketplace.operator_settings import ClosingSettings
from marketplace.wholesale.repository import find_offer
from settlement.documents import (
    CreditNote,
    Document,
    Format,
    Invoice,
    Line,
    Settled,
    Tax,
    TaxCategory,
    Unit,
    UsageDetail,
    UsageRow,
)
from settlement.ledger.state import Dispute, Obligation

MB: Final = 1_000_000
NEEDS_REASON: Final = {TaxCategory.EXEMPT, TaxCategory.REVERSE_CHARGE, TaxCategory.EXPORT, TaxCategory.OUTSIDE}
BILL: Final = (Format.PDF, Format.XML)
TABLES: Final = (Format.XLSX, Format.CSV)
UNITS: Final = {
    "data": Unit.OCTET,
    "voice": Unit.SECOND,
    "message": Unit.MESSAGE,
    "period": Unit.PIECE,
    "fee": Unit.PIECE,
}


async def list_invoices(
    connection: AsyncConnection, frame: Frame, known: Known, paid: list[figures.Paid]
) -> list[Paper]:
    """For each home operator an invoice of what was earned from it, with the records it is of."""
    sold: dict[str, list[figures.Sold]] = defaultdict(list)
    for row in await figures.list_sold(connection, frame.span):
        sold[row.partner].append(row)
    invoiced = await repository.list_invoiced(connection)
    short: dict[str, list[Obligation]] = defaultdict(list)
    for owed in known.obligations:
        if owed.creditor == frame.own and owed.cause == "shortfall" and owed.id not in invoiced:
            short[owed.debtor].append(owed)
    papers = []
    for partner in sorted(sold.keys() | short.keys()):
        lines = [await _line(connection, frame, row) for row in sold[partner] if row.charge_usdr]
        lines += [_shortfall_line(frame, owed) for owed in short[partner]]
        if not lines:
            continue
        papers.append(_invoice(frame, partner, lines, _escrow(frame, partner, paid), short[partner]))
        if sold[partner]:
            charges = await figures.list_charges(connection, frame.span, "visited", partner)
            papers.append(_usage(frame, partner, charges))
    return papers


async def _line(connection: AsyncConnection, frame: Frame, row: figures.Sold) -> Line:
    offer = await find_offer(connection, row.offer)
    names = offer.terms.name if offer is not None else {}
    name = names.get(frame.language.value) or names.get("en") or next(iter(names.values()), "offer")
    unit, quantity = UNITS[row.service], Decimal(row.units)
    if row.service == "data":
        unit, quantity = Unit.MB, quantity / MB
    return Line(
        description=say(frame.language, row.service, name=name),
        quantity=quantity,
        unit=unit,
        amount_usdr=row.charge_usdr,
        tax=tax_of(frame.closing),
        reference=f"offer {row.offer}",
    )


def _shortfall_line(frame: Frame, owed: Obligation) -> Line:
    return Line(
        description=say(frame.language, "shortfall-line"),
        quantity=Decimal(1),
        unit=Unit.PIECE,
        amount_usdr=owed.amount,
        tax=tax_of(frame.closing),
        reference=f"deal {owed.source}",
    )


def tax_of(closing: ClosingSettings) -> Tax:
    """The tax that the settings put on every line."""
    reason = closing.tax_reason if closing.tax in NEEDS_REASON else ""
    return Tax(category=closing.tax, percent=closing.tax_percent, reason=reason)


def _escrow(frame: Frame, partner: str, paid: Iterable[figures.Paid]) -> tuple[Settled, ...]:
    rows = [row for row in paid if row.partner == partner and row.cause in ("earning", "fee") and row.amount_usdr > 0]
    if not rows:
        return ()
    first, last = min(row.first or 0 for row in rows), max(row.last or 0 for row in rows)
    amount = sum(row.amount_usdr for row in rows)
    return (
        Settled(
            cause="escrow", reference=say_entries(frame.language, first, last), on=frame.span.last, amount_usdr=amount
        ),
    )


def _invoice(
    frame: Frame, partner: str, lines: list[Line], settled: tuple[Settled, ...], short: list[Obligation]
) -> Paper:
    amount = sum(line.amount_usdr for line in lines)
    document = Invoice(
        issued_on=frame.issued_on,
        period=frame.period,
        notes=frame.notes,
        seller=frame.us,
        buyer=frame.parties[partner],
        rate=frame.rate,
        lines=tuple(lines),
        settled=settled,
        due_on=frame.issued_on + timedelta(days=frame.closing.due_days),
    )
    subject = subject_of(frame.span, partner)
    return Paper("invoice", subject, partner, amount, BILL, lambda _: document, tuple(owed.id for owed in short))


def _usage(frame: Frame, partner: str, charges: list[figures.Charge]) -> Paper:
    document = UsageDetail(
        issued_on=frame.issued_on,
        period=frame.period,
        notes=frame.notes,
        seller=frame.us,
        buyer=frame.parties[partner],
        rows=tuple(usage_row(charge) for charge in charges),
        rate=frame.rate,
    )
    amount = sum(charge.charge_usdr for charge in charges)
    return Paper("usage", subject_of(frame.span, partner), partner, amount, TABLES, lambda _: document)


def usage_row(charge: figures.Charge) -> UsageRow:
    """A rated record as a document has it; both sides name it alike, by entry and place in it."""
    zone = timezone(timedelta(minutes=charge.offset_min)) if charge.offset_min else UTC
    service: Literal["data", "voice", "message", "event"] = "event"
    if charge.service in ("data", "voice", "message"):
        service = charge.service  # type: ignore[assignment]
    return UsageRow(
        request=str(charge.request),
        record=record_key(charge),
        service=service,
        start=datetime.fromtimestamp(charge.start_ms / 1000, zone),
        units=charge.units,
        unit=UNITS[charge.service],
        place=charge.place,
        amount_usdr=charge.charge_usdr,
    )


def record_key(charge: figures.Charge) -> str:
    """What both sides call a record by: the entry, the request's last digits, the place in its group."""
    place = {"period": "price", "fee": "fee"}.get(charge.service, str(charge.position))
    return f"{charge.entry}-{charge.request.hex[-12:]}-{place}"


async def list_credit_notes(connection: AsyncConnection, frame: Frame, known: Known) -> list[Paper]:
    """For each dispute this operator lost in the period."""
    papers = []
    for row in await figures.list_ended_disputes(connection, frame.span):
        dispute = known.disputes.get(UUID(row.reference))
        if dispute is None or dispute.visited != frame.own or not dispute.award:
            continue
        line = Line(
            description=say(frame.language, "credited", entry=dispute.entry),
            quantity=Decimal(1),
            unit=Unit.PIECE,
            amount_usdr=dispute.award,
            tax=tax_of(frame.closing),
            reference=f"request {dispute.request}",
        )
        on = datetime.fromtimestamp(row.time_ms / 1000, UTC).date()
        given = -row.amount_usdr
        settled = (
            (
                Settled(
                    cause="payment",
                    reference=say_entries(frame.language, row.entry, row.entry),
                    on=on,
                    amount_usdr=given,
                ),
            )
            if given
            else ()
        )
        papers.append(_credit_note(frame, dispute, line, settled))
    return papers


def _credit_note(frame: Frame, dispute: Dispute, line: Line, settled: tuple[Settled, ...]) -> Paper:
    def make(numbers: Mapping[str, str]) -> Document:
        invoice = numbers.get(f"invoice {subject_of(frame.span, dispute.home)}")
        return CreditNote(
            issued_on=frame.issued_on,
            period=frame.period,
            notes=frame.notes,
            seller=frame.us,
            buyer=frame.parties[dispute.home],
            rate=frame.rate,
            lines=(line,),
            settled=settled,
            due_on=frame.issued_on + timedelta(days=frame.closing.due_days),
            corrects=invoice or say(frame.language, "credited", entry=dispute.entry),
            corrects_issued_on=frame.issued_on,
            reason=say(frame.language, "upheld", dispute=dispute.id, cause=dispute.cause),
        )

    subject = f"{subject_of(frame.span, dispute.home)}:{dispute.id}"
    return Paper("credit-note", subject, dispute.home, dispute.award, BILL, make)
