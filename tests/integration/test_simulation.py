"""A world played against live nodes: whole, the same for a seed, and going on after the simulator was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from simulator.scenario import read_scenario
from simulator.screen_board import PlainBoard
from simulator.simulation import Plan, SimulationError
from simulator.simulation import simulate as simulate_world
from simulator.site import GivenLedger
from tests.integration.ledger_world import LedgerWorld

pytestmark = pytest.mark.slow

LIMIT_S = 420
COMMAND = [sys.executable, "-c", "from landfall.cli import main; main()", "simulate"]
TINY = """
title = "Tiny"
about = "A few journeys, for tests."
starts = 2026-07-03
days = 1
step_hours = 3
subscribers = 400

[behaviour]
trips_per_year = 60.0
mean_days = 0.5

[reporting]
late = 0.1
doubled = 0.3
skew_minutes = 30
skewed_share = 0.2

[[operators]]
id = "nordlicht"
name = "Nordlicht Mobil"
country = "DE"
share = 0.7

[[operators]]
id = "costa"
name = "Costa Móvil"
country = "ES"
share = 0.3

[[dishonest]]
operator = "costa"
fraud = "over-report"
share = 0.3

[[dishonest]]
operator = "nordlicht"
fraud = "double-spend"
share = 0.5

[[faults]]
kind = "kill-node"
at_hour = 7

[[faults]]
kind = "revoke-key"
target = "costa"
at_hour = 12
"""


def simulate(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """In a session of its own, so that ending it reaches nobody else."""
    return subprocess.Popen(
        [*COMMAND, *arguments, "--folder", str(folder), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    output, errors = process.communicate(timeout=LIMIT_S)
    events = [json.loads(line) for line in output.splitlines()]
    assert process.returncode == 0, (errors[-3000:], [event for event in events if event["event"] == "end"])
    return events


def report_of(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return told


def test_smoke_holds_together(server_folder: Path) -> None:
    folder = server_folder / "smoke"
    finish(simulate(folder, "smoke", "--seed", "3"))
    told = report_of(folder)
    assert told["good"], told["checks"]
    assert told["cards"] == {**told["cards"], "cards": 4, "delivered": 4, "returned": 4, "failed": []}
    assert told["stages"]["closed"] > 200
    assert list((folder / "private" / "tap").iterdir()), "one network tells its use by TAP files"
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 6
    assert "src=" not in page, "the report needs nothing from elsewhere"


def test_a_killed_simulator_goes_on_and_nothing_is_doubled(server_folder: Path) -> None:
    scenario, plain, broken = server_folder / "tiny.toml", server_folder / "plain", server_folder / "broken"
    scenario.write_text(TINY, "utf-8")
    whole = finish(simulate(plain, str(scenario), "--seed", "5"))
    process = simulate(broken, str(scenario), "--seed", "5")
    try:
        deadline = time.monotonic() + LIMIT_S
        while not (broken / "private" / "steps" / "0003.begun").exists():
            assert time.monotonic() < deadline, "the fourth step does not begin"
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    finish(simulate(broken, str(scenario), "--seed", "5"))
    first, second = report_of(plain), report_of(broken)
    assert first["good"], first["checks"]
    assert second["good"], second["checks"]
    for key in ("requests", "records", "octets", "settled_usdr", "stages", "flows"):
        assert first[key] == second[key], f"the same world and requests: {key}"
    steps = [event for event in whole if event["event"] == "step"]
    assert sum(event["records"] for event in steps) == first["records"]
    assert any(score["fraud"] == "over-report" and score["committed"] for score in first["frauds"])


def test_a_folder_of_another_run_is_not_touched(server_folder: Path) -> None:
    folder = server_folder / "other"
    folder.mkdir()
    (folder / "precious.txt").write_text("mine")
    process = simulate(folder, "smoke", "--fresh")
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert "name another --folder" in errors
    assert (folder / "precious.txt").exists()


async def test_a_world_is_played_at_a_ledger_that_was_given(ledger: LedgerWorld, tmp_path: Path) -> None:
    scenario = read_scenario(TINY, "tiny")
    given = GivenLedger(ledger.url, str(ledger.log), "issuer", ledger.issuer.signer.key.seed)
    board = PlainBoard(Console(quiet=True))
    for folder in ("first", "second"):  # two runs of one world are strangers to each other
        plan = Plan(name="tiny", text=TINY, scenario=scenario, seed=5, folder=tmp_path / folder, ledger=given)
        ending = await simulate_world(plan, board)
        assert ending.good, ending.checks


async def test_a_ledger_that_is_not_there_is_told_with_what_was_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: LedgerWorld
) -> None:
    monkeypatch.setattr("settlement.ledger.connection.ATTEMPTS", 2)
    given = GivenLedger("http://127.0.0.1:9", str(ledger.log), "issuer", bytes(32))
    plan = Plan(
        name="tiny", text=TINY, scenario=read_scenario(TINY, "tiny"), seed=5, folder=tmp_path / "a", ledger=given
    )
    with pytest.raises(SimulationError, match="Nothing was done"):
        await simulate_world(plan, PlainBoard(Console(quiet=True)))
