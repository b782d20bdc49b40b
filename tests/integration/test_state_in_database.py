"""The state in PostgreSQL is what the log replays to, whatever batches it was written in."""

import asyncio
import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from landfall.migrations import upgrade
from landfall.postgres import Server
from settlement import ledger
from settlement.ledger.envelope import parse
from settlement.ledger.execution import Execution
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.messages import RevokeKey
from settlement.ledger.rules import Effects
from settlement.ledger.state import ROW_TYPES, Key, Offer
from settlement.ledger.store import LedgerStore
from settlement.ledger.tables import TABLES
from settlement.ledger.touched import cited_by
from settlement.ledger.turn import StoredEntry
from tests.ledger_model import ORIGIN, SDRT, World, bundle, terms
from tests.market_story_2 import tell_story_2
from tests.properties.test_settling_machine import Settlement

MIGRATIONS = Path(ledger.__path__[0]) / "migrations"


async def write_in_batches(world: World, size: int, *stores: LedgerStore) -> None:
    """As the sequencers of so many processes do it in turn, but at the times of the story."""
    turns = itertools.cycle(stores)
    entries = list(world.entries)
    while entries:
        first = 1 if len(entries) == len(world.entries) else size  # a ledger is founded before anybody sends to it
        envelopes = [parse(raw) for _, raw in entries[:first]]
        cites = [place for place in range(1, len(envelopes)) if cited_by(envelopes[place : place + 1])]
        first = min([first, *cites])  # whoever cites an entry has its receipt, so that was committed before
        batch, entries, envelopes = entries[:first], entries[first:], envelopes[:first]
        async with next(turns).turn() as turn:
            head = turn.head
            state = await turn.load(ORIGIN, envelopes)
            execution = Execution(ORIGIN, world.origin.public, state, size=head.size, chain=head.chain)
            stored = []
            for (time, raw), envelope in zip(batch, envelopes, strict=True):
                key = state.get(Key, envelope.kid) if execution.size else None
                effects = execution.run(envelope, time)
                assert isinstance(effects, Effects), effects
                leaf = leaf_hash(leaf_data(time, raw))
                sender = key.operator if key else "ledger"
                stored.append(
                    StoredEntry(
                        execution.size - 1,
                        time,
                        sender,
                        envelope.id,
                        effects.counterparty,
                        effects.settled,
                        None,
                        leaf,
                        raw,
                    )
                )
            frontier, rows = head.frontier.extend([entry.leaf for entry in stored])
            await turn.write(stored, rows, state)
            await turn.move_head(batch[-1][0], execution.chain, frontier, 0)


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
async def test_the_story_written_in_batches_of_any_size_is_one_state(database: str, size: int) -> None:
    world = tell_story_2()
    upgrade(database, MIGRATIONS)
    async with LedgerStore.open(database) as store:
        await write_in_batches(world, size, store)
        head = await store.head()
        assert head.size == len(world.entries)
        assert head.chain == world.execution.chain, "what is loaded from the database decides and hashes as in memory"
    async with LedgerStore.open(database) as store:  # one that has written nothing itself
        async with store.turn() as turn:
            state = await turn.load(ORIGIN, [parse(raw) for _, raw in world.entries])
        for row_type in ROW_TYPES:
            replayed = {row.key: row for row in world.state.all(row_type)}
            loaded = {row.key: row for row in state.all(row_type)}
            assert loaded.items() <= replayed.items(), row_type.__name__
            assert loaded
            stored = await store.pool.fetchval(f"SELECT count(*) FROM {TABLES[row_type].name}")
            assert stored == len(replayed), row_type.__name__


@pytest.mark.parametrize("size", [1, 2, 7])
async def test_processes_that_write_in_turn_see_what_the_others_changed(database: str, size: int) -> None:
    """Each keeps the offers and keys that it has read; what is left of a stock is in the effects of an order."""
    world = World()
    home, visited = world.admit("alfa", funds=100 * SDRT), world.admit("bravo")
    offers = [world.publish(visited, terms(bundle(), stock=9)), world.publish(visited, terms(bundle()))]
    for _ in range(8):
        for offer in offers:
            world.request(home, offer)
    world.must(home, RevokeKey, kid=home.signer.kid)
    upgrade(database, MIGRATIONS)
    async with LedgerStore.open(database) as first, LedgerStore.open(database) as second:
        await write_in_batches(world, size, first, second)
        assert (await first.head()).chain == world.execution.chain
        for store in (first, second):
            async with store.turn() as turn:
                state = await turn.load(ORIGIN, [parse(raw) for _, raw in world.entries])
            for row_type in (Key, Offer):
                for row in state.all(row_type):
                    assert row == world.state.get(row_type, row.key)


def play_markets(number: int) -> list[World]:
    """The longest logs of some markets in which everybody says what comes to mind."""
    worlds: list[World] = []

    class Recorded(Settlement):
        def teardown(self) -> None:
            worlds.append(self.world)

    steps = settings(
        max_examples=6 * number,
        stateful_step_count=60,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Recorded, settings=steps)
    return sorted(worlds, key=lambda world: -len(world.entries))[:number]


async def test_markets_played_at_random_are_the_same_in_the_database(postgres_server: Server) -> None:
    for world, size in zip(await asyncio.to_thread(play_markets, 4), (1, 3, 10, 40), strict=True):
        name = f"market_{size}"
        postgres_server.create_database(name)
        await asyncio.to_thread(upgrade, postgres_server.dsn(name), MIGRATIONS)
        async with LedgerStore.open(postgres_server.dsn(name)) as store:
            await write_in_batches(world, size, store)
            assert (await store.head()).chain == world.execution.chain
        postgres_server.drop_database(name)
