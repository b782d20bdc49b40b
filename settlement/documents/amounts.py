"""Sums of documents: exact, in whole minor units, as EN 16931 adds up.

Each line is converted and rounded by itself; their sum is the net total, VAT is of the sum of each category and rate
(BR-CO-17), rounded half up, as tax law commonly has it. What is still to pay is the VAT and the *unsettled* SDRt
converted once: what the roundings of lines and settled parts differ from that is the rounding amount (BT-114), so that
the payable amount (BT-115) never depends on how a bill was cut into lines.
"""

from fractions import Fraction

from msgspec import Struct

from settlement.documents.model import Billing, ReconciliationAct, Statement, Tax
from settlement.sdr import Rounding, round_whole


class TaxTotal(Struct, frozen=True):
    """VAT of one category and rate, in minor units."""

    tax: Tax
    base_minor: int
    tax_minor: int


class Totals(Struct, frozen=True):
    """An invoice's sums, in minor units unless named otherwise.

    `gross` = `net` + `tax`; `payable` = `gross` - `settled` + `rounding` (BR-CO-15, BR-CO-16).
    """

    lines: tuple[int, ...]
    net: int
    net_usdr: int
    taxes: tuple[TaxTotal, ...]
    tax: int
    gross: int
    settled: tuple[int, ...]
    settled_usdr: int
    rounding: int
    payable: int


def sum_up(billing: Billing) -> Totals:
    """Add up an invoice or credit note."""
    convert = billing.rate.convert
    lines = tuple(convert(line.amount_usdr) for line in billing.lines)
    bases: dict[tuple[str, Fraction], tuple[Tax, int]] = {}
    for line, minor in zip(billing.lines, lines, strict=True):
        group = (line.tax.category.value, Fraction(line.tax.percent))
        tax, base = bases.get(group, (line.tax, 0))
        bases[group] = (tax, base + minor)
    taxes = tuple(
        TaxTotal(tax, base, round_whole(base * percent / 100, Rounding.HALF_UP))
        for (_, percent), (tax, base) in sorted(bases.items(), key=lambda item: item[0])
    )
    settled = tuple(convert(each.amount_usdr) for each in billing.settled)
    net, tax_total = sum(lines), sum(each.tax_minor for each in taxes)
    net_usdr = sum(line.amount_usdr for line in billing.lines)
    settled_usdr = sum(each.amount_usdr for each in billing.settled)
    gross, payable = net + tax_total, tax_total + convert(net_usdr - settled_usdr)
    return Totals(
        lines=lines,
        net=net,
        net_usdr=net_usdr,
        taxes=taxes,
        tax=tax_total,
        gross=gross,
        settled=settled,
        settled_usdr=settled_usdr,
        rounding=payable - (gross - sum(settled)),
        payable=payable,
    )


class Turnover(Struct, frozen=True):
    """One side's books over a period, seen from `ours`: `closing` = `opening` + `debit` - `credit`."""

    opening: int
    debit: int
    credit: int
    closing: int


def balance_act(act: ReconciliationAct) -> tuple[Turnover, Turnover]:
    """Both sides' turnovers, ours first: minor units of the act's currency, or micro-SDRt where it states no rate."""
    ours = [entry.ours.amount_usdr for entry in act.entries if entry.ours]
    theirs = [entry.theirs.amount_usdr for entry in act.entries if entry.theirs]
    return _turn(act, act.opening_ours_usdr, ours), _turn(act, act.opening_theirs_usdr, theirs)


def _turn(act: ReconciliationAct, opening_usdr: int, amounts_usdr: list[int]) -> Turnover:
    opening, *amounts = (in_unit_of(act, each) for each in (opening_usdr, *amounts_usdr))
    debit, credit = sum(each for each in amounts if each > 0), -sum(each for each in amounts if each < 0)
    return Turnover(opening, debit, credit, opening + debit - credit)


def in_unit_of(act: ReconciliationAct, amount_usdr: int) -> int:
    """An amount in what the act's columns are in."""
    return act.rate.convert(amount_usdr) if act.rate else amount_usdr


def closing_usdr(statement: Statement) -> int:
    """The balance at the end of a statement."""
    return statement.opening_usdr + sum(movement.amount_usdr for movement in statement.movements)
