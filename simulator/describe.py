"""What a scenario is, told before anything is started: for `landfall simulate --list` and `--describe`."""

from typing import Any

import numpy as np

from simulator.population import CLASSIC, draw_population, draw_trips
from simulator.scenario import Scenario
from simulator.world import make_world


def describe(name: str, scenario: Scenario, seed: int) -> dict[str, Any]:
    """The world of a scenario and seed in figures."""
    world = make_world(scenario, seed)
    people = draw_population(world)
    trips = draw_trips(world, people)
    ordered = trips.offer >= 0
    sellers = np.array([offer.operator for offer in world.offers] or [0])
    guests = np.bincount(sellers[trips.offer[ordered]], minlength=len(world.operators))
    own = np.bincount(people.home, minlength=len(world.operators))
    return {
        "scenario": name,
        "title": scenario.title,
        "about": scenario.about.strip(),
        "seed": seed,
        "starts": scenario.starts.isoformat(),
        "days": scenario.days,
        "steps": scenario.steps,
        "subscribers": len(people.home),
        "able_to_take_a_profile": int((people.sim != CLASSIC).sum()),
        "journeys": len(trips),
        "requests": int(ordered.sum()),
        "cards": sum(operator.plan.cards for operator in world.operators),
        "nodes": ["ledger", *(operator.id for operator in world.nodes)],
        "operators": [
            {
                "id": operator.id,
                "name": operator.plan.name,
                "country": operator.country.iso,
                "plmn": operator.plmn,
                "currency": operator.country.currency,
                "price_level": round(operator.level, 2),
                "subscribers": int(own[operator.number]),
                "guests": int(guests[operator.number]),
            }
            for operator in world.operators
        ],
        "outages": [f"{one.operator} from hour {one.from_hour} for {one.hours}" for one in scenario.outages],
        "faults": [f"{fault.kind} {fault.target} at hour {fault.at_hour}" for fault in scenario.faults],
        "dishonest": [f"{one.operator}: {one.fraud}, share {one.share:g}" for one in scenario.dishonest],
    }
