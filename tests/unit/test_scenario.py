"""Scenarios are read strictly, and told of line by line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.scenario import ScenarioError, find_scenario, list_scenarios, read_scenario

GOOD = """
title = "Two"
about = "Two operators"
starts = 2026-07-01
days = 2
subscribers = 10
[[operators]]
id = "alfa"
name = "Alfa"
country = "DE"
share = 1.0
[[operators]]
id = "beta"
name = "Beta"
country = "ES"
"""


def complaints_of(text: str) -> dict[int, str]:
    with pytest.raises(ScenarioError) as caught:
        read_scenario(text, "a.toml")
    return dict(caught.value.complaints)


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def test_all_scenarios_that_come_along_can_be() -> None:
    found = list_scenarios()
    assert {"smoke", "summer-holidays", "football-final", "one-dishonest-operator", "smsc-meltdown"} <= found.keys()


def test_a_good_scenario_is_read() -> None:
    scenario = read_scenario(GOOD, "a.toml")
    assert [plan.id for plan in scenario.operators] == ["alfa", "beta"]
    assert scenario.steps == 8


def test_everything_wrong_is_told_at_once_with_its_line() -> None:
    text = GOOD.replace('"ES"', '"XX"').replace("days = 2", "days = -2") + (
        '[[outages]]\noperator = "gamma"\nfrom_hour = 1\nhours = 1\n[smsc]\nloss = 1.5\nlosss = 1\n'
    )
    found = complaints_of(text)
    assert "'XX' is no country" in found[line_of(text, '"XX"')]
    assert "-2" in found[line_of(text, "days = -2")]
    assert "'gamma' is no operator" in found[line_of(text, '"gamma"')]
    assert "1.5" in found[line_of(text, "loss = 1.5")]
    assert "do you mean loss?" in found[line_of(text, "losss")]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.split("[[operators]]")[0], "there are no operators"),
        (lambda text: text.replace('id = "beta"', 'id = "alfa"'), "stands 2 times"),
        (lambda text: text.replace("share = 1.0", "share = 0.5"), "add up to 0.5"),
        (lambda text: text.replace('"ES"', '"DE"'), "nowhere to go"),
        (lambda text: text.replace("subscribers = 10", ""), "subscribers is missing"),
        (lambda text: text.replace("days = 2", "days = two"), "not TOML"),
        (lambda text: text.replace("days = 2", "days = 2\nstep_hours = 5"), "write one of 1, 2, 3, 4, 6, 8, 12, 24"),
        (lambda text: text.replace('"alfa"', '"Alfa!"'), "lower-case letters"),
        (lambda text: text + '[[routes]]\nto = "FR"\n', "nobody sells offers in FR"),
        (lambda text: text + "[[faults]]\nkind = 'kill-node'\nat_hour = 99\n", "after the world's end"),
        (lambda text: text + "[[faults]]\nkind = 'kill-node'\ntarget = 'beta'\nat_hour = 9\n", "has no node"),
        (lambda text: text + "[smsc]\ndelay_s = [3.0, 1.0]\n", "the least comes first"),
        (lambda text: text + "[smsc]\nloss = 'much'\n", "Expected float"),
        (lambda text: text + "routes = 3\n", "routes"),
        (lambda text: text.replace("share = 1.0", "share = 1.0\ncards = 2"), "need an operator abroad"),
    ],
)
def test_a_scenario_that_cannot_be_says_why(change, told) -> None:  # type: ignore[no-untyped-def]
    assert any(told in words for words in complaints_of(change(GOOD)).values())


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(Exception, match="smoke"):
        find_scenario("smokee")


@given(st.text(max_size=200))
def test_no_text_is_worse_than_a_scenario_error(text: str) -> None:
    with pytest.raises(ScenarioError):
        read_scenario(text, "a.toml")


@given(
    st.dictionaries(st.sampled_from(["days", "operators", "routes", "smsc", "faults"]), st.integers() | st.booleans())
)
def test_no_wrong_type_is_worse_than_a_scenario_error(table: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {str(value).lower()}" for key, value in table.items())
    with pytest.raises(ScenarioError):
        read_scenario(text, "a.toml")
