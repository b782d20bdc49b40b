"""What closing and netting reckon with: charges rated anew, bookings that add up, cycles that balance."""

import re
from collections import Counter
from datetime import date
from uuid import UUID, uuid4

import pytest
from msgspec import structs

from marketplace.closing.act import list_legs
from marketplace.closing.book import rate_again
from marketplace.closing.figures import DebtLine, Paid, Turnover
from marketplace.closing.schemas import NewClosing, Span
from marketplace.closing.words import PHRASES
from marketplace.debts.service import Effect, object_to, reckon
from marketplace.operator_problems import Refusal
from marketplace.operator_settings import NettingSettings
from settlement.documents import Language
from settlement.ledger.cycles import MAX_NOVATED, cycles_of
from settlement.ledger.messages import Terms, UsageRecord
from settlement.ledger.settling import MAX_CHANGES, Change, Debt
from settlement.ledger.state import Cycle, Obligation
from settlement.netting import Debt as Owed
from settlement.netting import Method, net
from settlement.netting import Terms as NettingTerms
from settlement.usage.rating import Meter, charge
from settlement.usage.tariff import Bundle, Metered, Tariff
from tests.integration.ledger_world import make_terms

METERED = Metered(
    block=100, block_price=7, first_interval=60, first_price=30, next_interval=10, next_price=5, event_price=11, cap=900
)
BUNDLE = Bundle(price=100, octets=1000, seconds=600, hours=1, renewals=3)


def make_meter(escrow: int, renewals: int = 0) -> Meter:
    return Meter(
        escrow=escrow,
        charged=0,
        renewals=renewals,
        period_ends=0,
        used_octets=0,
        used_seconds=0,
        used_messages=0,
        limit_octets=0,
        limit_seconds=0,
        limit_messages=0,
        call_seconds=0,
    )


def use(service: str, units: int, start: int = 0, *, continues: bool = False) -> UsageRecord:
    return UsageRecord(service, start, 0, 0, units, "ES", continues)  # type: ignore[arg-type]


@pytest.mark.parametrize("escrow", [0, 1, 50, 99, 250, 899, 900, 5000])
@pytest.mark.parametrize(("tariff", "renewals"), [(METERED, 0), (BUNDLE, 2), (BUNDLE, 0)])
def test_what_the_ledger_charged_follows_from_what_it_refused(escrow: int, tariff: Tariff, renewals: int) -> None:
    records = [
        use("data", 350),
        use("voice", 75),
        use("voice", 20, continues=True),
        use("data", 1900),
        use("data", 70, 90),
    ]
    if tariff is METERED:
        records.append(use("message", 60))
    ledger, book, terms = make_meter(escrow, renewals), make_meter(0, renewals), make_terms(tariff)
    for record in records:
        charged = charge(ledger, record, tariff)
        assert rate_again(book, record, terms, charged.refused) == charged.settled
        assert structs.replace(book, escrow=0) == structs.replace(ledger, escrow=0)


def test_terms_are_those_of_an_offer() -> None:
    assert isinstance(make_terms(METERED), Terms)


OCTOBER = NewClosing(period="2026-10").span()


def owe(debtor: str, creditor: str, amount: int, *, made: int = 0, remaining: int | None = None) -> Obligation:
    return Obligation(
        id=uuid4(),
        debtor=debtor,
        creditor=creditor,
        amount=amount,
        remaining=amount if remaining is None else remaining,
        due=made + 1000,
        cause="shortfall",
        made=made,
    )


def test_the_bookings_with_a_partner_add_up_to_what_is_owed() -> None:
    before, inside = OCTOBER.from_ms - 10, OCTOBER.from_ms + 10
    old, new = owe("bravo", "alfa", 500, made=before), owe("alfa", "bravo", 80, made=inside)
    late = owe("alfa", "bravo", 9, made=OCTOBER.to_ms)
    lines = [
        DebtLine(7, old.id, before + 1, "payment", None, -100),
        DebtLine(8, old.id, inside, "netting", uuid4(), -60),
        DebtLine(8, new.id, inside, "netting", uuid4(), -60),
    ]
    turnover = [Turnover("bravo", "visited", 1000, 250), Turnover("bravo", "home", 0, 40)]
    paid = [
        Paid("bravo", "earning", 1000, 230, 1, 5),
        Paid("bravo", "charge", 0, -40, 2, 6),
        Paid("", "mint", 9, 9, 0, 0),
    ]
    legs = list_legs("alfa", Language.EN, OCTOBER, turnover, paid, [old, new, late], lines, [], {})
    assert set(legs) == {"bravo"}
    opening = sum(leg.amount_usdr for leg in legs["bravo"] if leg.on is None)
    assert opening == 500 - 100
    closing = sum(leg.amount_usdr for leg in legs["bravo"])
    assert closing == (500 - 100 - 60) - (80 - 60) + (250 - 230)  # two obligations, and credit beyond escrow
    assert all(leg.on is None or leg.on <= date(2026, 10, 31) for leg in legs["bravo"])


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-10", date(2026, 10, 1), date(2026, 10, 31)),
        ("2026-12", date(2026, 12, 1), date(2026, 12, 31)),
        ("2028-02", date(2028, 2, 1), date(2028, 2, 29)),
        ("2026-10-01/2026-10-15", date(2026, 10, 1), date(2026, 10, 15)),
    ],
)
def test_a_period_is_whole_days_in_utc(text: str, first: date, last: date) -> None:
    span = NewClosing(period=text).span()
    assert (span.first, span.last) == (first, last)
    assert span.to_ms - span.from_ms == ((last - first).days + 1) * 86_400_000
    assert NewClosing(period=span.id).span() == span


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "october", "2026-10-15/2026-10-01", "2026-02-30/2026-03-01"])
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="is no period"):
        NewClosing(period=text).span()


def test_two_moments_make_a_span_with_a_name_of_days() -> None:
    span = NewClosing(from_ms=OCTOBER.from_ms, to_ms=OCTOBER.from_ms + 5).span()
    assert span == Span("20261001T000000000Z_20261001T000000005Z", "2026-10-01/2026-10-01", OCTOBER.from_ms, span.to_ms)


def make_cycle(changes: tuple[Change, ...], added: tuple[Debt, ...] = ()) -> Cycle:
    return Cycle(id=uuid4(), proposer="i", method="setoff", changes=changes, caps=(), hub=None, added=added, due=None)


def test_a_cycle_is_reckoned_from_ones_own_side_and_objected_to_where_it_takes_more_than_it_gives() -> None:
    mine, theirs, others = owe("alfa", "bravo", 50), owe("charlie", "alfa", 50), owe("bravo", "charlie", 50)
    owed: dict[UUID, Obligation] = {row.id: row for row in (mine, theirs, others)}
    fair = make_cycle(tuple(Change(row.id, 50, 50) for row in (mine, theirs, others)))
    effect = reckon("alfa", fair, owed)
    assert effect == Effect(payable=50, receivable=50)
    assert object_to(effect, NettingSettings(most_usdr=100)) == ""
    assert "most_usdr" in object_to(effect, NettingSettings(most_usdr=99))
    assert "off" in object_to(effect, NettingSettings(automatic=False))
    unfair = reckon("alfa", make_cycle((Change(theirs.id, 50, 50),)), owed)
    assert unfair.position == -50
    assert "net position" in object_to(unfair, NettingSettings())
    hub = reckon("alfa", make_cycle((Change(theirs.id, 50, 50),), (Debt("hub", "alfa", 50),)), owed)
    assert hub.position == 0


@pytest.mark.parametrize("method", list(Method))
def test_a_netting_larger_than_an_entry_becomes_cycles_that_balance_each(method: Method) -> None:
    size = MAX_CHANGES + 201
    owed = [owe(f"op{at:04d}", f"op{(at * 7 + 1) % 40:04d}", 100 + at) for at in range(40)] + [
        owe(f"op{at % 40:04d}", f"op{(at + 1) % 40:04d}", 10 + at % 13) for at in range(size)
    ]
    owed = [row for row in owed if row.debtor != row.creditor]
    netting = net([Owed(row.debtor, row.creditor, row.remaining) for row in owed], method, NettingTerms())
    cycles = cycles_of(owed, netting)
    assert len(cycles) > 1
    debts = {row.id: row for row in owed}
    taken: Counter[UUID] = Counter()
    for cycle in cycles:
        position: Counter[str] = Counter()
        assert len(cycle["changes"]) <= (MAX_NOVATED if method is Method.NOVATION else MAX_CHANGES)
        for change in cycle["changes"]:
            row = debts[change.obligation]
            assert change.remaining == row.remaining
            position[row.debtor] += change.reduction
            position[row.creditor] -= change.reduction
            taken[row.id] += change.reduction
        for debt in cycle["added"]:
            position[debt.debtor] -= debt.amount
            position[debt.creditor] += debt.amount
        assert not any(position.values())
    assert all(reduction <= debts[key].remaining for key, reduction in taken.items())
    if method is Method.SETOFF:
        assert sum(taken.values()) == netting.gross_before - netting.gross_after


def test_every_phrase_is_there_in_every_language_with_the_same_values() -> None:
    english, *others = (PHRASES[language] for language in Language)
    fields = {key: sorted(re.findall(r"{(\w+)}", text)) for key, text in english.items()}
    for other in others:
        assert {key: sorted(re.findall(r"{(\w+)}", text)) for key, text in other.items()} == fields
