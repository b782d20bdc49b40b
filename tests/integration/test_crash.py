"""Processes and the database are killed with -9 at random moments while operators write: nothing told is lost.

Clients keep a journal of acknowledgements outside of the ledger. Afterwards every acknowledged transaction is in the
log exactly once where its receipt says, what was not acknowledged is learnt by id, the tables equal a replay of the
log, and the log audits.
"""

import asyncio
import os
import random
import signal
import time
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil

from landfall.postgres import Server, ensure_server
from settlement.ledger.api import Receipt
from settlement.ledger.audit import audit
from settlement.ledger.client import LedgerClient, Rejected, Unreachable
from settlement.ledger.envelope import parse
from settlement.ledger.execution import Execution
from settlement.ledger.export import write_export
from settlement.ledger.log import read_leaf
from settlement.ledger.messages import CancelRequest
from settlement.ledger.rejections import Rejection
from settlement.ledger.rows import MUTABLE
from settlement.ledger.state import ROW_TYPES, Account, Ledger, Request, Row, State
from settlement.ledger.store import LedgerStore
from settlement.ledger.tables import TABLES
from simulator.processes import serve_node, wait_ready
from tests.integration.ledger_world import LedgerWorld, Member, start_ledger

KILLS = 24
"""Every third is PostgreSQL, the others API processes."""
WRITERS = 4
SEQUENCE = 20
SEED = 20261120


class Journal:
    """What the ledger acknowledged, kept by a client."""

    def __init__(self) -> None:
        self.sent: dict[bytes, None] = {}
        self.receipts: dict[bytes, Receipt] = {}
        self.rejections: dict[bytes, Rejection] = {}

    def note(self, raw: bytes, answer: Receipt | Rejection) -> None:
        if isinstance(answer, Receipt):
            first = self.receipts.setdefault(raw, answer)
            assert (first.index, first.leaf) == (answer.index, answer.leaf), "one envelope, two receipts"
        else:
            self.rejections[raw] = answer


async def write(home: Member, offer: Any, journal: Journal, stop: asyncio.Event) -> None:
    """Order, and cancel every third order, in sequences; a lost answer leaves envelopes that are only sent."""
    while not stop.is_set():
        orders = [home.make_order(offer) for _ in range(SEQUENCE)]
        cancels = [home.client.make(CancelRequest, request=order.id) for order in orders[::3]]
        envelopes = [home.keys.signer.sign(message) for message in (*orders, *cancels)]
        journal.sent.update(dict.fromkeys(envelopes))
        with suppress(Unreachable, Rejected):
            for raw, answer in zip(envelopes, await home.client.send_all(envelopes), strict=True):
                journal.note(raw, answer)


class Nodes:
    """The ledger's processes as a service manager keeps them: what ends is started again."""

    def __init__(self, world: LedgerWorld, server: Server, stack: ExitStack) -> None:
        self.world = world
        self.server = server
        self._stack = stack

    def kill_one(self, chance: random.Random, number: int) -> None:
        """Kill PostgreSQL every third time, otherwise an API process, or now and then all of them."""
        if number % 3 == 0:
            os.kill(self.server.pid, signal.SIGKILL)
            time.sleep(chance.uniform(0, 0.3))
            ensure_server(self.world.settings.data_dir)
        elif workers := self._workers():
            for worker in workers if number % 8 == 0 else [chance.choice(workers)]:
                with suppress(psutil.NoSuchProcess):
                    worker.kill()

    def keep_serving(self) -> None:
        """Granian gives up after a second quick death of a worker; whoever runs it starts it again."""
        if self.world.node.status is not None:
            self.world.node = self._stack.enter_context(
                serve_node("ledger", self.world.environment, port=self.world.settings.port)
            )

    def _workers(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.world.node.process.pid).children()
            return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        return []


def test_nothing_acknowledged_is_lost_however_often_processes_die(server_folder: Path) -> None:
    server = ensure_server(server_folder)
    try:
        server.create_database("ledger")
        with start_ledger(server_folder, server.dsn("ledger")) as world, ExitStack() as stack:
            journals = asyncio.run(write_through_kills(Nodes(world, server, stack), random.Random(SEED)))
            entries = asyncio.run(read_log(world, server.dsn("ledger"), server_folder / "export"))
    finally:
        server.stop()
    for journal in journals:
        for raw in journal.sent:
            places = entries.get(raw, [])
            assert len(places) <= 1, f"one envelope stands at {places}"
            if (receipt := journal.receipts.get(raw)) is not None:
                assert places == [receipt.index]
            elif raw in journal.rejections:
                assert not places
    assert sum(len(journal.receipts) for journal in journals) > KILLS * SEQUENCE


async def write_through_kills(nodes: Nodes, chance: random.Random) -> list[Journal]:
    """Several operators write while things die; returns their journals."""
    world = nodes.world
    stop, journals = asyncio.Event(), [Journal() for _ in range(WRITERS)]
    async with AsyncExitStack() as operators:
        visited = await operators.enter_async_context(world.operator())
        offer = await visited.publish()
        homes = [await operators.enter_async_context(world.operator(minted=10**12)) for _ in journals]
        writing = [
            asyncio.create_task(live_through(home, offer, journal, stop))
            for home, journal in zip(homes, journals, strict=True)
        ]
        for number in range(KILLS):
            await asyncio.sleep(chance.uniform(0.1, 0.8))
            await asyncio.to_thread(nodes.kill_one, chance, number)
            await asyncio.to_thread(nodes.keep_serving)
        await asyncio.sleep(1)
        await asyncio.to_thread(nodes.keep_serving)
        await wait_ready([world.node])
        stop.set()
        await asyncio.gather(*writing)
    return journals


async def live_through(home: Member, offer: Any, journal: Journal, stop: asyncio.Event) -> None:
    """One home operator writes through all kills, then learns what it does not know by id."""
    await write(home, offer, journal, stop)
    unknown = [raw for raw in journal.sent if raw not in journal.receipts and raw not in journal.rejections]
    await learn(home.client, unknown, journal)
    escrow = (await home.client.account()).escrow
    assert escrow == sum(request.escrow for request in await home.client.requests(role="home"))


async def learn(client: LedgerClient, unknown: list[bytes], journal: Journal) -> None:
    """Ask for receipts by id; what has none was not taken."""
    for raw in unknown:
        if (receipt := await client.receipt(parse(raw).id)) is not None:
            journal.note(raw, receipt)


async def read_log(world: LedgerWorld, dsn: str, folder: Path) -> dict[bytes, list[int]]:
    """Export, audit and replay the log, compare the tables with the replay; returns where each envelope stands."""
    async with LedgerStore.open(dsn) as store, world.issuer_client() as client:
        await write_export(folder, await client.note(), store.bundle, world.log)
        size = (await store.head()).size
        leaves = [read_leaf(leaf) for leaf in await store.leaves(0, size)]
        stored = [row for row_type in ROW_TYPES for row in await read_rows(store, row_type)]
    report = audit(folder, world.log, workers=0)
    assert report.entries == size
    execution = Execution(world.log.name, world.log.public_key, State())
    places: dict[bytes, list[int]] = {}
    for index, (moment, raw) in enumerate(leaves):
        assert not isinstance(execution.run(parse(raw), moment), Rejection)
        places.setdefault(raw, []).append(index)
    replayed = [row for row_type in ROW_TYPES for row in execution.state.all(row_type)]
    assert sorted(map(repr, stored)) == sorted(map(repr, replayed))
    check_conservation(execution.state)
    return places


async def read_rows(store: LedgerStore, row_type: type[Row]) -> list[Row]:
    assert row_type in MUTABLE
    keys = await store.pool.fetch(f"SELECT {row_type.KEY} FROM {TABLES[row_type].name}")
    async with store.turn() as turn:
        state = State(whole=False)
        await turn._fetch(state, row_type, {key[0] for key in keys})
        return list(state.all(row_type))


def check_conservation(state: State) -> None:
    [ledger] = state.all(Ledger)
    accounts = list(state.all(Account))
    assert sum(account.available + account.escrow + account.held for account in accounts) == (
        ledger.minted - ledger.burned
    )
    assert sum(account.escrow for account in accounts) == sum(request.escrow for request in state.all(Request))
    assert all(min(account.available, account.escrow, account.held) >= 0 for account in accounts)
