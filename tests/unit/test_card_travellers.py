"""Travellers with real cards: who they are, where they go, and what may befall them in a run that is to hold."""

from typing import Any

import pytest
from msgspec import structs

from simulator.card_book import CARD_ESCROW_USDR, CardBook, CardStage, _draw
from simulator.checks import check_travellers
from simulator.scenario import Scenario, list_scenarios
from simulator.world import make_world


def scenario_of(name: str) -> Scenario:
    return list_scenarios()[name]


def book_of(scenario: Scenario) -> CardBook:
    return _draw(make_world(scenario, 1))


def with_plan(scenario: Scenario, operator: str, **changes: Any) -> Scenario:
    plans = [structs.replace(plan, **changes) if plan.id == operator else plan for plan in scenario.operators]
    return structs.replace(scenario, operators=tuple(plans))


@pytest.mark.parametrize("name", ["summer-holidays", "football-final"])
def test_cards_of_a_large_world_travel_between_nodes_that_sell_to_nobody_else(name: str) -> None:
    scenario = scenario_of(name)
    world, travellers = make_world(scenario, 1), book_of(scenario).travellers
    assert len(travellers) == sum(plan.cards for plan in scenario.operators) > 0
    for traveller in travellers:
        home, visited = world.operators[traveller.home], world.operators[traveller.visited]
        assert visited.plan.node
        assert home.country != visited.country
        assert not home.plan.offers
        assert not visited.plan.offers
        assert not home.plan.share


def test_who_sells_nothing_and_has_no_node_of_its_own_is_not_travelled_to() -> None:
    scenario = with_plan(scenario_of("smoke"), "reka", offers=())
    world = make_world(scenario, 1)
    visited = {world.operators[traveller.visited].id for traveller in book_of(scenario).travellers}
    assert "reka" not in visited


def test_a_package_of_a_card_is_funded() -> None:
    assert CARD_ESCROW_USDR == 8_400_000


@pytest.mark.parametrize(
    ("world", "stage", "holds"),
    [
        ("smoke", "returned", True),
        ("smoke", "unserved", False),
        ("smsc-meltdown", "unserved", True),
        ("football-final", "unserved", True),
        ("smsc-meltdown", "failed", False),
        ("smsc-meltdown", "abroad", False),
        ("smsc-meltdown", "bought", False),
    ],
)
def test_a_card_comes_home_or_has_lost_its_profile_to_the_world(world: str, stage: CardStage, holds: bool) -> None:
    scenario = scenario_of(world)
    book = book_of(scenario)
    for traveller in book.travellers:
        traveller.stage = "returned"
    book.travellers[1].stage, book.travellers[1].why = stage, "the ledger said no"
    check = check_travellers(scenario, book)
    assert check.holds is holds
    assert holds or f"card 2 is {stage}: the ledger said no" in check.saw
