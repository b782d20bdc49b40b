"""The head's epoch: after a promotion no sequencer that began before it writes again. And: old databases catch up."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import psycopg
import pytest

from landfall.migrations import upgrade
from landfall.settings import read_settings
from marketplace.ledger_setup import initialise
from settlement import ledger
from settlement.ledger import tables
from settlement.ledger.api import Receipt
from settlement.ledger.envelope import parse
from settlement.ledger.merkle import Frontier
from settlement.ledger.messages import MAX_TIME, Mint
from settlement.ledger.rejections import Rejection
from settlement.ledger.sequencer import Sequencer
from settlement.ledger.store import LedgerStore
from settlement.ledger.turn import Fenced
from tests.integration.ledger_world import Keys
from tests.ledger_model import ORIGIN, World, seed_of

MIGRATIONS = Path(ledger.__path__[0]) / "migrations"
OLD = {"head", "entries", "tree", "ledger", "operators", "keys", "accounts", "deposits", "redemptions", "offers"} | {
    "bid_requests",
    "requests",
    "payloads",
    "assertions",
}
"""Tables of 0001 as it was before there was a 0002."""


def mint(world: World, number: int) -> bytes:
    return world.issuer.signer.sign(world.make(Mint, to="issuer", amount=1, deposit=f"deposit {number}", exp=MAX_TIME))


async def test_a_deposed_sequencer_never_commits_again(database: str) -> None:
    upgrade(database, MIGRATIONS)
    world = World()
    async with LedgerStore.open(database) as store, LedgerStore.open(database) as other:
        deposed = Sequencer(store, seed=seed_of("origin"), origin=ORIGIN)
        await deposed.start()
        [_, first] = [(await deposed.submit([raw]))[0] for raw in (world.entries[0][1], mint(world, 1))]
        assert isinstance(first, Receipt)
        assert await other.promote() == 2
        following = Sequencer(other, seed=seed_of("origin"), origin=ORIGIN)
        await following.start()
        [refused] = await deposed.submit([mint(world, 2)])
        assert isinstance(refused, Rejection)
        assert refused.code == "overloaded"
        assert "epoch 2" in (deposed.halted or "")
        [taken] = await following.submit([mint(world, 2)])
        assert isinstance(taken, Receipt)
        assert taken.index == first.index + 1
        await deposed.stop()
        await following.stop()


async def test_a_promotion_in_the_middle_of_a_turn_cannot_be_written_over(database: str) -> None:
    upgrade(database, MIGRATIONS)
    async with LedgerStore.open(database) as store:
        with pytest.raises(Fenced):
            await write_through_a_promotion(store)
        assert (await store.head()).size == 0


async def write_through_a_promotion(store: LedgerStore) -> None:
    async with store.turn() as turn:
        await turn.load(ORIGIN, [parse(World().entries[0][1])])
        await turn._connection.execute("UPDATE head SET epoch = epoch + 1")
        await turn.move_head(1, b"", Frontier(), 0)


async def test_an_empty_ledger_has_nothing_to_promote(database: str) -> None:
    upgrade(database, MIGRATIONS)
    async with LedgerStore.open(database) as store:
        with pytest.raises(LookupError):
            await store.promote()


def test_promote_is_a_command(database: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "LANDFALL_DATA_DIR": str(tmp_path),
        "LANDFALL_DATABASE_URL": database,
        "LANDFALL_KEK": base64.b64encode(bytes(32)).decode(),
    }
    initialise(read_settings(environment), ORIGIN, Keys().party("issuer", "issuer"))
    command = [sys.executable, "-m", "landfall", "ledger", "promote", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert msgspec.json.decode(done.stdout) == {"epoch": 2}


def test_a_database_laid_before_version_2_becomes_as_a_fresh_one(database: str) -> None:
    upgrade(database, MIGRATIONS)
    fresh = columns(database)
    with psycopg.connect(database) as connection:
        for table in tables.metadata.tables.keys() - OLD:
            connection.execute(f"DROP TABLE {table}")
        for table, column in NEW_COLUMNS:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    assert columns(database) != fresh
    assert upgrade(database, MIGRATIONS) == "0003"
    assert columns(database) == fresh


NEW_COLUMNS = [("head", "epoch"), ("head", "renewed"), ("offers", "deal"), ("requests", "cumulative")]
"""Columns that 0002 and 0003 add to tables of 0001."""


async def test_a_writer_of_before_the_mark_of_renewal_is_ended(database: str) -> None:
    upgrade(database, MIGRATIONS)
    world = World()
    async with LedgerStore.open(database) as store:
        older = Sequencer(store, seed=seed_of("origin"), origin=ORIGIN)
        await older.start()
        assert isinstance((await older.submit([world.entries[0][1]]))[0], Receipt)
        with psycopg.connect(database) as connection:
            connection.execute("ALTER TABLE head DROP COLUMN renewed")
            connection.execute("UPDATE alembic_version SET version_num = '0002'")
        upgrade(database, MIGRATIONS)
        [refused] = await older.submit([mint(world, 1)])
        assert isinstance(refused, Rejection)
        assert "epoch 2" in (older.halted or "")
        await older.stop()


def columns(dsn: str) -> set[tuple[object, ...]]:
    """(table, column, type, nullable, default) of all there are, and the names of indices."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns "
            "WHERE table_schema = 'public'"
        ).fetchall()
        indices = connection.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'").fetchall()
        return {*found, *indices}
