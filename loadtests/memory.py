"""Memory of a run's processes, looked at while it runs, to see whether it stays or grows with what was done.

    async with MemoryWatch({"API": node_pid, "PostgreSQL": postmaster_pid}) as memory:
        …                                    # the run
    memory.growth_mib                        # over the second half of the run, all together

What processes share (PostgreSQL's buffers) counts once: a process has its share of each page (PSS).
"""

import asyncio
import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import psutil

EVERY_S: Final = 2.0
"""Between two looks; one takes some milliseconds of the generator's time."""


class MemoryWatch:
    """Samples of the memory of processes and all below them. `roots`: process ids by name."""

    def __init__(self, roots: Mapping[str, int]) -> None:
        self.totals: list[float] = []
        """MiB of all of them, at each look."""
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self._roots = roots
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    @property
    def growth_mib(self) -> float:
        """MiB that were added between the middle and the end of what was watched."""
        return self.totals[-1] - self.totals[len(self.totals) // 2] if self.totals else 0.0

    def __str__(self) -> str:
        parts = [f"{name} {self.first.get(name, 0.0):,.0f} → {now:,.0f}" for name, now in self.last.items()]
        return f"MiB: {', '.join(parts)}; {self.growth_mib:+,.0f} in its second half"

    async def _watch(self) -> None:
        while True:
            self.last = await asyncio.to_thread(_read, self._roots)
            self.first = self.first or self.last
            self.totals.append(sum(self.last.values()))
            await asyncio.sleep(EVERY_S)


def _read(roots: Mapping[str, int]) -> dict[str, float]:
    found = {}
    for name, pid in roots.items():
        with contextlib.suppress(psutil.NoSuchProcess):  # one that ended has no memory; that it did is others' to say
            root = psutil.Process(pid)
            found[name] = sum(map(_share_mib, [root, *root.children(recursive=True)]))
    return found


def _share_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 2**20
    except psutil.Error:  # it has just gone
        return 0.0
