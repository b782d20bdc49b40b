"""The nodes as processes: started together, waited for, and ended by who started them, whatever happens.

    async with Nodes(folder / "logs") as nodes:
        ledger = nodes.start("ledger", ["serve", "--role", "ledger"], environment, port=8400)
        await nodes.wait_ready()                    # raises NodeError with the end of the log of a node that fails
    # left by return, error or Ctrl-C: every node is told to stop, and killed where it does not

Each node has a session of its own, so that a Ctrl-C at the terminal reaches only this program, which then ends the
nodes in order. Output goes to `logs/<name>.log`.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from landfall.errors import LandfallError

HOST: Final = "127.0.0.1"
READY_TIMEOUT_S: Final = 90.0
"""Seven nodes that import, migrate and connect on two slow cores at once; minutes would mean that one hangs."""
STOP_TIMEOUT_S: Final = 15.0
"""A node finishes what it answers and closes its connections; what takes longer is stuck."""
POLL_S: Final = 0.1
TAIL_LINES: Final = 20


class NodeError(LandfallError):
    """A node ended, did not come up, or did not do what it was asked for; says which, and what it said."""


class Node:
    """One process with its log and its URL."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path, url: str) -> None:
        self.name, self.process, self.log, self.url = name, process, log, url

    @property
    def status(self) -> int | None:
        """Exit status, or minus the signal; None while it runs. This does not reap it: its number stays its own."""
        ended = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def tail(self) -> str:
        """The end of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join(lines) or "(the log is empty)"


class Nodes:
    """The processes of one world: a demonstration, a simulation, a load test."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._nodes: list[Node] = []

    async def __aenter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], *, port: int) -> Node:
        """Start `landfall <arguments>` as a process of its own. Settings of this program's caller do not reach it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LANDFALL_")}
        path = self._logs / f"{name}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", "from landfall.cli import main; main()", *arguments],
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        node = Node(name, process, path, f"http://{HOST}:{port}")
        self._nodes.append(node)
        return node

    async def wait_ready(self) -> None:
        """Wait until every node says that it and what it depends on is well. Raises `NodeError`."""
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
            await asyncio.gather(*(self._wait(http, node) for node in self._nodes))

    async def _wait(self, http: httpx.AsyncClient, node: Node) -> None:
        last = "no answer"
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while True:
                    self._require_alive(node)
                    try:
                        answer = await http.get(f"{node.url}/health/ready")
                        last = answer.text[:500]
                        if answer.status_code == httpx.codes.OK:
                            return
                    except httpx.TransportError as error:
                        last = type(error).__name__
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise NodeError(
                f"the node {node.name} is not ready after {READY_TIMEOUT_S:.0f} s ({last}). The end of {node.log}:\n"
                f"{node.tail()}"
            ) from None

    def check(self) -> None:
        """Raise `NodeError` where a node has ended by itself."""
        for node in self._nodes:
            self._require_alive(node)

    @staticmethod
    def _require_alive(node: Node) -> None:
        if (status := node.status) is not None:
            raise NodeError(
                f"the node {node.name} has ended with status {status}. The end of {node.log}:\n{node.tail()}"
            )

    async def stop(self) -> None:
        """End every node: politely, then not."""
        nodes, self._nodes = self._nodes, []
        for node in nodes:
            os.kill(node.process.pid, signal.SIGTERM)  # one that has ended is not reaped yet, and feels nothing
        await asyncio.shield(asyncio.gather(*(asyncio.to_thread(_end, node) for node in nodes)))


def _end(node: Node) -> None:
    """Wait, kill what is left of the session, workers without a parent too, and reap."""
    pid, deadline = node.process.pid, time.monotonic() + STOP_TIMEOUT_S
    while node.status is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    node.process.wait()


def find_free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on now, each one different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
