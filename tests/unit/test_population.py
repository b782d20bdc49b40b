"""A simulated population: the same for a seed, different for another, and with the shape that was asked for."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from settlement.usage.tariff import Bundle
from simulator.population import CLASSIC, draw_population, draw_trips, draw_use
from simulator.scenario import Outage, find_scenario
from simulator.world import World, make_world


def world_of(seed: int = 1, **changes: object) -> World:
    return make_world(structs.replace(find_scenario("one-dishonest-operator")[2], **changes), seed)


def test_a_seed_makes_the_same_world_and_another_seed_another() -> None:
    first, again, other = world_of(5), world_of(5), world_of(6)
    assert first == again
    assert first.offers != other.offers
    arrays = [dataclasses.astuple(draw_trips(world, draw_population(world))) for world in (first, again, other)]
    assert all(np.array_equal(a, b) for a, b in zip(arrays[0], arrays[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(arrays[0], arrays[2], strict=True))


@settings(max_examples=20, deadline=None)
@given(st.integers(min_value=0, max_value=2**40), st.integers(min_value=1, max_value=5_000))
def test_journeys_are_possible(seed: int, subscribers: int) -> None:
    world = world_of(seed, subscribers=subscribers)
    people = draw_population(world)
    trips = draw_trips(world, people)
    hours = world.scenario.days * 24
    assert len(people.home) == subscribers
    assert ((trips.start >= 0) & (trips.start < trips.end) & (trips.end <= hours)).all()
    assert (trips.buy_step <= trips.start_step).all()
    assert (trips.start_step <= trips.end_step).all()
    assert (trips.end_step < world.scenario.steps).all()
    same = trips.subscriber[1:] == trips.subscriber[:-1]
    assert (trips.start[1:][same] >= trips.end[:-1][same]).all(), "nobody is in two places at once"
    ordered = trips.offer >= 0
    assert (people.sim[trips.subscriber[ordered]] != CLASSIC).all(), "a classic SIM takes no profile"
    for number in np.flatnonzero(ordered):
        offer = world.offers[trips.offer[number]]
        seller = world.operators[offer.operator]
        assert seller.country == world.countries[trips.destination[number]]
        assert seller.country != world.operators[people.home[trips.subscriber[number]]].country
        if isinstance(offer.tariff, Bundle):
            assert trips.escrow[number] == offer.tariff.price * (1 + int(trips.renewals[number]))
        else:
            assert 0 < trips.escrow[number] <= offer.tariff.cap


def test_nobody_uses_a_network_that_is_down() -> None:
    everywhere = tuple(Outage(operator=plan.id, from_hour=0, hours=96) for plan in world_of().scenario.operators)
    world = world_of(outages=everywhere)
    people = draw_population(world)
    use = draw_use(world, people, draw_trips(world, people), 3)
    assert not use.octets.any()
    assert not use.seconds.any()


def test_a_step_can_be_drawn_alone() -> None:
    world = world_of()
    people = draw_population(world)
    trips = draw_trips(world, people)
    alone = draw_use(world, people, trips, 7)
    for step in range(7):
        draw_use(world, people, trips, step)
    assert np.array_equal(alone.octets, draw_use(world, people, trips, 7).octets)


def test_the_dearer_of_two_sellers_has_fewer_guests() -> None:
    world = world_of(subscribers=50_000)
    people = draw_population(world)
    trips = draw_trips(world, people)
    sellers = np.array([offer.operator for offer in world.offers])
    guests = np.bincount(sellers[trips.offer[trips.offer >= 0]], minlength=len(world.operators))
    here = [operator for operator in world.operators if operator.country.iso == "ES"]
    cheap, dear = sorted(here, key=lambda operator: operator.level)
    assert guests[cheap.number] > guests[dear.number] > 0


def test_the_evening_is_busier_than_the_night() -> None:
    world = world_of(subscribers=50_000, step_hours=6)
    people = draw_population(world)
    trips = draw_trips(world, people)
    night, evening = draw_use(world, people, trips, 8), draw_use(world, people, trips, 11)
    assert evening.octets.mean() > 2 * night.octets.mean()


@pytest.mark.slow
def test_a_million_subscribers_fit() -> None:
    world = world_of(subscribers=1_000_000)
    people = draw_population(world)
    assert people.octets_of_memory < 64 * 1024**2
    assert len(draw_trips(world, people)) > 50_000
