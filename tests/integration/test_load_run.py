"""`landfall load` as a person runs it: Locust's master and workers as processes, nodes of its own or elsewhere."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from landfall.postgres import ensure_server
from loadtests.load.plan import PLAN_FILE
from simulator.processes import find_free_port
from tests.integration.ledger_world import LedgerWorld, start_ledger

COMMAND = [sys.executable, "-c", "from landfall.cli import main; main()", "load"]
COME_S = 90.0
END_S = 240.0


@contextmanager
def load(*arguments: object, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`landfall load …`, ended with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(60)


def wait_for(path: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + COME_S
    while not path.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.mark.slow
def test_all_roles_run_on_a_master_and_two_workers_one_of_them_elsewhere(server_folder: Path, tmp_path: Path) -> None:
    port, here, there = find_free_port(), server_folder / "load", tmp_path / "there"
    log = tmp_path / "run.log"
    options = ["--mix", "everything", "--users", 12, "--seconds", 12, "--operators", 8, "--sequence", 20]
    options += ["--open-requests", 1200]
    machines = ["--workers", 1, "--remote-workers", 1, "--port", port, "--folder", here]
    with load("run", *options, *machines, log=log) as run:
        wait_for(here / PLAN_FILE, run, log)
        there.mkdir()
        shutil.copyfile(here / PLAN_FILE, there / PLAN_FILE)
        with load(
            "worker", there / PLAN_FILE, "--master", "127.0.0.1", "--port", port, log=tmp_path / "worker.log"
        ) as worker:
            assert run.wait(END_S) == 0, log.read_text()
            assert worker.wait(60) == 0, (tmp_path / "worker.log").read_text()
    result = json.loads((here / "load.json").read_text())
    assert result["passed"]
    assert result["finding"]["faults"] == []
    assert result["finding"]["workers"] == 2
    assert result["finding"]["acknowledged"] > 100
    assert result["usage_records_per_second"] > 0
    assert result["log_before"] > 1200
    assert result["memory"].keys() == {"ledger", "postgresql"}
    assert all(mib > 0 for pair in result["memory"].values() for mib in pair)
    durable = {row["name"]: row for row in result["rows"] if row["kind"] == "durable"}
    assert {"request", "accept", "activate", "usage report", "storefront purchase"} <= durable.keys()
    assert all(0 < row["p50"] <= row["p99"] for row in durable.values())
    http = {row["name"] for row in result["rows"] if row["kind"] == "http"}
    assert {"sequence: request", "account", "entry bundle, hashed again", "ota: job"} <= http
    assert "Locust" in (here / "load.html").read_text()
    assert len(list((here / "logs").glob("home-*.log"))) == 1  # what nodes say stays
    assert "PASSED" in log.read_text()
    assert not (here / PLAN_FILE).exists()  # it has private keys


@pytest.mark.slow
def test_a_worker_that_dies_fails_the_run_by_name(server_folder: Path, tmp_path: Path) -> None:
    here, log = server_folder / "load", tmp_path / "run.log"
    options = ["--mix", "transactions", "--users", 4, "--seconds", 8, "--operators", 4, "--sequence", 20]
    options += ["--shape", "ramp"]
    with load("run", *options, "--port", 0, "--folder", here, log=log) as run:
        opened = here / "journals"
        deadline = time.monotonic() + COME_S
        while len(list(opened.glob("own-*"))) < 2:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        os.kill(_locust_workers(run.pid)[0], signal.SIGKILL)
        assert run.wait(END_S) == 2, log.read_text()
    result = json.loads((here / "load.json").read_text())
    assert not result["passed"]
    assert any("has no end" in fault or "brought no journal" in fault for fault in result["finding"]["faults"])
    assert list(opened.glob("*.journal"))  # kept, to look further


async def test_operators_of_a_ledger_elsewhere_trade_by_their_own_keys(
    ledger: LedgerWorld, server_folder: Path, tmp_path: Path
) -> None:
    async with _traders(ledger, tmp_path) as keys:
        options = ["--mix", "transactions", "--users", 2, "--seconds", 5, "--sequence", 10, "--workers", 1, *keys]
        options += ["--shape", "spike"]
        finding = await _run_against(ledger, options, server_folder, tmp_path)
    assert finding["acknowledged"] > 10


@pytest.fixture
def own_ledger(server_folder: Path) -> Iterator[LedgerWorld]:
    """A ledger with a database server of its own, in `server_folder`."""
    server = ensure_server(server_folder)
    server.create_database("ledger")
    with start_ledger(server_folder, server.dsn("ledger")) as world:
        yield world
    ensure_server(server_folder).stop()


@pytest.mark.slow
async def test_a_database_killed_under_load_loses_nothing_that_was_acknowledged(
    own_ledger: LedgerWorld, server_folder: Path, tmp_path: Path
) -> None:
    async with _traders(own_ledger, tmp_path) as keys:
        options = ["--mix", "trade", "--shape", "soak", "--users", 8, "--seconds", 12, "--sequence", 20, *keys]
        running = asyncio.create_task(_run_against(own_ledger, options, server_folder, tmp_path))
        while not list((server_folder / "load" / "journals").glob("own-*")):
            assert not running.done(), running.result()
            await asyncio.sleep(0.2)
        await asyncio.sleep(3)  # into the load
        os.kill(ensure_server(server_folder).pid, signal.SIGKILL)
        await asyncio.to_thread(ensure_server, server_folder)
        finding = await running
    assert finding["acknowledged"] > 100


@asynccontextmanager
async def _traders(ledger: LedgerWorld, folder: Path) -> AsyncIterator[list[str]]:
    """Three operators, admitted and funded; the options that hand their keys over."""
    async with AsyncExitStack() as stack:
        keys = []
        for _ in range(3):
            member = await stack.enter_async_context(ledger.operator(minted=10**12))
            (folder / member.id).write_text(member.keys.signer.key.seed.hex())
            keys += ["--operator-key", f"{member.id}={folder / member.id}"]
        yield keys


async def _run_against(ledger: LedgerWorld, options: Sequence[object], folder: Path, logs: Path) -> dict[str, Any]:
    """Run against a ledger that is there; it is to pass. What the check found."""
    log, target = logs / "run.log", ["--ledger", ledger.url, "--ledger-key", ledger.log, "--port", 0]
    with load("run", *options, *target, "--folder", folder / "load", log=log) as run:
        assert await asyncio.to_thread(run.wait, END_S) == 0, log.read_text()
    finding: dict[str, Any] = json.loads((folder / "load" / "load.json").read_text())["finding"]
    assert finding["faults"] == []
    return finding


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--mix", "pirates"], "there is no mix 'pirates'"),
        (["--shape", "round"], "there is no shape 'round'"),
        (["--mix", "everything", "--users", "3"], "has 6 roles"),
        (["--workers", "0"], "no workers at all"),
        (["--ledger", "http://127.0.0.1:1", "--ledger-key", "nonsense"], "--ledger-key 'nonsense'"),
        (["--ledger", "http://127.0.0.1:1", "--open-requests", "5"], "--open-requests is for a ledger started here"),
    ],
)
def test_a_run_that_cannot_be_is_explained(options: list[str], told: str, tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "run", *options, "--folder", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert told in " ".join(done.stderr.split())


def _locust_workers(parent: int) -> list[int]:
    """Processes of Locust's workers below `parent`."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"--worker\0" in Path(f"/proc/{child}/cmdline").read_bytes()]
