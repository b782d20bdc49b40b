"""Scenarios are read strictly, and told of line by line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.countries import load_countries
from simulator.founding import AUDITOR, ISSUER
from simulator.frauds import CODES
from simulator.scenario import LEAST_FACTOR, ScenarioError, find_scenario, list_scenarios, read_scenario
from simulator.scenario_checks import DRAWN_FRAUDS, KEY_NAMES, MOST_OPERATORS, NODE_NAMES, PARTY_NAMES
from simulator.site_keys import FIXED, open_keys
from simulator.world import make_world

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


def lie(fraud: str, more: str = "") -> str:
    return f"[[dishonest]]\noperator = 'beta'\nfraud = '{fraud}'\n{more}\n"


def crowd(count: int) -> str:
    """Two operators, and others without subscribers up to so many."""
    isos = [iso for iso in sorted(load_countries()) if iso not in ("DE", "ES")]
    others = [
        f"[[operators]]\nid = 'op-{n}'\nname = 'Op'\ncountry = '{isos[n % len(isos)]}'\n" for n in range(2, count)
    ]
    return GOOD + "".join(others)


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
        (lambda _: crowd(MOST_OPERATORS + 1), "there are 256 operators, at most 255"),
        (lambda text: text.replace('"beta"', '"sdrt-issuer"'), "'sdrt-issuer' is a name of the simulator's own"),
        (lambda text: text.replace('"beta"', '"open-audit"\nnode = true'), "'open-audit' is a name of the simulator's"),
        (lambda text: text.replace('"beta"', '"ledger"\nnode = true'), "'ledger' is a name of the simulator's own"),
        (lambda text: text.replace('"beta"', '"field"\nnode = true'), "'field' is a name of the simulator's own"),
        (lambda text: text.replace('"alfa"', '"smsc"\ncards = 1'), "'smsc' is a name of the simulator's own"),
        (lambda text: text.replace('"beta"', '"template1"\nnode = true'), "'template1' is a name of the simulator's"),
        (lambda text: text.replace('"beta"', '"issuer"'), "'issuer' is a name of the simulator's own"),
        (lambda text: text + "offers = []\n" + lie("withdraw"), "'withdraw', and 'beta' sells nothing: give it offers"),
        (lambda text: text + "offers = []\n" + lie("over-report"), "'over-report', and 'beta' sells nothing"),
        (lambda text: text + "offers = []\n" + lie("replay"), "'replay', and 'beta' sells nothing"),
        (lambda text: text + "offers = []\n" + lie("phantom-usage"), "'phantom-usage', and 'beta' sells nothing"),
        (lambda text: text + lie("replay", "share = 0.9") + lie("withdraw"), "add up to 1.1: at most 1"),
        (lambda text: text + lie("replay", "share = 0.6") + lie("replay", "share = 0.6"), "add up to 1.2: at most 1"),
        (lambda text: text.replace("days = 2", "days = 2\ndecline = 0.6\ncancel = 0.5"), "together are 1.1: at most 1"),
        (lambda text: text.replace("days = 2", "days = 2\ndecline = 1.0"), "together are 1.01: at most 1"),
        (lambda text: text + lie("over-report", "factor = 1.05"), "factor is 1.05: Expected float >= 1.15"),
        (lambda text: text + "[[faults]]\nkind = 'stop-ledger'\ntarget = 'beta'\nat_hour = 9\n", "leave target out"),
        (
            lambda text: text + "node = true\n[[faults]]\nkind = 'restart-database'\ntarget = 'beta'\nat_hour = 9\n",
            "target is 'beta', and restart-database has none but the ledger",
        ),
    ],
)
def test_a_scenario_that_cannot_be_says_why(change, told) -> None:  # type: ignore[no-untyped-def]
    assert any(told in words for words in complaints_of(change(GOOD)).values())


@pytest.mark.parametrize(
    "text",
    [
        crowd(MOST_OPERATORS),
        GOOD.replace('"beta"', '"ledger"'),
        GOOD.replace('"beta"', '"issuer"\nnode = true'),
        GOOD + "offers = ['metered']\n" + lie("replay", "share = 0.8") + lie("withdraw"),
        GOOD + lie("double-spend", "share = 1.0") + lie("withdraw", "share = 1.0"),
        GOOD + lie("over-report", f"factor = {LEAST_FACTOR}"),
        GOOD.replace("days = 2", "days = 2\ndecline = 0.9\ncancel = 0.1"),
        GOOD + "[[faults]]\nkind = 'stop-ledger'\ntarget = 'ledger'\nat_hour = 9\n",
    ],
)
def test_what_just_can_be_is_read(text: str) -> None:
    assert read_scenario(text, "a.toml").title == "Two"


def test_without_operators_everything_else_is_told_too() -> None:
    text = GOOD.split("[[operators]]")[0] + (
        "decline = 0.7\ncancel = 0.8\n[[routes]]\nto = 'XX'\n[[events]]\nname = 'gala'\ncountry = 'ES'\n"
        "from_hour = 99\nhours = 1\nvisitors = 0.1\n[[faults]]\nkind = 'stop-ledger'\ntarget = 'beta'\nat_hour = 1\n"
        "[smsc]\ndelay_s = [3.0, 1.0]\n"
    )
    found = complaints_of(text)
    assert "there are no operators" in found[1]
    assert "together are 1.5" in found[line_of(text, "cancel")]
    assert "'XX' is no country" in found[line_of(text, "'XX'")]
    assert "after the world's end" in found[line_of(text, "from_hour")]
    assert "leave target out" in found[line_of(text, "target")]
    assert "the least comes first" in found[line_of(text, "delay_s")]
    assert len(found) == 6


def test_several_contradictions_are_told_each_at_its_line() -> None:
    text = GOOD.replace('"beta"', '"open-audit"') + (
        "offers = []\n[[dishonest]]\noperator = 'open-audit'\nfraud = 'withdraw'\nshare = 0.7\nfactor = 1.1\n"
        "[[dishonest]]\noperator = 'open-audit'\nfraud = 'replay'\nshare = 0.31\n"
    )
    found = complaints_of(text)
    assert "write another id" in found[line_of(text, 'id = "open-audit"')]
    assert "sells nothing" in found[line_of(text, "'withdraw'")]
    assert "1.1" in found[line_of(text, "factor")]
    assert "add up to 1.01" in found[line_of(text, "share = 0.31")]


def test_names_and_frauds_are_those_that_the_simulator_has(tmp_path: Path) -> None:
    keys = open_keys(tmp_path, make_world(read_scenario(GOOD, "a.toml"), seed=1))
    assert {AUDITOR, ISSUER} == PARTY_NAMES
    assert keys.seeds.keys() - {"alfa", "beta"} == KEY_NAMES
    assert {*FIXED, *keys.keks} <= NODE_NAMES
    assert CODES.keys() == DRAWN_FRAUDS


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
def test_no_wrong_type_at_the_top_is_worse_than_a_scenario_error(table: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {str(value).lower()}" for key, value in table.items())
    with pytest.raises(ScenarioError):
        read_scenario(text, "a.toml")


@pytest.mark.parametrize("value", ["[]", "[[1]]", "{}", "3", "true", "nan", "2026-07-01"])
@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("operators", "id"),
        ("operators", "country"),
        ("routes", "to"),
        ("outages", "operator"),
        ("dishonest", "operator"),
        ("dishonest", "fraud"),
        ("faults", "kind"),
        ("faults", "target"),
    ],
)
def test_no_wrong_type_in_a_table_is_worse_than_a_scenario_error(table: str, key: str, value: str) -> None:
    text = GOOD + f"[[{table}]]\n{key} = {value}\n" * 2
    assert any(f"{key} is " in words for words in complaints_of(text).values())
