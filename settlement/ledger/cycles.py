"""From a netting to the cycle that executes it: which obligations become smaller by how much.

    owed = [row for row in await ledger.obligations(state="open")]
    netting = net((Debt(row.debtor, row.creditor, row.remaining) for row in owed), Method.SETOFF, terms)
    leaf = await ledger.propose(ProposeCycle, until=…, **cycle_of(owed, netting, terms))

`settlement.netting` knows pairs, the ledger obligations: of a pair's, those due first are lowered first. What an entry
cannot hold, `cycles_of` divides into several cycles, each balanced in itself: the circulation of a set-off into the
simple cycles it is the sum of, packed; a novation by obligations, each part with debts of its own with the hub.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final
from uuid import UUID

from landfall.errors import LandfallError
from settlement.ledger.settling import MAX_CHANGES, Change, Debt
from settlement.ledger.state import Obligation
from settlement.netting import Method, Netting, Terms
from settlement.netting.model import Pair

MAX_NOVATED: Final = MAX_CHANGES // 2
"""Obligations of a novation's cycle: its entry names the debts with the hub too, at most one a party."""
NOTHING: Final = "the netting changes no obligation: there is nothing to propose"


class CycleError(LandfallError):
    """A netting that no one cycle of the ledger can execute."""


def cycle_of(owed: Iterable[Obligation], netting: Netting, terms: Terms | None = None) -> dict[str, Any]:
    """Fields of the `ProposeCycle` that executes `netting` of the open obligations `owed`; `until`, `due` are yours.

    Raises CycleError where nothing changes, or more obligations do than an entry holds.
    """
    terms = terms or Terms()
    rows = sorted(owed, key=_by_due)
    changes = _reduce(rows, netting)
    if not changes:
        raise CycleError(NOTHING)
    if len(changes) > MAX_CHANGES:
        raise CycleError(f"{len(changes)} obligations change, an entry holds {MAX_CHANGES}: make several cycles of it")
    novation = netting.method is Method.NOVATION
    added = tuple(
        Debt(debt.debtor, debt.creditor, debt.amount)
        for debt in netting.remaining
        if novation and terms.hub in (debt.debtor, debt.creditor)
    )
    return _fields(rows, netting, terms, changes, added)


def cycles_of(owed: Iterable[Obligation], netting: Netting, terms: Terms | None = None) -> list[dict[str, Any]]:
    """Fields of as few `ProposeCycle`s as execute `netting`, each balanced; an obligation may stand in several.

    Raises CycleError where nothing changes, and on a simple cycle of more debts than an entry holds.
    """
    terms = terms or Terms()
    rows = sorted(owed, key=_by_due)
    changes = _reduce(rows, netting)
    novation = netting.method is Method.NOVATION
    if not changes:
        raise CycleError(NOTHING)
    if len(changes) <= (MAX_NOVATED if novation else MAX_CHANGES):
        return [cycle_of(rows, netting, terms)]
    debts = {row.id: row for row in rows}
    if novation:
        parts = [changes[at : at + MAX_NOVATED] for at in range(0, len(changes), MAX_NOVATED)]
        return [_fields(rows, netting, terms, part, _with_hub(part, debts, terms.hub)) for part in parts]
    return [_fields(rows, netting, terms, part, ()) for part in _pack(changes, debts)]


def _with_hub(part: list[Change], debts: dict[UUID, Obligation], hub: str) -> tuple[Debt, ...]:
    """What each party of a part then owes the hub, or is owed by it."""
    position: dict[str, int] = {}
    for change in part:
        owed = debts[change.obligation]
        position[owed.debtor] = position.get(owed.debtor, 0) - change.reduction
        position[owed.creditor] = position.get(owed.creditor, 0) + change.reduction
    return tuple(
        Debt(hub, party, amount) if amount > 0 else Debt(party, hub, -amount)
        for party, amount in sorted(position.items())
        if amount
    )


def _pack(changes: list[Change], debts: dict[UUID, Obligation]) -> Iterator[list[Change]]:
    """A set-off's reductions as parts that each balance: simple cycles, as many a part as an entry holds."""
    stated = {change.obligation: change.remaining for change in changes}
    part: dict[UUID, int] = {}
    for simple, amount in _simple_cycles(changes, debts):
        if len(simple) > MAX_CHANGES:
            raise CycleError(f"a cycle of {len(simple)} debts fits no entry, which holds {MAX_CHANGES}: exclude a pair")
        if len(part.keys() | set(simple)) > MAX_CHANGES:
            yield [Change(key, stated[key], reduction) for key, reduction in part.items()]
            part = {}
        for key in simple:
            part[key] = part.get(key, 0) + amount
    yield [Change(key, stated[key], reduction) for key, reduction in part.items()]


def _simple_cycles(changes: list[Change], debts: dict[UUID, Obligation]) -> Iterator[tuple[list[UUID], int]]:
    """A circulation is a sum of simple cycles: walk from debtor to creditor until somebody comes up again."""
    left = {change.obligation: change.reduction for change in changes}
    owing: dict[str, list[UUID]] = {}
    for key in left:
        owing.setdefault(debts[key].debtor, []).append(key)
    while owing:
        party = next(iter(owing))
        path: list[UUID] = []
        seen: dict[str, int] = {}
        while party not in seen:
            seen[party] = len(path)
            path.append(owing[party][-1])
            party = debts[path[-1]].creditor
        simple = path[seen[party] :]
        amount = min(left[key] for key in simple)
        for key in simple:
            left[key] -= amount
            if not left[key]:
                debtor = debts[key].debtor
                owing[debtor].remove(key)
                if not owing[debtor]:
                    del owing[debtor]
        yield simple, amount


def _by_due(row: Obligation) -> tuple[int, UUID]:
    return row.due, row.id


def _reduce(rows: list[Obligation], netting: Netting) -> list[Change]:
    """By how much each obligation becomes smaller."""
    left = {(debt.debtor, debt.creditor): debt.amount for debt in netting.remaining}
    excess: dict[Pair, int] = {}
    for row in rows:
        pair = (row.debtor, row.creditor)
        excess[pair] = excess.get(pair, 0) + row.remaining
    changes: list[Change] = []
    over = {pair: amount - left.get(pair, 0) for pair, amount in excess.items()}
    for row in rows:
        pair = (row.debtor, row.creditor)
        if reduction := min(row.remaining, over[pair]):
            over[pair] -= reduction
            changes.append(Change(row.id, row.remaining, reduction))
    return changes


def _fields(
    rows: list[Obligation], netting: Netting, terms: Terms, changes: list[Change], added: tuple[Debt, ...]
) -> dict[str, Any]:
    novation = netting.method is Method.NOVATION
    changed = {(row.debtor, row.creditor) for row in rows}
    return {
        "method": netting.method.value,
        "changes": tuple(changes),
        "caps": tuple(Debt(*pair, cap) for pair, cap in sorted(terms.caps.items()) if pair in changed),
        "hub": terms.hub if novation else None,
        "added": added,
    }
