"""Checks of a simulation that must not hold: what a scenario does not bring about is a mistake, and is told."""

import pickle

import pytest
from msgspec import structs

from settlement.ledger.client import Rejected
from settlement.ledger.rejections import Rejection
from simulator.checks import KNOWN_REFUSALS, FraudScore, check_disputes, check_frauds, check_refusals
from simulator.disputing import Disputes
from simulator.engine import Outcome
from simulator.processes import NodeError
from simulator.scenario import Scenario, list_scenarios
from simulator.simulation import _tell


def outcome(*codes: str) -> Outcome:
    return Outcome(
        step=0,
        stages={},
        codes=dict.fromkeys(codes, 1),
        attempts=(),
        sendings=(),
        records=0,
        settled=[],
        octets=0,
        seconds=1.0,
        again=False,
    )


def test_a_refusal_holds_where_its_scenario_brings_it_about_and_nowhere_else() -> None:
    scenarios = list_scenarios()
    plain = structs.replace(scenarios["smoke"], dishonest=(), reporting=type(scenarios["smoke"].reporting)())
    for code in KNOWN_REFUSALS:
        holds = [name for name, one in scenarios.items() if check_refusals(one, [outcome(code)], revoked=False).holds]
        assert holds, f"no scenario brings {code} about"
        assert not check_refusals(plain, [outcome(code)], revoked=False).holds
    check = check_refusals(plain, [outcome("accept: wrong-state")], revoked=False)
    assert not check.holds
    assert "accept: wrong-state" in check.saw


def test_a_revoked_key_is_refused_only_where_one_was_revoked() -> None:
    scenario: Scenario = list_scenarios()["smoke"]
    seen = [outcome("usage: key-not-valid")]
    assert check_refusals(scenario, seen, revoked=True).holds
    assert not check_refusals(scenario, seen, revoked=False).holds


@pytest.mark.parametrize(
    ("score", "holds"),
    [
        (FraudScore("replay", "evidence", 100, 100, 100), True),
        (FraudScore("replay", "evidence", 100, 95, 95), True),
        (FraudScore("replay", "evidence", 100, 94, 94), False),
        (FraudScore("replay", "evidence", 100, 102, 100), False),
        (FraudScore("replay", "evidence", 0, 0, 0), True),
        (FraudScore("replay", "evidence", 0, 1, 0), False),
    ],
)
def test_a_fraud_is_found_out_well_enough_or_not(score: FraudScore, holds: bool) -> None:
    [check] = check_frauds([score])
    assert check.holds is holds


@pytest.mark.parametrize(
    ("disputes", "holds"),
    [
        (Disputes(findings=5, raised=4, conceded=2, denied=2, upheld=2, idle=1), True),
        (Disputes(findings=5, raised=4, conceded=2, denied=2, upheld=1, idle=1), False),
        (Disputes(findings=5, raised=4, conceded=4, idle=1, refused=("too-much",)), False),
    ],
)
def test_disputes_have_come_to_an_end(disputes: Disputes, holds: bool) -> None:
    [check] = check_disputes(disputes)
    assert check.holds is holds


def test_what_the_ledger_rejected_is_handed_over_between_processes() -> None:
    told = pickle.loads(pickle.dumps(Rejected(Rejection("out-of-stock", "all are taken"))))
    assert isinstance(told, Rejected)
    assert told.rejection == Rejection("out-of-stock", "all are taken")
    assert str(told) == "out-of-stock: all are taken"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NodeError("the node alfa has ended"), "the node alfa has ended"),
        (RuntimeError("2 messages were refused"), "RuntimeError: 2 messages were refused"),
        (ExceptionGroup("two", [ExceptionGroup("one", [NodeError("first")]), ValueError("second")]), "first"),
    ],
)
def test_what_ended_a_run_is_told_in_a_line(error: Exception, told: str) -> None:
    assert _tell(error) == told
