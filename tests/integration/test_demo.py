"""The demonstration does what it says, and what it leaves can be believed without it."""

import fcntl
import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from settlement.ledger.audit import AuditReport, audit
from settlement.ledger.note import VerifierKey
from simulator.demo.account import DemoError, JsonTeller
from simulator.demo.cast import HOMES, VISITED, draw_cast
from simulator.demo.play import play_demo
from simulator.demo.world import LOCK_FILE
from simulator.processes import NodeError, Nodes, serve_node
from tests.integration.demo_run import COMMAND, SEED, SUBSCRIBERS, DemoRun, share_demo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> DemoRun:
    return share_demo(tmp_path_factory, worker_id)


@pytest.fixture(scope="session")
def audited(demo: DemoRun) -> AuditReport:
    return audit(demo.export, VerifierKey.parse(demo.vkey.read_text().strip()), workers=0)


def test_the_export_audits_with_the_origins_key_alone_and_is_what_the_report_says(
    demo: DemoRun, audited: AuditReport
) -> None:
    report: Any = demo.report
    assert audited.entries == report["audit"]["entries"] == report["throughput"]["entries"]
    assert audited.root == report["audit"]["root"]
    assert audited.digests > 0
    by_operator = {row.operator: row for row in audited.balances}
    for row in report["balances"]:
        balance = by_operator[row["operator"]]
        assert (balance.available, balance.escrow, balance.held) == (
            row["available_usdr"],
            row["escrow_usdr"],
            row["held_usdr"],
        )


def test_the_log_has_every_message_of_the_nine_steps(audited: AuditReport) -> None:
    said = audited.messages
    assert said["mint"] == 2
    assert said["offer"] == 6
    assert said["request"] == sum(audited.requests.values()) == SUBSCRIBERS + 2 + 3
    assert said["accept"] == said["deliver"] == said["activate"] == said["close"] == SUBSCRIBERS + 2
    assert said["decline"] == said["cancel"] == said["expire"] == 1
    assert said["redeem"] == said["redeemed"] == 1
    assert said["usage"] >= 3 * len(VISITED)
    assert audited.requests == {"cancelled": 1, "closed": SUBSCRIBERS + 2, "declined": 1, "expired": 1}


def test_money_is_conserved_and_nothing_is_left_in_escrow(demo: DemoRun, audited: AuditReport) -> None:
    kept: Any = demo.report["conservation"]
    assert kept["holds"] is True
    assert kept["balances_usdr"] == kept["minted_usdr"] - kept["burned_usdr"] == audited.minted - audited.burned
    assert kept["burned_usdr"] > 0
    assert kept["escrow_usdr"] == kept["open_requests_usdr"] == 0


def test_the_steps_are_told_in_order_each_as_json_and_all_are_taken(demo: DemoRun) -> None:
    taken = [event["step"] for event in demo.events if event["event"] == "step-taken"]
    assert taken == list(range(13))
    said = Counter(str(event["via"]) for event in demo.events if event["event"] == "line")
    assert {"ledger", "api", "air", "radio", "payment", "refused"} <= set(said)
    refused = [str(event["what"]) for event in demo.events if event.get("via") == "refused"]
    assert any("insufficient-funds" in words for words in refused)
    assert sum("cause 11" in words for words in refused) == SUBSCRIBERS


def test_packages_have_margins_in_euro_and_rouble(demo: DemoRun) -> None:
    packages: Any = demo.report["packages"]
    assert {package["retail"][-3:] for package in packages} == {"EUR", "RUB"}
    for package in packages:
        assert re.fullmatch(r"[\d ]+\.\d\d (EUR|RUB) \(\d+\.\d\d %\)", package["margin"]), package


def test_the_page_stands_alone_and_draws_every_lifeline(demo: DemoRun) -> None:
    page = (demo.folder / "report.html").read_text()
    assert not re.search(r"(?:src|href)=|@import|url\((?!#)", page)
    assert page.count("<svg") == 2
    for lifeline in (*(house.id for house in (*HOMES, *VISITED)), "ledger", "sdrt-issuer", "subscribers"):
        assert f">{lifeline}</text>" in page


def test_nothing_of_it_is_still_running(demo: DemoRun) -> None:
    assert list(_processes_of(demo.folder)) == []


def test_the_same_seed_makes_the_same_world_but_for_its_keys() -> None:
    one, other = draw_cast(SEED, 20), draw_cast(SEED, 20)
    for left, right in zip(one.people, other.people, strict=True):
        assert (left.name, left.iccid, left.destination, left.insured) == (
            right.name,
            right.iccid,
            right.destination,
            right.insured,
        )
        assert left.home_profile.imsi == right.home_profile.imsi
        assert left.home_profile.k != right.home_profile.k
    assert [line.imsi for line in one.pools["gulf-connect"]] == [line.imsi for line in other.pools["gulf-connect"]]
    assert [person.name for person in draw_cast(SEED + 1, 20).people] != [person.name for person in one.people]


def test_a_demonstration_that_is_told_to_end_takes_its_nodes_with_it(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo", "--folder", str(tmp_path), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("step") == 1:
            break
    assert list(_processes_of(tmp_path))
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert process.wait(60) == 130
    assert list(_processes_of(tmp_path)) == []


def _processes_of(folder: Path) -> Iterator[psutil.Process]:
    """Nodes and databases whose data lies in a folder."""
    for process in psutil.process_iter():
        try:
            data = process.environ().get("LANDFALL_DATA_DIR", "")
            if process.status() != psutil.STATUS_ZOMBIE and str(folder) in (data + process.cwd()):
                yield process
        except (psutil.Error, OSError):
            continue


async def test_a_node_that_does_not_come_up_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    async with Nodes(tmp_path) as nodes:
        nodes.start("lonely", ["serve", "--role", "operator"], {"LANDFALL_DATA_DIR": str(tmp_path / "none")}, port=1)
        with pytest.raises(NodeError, match=r"(?s)the node lonely has ended with status 1.*operator\.toml"):
            await nodes.wait_ready()


def test_a_node_alone_that_does_not_come_up_is_named_too(tmp_path: Path) -> None:
    environment = {"LANDFALL_DATA_DIR": str(tmp_path / "none")}
    found = pytest.raises(NodeError, match="the node operator has ended with status 1")
    with found, serve_node("operator", environment, port=1):
        pass


async def test_two_demonstrations_do_not_play_in_one_folder(tmp_path: Path) -> None:
    with (tmp_path / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DemoError, match="another demonstration is being played"):
            await play_demo(tmp_path, seed=1, subscribers=2, teller=JsonTeller())
