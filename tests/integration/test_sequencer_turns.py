"""What gathers while the lock is another's: it goes in one turn, and where there are no more turns all is answered."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from landfall.migrations import upgrade
from settlement import ledger
from settlement.ledger.api import Receipt
from settlement.ledger.messages import MAX_TIME, Mint
from settlement.ledger.rejections import Rejection
from settlement.ledger.sequencer import Sequencer
from settlement.ledger.store import LedgerStore
from tests.ledger_model import ORIGIN, World, seed_of

MIGRATIONS = Path(ledger.__path__[0]) / "migrations"
CALLERS = 5
WAIT_S = 10.0


@asynccontextmanager
async def founded(database: str, world: World) -> AsyncIterator[tuple[LedgerStore, Sequencer]]:
    """A ledger with its first entry, and its sequencer."""
    upgrade(database, MIGRATIONS)
    async with LedgerStore.open(database) as store:
        sequencer = Sequencer(store, seed=seed_of("origin"), origin=ORIGIN)
        await sequencer.start()
        await sequencer.submit([world.entries[0][1]])
        yield store, sequencer
        await sequencer.stop()


def mints(world: World) -> Sequence[bytes]:
    return [
        world.issuer.signer.sign(world.make(Mint, to="issuer", amount=1, deposit=f"deposit {n}", exp=MAX_TIME))
        for n in range(CALLERS)
    ]


async def submit_one_by_one(
    sequencer: Sequencer, envelopes: Sequence[bytes]
) -> list[asyncio.Task[list[Receipt | Rejection]]]:
    """Callers that come one after the other, all of them waiting."""
    waiting = []
    for raw in envelopes:
        waiting.append(asyncio.create_task(sequencer.submit([raw])))
        await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    return waiting


async def test_what_comes_while_the_lock_is_anothers_goes_in_one_turn(database: str) -> None:
    world = World()
    async with founded(database, world) as (store, sequencer):
        async with store.turn():
            waiting = await submit_one_by_one(sequencer, mints(world))
        answers = [answer for task in waiting for answer in await asyncio.wait_for(task, WAIT_S)]
    receipts = [answer for answer in answers if isinstance(answer, Receipt)]
    assert [receipt.index for receipt in receipts] == list(range(1, 1 + CALLERS))
    assert len({receipt.time for receipt in receipts}) == 1  # a turn has one time


async def test_all_that_wait_are_answered_when_another_was_promoted(database: str) -> None:
    world = World()
    async with founded(database, world) as (store, sequencer):
        async with store.turn() as turn:
            waiting = await submit_one_by_one(sequencer, mints(world))
            await turn._connection.execute("UPDATE head SET epoch = epoch + 1")
        answers = [answer for task in waiting for answer in await asyncio.wait_for(task, WAIT_S)]
        [later] = await asyncio.wait_for(sequencer.submit(mints(world)[:1]), WAIT_S)
        assert (await store.head()).size == 1
    assert len(answers) == CALLERS
    for answer in (*answers, later):
        assert isinstance(answer, Rejection)
        assert answer.code == "overloaded"
        assert "epoch 2" in answer.detail
