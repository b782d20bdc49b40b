"""A run: Locust's processes started, followed and ended, the journals checked, the result written.

    result = await run_load(plan, folder, port=5557, tell=print)     # result.passed, result.finding.faults

The folder afterwards has `load.html` (Locust's report with its charts), `load.json` (all of it for programs), `logs/`,
and where something was wrong the journals. On a ledger that was there before (`--ledger`) the plan stays too, to look
further by `landfall load check`; a ledger started for the run is gone, and the plan, whose keys are of no use, with it.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from landfall.errors import LandfallError
from loadtests.load.check import check_run
from loadtests.load.locust_settings import ASIDE, JOURNALS, LOGS, PLAN_VARIABLE, Aside
from loadtests.load.plan import PLAN_FILE, Plan
from loadtests.load.result import Result, make_result
from loadtests.memory import MemoryWatch

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
LOOPBACK: Final = "127.0.0.1"
STOP_TIMEOUT_S: Final = 60
"""For a user to end its turn: the SDK's retries take some 25 s at most."""
CONNECT_S: Final = 120
"""For workers of this machine to import and connect, on two busy cores."""
END_S: Final = 20.0
STATS: Final = "locust-stats"


class LoadError(LandfallError):
    """Locust did not come to an end of its own."""


def clear(folder: Path) -> None:
    """Take away what an earlier run has left that would be taken for this one's."""
    for left in (JOURNALS, LOGS):
        shutil.rmtree(folder / left, ignore_errors=True)
    (folder / LOGS).mkdir(parents=True)


async def run_load(
    plan: Plan, folder: Path, *, tell: Callable[[str], None], host: str = LOOPBACK, port: int, remote: int = 0
) -> Result:
    """Run the plan in a `clear`ed folder. `remote`: so many of its workers are started elsewhere; `tell`: progress.

    Raises LoadError.
    """
    plan.write(folder / PLAN_FILE)
    master = [
        *("--master", "--master-bind-host", host, "--master-bind-port", str(port)),
        *("--expect-workers", str(plan.workers), "--expect-workers-max-wait", str(CONNECT_S if not remote else 3600)),
        *("--headless", "--only-summary", "--stop-timeout", str(STOP_TIMEOUT_S), "--exit-code-on-error", "0"),
        *("--html", str(folder / "load.html"), "--json-file", str(folder / STATS)),
    ]
    at = LOOPBACK if host == "*" else host
    memory = MemoryWatch(plan.processes)
    async with (
        _locust(folder, "master", master, quiet=False) as process,
        start_workers(folder, plan.workers - remote, at, port),
        memory,
    ):
        status = await process.wait()
    if status != 0 or not (folder / f"{STATS}.json").exists():
        raise LoadError(f"Locust's master ended with status {status}. The end of its log:\n{_tail(folder, 'master')}")
    stats: list[dict[str, Any]] = json.loads((folder / f"{STATS}.json").read_text())
    (folder / f"{STATS}.json").unlink()
    aside = msgspec.json.decode((folder / ASIDE).read_bytes(), type=Aside)
    (folder / ASIDE).unlink()
    tell("checking every acknowledged transaction against the log …")
    begun = time.monotonic()
    finding = await check_run(plan, folder / JOURNALS, plan.workers)
    tell(f"checked in {time.monotonic() - begun:.0f} s")
    finding.add(
        "a user's turn ended in an error", (f"{error} ({count} times)" for error, count in aside.errors.items())
    )
    return make_result(plan, stats, finding, aside, memory)


@asynccontextmanager
async def start_workers(folder: Path, count: int, host: str, port: int) -> AsyncIterator[Sequence[Process]]:
    """Start workers that ask the master at `host` and `port` for users; end them at the end."""
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    arguments = ["--worker", "--master-host", host, "--master-port", str(port)]
    async with _all(folder, [(f"worker-{number}", arguments) for number in range(count)]) as processes:
        yield processes


@asynccontextmanager
async def _all(folder: Path, wanted: Sequence[tuple[str, Sequence[str]]]) -> AsyncIterator[list[Process]]:
    if not wanted:
        yield []
        return
    (name, arguments), *rest = wanted
    async with _locust(folder, name, arguments) as process, _all(folder, rest) as others:
        yield [process, *others]


@asynccontextmanager
async def _locust(folder: Path, name: str, arguments: Sequence[str], *, quiet: bool = True) -> AsyncIterator[Process]:
    """One process of Locust's, ended with its block. Its session is its own: Ctrl-C ends it through this program."""
    environment = {
        **os.environ,
        "LOCUST_SKIP_MONKEY_PATCH": "1",
        PLAN_VARIABLE: str((folder / PLAN_FILE).resolve()),
        "PYTHONUNBUFFERED": "1",
    }
    with (folder / LOGS / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *arguments),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log if quiet else None,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    except BaseException:
        if process.returncode is None:
            process.terminate()  # whoever interrupts does not wait for the end of the test
        raise
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    for sign in (None, signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None and sign is not None:
            process.send_signal(sign)
        try:
            await asyncio.wait_for(process.wait(), END_S if sign else 5.0)
        except TimeoutError:
            continue
        return


def _tail(folder: Path, name: str) -> str:
    return "\n".join((folder / LOGS / f"{name}.log").read_text(errors="replace").splitlines()[-20:])
