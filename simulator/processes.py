"""Nodes as processes: started, waited for, and ended by who started them, whatever happens.

    async with Nodes(folder / "logs") as nodes:                  # several; output goes to logs/<name>.log
        ledger = nodes.start("ledger", ["serve", "--role", "ledger"], environment, port=8400)
        await nodes.wait_ready()                                 # raises NodeError with the end of that log
    # left by return, error or Ctrl-C: every node is told to stop, and killed where it does not

    with serve_node("ledger", environment, port=8400) as node:   # one, for who has no event loop; output goes
        ...                                                      # where this program's goes

Each node has a process group of its own, so that a Ctrl-C at the terminal reaches only this program, which then ends
the nodes in order. It has no session of its own: Linux shares processors out among sessions, and a node that is
measured is to compete for them as any other process does.
"""

import asyncio
import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import httpx

from landfall.errors import LandfallError

HOST: Final = "127.0.0.1"
READY_TIMEOUT_S: Final = 90.0
"""Seven nodes that import, migrate and connect on two slow cores at once; minutes would mean that one hangs."""
STOP_TIMEOUT_S: Final = 15.0
"""A node finishes what it answers and closes its connections; what takes longer is stuck."""
POLL_S: Final = 0.1
TAIL_LINES: Final = 20
KEK_BYTES: Final = 32

NodeRole = Literal["ledger", "operator"]


class NodeError(LandfallError):
    """A node ended, did not come up, or did not do what it was asked for; says which, and what it said."""


class Node:
    """One process with its URL, and its log where it has one of its own."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path | None, url: str) -> None:
        self.name, self.process, self.log, self.url = name, process, log, url

    @property
    def status(self) -> int | None:
        """Exit status, or minus the signal; None while it runs. This does not reap it: its number stays its own."""
        if self.process.returncode is not None:
            return self.process.returncode
        ended = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def tail(self) -> str:
        """Where the log is, and its end."""
        if self.log is None:
            return "It logs where this program does."
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return f"The end of {self.log}:\n" + ("\n".join(lines) or "(the log is empty)")

    def require_alive(self) -> None:
        """Raise `NodeError` where it has ended."""
        if (status := self.status) is not None:
            raise NodeError(f"the node {self.name} has ended with status {status}. {self.tail()}")

    def terminate(self) -> None:
        """Tell it to stop. One that has ended is not reaped yet, and feels nothing."""
        if self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGTERM)

    def stop(self) -> None:
        """End it: politely, then not."""
        self.terminate()
        self.reap()

    def reap(self) -> None:
        """Wait until it has stopped as it was told; what has not by then is killed."""
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.status is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self.kill()

    def kill(self) -> None:
        """Kill what is left of it, as a power cut does, workers without a parent too, and reap."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def start_node(
    name: str, arguments: Sequence[str], environment: Mapping[str, str], *, port: int, log: Path | None = None
) -> Node:
    """Start `landfall <arguments>` as a process of its own. Settings of this program's caller do not reach it.

    Without a `log` its output goes where this program's goes.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LANDFALL_")}
    with log.open("wb") if log else nullcontext() as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "from landfall.cli import main; main()", *arguments],
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            process_group=0,
        )
    return Node(name, process, log, f"http://{HOST}:{port}")


async def wait_ready(nodes: Sequence[Node]) -> None:
    """Wait until every node says that it and what it depends on is well. Raises `NodeError`."""
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
        await asyncio.gather(*(_wait(http, node) for node in nodes))


async def _wait(http: httpx.AsyncClient, node: Node) -> None:
    last = "no answer"
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                node.require_alive()
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
            f"the node {node.name} is not ready after {READY_TIMEOUT_S:.0f} s ({last}). {node.tail()}"
        ) from None


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
        """Start `landfall <arguments>` as one of them."""
        node = start_node(name, arguments, environment, port=port, log=self._logs / f"{name}.log")
        self._nodes.append(node)
        return node

    async def wait_ready(self) -> None:
        """Wait until every node says that it and what it depends on is well. Raises `NodeError`."""
        await wait_ready(self._nodes)

    def check(self) -> None:
        """Raise `NodeError` where a node has ended by itself."""
        for node in self._nodes:
            node.require_alive()

    async def stop(self) -> None:
        """End every node: all are told, then each is waited for."""
        nodes, self._nodes = self._nodes, []
        for node in nodes:
            node.terminate()
        await asyncio.shield(asyncio.gather(*(asyncio.to_thread(node.reap) for node in nodes)))


@contextmanager
def serve_node(role: NodeRole, environment: Mapping[str, str], *, port: int) -> Iterator[Node]:
    """Have one node run while the block does, for who has no event loop. Raises `NodeError` where it does not start."""
    node = start_node(role, ["serve", "--role", role], environment, port=port)
    try:
        asyncio.run(wait_ready([node]))
        yield node
    finally:
        node.stop()


def draw_settings(folder: Path, database_url: str, *, port: int) -> dict[str, str]:
    """Settings of a new node on this machine: with a key-encryption key that nobody else has, and quiet.

    `database_url`: an empty database; "" has the node start an embedded server in `folder`.
    """
    return {
        "LANDFALL_DATA_DIR": str(folder),
        "LANDFALL_DATABASE_URL": database_url,
        "LANDFALL_KEK": base64.b64encode(secrets.token_bytes(KEK_BYTES)).decode(),
        "LANDFALL_HOST": HOST,
        "LANDFALL_PORT": str(port),
        "LANDFALL_LOG_LEVEL": "warning",
    }


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


def find_free_port() -> int:
    """One such port."""
    return find_free_ports(1)[0]
