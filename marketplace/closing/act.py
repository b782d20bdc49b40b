"""The reconciliation act of a period: what both sides booked with each other, as the ledger has it for both.

A leg is one booking, above zero where the partner's debt to us grows. Charges become a debt and escrow pays it, in the
same entry; what escrow did not pay is a credit under a deal and stays. Obligations begin, are paid and netted. So the
sum of all legs before a moment is what was owed at it, whoever asks.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from marketplace.closing.figures import DebtLine, Ended, Paid, Turnover
from marketplace.closing.schemas import Span
from marketplace.closing.words import say, say_entries
from settlement.documents import ActEntry, Language, Party, Period, Posting, ReconciliationAct
from settlement.ledger.state import Dispute, Obligation

INVOICE: Final = "invoice"
"""What a leg is named by that an invoice of the same closing stands for."""
BY_RECORDS: Final = ("credit", "dispute")
"""Obligations whose amount is booked already: as charges beyond escrow, as an award."""
ESCROWED: Final = ("charge", "earning", "fee")


class Leg(Struct, frozen=True):
    """One booking; `on` None: before the period."""

    on: date | None
    what: str
    amount_usdr: int


def list_legs(
    own: str,
    language: Language,
    span: Span,
    turnover: Iterable[Turnover],
    paid: Iterable[Paid],
    obligations: Sequence[Obligation],
    lines: Sequence[DebtLine],
    ended: Iterable[Ended],
    disputes: Mapping[UUID, Dispute],
) -> dict[str, list[Leg]]:
    """Bookings by partner, those before the period first, in sums."""
    legs: dict[str, list[Leg]] = defaultdict(list)
    for charged in turnover:
        sign, what = (1, INVOICE) if charged.role == "visited" else (-1, say(language, "charged"))
        legs[charged.partner].append(Leg(None, "", sign * charged.before_usdr))
        legs[charged.partner].append(Leg(span.last, what, sign * charged.charged_usdr))
    for row in paid:
        if row.cause in ESCROWED:
            legs[row.partner].append(Leg(None, "", -row.before_usdr))
            what = say(language, "escrow", entries=say_entries(language, row.first, row.last))
            legs[row.partner].append(Leg(span.last, what, -row.amount_usdr))
    for line in ended:
        dispute = disputes[UUID(line.reference)]
        sign = -1 if dispute.visited == own else 1
        on = _day(line.time_ms, span)
        legs[line.partner].append(Leg(on, say(language, "credit", dispute=dispute.id), sign * dispute.award))
        what = say(language, "award", entries=say_entries(language, line.entry, line.entry))
        legs[line.partner].append(Leg(on, what, -line.amount_usdr))
    _add_obligations(legs, own, language, span, obligations, lines)
    kept = {partner: [leg for leg in of_partner if leg.amount_usdr] for partner, of_partner in legs.items()}
    return {partner: of_partner for partner, of_partner in kept.items() if of_partner}


def _add_obligations(
    legs: dict[str, list[Leg]],
    own: str,
    language: Language,
    span: Span,
    obligations: Sequence[Obligation],
    lines: Sequence[DebtLine],
) -> None:
    owed = {one.id: one for one in obligations if own in (one.debtor, one.creditor)}
    opened = {line.obligation: line.time_ms for line in lines if line.cause == "opened"}
    for one in owed.values():
        if one.cause in BY_RECORDS or one.state in ("proposed", "dropped"):
            continue
        began = opened.get(one.id) if one.cause == "invoice" else one.made
        if began is not None and began < span.to_ms:
            partner, sign = _side(own, one)
            legs[partner].append(Leg(_day(began, span), name_of(one, language), sign * one.amount))
    for line in lines:
        if line.amount_usdr and (found := owed.get(line.obligation)) is not None:
            partner, sign = _side(own, found)
            what = say(language, "paid", entries=say_entries(language, line.entry, line.entry))
            if line.cause == "netting":
                what = say(language, "netted", cycle=line.source)
            legs[partner].append(Leg(_day(line.time_ms, span), what, sign * line.amount_usdr))


def _side(own: str, obligation: Obligation) -> tuple[str, int]:
    return (obligation.debtor, 1) if obligation.creditor == own else (obligation.creditor, -1)


def name_of(obligation: Obligation, language: Language) -> str:
    """How an act names an obligation: by the number of its invoice, or what it comes from."""
    if obligation.cause == "invoice":
        return say(language, "invoice", number=obligation.number or obligation.id)
    return say(language, obligation.cause, source=obligation.source or obligation.id)


def _day(time_ms: int, span: Span) -> date | None:
    return None if time_ms < span.from_ms else datetime.fromtimestamp(time_ms / 1000, UTC).date()


def make_act(
    legs: Sequence[Leg],
    *,
    ours: Party,
    theirs: Party,
    period: Period,
    issued_on: date,
    notes: tuple[str, ...],
    invoice: str,
) -> ReconciliationAct:
    """The act of one partner; `invoice` names this closing's. Both columns are the ledger's, which both signed."""
    opening = sum(leg.amount_usdr for leg in legs if leg.on is None)
    entries = []
    for leg in legs:
        if leg.on is not None:
            what = invoice if leg.what == INVOICE else leg.what
            posting = Posting(on=leg.on, document=what, amount_usdr=leg.amount_usdr)
            entries.append(ActEntry(ours=posting, theirs=posting))
    return ReconciliationAct(
        issued_on=issued_on,
        period=period,
        notes=notes,
        ours=ours,
        theirs=theirs,
        opening_ours_usdr=opening,
        opening_theirs_usdr=opening,
        entries=tuple(entries),
    )
