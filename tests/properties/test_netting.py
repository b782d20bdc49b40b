"""Netting of random debts: the optimum of a second solver, nobody's position changed, every proof accepted."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from settlement.netting import Debt, Method, Terms, net, verify
from settlement.netting.model import merge, positions

PARTIES = "ABCDEFG"

pairs = st.tuples(st.sampled_from(PARTIES), st.sampled_from(PARTIES)).filter(lambda pair: pair[0] != pair[1])
debt = st.builds(lambda pair, amount: Debt(pair[0], pair[1], amount), pairs, st.integers(1, 10**6))
debts_of = st.lists(debt, max_size=30)
terms_of = st.builds(
    Terms,
    caps=st.dictionaries(pairs, st.integers(0, 10**6), max_size=6),
    excluded=st.frozensets(pairs, max_size=2),
)


def _most_set_off(debts: list[Debt], terms: Terms) -> int:
    """The optimum by HiGHS, a simplex and interior-point solver that knows nothing of flows."""
    owed = merge(debts)
    if not owed:
        return 0
    conserve = np.zeros((len(PARTIES), len(owed)))
    for column, (debtor, creditor) in enumerate(owed):
        conserve[PARTIES.index(debtor), column] = 1
        conserve[PARTIES.index(creditor), column] = -1
    bounds = [(0, terms.part(pair, amount)) for pair, amount in owed.items()]
    found = linprog(-np.ones(len(owed)), A_eq=conserve, b_eq=np.zeros(len(PARTIES)), bounds=bounds, method="highs")
    return -round(float(found.fun))


@settings(max_examples=150, deadline=None)
@given(debts=debts_of, terms=terms_of)
def test_a_set_off_is_the_optimum_of_a_second_solver_and_verifies(debts: list[Debt], terms: Terms) -> None:
    netting = net(debts, Method.SETOFF, terms)
    verify(debts, netting, terms)
    assert netting.gross_before - netting.gross_after == _most_set_off(debts, terms)
    owed = merge(debts)
    assert all(left.amount <= owed[left.debtor, left.creditor] for left in netting.remaining)


@settings(max_examples=150, deadline=None)
@given(debts=debts_of, terms=terms_of)
def test_novation_keeps_positions_and_leaves_at_most_one_debt_an_operator(debts: list[Debt], terms: Terms) -> None:
    netting = net(debts, Method.NOVATION, terms)
    verify(debts, netting, terms)
    assert positions(merge(netting.remaining)) == positions(merge(debts))
    with_hub = [left for left in netting.remaining if "hub" in (left.debtor, left.creditor)]
    assert len(with_hub) <= len(PARTIES)
    assert netting.gross_after <= net(debts, Method.SETOFF, terms).gross_after


@settings(max_examples=50, deadline=None)
@given(debts=debts_of)
def test_the_order_of_the_debts_does_not_matter(debts: list[Debt]) -> None:
    shuffled = sorted(debts, key=lambda debt: (debt.creditor, debt.amount))
    first, second = net(debts, Method.SETOFF), net(shuffled, Method.SETOFF)
    assert (first.remaining, first.potentials) == (second.remaining, second.potentials)
