"""The documents of a period, made of what the book has: values from values, no clock, no network.

    papers = await plan(connection, frame, known)
    for paper in papers:
        document = paper.make(numbers)               # numbers of documents issued before, by subject

Each paper is of one subject, `close:<period>:<partner>`, and is made when its turn comes: an act cites the invoice's
number, so it comes after it. Amounts are micro-SDRt.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.closing import figures
from marketplace.closing.act import Leg, list_legs, make_act
from marketplace.closing.bills import list_credit_notes, list_invoices
from marketplace.closing.paper import Frame, Known, Paper, subject_of
from marketplace.closing.schemas import Span
from marketplace.closing.words import say, say_entries
from settlement.documents import Document, Format, Movement, NettingNotice, Position, Statement
from settlement.ledger.state import Cycle, Obligation

PAGES: Final = (Format.PDF,)


async def plan(connection: AsyncConnection, frame: Frame, known: Known) -> list[Paper]:
    """Every document of the period, in the order of issue."""
    span = frame.span
    turnover = await figures.list_turnover(connection, span)
    paid = await figures.list_paid(connection, span)
    lines = await figures.list_debt_lines(connection, span.to_ms)
    papers = [await _statement(connection, frame)]
    papers += await list_invoices(connection, frame, known, paid)
    papers += await list_credit_notes(connection, frame, known)
    papers += _notices(frame, known, lines)
    disputes = await figures.list_ended_disputes(connection, _until(span))
    legs = list_legs(
        frame.own, frame.language, span, turnover, paid, known.obligations, lines, disputes, known.disputes
    )
    papers += _acts(frame, legs)
    return papers


def _until(span: Span) -> Span:
    return Span(span.id, span.name, 0, span.to_ms)


async def _statement(connection: AsyncConnection, frame: Frame) -> Paper:
    opening = await figures.sum_before(connection, frame.span.from_ms)
    days = await figures.list_days(connection, frame.span)
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


def _notices(frame: Frame, known: Known, lines: Sequence[figures.DebtLine]) -> list[Paper]:
    """One notice for each cycle that was executed in the period."""
    executed: dict[UUID, figures.DebtLine] = {}
    for line in lines:
        if line.cause == "netting" and line.source is not None and line.time_ms >= frame.span.from_ms:
            executed.setdefault(line.source, line)
    owed = {one.id: one for one in known.obligations}
    return [_notice(frame, known.cycles[cycle], line, owed) for cycle, line in executed.items()]


def _notice(frame: Frame, cycle: Cycle, line: figures.DebtLine, owed: Mapping[UUID, Obligation]) -> Paper:
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
