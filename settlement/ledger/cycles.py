"""From a netting to the cycle that executes it: which obligations become smaller by how much.

    owed = [row for row in await ledger.obligations(state="open")]
    netting = net((Debt(row.debtor, row.creditor, row.remaining) for row in owed), Method.SETOFF, terms)
    leaf = await ledger.propose(ProposeCycle, until=…, **cycle_of(owed, netting, terms))

`settlement.netting` knows pairs, the ledger obligations: of a pair's, those due first are lowered first.
"""

from collections.abc import Iterable
from typing import Any, Final

from landfall.errors import LandfallError
from settlement.ledger.settling import MAX_CHANGES, Change, Debt
from settlement.ledger.state import Obligation
from settlement.netting import Method, Netting, Terms
from settlement.netting.model import Pair

NOTHING: Final = "the netting changes no obligation: there is nothing to propose"


class CycleError(LandfallError):
    """A netting that no one cycle of the ledger can execute."""


def cycle_of(owed: Iterable[Obligation], netting: Netting, terms: Terms | None = None) -> dict[str, Any]:
    """Fields of the `ProposeCycle` that executes `netting` of the open obligations `owed`; `until`, `due` are yours.

    Raises CycleError where nothing changes, or more obligations do than an entry holds.
    """
    terms = terms or Terms()
    left = {(debt.debtor, debt.creditor): debt.amount for debt in netting.remaining}
    rows = sorted(owed, key=lambda row: (row.due, row.id))
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
    if not changes:
        raise CycleError(NOTHING)
    if len(changes) > MAX_CHANGES:
        raise CycleError(
            f"{len(changes)} obligations change, an entry holds {MAX_CHANGES}: net fewer parties at a time, each "
            "netting a cycle of its own"
        )
    novation = netting.method is Method.NOVATION
    added = tuple(
        Debt(debt.debtor, debt.creditor, debt.amount)
        for debt in netting.remaining
        if novation and terms.hub in (debt.debtor, debt.creditor)
    )
    changed = {(row.debtor, row.creditor) for row in rows}
    return {
        "method": netting.method.value,
        "changes": tuple(changes),
        "caps": tuple(Debt(*pair, cap) for pair, cap in sorted(terms.caps.items()) if pair in changed),
        "hub": terms.hub if novation else None,
        "added": added,
    }
