"""The primary database is lost while operators write; its standby takes over, and the deposed one comes back.

The runbook of docs/operations.md, step by step, with the ledger served from two machines: nothing acknowledged is lost
or written twice, and the deposed server gets nothing signed, not even where it holds commits that its standby never
had: the log has one line. Each test leaves a primary and a standby behind, their roles changed.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import httpx
import psycopg
import pytest

from settlement.ledger import api, store
from settlement.ledger.client import LedgerClient
from simulator.processes import Node, find_free_port, start_node, wait_ready
from tests.conftest import own_folder
from tests.integration.ledger_world import LedgerWorld, Member, eventually, start_ledger
from tests.integration.replicated_postgres import Instance, replicated
from tests.integration.test_crash import SEQUENCE, Journal, live_through, read_log

WRITERS = 4
PHASE_S = 1.0
GOES_ON_S = 30
"""Within this, each writer has another receipt: it tries again now and then, and the machine may be slow."""
FENCED_S = 60
"""A node on a deposed server says so after the ten seconds of the store's barrier."""
SHORT_BARRIER_S = 2.0


@dataclass
class Site:
    """Two database servers, and one ledger whose API runs on two machines: two nodes, the same keys."""

    world: LedgerWorld
    primary: Instance
    standby: Instance
    nodes: list[Node] = field(default_factory=list)

    def serve(self, ports: list[int]) -> None:
        """Start a node on each port and wait until all are ready."""
        for port in ports:
            environment = {**self.world.environment, "LANDFALL_PORT": str(port)}
            self.nodes.append(start_node("ledger", ["serve", "--role", "ledger"], environment, port=port))
        asyncio.run(wait_ready(self.nodes))

    def stop(self) -> None:
        nodes, self.nodes = self.nodes, []
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.reap()

    def fail_over(self) -> None:
        """The steps of the runbook: the standby becomes the primary, a new epoch begins, the nodes are restarted."""
        self.primary, self.standby = self.standby, self.primary
        self.primary.stop_following()
        self.primary.promote()
        epoch = epoch_of(self.primary)
        self.world.environment["LANDFALL_DATABASE_URL"] = self.dsn()
        command = [sys.executable, "-m", "landfall", "ledger", "promote"]
        subprocess.run(command, env=self.world.environment, capture_output=True, check=True)
        assert epoch_of(self.primary) == epoch + 1
        ports = [httpx.URL(node.url).port or 0 for node in self.nodes]
        self.stop()
        self.serve(ports)

    def dsn(self) -> str:
        """Both servers, the primary first: a deposed one that is met first is refused, and not passed over."""
        servers = ",".join(f"{one.host}:{one.port}" for one in (self.primary, self.standby))
        return f"postgresql://postgres@{servers}/ledger?target_session_attrs=read-write"


Loss = Callable[[Site, list[Journal]], Awaitable[None]]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Both servers, of which one follows the other, and both nodes."""
    with (
        own_folder() as folder,
        replicated(folder / "servers") as (first, second),
        start_ledger(folder, first.dsn("ledger"), workers=1) as world,
    ):
        site = Site(world, first, second, [world.node])
        try:
            site.serve([find_free_port()])
            yield site
        finally:
            site.stop()


def test_a_standby_takes_over_and_the_deposed_primary_is_fenced(site: Site, tmp_path: Path) -> None:
    journals = asyncio.run(write_through_failover(site, lose_both))
    assert leaves(site.standby) - leaves(site.primary), "the test wants commits that no standby had"
    refuse_to_serve(site.world, site.standby)
    check_journals(journals, asyncio.run(read_log(site.world, site.dsn(), tmp_path / "export")))
    rejoin(site)


def test_a_primary_that_dies_while_it_acknowledges_loses_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals = asyncio.run(write_through_failover(site, lose_primary))
    monkeypatch.setattr(store, "BARRIER_S", SHORT_BARRIER_S)
    asyncio.run(refuse_to_open(site.standby))
    check_journals(journals, asyncio.run(read_log(site.world, site.dsn(), tmp_path / "export")))
    rejoin(site)


async def lose_both(site: Site, _: list[Journal]) -> None:
    """The standby goes first, so that the primary commits what nobody confirms; then the standby comes back alone.

    It goes between two batches: one that is on its way might be on its disk, though it never said so.
    """
    with closing(psycopg.connect(site.primary.dsn("ledger"))) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (store.LOCK,))
        site.standby.kill()
    await asyncio.sleep(PHASE_S)
    site.primary.kill()
    await asyncio.to_thread(site.standby.start)


async def lose_primary(site: Site, journals: list[Journal]) -> None:
    """In the midst of acknowledging."""
    await go_on(journals)
    site.primary.kill()


async def write_through_failover(site: Site, lose: Loss) -> list[Journal]:
    """Operators write at both machines before, while and after the standby takes over; returns their journals."""
    assert is_standby(site.standby), "the test before left no standby"
    stop, journals = asyncio.Event(), [Journal() for _ in range(WRITERS)]
    async with AsyncExitStack() as operators:
        visited = await operators.enter_async_context(site.world.operator())
        offer = await visited.publish()
        homes = [
            await open_home(site.world, site.nodes[number % len(site.nodes)].url, operators)
            for number in range(WRITERS)
        ]
        async with asyncio.TaskGroup() as writing:
            for home, journal in zip(homes, journals, strict=True):
                writing.create_task(live_through(home, offer, journal, stop))
            await asyncio.sleep(PHASE_S)
            await lose(site, journals)
            await asyncio.to_thread(site.fail_over)
            await go_on(journals)
            await asyncio.to_thread(site.standby.start)  # as the primary that it was
            await go_on(journals)
            stop.set()
    return journals


async def open_home(world: LedgerWorld, url: str, operators: AsyncExitStack) -> Member:
    """A new operator with money, who writes at the node of `url`."""
    home = await operators.enter_async_context(world.operator(minted=10**12))
    client = LedgerClient(url, log=world.log, signer=home.keys.signer, operator=home.id)
    return replace(home, client=await operators.enter_async_context(client))


async def go_on(journals: list[Journal]) -> None:
    """Wait until every writer has been acknowledged something new."""
    before = [len(journal.receipts) for journal in journals]

    async def all_have_more() -> bool:
        return all(len(journal.receipts) > told for journal, told in zip(journals, before, strict=True))

    await eventually(all_have_more, within_s=GOES_ON_S)


def check_journals(journals: list[Journal], places: dict[bytes, list[int]]) -> None:
    """What has a receipt stands in the log once, where the receipt says; nothing else stands there."""
    for journal in journals:
        assert len(journal.receipts) > SEQUENCE
        for raw in journal.sent:
            receipt = journal.receipts.get(raw)
            assert places.get(raw, []) == ([receipt.index] if receipt else [])


def rejoin(site: Site) -> None:
    """The deposed server becomes a standby that has what the primary has, and only that."""
    site.standby.kill()
    site.standby.rejoin(site.primary)
    deadline = time.monotonic() + GOES_ON_S
    while leaves(site.standby) != leaves(site.primary):  # it streams, but may still replay
        assert time.monotonic() < deadline, "the standby shows another log than the primary"
        time.sleep(0.1)


async def refuse_to_open(deposed: Instance) -> None:
    """The store of a node reads nothing on the deposed server."""
    with pytest.raises(ConnectionError, match="if this server was deposed"):
        async with store.LedgerStore.open(deposed.dsn("ledger")):
            pass


def refuse_to_serve(world: LedgerWorld, deposed: Instance) -> None:
    """A node that somebody starts on the deposed server signs nothing, and says why."""
    port = str(find_free_port())
    environment = {**world.environment, "LANDFALL_DATABASE_URL": deposed.dsn("ledger"), "LANDFALL_PORT": port}
    command = [sys.executable, "-c", "from marketplace.cli import serve; serve()", "--role", "ledger"]
    with NamedTemporaryFile() as said, closing_process(command, environment, said.fileno()):
        deadline = time.monotonic() + FENCED_S
        while b"if this server was deposed" not in Path(said.name).read_bytes():
            assert time.monotonic() < deadline, "the node does not say what is wrong"
            with suppress(httpx.TransportError):
                answer = httpx.get(f"http://127.0.0.1:{port}{api.Path.CHECKPOINT}")
                assert answer.status_code != 200, f"a deposed server's log was signed: {answer.text}"
            time.sleep(0.2)


@contextmanager
def closing_process(command: list[str], environment: dict[str, str], output: int) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def is_standby(instance: Instance) -> bool:
    with closing(psycopg.connect(instance.dsn("ledger"))) as connection:
        return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


def epoch_of(instance: Instance) -> int:
    with closing(psycopg.connect(instance.dsn("ledger"))) as connection:
        row = connection.execute("SELECT epoch FROM head").fetchone()
        assert row is not None
        return int(row[0])


def leaves(instance: Instance) -> set[bytes]:
    """Hashes of the entries, time and all, as one server shows them."""
    with closing(psycopg.connect(instance.dsn("ledger"))) as connection:
        return {bytes(row[0]) for row in connection.execute("SELECT leaf FROM entries")}
