"""What dishonest operators do, drawn by seed: which journeys, which fraud, how much. This is the ground truth.

It is known to who plays the operators, and to who judges the detector afterwards; never to the detector.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simulator.population import Population, Trips, generator
from simulator.scenario import LEAST_FACTOR, Dishonesty
from simulator.world import World

HONEST, OVER_REPORT, REPLAY, PHANTOM, WITHDRAW = range(5)
CODES: Final = {"over-report": OVER_REPORT, "replay": REPLAY, "phantom-usage": PHANTOM, "withdraw": WITHDRAW}
NAMES: Final = {code: name for name, code in CODES.items()}


@dataclass(frozen=True)
class Frauds:
    """By journey: `kind` of fraud its visited operator commits, and by which `factor` it inflates."""

    kind: NDArray[Any]
    factor: NDArray[Any]


def draw_frauds(world: World, people: Population, trips: Trips) -> Frauds:
    """Draw which journeys are defrauded; each has at most one fraud."""
    draw = generator(world, "fraud")
    lot, size = draw.random(len(trips)), draw.random(len(trips))
    kind = np.zeros(len(trips), dtype=np.uint8)
    factor = np.ones(len(trips), dtype=np.float64)
    sellers = np.array([offer.operator for offer in world.offers] or [0])
    visited = np.where(trips.offer >= 0, sellers[trips.offer], -1)
    for operator in world.operators:
        taken = 0.0
        for one in _of(world, operator.id):
            if one.fraud not in CODES:
                continue
            chosen = (visited == operator.number) & (lot >= taken) & (lot < taken + one.share)
            kind[chosen] = CODES[one.fraud]
            if one.fraud == "over-report":
                factor[chosen] = LEAST_FACTOR + size[chosen] * (one.factor - LEAST_FACTOR)
            taken += one.share
    return Frauds(kind, factor)


def double_spenders(world: World) -> dict[int, float]:
    """Home operators that spend twice, by number, with the share of steps in which they try."""
    return {
        operator.number: one.share
        for operator in world.operators
        for one in _of(world, operator.id)
        if one.fraud == "double-spend"
    }


def _of(world: World, operator: str) -> list[Dishonesty]:
    return [one for one in world.scenario.dishonest if one.operator == operator]
