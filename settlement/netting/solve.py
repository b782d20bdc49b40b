"""Solving: set-off as a min-cost circulation, novation as positions against a hub.

Set-off: of each debt debtor → creditor let x be what is set off, 0 ≤ x ≤ the part that takes part. Positions stay if
what each operator is relieved of equals what it forgoes, so x is a circulation; the most is set off where the cost of
-1 for every unit is least. OR-tools solves that on integers, exactly. The solver keeps its dual to itself, so the
potentials are found afterwards, as shortest distances in the residual graph: finding any proves the optimum.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

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

Integers = npt.NDArray[np.int64]


def net(debts: Iterable[Debt], method: Method, terms: Terms | None = None) -> Netting:
    """Net debts; several of one pair are added up first.

    Raises `NettingError` on what is no debt, and on terms that cannot be kept.
    """
    terms = terms or Terms()
    owed = merge(debts)
    check_terms(terms, owed)
    if method is Method.SETOFF:
        remaining, potentials, solver_s = _set_off(owed, terms)
    else:
        begin = time.perf_counter()
        remaining, potentials = _novate(owed, terms), {}
        solver_s = time.perf_counter() - begin
    before, after = sum(owed.values()), gross_of_operators(remaining, method, terms.hub)
    return Netting(method, before, after, saved_percent(before, after), remaining, potentials, solver_s)


def _novate(owed: Mapping[Pair, int], terms: Terms) -> tuple[Debt, ...]:
    part = {pair: terms.part(pair, amount) for pair, amount in owed.items()}
    left = [Debt(*pair, amount - part[pair]) for pair, amount in owed.items() if amount > part[pair]]
    for party, position in positions(part).items():
        left.append(Debt(terms.hub, party, position) if position > 0 else Debt(party, terms.hub, -position))
    return tuple(sorted(left))


def _set_off(owed: Mapping[Pair, int], terms: Terms) -> tuple[tuple[Debt, ...], dict[str, int], float]:
    """What is left, the potentials, and the seconds in the solver."""
    names = sorted({name for pair in owed for name in pair})
    number = {name: index for index, name in enumerate(names)}
    size = len(owed)
    tails = np.fromiter((number[debtor] for debtor, _ in owed), np.int64, size)
    heads = np.fromiter((number[creditor] for _, creditor in owed), np.int64, size)
    amounts = np.fromiter(owed.values(), np.int64, size)
    parts = np.fromiter((terms.part(pair, amount) for pair, amount in owed.items()), np.int64, size)
    order = np.argsort(tails * len(names) + heads)  # so that one set of debts has one outcome
    tails, heads, amounts, parts = tails[order], heads[order], amounts[order], parts[order]
    begin = time.perf_counter()
    flows = _circulate(tails, heads, parts)
    solver_s = time.perf_counter() - begin
    distances = _potentials(len(names), tails, heads, parts, flows)
    left = amounts - flows
    some = left > 0
    lines = zip(tails[some].tolist(), heads[some].tolist(), left[some].tolist(), strict=True)
    remaining = tuple(Debt(names[debtor], names[creditor], amount) for debtor, creditor, amount in lines)
    return remaining, dict(zip(names, distances.tolist(), strict=True)), solver_s


def _circulate(tails: Integers, heads: Integers, capacities: Integers) -> Integers:
    if not len(tails):
        return capacities
    solver: Any = SimpleMinCostFlow()
    arcs = solver.add_arcs_with_capacity_and_unit_cost(
        tails.astype(np.int32), heads.astype(np.int32), capacities, np.full(len(tails), -1, np.int64)
    )
    status = solver.solve()
    assert status == SimpleMinCostFlow.Status.OPTIMAL, status  # doing nothing is feasible, and the sums were bounded
    return np.asarray(solver.flows(arcs), np.int64)


def _potentials(parties: int, tails: Integers, heads: Integers, capacities: Integers, flows: Integers) -> Integers:
    """Shortest distances in the residual graph from a source next to all parties (Bellman–Ford, changed ones only).

    Raises `NettingError` where a negative cycle shows that more could have been set off.
    """
    more, less = flows < capacities, flows > 0
    sources = np.concatenate([tails[more], heads[less]])
    targets = np.concatenate([heads[more], tails[less]])
    costs = np.concatenate([np.full(int(more.sum()), -1, np.int64), np.full(int(less.sum()), 1, np.int64)])
    order = np.argsort(sources, kind="stable")
    targets, costs = targets[order], costs[order]
    starts = np.searchsorted(sources[order], np.arange(parties + 1))
    distances = np.zeros(parties, np.int64)
    changed = np.arange(parties)
    while len(changed):
        counts = starts[changed + 1] - starts[changed]
        arcs = np.repeat(starts[changed] - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
        reached = distances.copy()
        np.minimum.at(reached, targets[arcs], np.repeat(distances[changed], counts) + costs[arcs])
        changed = np.flatnonzero(reached < distances)
        distances = reached
        if len(changed) and int(distances.min()) <= -parties:  # shorter than any path without a cycle
            raise NettingError("the set-off is not the most that is possible: a cycle of debts is left")
    return distances
