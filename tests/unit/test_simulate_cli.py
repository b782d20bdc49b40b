"""`landfall simulate` before anything is started, and the pictures of its report."""

import asyncio
import json
import time
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from landfall.errors import LandfallError
from settlement.ledger.envelope import Signer
from simulator.book import Book, make_record
from simulator.charts import draw_flow_table, draw_latency, draw_load, draw_sankey, draw_stages
from simulator.desk import Sending
from simulator.engine import Outcome
from simulator.journal import Journal, Run
from simulator.journeys import Journeys, Stage
from simulator.pace import Pace
from simulator.plan import Plan
from simulator.scenario import find_scenario
from simulator.screen_board import LiveBoard
from simulator.simulate_cli import simulate
from simulator.simulation import start_anew
from simulator.usage_reports import Group, SimRecord, pack
from simulator.world import make_world


def run(*arguments: str) -> str:
    result = CliRunner().invoke(simulate, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_scenarios_are_listed_for_people_and_programs() -> None:
    assert "one-dishonest-operator" in run("--list")
    assert {row["scenario"] for row in json.loads(run("--list", "--json"))} >= {"smoke", "smsc-meltdown"}


def test_a_description_is_the_same_for_a_seed() -> None:
    first, again, other = (json.loads(run("smoke", "--describe", "--json", "--seed", seed)) for seed in "112")
    assert first == again
    assert first["requests"] != other["requests"]
    assert sum(operator["guests"] for operator in first["operators"]) == first["requests"]


@pytest.mark.parametrize("speed", ["fast", "0", "-3", "inf", "nan"])
def test_a_speed_that_cannot_be_says_so(speed: str) -> None:
    with pytest.raises(LandfallError, match="--speed is"):
        CliRunner().invoke(simulate, ["smoke", "--speed", speed], catch_exceptions=False)


def test_only_a_run_is_removed_to_begin_anew(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").touch()
    with pytest.raises(LandfallError, match="name another --folder"):
        start_anew(tmp_path)
    start_anew(tmp_path / "nothing")


def test_the_command_that_repeats_a_run_is_told() -> None:
    name, text, scenario = find_scenario("smoke")
    plan = Plan(name=name, text=text, scenario=scenario, seed=9, folder=Path("x"))
    assert plan.command == "landfall simulate smoke --seed 9 --fresh"
    told = ("my worlds/mine.toml", "--seed", "9", "--subscribers", "70")
    plan = Plan(name="mine", text=text, scenario=scenario, seed=9, folder=Path("x"), told=told, subscribers=70)
    assert plan.going_on == "landfall simulate 'my worlds/mine.toml' --seed 9 --subscribers 70"


def test_a_folder_keeps_to_its_run(tmp_path: Path) -> None:
    journal, mine = Journal(tmp_path), Run(scenario="smoke", seed=1, began_ms=5)
    assert journal.open(mine, "text").began_ms == 5
    assert journal.open(Run(scenario="smoke", seed=1, began_ms=7), "text").began_ms == 5, "it began once"
    more = Run(scenario="smoke", seed=1, began_ms=7, subscribers=9)
    for other, text in ((Run(scenario="smoke", seed=2, began_ms=7), "text"), (more, "text"), (mine, "other text")):
        with pytest.raises(LandfallError, match="begin anew with --fresh"):
            journal.open(other, text)


def test_a_step_sees_again_what_it_saw_when_it_was_broken_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.open(Run(scenario="smoke", seed=1, began_ms=5), "text")
    assert journal.restore() is None
    assert journal.begin(0, {"a": 7}) == journal.begin(0, {"a": 9})
    journeys = Journeys.plan(np.array([0, -1, 2]), 2)
    journeys.stage[0] = Stage.ACTIVE
    journal.finish(0, journal.begin(0, {}), journeys.arrays())
    kept = journal.restore()
    assert kept is not None
    assert kept[0] == 0
    assert Journeys.restore(kept[1]).stage.tolist() == [Stage.ACTIVE, Stage.UNSERVED, Stage.PLANNED]


def test_reports_are_of_one_pair_and_bounded() -> None:
    groups = [(trip % 2, 5, Group(trip, 1, [])) for trip in range(500)]
    reports = pack("usage/0", groups)
    assert sum(len(report.groups) for report in reports) == 500
    assert len({report.name for report in reports}) == len(reports)
    assert all(len({group.trip % 2 for group in report.groups}) == 1 for report in reports)
    assert max(len(report.groups) for report in reports) == 150


def test_reports_of_people_who_write_a_lot_still_fit_an_envelope() -> None:
    world = make_world(find_scenario("smoke")[2], 1)
    book = Book(world, origin="ledger.example/test", token="abcdef", began_ms=1_800_000_000_000, seal_ids=[])
    record = SimRecord(make_record("data", 30_000_000, 120, 2**40, 2**40, 86_400, "310260"), 1)
    reports = pack("usage/0", [(0, 1, Group(trip, 1, [record] * (trip % 30))) for trip in range(1, 800)])
    assert sum(len(report.groups) for report in reports) == 799
    assert max(len(Signer(bytes(32)).sign(report.message(book))) for report in reports) < 60_000


NAMES = {"a": "Alfa & Söhne", "b": "<Beta>", "c": "Gamma"}


def test_pictures_are_well_formed_and_escape_names() -> None:
    flows = [("a", "b", 5_000_000), ("a", "c", 1), ("c", "b", 900_000)]
    sendings = [Sending("usage", 10, 100.0 + n, 0.1 * n) for n in range(5)]
    steps = [{"planned": 3, "closed": 0}, {"planned": 1, "closed": 2}]
    pictures = [
        draw_sankey(flows, NAMES),
        draw_flow_table(flows, NAMES),
        draw_load(sendings),
        draw_latency(sendings),
        draw_stages(steps, 6),
        draw_sankey([], NAMES),
        draw_flow_table([], NAMES),
        draw_load([]),
        draw_latency([]),
        draw_stages([], 6),
    ]
    for picture in pictures:
        assert ElementTree.fromstring(picture).tag.endswith("svg")


@pytest.mark.parametrize("subscribers", ["0", "-3", "1000001", "many"])
def test_subscribers_that_cannot_be_are_told(subscribers: str) -> None:
    result = CliRunner().invoke(simulate, ["smoke", "--subscribers", subscribers])
    assert result.exit_code == 2
    assert "--subscribers" in result.output


def test_a_world_can_have_other_subscribers_than_its_scenario() -> None:
    assert json.loads(run("smoke", "--describe", "--json", "--subscribers", "123"))["subscribers"] == 123


async def test_steps_wait_for_their_time_and_say_how_late_they_are() -> None:
    _, _, scenario = find_scenario("smoke")
    pace = Pace(scenario.step_hours * 3600 / 0.2, scenario, first=3)  # a step each 0.2 s
    began = time.monotonic()
    assert [await pace.wait(step) < 0.1 for step in (3, 4, 5)] == [True] * 3
    assert 0.4 <= time.monotonic() - began < 0.6
    await asyncio.sleep(0.5)
    assert 0.25 <= await pace.wait(6) < 0.5, "it was due 0.2 s after step 5"
    assert await Pace(None, scenario, first=0).wait(7) == 0.0, "as fast as it goes is never late"


def test_the_board_shows_the_step_what_is_under_way_and_how_late_it_is() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=110, color_system=None)
    outcome = Outcome(
        step=2,
        stages={"active": 1234, "closed": 5, "unserved": 9},
        codes={"usage: out-of-time": 3},
        attempts=(),
        sendings=(Sending("usage", 77, 100.0, 0.25),),
        records=4321,
        settled=[[0, 7_654_321_000_000], [0, 0]],
        octets=2_500_000_000,
        seconds=0.5,
        again=False,
        behind_s=12.34,
    )
    world = make_world(find_scenario("smoke")[2], 1)
    board = LiveBoard(console)
    board.watch(lambda: "sending 77 of usage")
    with board.shown():
        board.tell("a remark with [brackets]")
        board.step(world, outcome)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "Smoke",
        "step 3 of 8",
        "1,234",
        "7,654,321.00 SDRt",
        "12.3 s behind",
        "sending 77 of usage",
        "[brackets]",
    ):
        assert words in shown, words
    assert "unserved" not in shown
