"""What Locust loads: the roles of the plan's mix as user classes, its shape, and how a run ends.

    LOCUST_SKIP_MONKEY_PATCH=1 LANDFALL_LOAD_PLAN=plan.json locust -f loadtests/load/locustfile.py --headless --master

`landfall load` starts it so. When the shape is over the master asks every worker to finish: users come to the end of
their turn, the journal is closed and goes to the master in pieces; only then do workers quit. What no worker brought is
missing in the run folder, and the check says so.
"""

import logging
import os
import time
from pathlib import Path
from typing import Any, Final

import gevent
import msgspec
from gevent import monkey
from locust import LoadTestShape, events
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from loadtests.load import auditing, buying, reading, subscribing, visiting
from loadtests.load.bridge import Bridge
from loadtests.load.locust_settings import ASIDE, JOURNALS, PLAN_VARIABLE, Aside
from loadtests.load.plan import Plan, PlanError, Role
from loadtests.load.processor import find_workers, read_processor
from loadtests.load.session import DURABLE, Session
from loadtests.load.user import LandfallUser

PIECE: Final = 1 << 20
"""Octets of a journal in one message of Locust's."""
FINISH_S: Final = 90.0
"""For users to end a turn, and answers to come after all retries: the SDK gives up after some 25 s."""
ARRIVE_S: Final = 300.0
"""For all journals to arrive at the master, after users have finished."""

TELL_S: Final = 5.0

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a call is more work than some calls

if monkey.is_module_patched("socket"):
    raise PlanError("the SDK runs beside gevent, not on it: set LOCUST_SKIP_MONKEY_PATCH=1, or use `landfall load`")
monkey.patch_time()  # Locust's master sleeps by time.sleep while workers connect

PLAN_PATH: Final = Path(os.environ.get(PLAN_VARIABLE, "build/load/plan.json")).resolve()
plan: Final = Plan.read(PLAN_PATH)

CLASSES: Final[dict[Role, type[LandfallUser]]] = {
    Role.BUYER: buying.Buyer,
    Role.VISITED: visiting.Visited,
    Role.READER: reading.Reader,
    Role.AUDITOR: auditing.Auditor,
    Role.SUBSCRIBER: subscribing.Subscriber,
    Role.OTA: subscribing.OtaRequester,
}
for role, weight in plan.mix.items():
    CLASSES[role].weight = weight
    if role is Role.AUDITOR:
        CLASSES[role].fixed_count = plan.count(role)  # there is to be one however few users there are
    globals()[CLASSES[role].__name__] = CLASSES[role]  # Locust takes what it finds in the module


class PlannedShape(LoadTestShape):
    """The plan's stages, over its seconds."""

    def tick(self) -> tuple[int, float] | None:
        """How many users there are to be now; None at the end."""
        elapsed = self.get_run_time()  # type: ignore[no-untyped-call]
        if elapsed >= plan.seconds:
            return None
        return plan.users_at(elapsed / plan.seconds), float(plan.users)


class Worker:
    """A worker process: its session begins with the test, and its journal goes to the master at the end."""

    def __init__(self, runner: WorkerRunner) -> None:
        self.runner = runner
        self.session: Session | None = None
        runner.register_message("finish", self._finish, concurrent=True)
        events.test_start.add_listener(self._begin)
        events.test_stop.add_listener(self._end)

    def _begin(self, **_: Any) -> None:
        if self.session is not None:
            raise PlanError("a worker runs one test: start master and workers again")
        name = self.runner.client_id
        path = PLAN_PATH.parent / JOURNALS / f"own-{name}"
        LandfallUser.bridge = Bridge()
        self.session = LandfallUser.session = LandfallUser.bridge.run(_open(path, name, self.runner.worker_index))
        self.runner.send_message("journal", {"name": name, "piece": b"", "last": False})

    def _finish(self, **_: Any) -> None:
        self.runner.stop()  # users end their turns; then `_end`

    def _end(self, **_: Any) -> None:
        if self.session is None:
            return
        bridge, session = LandfallUser.bridge, self.session
        if left := bridge.settle(FINISH_S):
            log.error("%d calls have no answer after %.0f s", left, FINISH_S)
        bridge.run(session.close())
        bridge.close()
        with session.journal.path.open("rb") as file:
            while piece := file.read(PIECE):
                self._send(piece, last=False)
                gevent.sleep(0)
        self._send(b"", last=True)
        session.journal.path.unlink()

    def _send(self, piece: bytes, *, last: bool) -> None:
        self.runner.send_message("journal", {"name": self.runner.client_id, "piece": piece, "last": last})


async def _open(path: Path, name: str, index: int) -> Session:
    return Session(plan, path, name, index)  # connections belong to the loop they are made on


class Master:
    """The master: gathers the journals, and lets workers go when it has them."""

    def __init__(self, runner: MasterRunner) -> None:
        self.runner = runner
        self.open: set[str] = set()
        self.begun = 0.0
        self.before: dict[str, float] = {}
        self.processor: dict[str, float] = {}
        self.folder = PLAN_PATH.parent / JOURNALS
        self.folder.mkdir(parents=True, exist_ok=True)
        runner.register_message("journal", self._take)
        events.test_stop.add_listener(self._end)
        events.test_start.add_listener(self._begin)
        events.quitting.add_listener(self._write_aside)

    def _tell(self) -> None:
        """A line now and then for who watches."""
        begun, before = time.monotonic(), 0
        while True:
            gevent.sleep(TELL_S)
            durable = [entry for (_, kind), entry in self.runner.stats.entries.items() if kind == DURABLE]
            count = sum(entry.num_requests - entry.num_failures for entry in durable)
            slowest = max((entry.get_response_time_percentile(0.99) for entry in durable), default=0)
            elapsed = time.monotonic() - begun
            print(
                f"{elapsed:7.0f} s {self.runner.user_count:6,} users "
                f"{(count - before) / TELL_S:9,.0f} durable a second, "
                f"slowest p99 {slowest / 1000:.2f} s",
                flush=True,
            )
            before = count

    def _take(self, msg: Any, **_: Any) -> None:
        name = Path(msg.data["name"]).name
        with (self.folder / f"{name}.journal").open("ab") as file:
            file.write(msg.data["piece"])
        if msg.data["last"]:
            self.open.discard(name)
        else:
            self.open.add(name)

    def _end(self, **_: Any) -> None:
        after = self._read_processor()
        self.processor = {name: round(seconds - self.before.get(name, 0.0), 3) for name, seconds in after.items()}
        self.runner.send_message("finish")
        with gevent.Timeout(FINISH_S + ARRIVE_S, False):
            while self.open & {client.id for client in self.runner.clients.all if client.state != STATE_MISSING}:
                gevent.sleep(0.1)
        for name in self.open:
            log.error("the journal of worker %s has not arrived", name)

    def _read_processor(self) -> dict[str, float]:
        return read_processor({**plan.processes, **find_workers(os.getppid())})

    def _begin(self, **_: Any) -> None:
        self.begun, self.before = time.time(), self._read_processor()
        self.runner.greenlet.spawn(self._tell)

    def _write_aside(self, **_: Any) -> None:
        errors = {str(one["msg"]): int(one["count"]) for one in self.runner.exceptions.values()}
        PLAN_PATH.with_name(ASIDE).write_bytes(msgspec.json.encode(Aside(self.begun, errors, self.processor)))


def begin(runner: Any, **_: Any) -> None:
    """Be what this process is."""
    if isinstance(runner, WorkerRunner):
        Worker(runner)
    elif isinstance(runner, MasterRunner):
        Master(runner)
    else:
        raise PlanError(
            "a run has a master and workers: start locust with --master and --worker, or use `landfall load`"
        )


events.init.add_listener(begin)
