"""Schemas come up on start, once, whoever starts."""

from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from landfall.migrations import MigrationError, upgrade
from landfall.postgres import make_engine


def write_revision(folder: Path, revision: str, previous: str | None, statement: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{revision}_step.py").write_text(
        f"from alembic import op\n\nrevision = {revision!r}\ndown_revision = {previous!r}\n\n\n"
        f"def upgrade() -> None:\n    op.execute({statement!r})\n"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_revision(tmp_path / "migrations", "0001", None, "CREATE TABLE step (value int)")
    write_revision(tmp_path / "migrations", "0002", "0001", "INSERT INTO step VALUES (2)")
    return tmp_path / "migrations"


def read_steps(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM step ORDER BY value")]


def test_an_empty_database_reaches_the_head_and_stays_there(database: str, folder: Path) -> None:
    assert upgrade(database, folder) == "0002"
    assert upgrade(database, folder) == "0002"
    assert read_steps(database) == [2]


def test_only_missing_revisions_run(database: str, folder: Path) -> None:
    upgrade(database, folder)
    write_revision(folder, "0003", "0002", "INSERT INTO step VALUES (3)")
    assert upgrade(database, folder) == "0003"
    assert read_steps(database) == [2, 3]


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, partial(ProcessPoolExecutor, mp_context=get_context("spawn"))])
def test_those_who_start_at_once_run_each_revision_once(
    database: str, folder: Path, pool: Callable[[int], Executor]
) -> None:
    with pool(4) as four:
        assert set(four.map(partial(upgrade, database), [folder] * 4)) == {"0002"}
    assert read_steps(database) == [2]


def test_a_failed_upgrade_leaves_nothing_behind(database: str, folder: Path) -> None:
    write_revision(folder, "0003", "0002", "SELECT 1/0")
    with pytest.raises(sa.exc.DBAPIError, match="division by zero"):
        upgrade(database, folder)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_a_database_of_newer_code_is_refused(database: str, folder: Path) -> None:
    write_revision(folder, "0003", "0002", "INSERT INTO step VALUES (3)")
    upgrade(database, folder)
    (folder / "0003_step.py").unlink()
    with pytest.raises(MigrationError, match="newer Landfall"):
        upgrade(database, folder)


def test_two_folders_share_a_database_with_tables_of_their_own(database: str, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_revision(other, "0001", None, "CREATE TABLE other (value int)")
    assert upgrade(database, folder) == "0002"
    assert upgrade(database, other, version_table="other_version") == "0001"


def test_an_empty_folder_is_refused(database: str, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="installed whole"):
        upgrade(database, tmp_path)


async def test_sqlalchemy_takes_a_dsn_as_it_is(database: str) -> None:
    engine = make_engine(f"{database}&target_session_attrs=read-write")
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT 1")) == 1
    await engine.dispose()
