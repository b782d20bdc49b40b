"""The documents of a period, made of what the book has: values from values, no clock, no network.

    papers = await plan(connection, frame, obligations, cycles, disputes)
    for paper in papers:
        document = paper.make(numbers)               # numbers of documents issued before, by subject

Each paper is of one subject, `close:<period>:<partner>`, and is made when its turn comes: an act cites the invoice's
number, so it comes after it. Amounts are micro-SDRt.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.closing import repository
from marketplace.closing.act import Leg, list_legs, make_act
from marketplace.closing.schemas import Span
from marketplace.closing.words import say, say_entries
from marketplace.operator_settings import ClosingSettings
from marketplace.wholesale.repository import find_offer
from settlement.documents import (
    CreditNote,
    Document,
    Format,
    Invoice,
    Language,
    Line,
    Movement,
    NettingNotice,
    Party,
    Period,
    Position,
    Rate,
    Settled,
    Statement,
    Tax,
    TaxCategory,
    Unit,
    UsageDetail,
    UsageRow,
)
from settlement.ledger.state import Cycle, Dispute, Obligation

MB: Final = 1_000_000
NEEDS_REASON: Final = {TaxCategory.EXEMPT, TaxCategory.REVERSE_CHARGE, TaxCategory.EXPORT, TaxCategory.OUTSIDE}
BILL: Final = (Format.PDF, Format.XML)
TABLES: Final = (Format.XLSX, Format.CSV)
PAGES: Final = (Format.PDF,)
UNITS: Final = {
    "data": Unit.OCTET,
    "voice": Unit.SECOND,
    "message": Unit.MESSAGE,
    "period": Unit.PIECE,
    "fee": Unit.PIECE,
}


class Frame(Struct, frozen=True):
    """What all documents of a closing share. `parties` has everybody by id on the ledger, this operator too."""

    span: Span
    own: str
    parties: Mapping[str, Party]
    issued_on: date
    rate: Rate
    closing: ClosingSettings
    notes: tuple[str, ...] = ()

    @property
    def period(self) -> Period:
        """The days it has entries of."""
        return Period(first=self.span.first, last=self.span.last)

    @property
    def language(self) -> Language:
        """The language of what is said in it."""
        return self.closing.languages[0]

    @property
    def us(self) -> Party:
        """The operator that closes."""
        return self.parties[self.own]


Make = Callable[[Mapping[str, str]], Document]


class Paper(Struct, frozen=True):
    """One document to be issued. `amount_usdr`: what it comes to. `obligations`: those it invoices."""

    kind: str
    subject: str
    counterparty: str | None
    amount_usdr: int
    formats: tuple[Format, ...]
    make: Make
    obligations: tuple[UUID, ...] = ()


class Known(Struct, frozen=True):
    """What the ledger says now of what this operator owes, is owed, netted and disputed."""

    obligations: Sequence[Obligation]
    cycles: Mapping[UUID, Cycle]
    disputes: Mapping[UUID, Dispute]


async def plan(connection: AsyncConnection, frame: Frame, known: Known) -> list[Paper]:
    """Every document of the period, in the order of issue."""
    span = frame.span
    turnover = await repository.list_turnover(connection, span)
    paid = await repository.list_paid(connection, span)
    lines = await repository.list_debt_lines(connection, span.to_ms)
    papers = [await _statement(connection, frame)]
    papers += await _invoices(connection, frame, known, paid)
    papers += await _credit_notes(connection, frame, known)
    papers += _notices(frame, known, lines)
    disputes = await repository.list_ended_disputes(connection, _until(span))
    legs = list_legs(
        frame.own, frame.language, span, turnover, paid, known.obligations, lines, disputes, known.disputes
    )
    papers += _acts(frame, legs)
    return papers


def _until(span: Span) -> Span:
    return Span(span.id, span.name, 0, span.to_ms)


def subject_of(span: Span, partner: str) -> str:
    """What a document is of; one of a kind and subject is issued."""
    return f"close:{span.id}:{partner}"


async def _statement(connection: AsyncConnection, frame: Frame) -> Paper:
    opening = await repository.sum_before(connection, frame.span.from_ms)
    days = await repository.list_days(connection, frame.span)
    movements = tuple(
        Movement(
            on=row.day,
            cause=row.cause,  # type: ignore[arg-type]  # the book's causes are the statement's
            counterparty=row.partner,
            reference=say_entries(frame.language, row.first, row.last),
            amount_usdr=row.amount_usdr,
        )
        for row in days
    )
    document = Statement(
        issued_on=frame.issued_on,
        period=frame.period,
        notes=frame.notes,
        issuer=frame.us,
        holder=frame.us,
        opening_usdr=opening,
        movements=movements,
        rate=frame.rate,
    )
    closing = opening + sum(row.amount_usdr for row in movements)
    return Paper("statement", subject_of(frame.span, ""), None, closing, PAGES, lambda _: document)


async def _invoices(
    connection: AsyncConnection, frame: Frame, known: Known, paid: list[repository.Paid]
) -> list[Paper]:
    """For each home operator an invoice of what was earned from it, with the records it is of."""
    sold: dict[str, list[repository.Sold]] = defaultdict(list)
    for row in await repository.list_sold(connection, frame.span):
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
            charges = await repository.list_charges(connection, frame.span, "visited", partner)
            papers.append(_usage(frame, partner, charges))
    return papers


async def _line(connection: AsyncConnection, frame: Frame, row: repository.Sold) -> Line:
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


def _escrow(frame: Frame, partner: str, paid: Iterable[repository.Paid]) -> tuple[Settled, ...]:
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


def _usage(frame: Frame, partner: str, charges: list[repository.Charge]) -> Paper:
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


def usage_row(charge: repository.Charge) -> UsageRow:
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


def record_key(charge: repository.Charge) -> str:
    """What both sides call a record by: the entry, the request's last digits, the place in its group."""
    place = {"period": "price", "fee": "fee"}.get(charge.service, str(charge.position))
    return f"{charge.entry}-{charge.request.hex[-12:]}-{place}"


async def _credit_notes(connection: AsyncConnection, frame: Frame, known: Known) -> list[Paper]:
    """For each dispute this operator lost in the period."""
    papers = []
    for row in await repository.list_ended_disputes(connection, frame.span):
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


def _notices(frame: Frame, known: Known, lines: Sequence[repository.DebtLine]) -> list[Paper]:
    """One notice for each cycle that was executed in the period."""
    executed: dict[UUID, repository.DebtLine] = {}
    for line in lines:
        if line.cause == "netting" and line.source is not None and line.time_ms >= frame.span.from_ms:
            executed.setdefault(line.source, line)
    owed = {one.id: one for one in known.obligations}
    return [_notice(frame, known.cycles[cycle], line, owed) for cycle, line in executed.items()]


def _notice(frame: Frame, cycle: Cycle, line: repository.DebtLine, owed: Mapping[UUID, Obligation]) -> Paper:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])  # receivable, payable before; after
    netted = 0
    for change in cycle.changes:
        debt = owed.get(change.obligation)
        if debt is None or frame.own not in (debt.debtor, debt.creditor):
            continue
        owing = debt.debtor == frame.own
        row = sums[debt.creditor if owing else debt.debtor]
        row[owing] += change.remaining
        row[2 + owing] += change.remaining - change.reduction
        netted += change.reduction
    for added in cycle.added:
        if frame.own in (added.debtor, added.creditor):
            owing = added.debtor == frame.own
            sums[added.creditor if owing else added.debtor][2 + owing] += added.amount
    positions = tuple(
        Position(
            counterparty=partner,
            name=frame.parties[partner].legal_name,
            receivable_before_usdr=row[0],
            payable_before_usdr=row[1],
            receivable_after_usdr=row[2],
            payable_after_usdr=row[3],
        )
        for partner, row in sorted(sums.items())
    )
    document = NettingNotice(
        issued_on=frame.issued_on,
        period=frame.period,
        notes=frame.notes,
        issuer=frame.us,
        addressee=frame.us,
        cycle=str(cycle.id),
        method=cycle.method,
        executed_on=datetime.fromtimestamp(line.time_ms / 1000, UTC).date(),
        positions=positions,
        entry=str(line.entry),
        rate=frame.rate,
    )
    subject = f"{subject_of(frame.span, '')}:{cycle.id}"
    return Paper("netting-notice", subject, None, netted, PAGES, lambda _: document)


def _acts(frame: Frame, legs: Mapping[str, list[Leg]]) -> list[Paper]:
    papers = []
    for partner, of_partner in sorted(legs.items()):

        def make(numbers: Mapping[str, str], partner: str = partner, legs: list[Leg] = of_partner) -> Document:
            number = numbers.get(f"invoice {subject_of(frame.span, partner)}", "")
            return make_act(
                legs,
                ours=frame.us,
                theirs=frame.parties[partner],
                period=frame.period,
                issued_on=frame.issued_on,
                notes=frame.notes,
                invoice=say(frame.language, "invoice", number=number).strip(),
            )

        closing = sum(leg.amount_usdr for leg in of_partner)
        papers.append(Paper("act", subject_of(frame.span, partner), partner, closing, PAGES, make))
    return papers
