"""Processes of which one may be killed or frozen, and that a later run knows: what a killed simulator left is ended.

nodes = LivingNodes(folder / "logs", folder / "private" / "processes.json")
nodes.end_left_over(folder)                     # of an earlier run in this folder
nodes.start("ledger", …); nodes.note()
nodes.kill("ledger")                            # all its workers, too, as a power cut does
"""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import msgspec

from simulator.processes import Nodes


class LivingNodes(Nodes):
    """Processes of which one may be killed, and that are known to a later run."""

    def __init__(self, logs: Path, register: Path) -> None:
        super().__init__(logs)
        self._register = register

    def note(self) -> None:
        """Write down which processes there are."""
        self._register.write_bytes(msgspec.json.encode([node.process.pid for node in self._nodes]))

    @property
    def ended(self) -> list[str]:
        """Nodes that have ended by themselves."""
        return [node.name for node in self._nodes if node.status is not None]

    def kill(self, name: str) -> None:
        """Kill a node and all its workers, as a power cut does."""
        node = next(node for node in self._nodes if node.name == name)
        self._nodes.remove(node)
        node.kill()

    async def freeze(self, name: str, pause_s: float) -> None:
        """Stop a node and all its workers for a while."""
        node = next(node for node in self._nodes if node.name == name)
        os.killpg(node.process.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(pause_s)
        finally:
            os.killpg(node.process.pid, signal.SIGCONT)

    def end_left_over(self, folder: Path) -> int:
        """End what a killed simulator left running in `folder`; how many that were."""
        pids = msgspec.json.decode(self._register.read_bytes(), type=list[int]) if self._register.exists() else []
        ended = 0
        for pid in pids:
            if _belongs(pid, folder):
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                ended += 1
        self._register.unlink(missing_ok=True)
        return ended


def _belongs(pid: int, folder: Path) -> bool:
    """Whether that process was started with a data folder in `folder`: its number may be somebody else's by now."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"LANDFALL_DATA_DIR={folder}/".encode() in environment
