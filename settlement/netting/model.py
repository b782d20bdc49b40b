"""The values of netting: debts, terms, and the netting that follows from them. Amounts are whole micro-SDRt."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from landfall.errors import LandfallError
from settlement.money import MAX_AMOUNT

Pair = tuple[str, str]
"""Debtor and creditor."""

HUB: Final = "hub"
"""Name of novation's central party where nobody chose another."""
MAX_GROSS: Final = MAX_AMOUNT
"""Bound of all debts together: every sum stays an integer JSON readers keep exact, and the solver's 64 bits suffice."""


class NettingError(LandfallError):
    """Debts or terms that cannot be netted, or a netting that is not what it claims to be."""


class Method(StrEnum):
    """How debts are netted."""

    SETOFF = "setoff"
    NOVATION = "novation"


class Debt(msgspec.Struct, frozen=True, order=True):
    """What one party owes another, in µSDRt, at least 1."""

    debtor: str
    creditor: str
    amount: int


class Terms(msgspec.Struct, frozen=True):
    """What may take part.

    caps: the most of a pair's debt that takes part, in µSDRt; without one, all of it.
    excluded: parties between whom nothing takes part, in either direction.
    hub: name of novation's central party; it may not be a debtor or creditor itself.
    """

    caps: Mapping[Pair, int] = {}
    excluded: frozenset[Pair] = frozenset()
    hub: str = HUB

    def part(self, pair: Pair, owed: int) -> int:
        """How much of `owed`, the whole debt of a pair, takes part."""
        if self.excluded and (pair in self.excluded or (pair[1], pair[0]) in self.excluded):
            return 0
        return min(owed, self.caps.get(pair, owed))


class Netting(msgspec.Struct, frozen=True):
    """The outcome of a netting, complete enough to be checked by `verify`.

    gross_before, gross_after: what all operators owe, in µSDRt. The hub of a novation pays on what it receives, so its
        own debts are listed in `remaining` and not counted a second time.
    saved_percent: how much less that is, to a hundredth.
    remaining: every debt left, one a pair, in order.
    potentials: with set-off, one integer an operator: the proof that no more could be set off.
    solver_s: seconds the solver took, without reading, checking and the proof.
    """

    method: Method
    gross_before: int
    gross_after: int
    saved_percent: float
    remaining: tuple[Debt, ...]
    potentials: dict[str, int]
    solver_s: float


def merge(debts: Iterable[Debt]) -> dict[Pair, int]:
    """Add up the debts of each pair.

    Raises `NettingError` on an amount below 1 µSDRt, a debt to oneself, and more than `MAX_GROSS` in all.
    """
    owed: dict[Pair, int] = {}
    for debt in debts:
        if debt.amount < 1:
            raise NettingError(
                f"{debt.debtor!r} owes {debt.creditor!r} {debt.amount} µSDRt: a debt is at least 1 µSDRt"
            )
        if debt.debtor == debt.creditor:
            raise NettingError(f"{debt.debtor!r} owes itself {debt.amount} µSDRt: a debt is between two")
        pair = (debt.debtor, debt.creditor)
        owed[pair] = owed.get(pair, 0) + debt.amount
    if (gross := sum(owed.values())) > MAX_GROSS:
        raise NettingError(f"the debts add up to {gross} µSDRt, more than {MAX_GROSS}: net them in several parts")
    return owed


def check_terms(terms: Terms, owed: Mapping[Pair, int]) -> None:
    """Raise `NettingError` on a cap below zero and on a hub that is also a debtor or creditor."""
    for (debtor, creditor), cap in terms.caps.items():
        if cap < 0:
            raise NettingError(f"the cap of {debtor!r} to {creditor!r} is {cap} µSDRt: it is 0 or more")
    if any(terms.hub in pair for pair in owed):
        raise NettingError(f"the hub {terms.hub!r} is a debtor or creditor itself: choose another name for it")


def positions(owed: Mapping[Pair, int]) -> dict[str, int]:
    """What each party is owed less what it owes, in µSDRt; parties whose position is nought are not in it."""
    net: dict[str, int] = {}
    for (debtor, creditor), amount in owed.items():
        net[debtor] = net.get(debtor, 0) - amount
        net[creditor] = net.get(creditor, 0) + amount
    return {party: amount for party, amount in net.items() if amount}


def gross_of_operators(remaining: Iterable[Debt], method: Method, hub: str) -> int:
    """What operators owe: with novation the hub's own debts only pass on what it receives."""
    return sum(debt.amount for debt in remaining if method is Method.SETOFF or debt.debtor != hub)


def saved_percent(before: int, after: int) -> float:
    """How much less `after` is than `before`, in per cent, down to a hundredth."""
    return (before - after) * 10_000 // before / 100 if before else 0.0
