"""Bring a database to the newest schema when a node starts.

    upgrade(dsn, Path(__file__).parent / "migrations")

How a package lays its folder: revisions, and nothing else; no `alembic.ini`, no `env.py`, no `versions/` below.

    settlement/ledger/migrations/0001_log.py
    settlement/ledger/migrations/0002_offers.py

Each is a plain Alembic revision: `revision = "0001"`, `down_revision = None` (or the one before) and `upgrade()`,
which calls `op.create_table(...)` or `op.execute("…SQL…")`. There is no downgrade: one goes back by restoring a backup.
A folder has one head. An upgrade is one transaction under an advisory lock, so processes that start at once take turns
and a failed one leaves nothing behind.
"""

import threading
from pathlib import Path
from typing import Any, Final

import psycopg
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from landfall.errors import LandfallError

_LOCK: Final = 0x4C616E6466616C6C  # "Landfall": this database's migrations, whichever folder they are in
_one_thread = threading.Lock()  # Alembic's `op` is one for the whole process


class MigrationError(LandfallError):
    """The database is of a schema that this code does not know."""


def upgrade(dsn: str, script_location: Path, *, version_table: str = "alembic_version") -> str:
    """Run what revisions of a folder the database still lacks and return the revision it then has.

    Folders that share a database each need a `version_table` of their own. Raises `MigrationError` where the database
    was made by newer code, and lets an error of the database itself through.
    """
    script = ScriptDirectory(str(script_location), version_locations=[str(script_location)])
    if (head := script.get_current_head()) is None:
        raise MigrationError(f"{script_location} holds no migration: is the package installed whole?")

    def missing(revision: Any, _: Any) -> Any:
        return script._upgrade_revs(head, revision)  # what Alembic's own `upgrade` command hands to its environment

    # Connected by libpq itself: SQLAlchemy cannot read a DSN of several servers.
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
    try:
        with _one_thread, engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            context = MigrationContext.configure(connection, opts={"fn": missing, "version_table": version_table})
            with Operations.context(context):
                context.run_migrations()
    except (CommandError, ResolutionError) as error:
        raise MigrationError(
            f"the database has a schema that {script_location} does not know ({error}): "
            "run the newer Landfall that made it, or use another database."
        ) from None
    finally:
        engine.dispose()
    return head
