"""Home operators that buy: each turn one sequence of signed requests by one operator on offers of many others.

Throughput is sequences: one HTTP call a transaction costs more than the transaction. How many entries a sequence has is
the run's parameter (`--sequence`), and what to choose is in loadtests/README.md.
"""

import random
import time
from typing import Final

from loadtests.cast import DAY_MS, PRICE, Actor, now_ms
from loadtests.load.plan import Role
from loadtests.load.session import Turn
from loadtests.load.user import LandfallUser
from settlement.ledger.messages import PlaceRequest

SERVED_SHARE: Final = 0.2
"""So many requests of a sequence are on the metered offer of one visited operator that will answer; the rest are on
anybody's bundles.
"""
METERED_ESCROW: Final = PRICE
"""Covers some 1,000,000 blocks at a micro-unit each: more than the reports of a run."""


class Buyer(LandfallUser):
    """The home operator's side of the market."""

    role = Role.BUYER

    async def turn(self, turn: Turn) -> None:
        """Sign and send one sequence of requests."""
        begun = time.perf_counter()
        home = random.choice(self.session.actors)
        served = [actor for actor in self.session.actors[: self.session.plan.serving] if actor is not home]
        chosen = random.choice(served) if served else None
        messages = [
            self._request(home, chosen if random.random() < SERVED_SHARE else None)
            for _ in range(self.session.plan.sequence)
        ]
        await self.session.send(turn, home, "request", messages, begun=begun)

    def _request(self, home: Actor, served: Actor | None) -> PlaceRequest:
        """A request on the metered offer of `served`, or on the bundle of any other operator."""
        visited = served or home
        while visited is home:
            visited = random.choice(self.session.actors)
        return self.session.ledger.make(
            PlaceRequest,
            offer=visited.metered if served else visited.bundle,
            user_id=f"{random.getrandbits(128):032x}",
            delivery_key=home.seal_key,
            escrow=METERED_ESCROW if served else PRICE,
            ends=now_ms() + 5 * DAY_MS,
        )
