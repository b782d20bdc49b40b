"""Processor time of a run's processes on this machine: it holds where seconds do not, on a machine with other work."""

from collections.abc import Mapping

import psutil


def read_processor(roots: Mapping[str, int]) -> dict[str, float]:
    """Seconds of processor that each process used with all below it, by name; what has gone counts no more."""
    used = {}
    for name, pid in roots.items():
        try:
            root = psutil.Process(pid)
            used[name] = sum(map(_seconds, [root, *root.children(recursive=True)]))
        except psutil.NoSuchProcess:
            continue
    return used


def find_workers(parent: int) -> dict[str, int]:
    """Locust's worker processes started by `parent`."""
    found: dict[str, int] = {}
    for child in psutil.Process(parent).children():
        if "--worker" in child.cmdline():
            found[f"worker {len(found)}"] = child.pid
    return found


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
