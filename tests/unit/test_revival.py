"""After an outage of the database, nodes that ended are started again, and only those."""

from typing import Any

import pytest

from simulator import site as site_module
from simulator.processes import NodeError
from simulator.site import Site


class Processes:
    """Nodes of which some have ended, each as often as it is told."""

    def __init__(self, ends: list[list[str]]) -> None:
        self.ends, self.killed = ends, list[str]()

    @property
    def ended(self) -> list[str]:
        return self.ends[0] if self.ends else []

    async def wait_ready(self) -> None:
        if self.ends:
            raise NodeError("a node has ended")

    def kill(self, name: str) -> None:
        self.killed.append(name)


def outage(ends: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> tuple[Site, Processes, list[str]]:
    site, processes, started = Site.__new__(Site), Processes(ends), list[str]()

    def start(_: Site, name: str) -> None:
        started.append(name)
        processes.ends[0].remove(name)
        if not processes.ends[0]:
            processes.ends.pop(0)

    monkeypatch.setattr(site_module.Site, "start", start)
    chosen: Any = processes
    site.processes = chosen
    return site, processes, started


async def test_what_ended_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    site, processes, started = outage([["ledger"], ["alfa"]], monkeypatch)
    await site._revive()
    assert started == processes.killed == ["ledger", "alfa"]


async def test_a_node_that_is_there_and_not_well_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    site, processes, started = outage([[]], monkeypatch)
    with pytest.raises(NodeError):
        await site._revive()
    assert not started + processes.killed


async def test_a_node_that_ends_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    site, _, started = outage([["ledger"] for _ in range(9)], monkeypatch)
    with pytest.raises(NodeError):
        await site._revive()
    assert started == ["ledger"] * 3
