"""Netting of small cycles of debts, and what a validator refuses."""

import msgspec
import pytest

from settlement.money import MAX_AMOUNT
from settlement.netting import Debt, Method, Netting, NettingError, Terms, net, verify

TRIANGLE = [Debt("A", "B", 100), Debt("B", "C", 80), Debt("C", "A", 70)]


def _lines(netting: Netting) -> list[tuple[str, str, int]]:
    return [(debt.debtor, debt.creditor, debt.amount) for debt in netting.remaining]


def test_a_cycle_of_debts_is_set_off_by_its_smallest() -> None:
    netting = net(TRIANGLE, Method.SETOFF)
    assert _lines(netting) == [("A", "B", 30), ("B", "C", 10)]
    assert (netting.gross_before, netting.gross_after, netting.saved_percent) == (250, 40, 84.0)
    verify(TRIANGLE, netting)


def test_novation_leaves_one_position_an_operator_and_counts_the_hub_once() -> None:
    netting = net(TRIANGLE, Method.NOVATION)
    assert _lines(netting) == [("A", "hub", 30), ("hub", "B", 20), ("hub", "C", 10)]
    assert netting.gross_after == 30
    verify(TRIANGLE, netting)


def test_debts_of_one_pair_are_added_up() -> None:
    netting = net([Debt("A", "B", 40), Debt("A", "B", 60), Debt("B", "A", 90)], Method.SETOFF)
    assert _lines(netting) == [("A", "B", 10)]


@pytest.mark.parametrize("method", Method)
def test_a_cap_bounds_what_takes_part(method: Method) -> None:
    terms = Terms(caps={("B", "C"): 25})
    netting = net(TRIANGLE, method, terms)
    verify(TRIANGLE, netting, terms)
    assert ("B", "C", 55) in _lines(netting)
    with pytest.raises(NettingError):
        verify(TRIANGLE, netting, Terms(caps={("B", "C"): 24}))


@pytest.mark.parametrize("method", Method)
def test_between_excluded_parties_nothing_takes_part(method: Method) -> None:
    terms = Terms(excluded=frozenset({("A", "C")}))  # the debt is C's to A: either direction counts
    netting = net(TRIANGLE, method, terms)
    verify(TRIANGLE, netting, terms)
    assert ("C", "A", 70) in _lines(netting)


@pytest.mark.parametrize("method", Method)
def test_no_debts_net_to_none(method: Method) -> None:
    netting = net([], method)
    assert (netting.gross_before, netting.gross_after, netting.saved_percent, netting.remaining) == (0, 0, 0.0, ())
    verify([], netting)


def test_the_largest_amounts_are_exact() -> None:
    half = MAX_AMOUNT // 2
    netting = net([Debt("A", "B", half), Debt("B", "A", half)], Method.SETOFF)
    assert netting.remaining == ()
    assert netting.gross_before == MAX_AMOUNT - 1


@pytest.mark.parametrize(
    ("debts", "why"),
    [
        ([Debt("A", "A", 5)], "'A' owes itself 5"),
        ([Debt("A", "B", 0)], "'A' owes 'B' 0 µSDRt"),
        ([Debt("A", "B", MAX_AMOUNT), Debt("B", "C", 1)], "in several parts"),
        ([Debt("A", "hub", 5)], "the hub 'hub' is a debtor or creditor"),
    ],
)
def test_what_is_no_debt_is_refused(debts: list[Debt], why: str) -> None:
    with pytest.raises(NettingError, match=why):
        net(debts, Method.NOVATION)


def _changed(netting: Netting, *remaining: tuple[str, str, int], **fields: object) -> Netting:
    left = tuple(Debt(*line) for line in remaining)
    after = sum(debt.amount for debt in left if debt.debtor != "hub")
    saved = (netting.gross_before - after) * 10_000 // netting.gross_before / 100
    changes = {"remaining": left, "gross_after": after, "saved_percent": saved, **fields}
    return msgspec.structs.replace(netting, **changes)


@pytest.mark.parametrize(
    ("remaining", "why"),
    [
        ((("A", "B", 30), ("B", "C", 11)), "net position of 'B'"),
        ((("A", "B", 20), ("A", "C", 10)), "'A' owed 'C' nothing and now does"),
        ((("A", "B", 130), ("B", "C", 110), ("C", "A", 100)), "grew by 30"),
        ((("A", "B", 40), ("B", "C", 20), ("C", "A", 10)), "do not prove the optimum"),
        ((("A", "B", 20), ("A", "B", 10), ("B", "C", 10)), "stands twice"),
    ],
)
def test_a_validator_refuses_a_set_off_that_is_not_right(remaining: tuple[tuple[str, str, int], ...], why: str) -> None:
    with pytest.raises(NettingError, match=why):
        verify(TRIANGLE, _changed(net(TRIANGLE, Method.SETOFF), *remaining))


def test_no_potentials_prove_a_set_off_that_leaves_a_cycle() -> None:
    short = _changed(net(TRIANGLE, Method.SETOFF), ("A", "B", 40), ("B", "C", 20), ("C", "A", 10))
    for a in range(-3, 4):
        for b in range(-3, 4):
            with pytest.raises(NettingError, match="do not prove"):
                verify(TRIANGLE, msgspec.structs.replace(short, potentials={"A": a, "B": b, "C": 0}))


def test_a_set_off_without_potentials_is_not_proved() -> None:
    with pytest.raises(NettingError, match="no potential is given for 'A'"):
        verify(TRIANGLE, msgspec.structs.replace(net(TRIANGLE, Method.SETOFF), potentials={}))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"gross_before": 251}, "gross_before is given as 251"),
        ({"gross_after": 39}, "gross_after is given as 39"),
        ({"saved_percent": 90.0}, "saved_percent is given as 90"),
    ],
)
def test_a_validator_refuses_lying_figures(fields: dict[str, object], why: str) -> None:
    with pytest.raises(NettingError, match=why):
        verify(TRIANGLE, msgspec.structs.replace(net(TRIANGLE, Method.SETOFF), **fields))


@pytest.mark.parametrize(
    ("remaining", "why"),
    [
        ((("A", "B", 20), ("A", "hub", 10), ("hub", "C", 10)), "novation makes it 0"),
        ((("A", "hub", 50), ("hub", "A", 20), ("hub", "B", 20), ("hub", "C", 10)), "novation makes it"),
        ((("A", "B", 100), ("B", "C", 80), ("C", "A", 70)), "novation makes it 0"),
        ((("A", "hub", 31), ("hub", "B", 21), ("hub", "C", 10)), "net position of 'A'"),
    ],
)
def test_a_validator_refuses_a_novation_that_is_not_right(
    remaining: tuple[tuple[str, str, int], ...], why: str
) -> None:
    with pytest.raises(NettingError, match=why):
        verify(TRIANGLE, _changed(net(TRIANGLE, Method.NOVATION), *remaining))
