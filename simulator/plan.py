"""The plan of a simulation: what is played, where, and by which command it goes on or is repeated."""

import shlex
from pathlib import Path

from msgspec import Struct

from simulator.scenario import Scenario
from simulator.site import GivenLedger


class Plan(Struct, frozen=True, kw_only=True):
    """What to simulate, and where. `speed`: simulated seconds a real second; None for as fast as it goes.

    `told`: the arguments that said so, for commands that are printed. `subscribers`: how many, where those are not the
    scenario's own number.
    """

    name: str
    text: str
    scenario: Scenario
    seed: int
    folder: Path
    told: tuple[str, ...] = ()
    subscribers: int | None = None
    speed: float | None = None
    workers: int = 1
    ledger: GivenLedger | None = None
    osmo: bool = False

    @property
    def going_on(self) -> str:
        """The command that goes on with this run, or shows its end again."""
        return shlex.join(["landfall", "simulate", *(self.told or (self.name, "--seed", str(self.seed)))])

    @property
    def command(self) -> str:
        """The command that repeats this run from the beginning."""
        return f"{self.going_on} --fresh"
