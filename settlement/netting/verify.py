"""Checking a netting without solving it: what a validator runs, and an operator before it consents.

Plain integers, one pass over the debts, no solver. For set-off the proof of the optimum is complementary slackness: an
operator's potential falls by at least 1 along every debt of which more could be set off, and by at most 1 along every
debt of which something was. Then no cycle of changes gains anything, whatever optimum the solver chose.
"""

from collections.abc import Iterable, Mapping

from settlement.netting.model import (
    Debt,
    Method,
    Netting,
    NettingError,
    Pair,
    Terms,
    check_terms,
    gross_of_operators,
    merge,
    positions,
    saved_percent,
)


def verify(debts: Iterable[Debt], netting: Netting, terms: Terms | None = None) -> None:
    """Raise `NettingError`, saying what is wrong, unless `netting` is a right and best netting of `debts`.

    Checked: the figures follow from the debts; every net position is as it was; no more of a debt was netted than
    takes part; set-off grew no debt and made no new one, and is the optimum; novation left nothing but hub positions
    and what did not take part. `solver_s` is the solver's word.
    """
    terms = terms or Terms()
    owed = merge(debts)
    check_terms(terms, owed)
    left = merge(netting.remaining)
    if len(left) != len(netting.remaining):
        raise NettingError("a pair stands twice in the remaining debts: each pair has one")
    _check_figures(owed, netting, terms)
    _check_positions(owed, left, terms)
    if netting.method is Method.SETOFF:
        _check_set_off(owed, left, netting.potentials, terms)
    else:
        _check_novation(owed, left, terms)


def _check_figures(owed: Mapping[Pair, int], netting: Netting, terms: Terms) -> None:
    before = sum(owed.values())
    after = gross_of_operators(netting.remaining, netting.method, terms.hub)
    for name, claimed, is_ in (
        ("gross_before", netting.gross_before, before),
        ("gross_after", netting.gross_after, after),
        ("saved_percent", netting.saved_percent, saved_percent(before, after)),
    ):
        if claimed != is_:
            raise NettingError(f"{name} is given as {claimed}; the debts make it {is_}")


def _check_positions(owed: Mapping[Pair, int], left: Mapping[Pair, int], terms: Terms) -> None:
    before, after = positions(owed), positions(left)
    for party in sorted(before.keys() | after.keys()):
        was, is_ = before.get(party, 0), after.get(party, 0)
        if was != is_:
            what = (
                "the hub's position is" if party == terms.hub else f"the net position of {party!r} was {was} µSDRt, is"
            )
            raise NettingError(f"{what} {is_} µSDRt: netting changes nobody's position")


def _check_set_off(
    owed: Mapping[Pair, int], left: Mapping[Pair, int], potentials: Mapping[str, int], terms: Terms
) -> None:
    for pair in left:
        if pair not in owed:
            raise NettingError(f"{pair[0]!r} owed {pair[1]!r} nothing and now does: set-off makes no new debt")
    for pair, amount in owed.items():
        debtor, creditor = pair
        part, off = terms.part(pair, amount), amount - left.get(pair, 0)
        if off < 0:
            raise NettingError(f"what {debtor!r} owes {creditor!r} grew by {-off} µSDRt: set-off only lowers debts")
        if off > part:
            raise NettingError(f"{off} µSDRt of {debtor!r} to {creditor!r} were set off: {part} take part")
        if not part:
            continue
        try:
            fall = potentials[debtor] - potentials[creditor]
        except KeyError as error:
            raise NettingError(f"no potential is given for {error.args[0]!r}: the optimum is not proved") from None
        if (off < part and fall < 1) or (off > 0 and fall > 1):
            raise NettingError(f"the potentials do not prove the optimum: they fail at {debtor!r} to {creditor!r}")


def _check_novation(owed: Mapping[Pair, int], left: Mapping[Pair, int], terms: Terms) -> None:
    part = {pair: terms.part(pair, amount) for pair, amount in owed.items()}
    expected = {pair: amount - part[pair] for pair, amount in owed.items() if amount > part[pair]}
    hub_positions = positions(part)
    for pair, amount in left.items():
        debtor, creditor = pair
        party, sign = (creditor, 1) if debtor == terms.hub else (debtor, -1)
        is_hub = terms.hub in pair
        due = sign * hub_positions.get(party, 0) if is_hub else expected.get(pair, 0)
        if amount != due:
            raise NettingError(f"{debtor!r} is left owing {creditor!r} {amount} µSDRt: novation makes it {max(due, 0)}")
    if len(left) != len(expected) + len(hub_positions):
        raise NettingError("debts are missing from the remaining ones: novation keeps what does not take part")
