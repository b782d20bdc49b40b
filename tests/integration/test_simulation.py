"""A world played against live nodes: whole, the same for a seed, and going on after the simulator was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from simulator.desk import Answered, Desk, Order
from simulator.journal import Begun
from simulator.plan import Plan
from simulator.scenario import read_scenario
from simulator.screen_board import PlainBoard
from simulator.simulation import SimulationError
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
denies = 0.5

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
    failed = [check for event in events[-1:] for check in event.get("checks", ()) if not check["holds"]]
    assert process.returncode == 0, (failed, errors[-3000:])
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


def test_who_is_dishonest_is_found_out_and_what_it_denies_is_upheld(server_folder: Path) -> None:
    folder = server_folder / "dishonest"
    finish(simulate(folder, "one-dishonest-operator", "--workers", "2"))
    told = report_of(folder)
    frauds = {"over-report", "replay", "phantom-usage", "withdraw", "double-spend"}
    assert {score["fraud"] for score in told["frauds"]} == frauds
    assert all(score["committed"] > 0 for score in told["frauds"])
    disputes = told["disputes"]
    assert disputes["upheld"] == disputes["denied"] > 0
    assert disputes["conceded"] > 0
    assert disputes["restored"] > 0


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
        assert ending.disputes.conceded > 0, "what was found goes back to who paid it"
        assert ending.disputes.upheld == ending.disputes.denied > 0, "also where it is denied"
        assert ending.disputes.restored > 0


class PowerCut(Exception):  # noqa: N818 - what happened
    """The simulator dies here, as far as its run can tell."""


@pytest.mark.parametrize("sends", [2, 9, 15, 16, 22, 40])
async def test_a_run_that_is_cut_off_after_any_message_comes_to_the_same_end(
    sends: int, ledger: LedgerWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = GivenLedger(ledger.url, str(ledger.log), "issuer", ledger.issuer.signer.key.seed)
    scenario, board = read_scenario(TINY, "tiny"), PlainBoard(Console(quiet=True))
    plan = Plan(name="tiny", text=TINY, scenario=scenario, seed=5, folder=tmp_path / "a", ledger=given)
    send, sent = Desk.send, []

    async def cut_off(desk: Desk, kind: str, orders: Sequence[Order]) -> list[Answered]:
        answers = await send(desk, kind, orders)
        sent.append(kind)
        if len(sent) == sends:
            raise PowerCut(kind)
        return answers

    monkeypatch.setattr(Desk, "send", cut_off)
    with pytest.raises(SimulationError, match="PowerCut"):
        await simulate_world(plan, board)
    ending = await simulate_world(plan, board)
    failed = [check for check in ending.checks if not check.holds]
    assert not failed, f"cut off after {sent[sends - 1]}"
    ours = [one for one in ending.audit.balances if one.operator.startswith(("nordlicht", "costa"))]
    assert sum(account.held for account in ours) == 0, f"nothing is left half done, cut off after {sent[sends - 1]}"


async def test_a_run_goes_on_minutes_after_it_was_cut_off(
    ledger: LedgerWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = GivenLedger(ledger.url, str(ledger.log), "issuer", ledger.issuer.signer.key.seed)
    scenario, board = read_scenario(TINY, "tiny"), PlainBoard(Console(quiet=True))
    plan = Plan(name="tiny", text=TINY, scenario=scenario, seed=5, folder=tmp_path / "a", ledger=given)
    path = plan.folder / "private" / "steps" / "0001.begun"
    with monkeypatch.context() as patch:
        send = Desk.send

        async def cut_off(desk: Desk, kind: str, orders: Sequence[Order]) -> list[Answered]:
            if kind == "request" and path.exists():  # of the second step: some who order in it arrive in it
                raise PowerCut(kind)
            return await send(desk, kind, orders)

        patch.setattr(Desk, "send", cut_off)
        with pytest.raises(SimulationError, match="PowerCut"):
            await simulate_world(plan, board)
    begun = msgspec.json.decode(path.read_bytes(), type=Begun)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(begun, minute=begun.minute - 7)))  # as if it was then
    ending = await simulate_world(plan, board)
    assert ending.good, [check for check in ending.checks if not check.holds]
    assert any(outcome.stages["active"] for outcome in ending.outcomes)


@pytest.mark.parametrize(("slot_s", "keeps_up"), [(1.0, True), (0.01, False)])
async def test_a_world_is_played_at_a_speed_or_says_that_it_was_too_fast(
    slot_s: float, keeps_up: bool, ledger: LedgerWorld, tmp_path: Path
) -> None:
    step_hours = 3 if keeps_up else 1
    scenario = msgspec.structs.replace(read_scenario(TINY, "tiny"), step_hours=step_hours, faults=())
    given = GivenLedger(ledger.url, str(ledger.log), "issuer", ledger.issuer.signer.key.seed)
    speed = scenario.step_hours * 3600 / slot_s
    plan = Plan(name="tiny", text=TINY, scenario=scenario, seed=5, folder=tmp_path / "a", ledger=given, speed=speed)
    output, began = StringIO(), time.monotonic()
    ending = await simulate_world(plan, PlainBoard(Console(file=output, width=200)))
    assert ending.good, ending.checks
    assert time.monotonic() - began >= scenario.steps * slot_s
    pace = report_of(plan.folder)["pace"]
    assert pace["speed"] == speed
    assert pace["slot_s"] == slot_s
    begins, page = [one.sendings[0].began for one in ending.outcomes], (plan.folder / "report.html").read_text()
    if keeps_up:
        assert pace["steps_behind"] == 0
        assert "Every step kept to its time" in page
        for step, at in enumerate(begins):
            assert 0 <= at - begins[0] - step * slot_s + 0.1 < 0.5, "simulated hours are real seconds, step by step"
    else:
        took_s = sum(one.seconds for one in ending.outcomes)
        assert pace["most_behind_s"] >= took_s - scenario.steps * slot_s - 0.1, "each step began when the last was done"
        assert pace["steps_behind"] > 0
        assert "did not keep up" in page
        assert " s behind:" in output.getvalue()
        assert "did not keep up with --speed" in output.getvalue()


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
