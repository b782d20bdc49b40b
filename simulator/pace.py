"""How real time goes with simulated time: `--speed`, and by how much a run is behind it.

    pace = Pace(speed=3600.0, step_hours=6, first=engine.step)     # a step is due each six seconds
    behind_s = await pace.wait(step)                               # until the step is due; how late it is, if it is
    await pace.wait(steps)                                         # the last step's own time, too, has passed

A step is a slot of `step_hours`: what happens in it is played as its slot begins, and the next one is not begun before
its own. A machine that cannot keep up leaves nothing out: it plays what is due as fast as it goes, and catches up where
it can. A run that goes on after it was broken off begins to count at the step it goes on with.
"""

import asyncio
import time
from typing import Final

from simulator.scenario import Scenario

HOUR_S: Final = 3600
TELL_S: Final = 1.0
"""By less than this nobody sees that a run is behind; what is told is rounded to tenths."""


def find_slot_s(speed: float, scenario: Scenario) -> float:
    """Real seconds that a step has."""
    return scenario.step_hours * HOUR_S / speed


class Pace:
    """Keeps a run to `speed` simulated seconds a real second; None: as fast as it goes, and never behind."""

    def __init__(self, speed: float | None, scenario: Scenario, first: int) -> None:
        self._slot_s = 0.0 if speed is None else find_slot_s(speed, scenario)
        self._began, self._first = time.monotonic(), first

    async def wait(self, step: int) -> float:
        """Wait until a step is due. Returns the seconds by which it is late."""
        if not self._slot_s:
            return 0.0
        due = self._began + (step - self._first) * self._slot_s
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        return max(0.0, time.monotonic() - due)
