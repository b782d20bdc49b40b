"""The swarm, for a minute: short worlds with random faults and frauds, played against a live ledger and checked."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from simulator.scenario import read_scenario
from simulator.swarm import Quiet, draw_scenario, play_one

SECONDS = 60
"""After which no further world is begun; `make swarm HOURS=n` goes on for longer."""


@settings(max_examples=300)
@given(st.integers(min_value=0, max_value=2**31))
def test_every_number_draws_a_world_that_can_be(seed: int) -> None:
    assert read_scenario(draw_scenario(seed), "swarm") == read_scenario(draw_scenario(seed), "swarm")


@pytest.mark.slow
async def test_a_minute_of_the_swarm_holds(server_folder: Path) -> None:
    until, seed = time.monotonic() + SECONDS, 1
    while time.monotonic() < until:
        ending = await play_one(seed, server_folder, Quiet(Console(quiet=True)))
        wrong = [check for check in ending.checks if not check.holds]
        assert not wrong, f"repeat it with `python -m simulator.swarm --only {seed}`: {wrong}"
        seed += 1
