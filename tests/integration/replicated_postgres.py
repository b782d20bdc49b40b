"""Two PostgreSQL servers on addresses of their own, the second a synchronous standby of the first.

    with replicated(folder) as (first, second):
        first.kill(); second.stop_following(); second.promote()     # its dsn() is the one to use from here on
        first.start(); first.kill(); first.rejoin(second)           # now the roles are changed

What Patroni does for an operator (docs/operations.md), done by hand and as unkindly as a machine that dies.
"""

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from landfall import postgres
from landfall.system_account import admit, running_account
from simulator.processes import find_free_port

NAMES = ("north", "south")
START_S = 60
KILL_S = 20
PARAMETERS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_wal_senders": "5",
    "wal_keep_size": "256MB",
    "wal_log_hints": "on",  # what pg_rewind needs to bring a deposed server back as a standby
    "max_connections": "100",
}


@dataclass
class Instance:
    """One server: its folder and its address."""

    name: str
    folder: Path
    host: str
    port: int

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}/{database}"

    def start(self) -> None:
        options = {"listen_addresses": self.host, "port": str(self.port), "unix_socket_directories": ""}
        told = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        log = str(self.folder / "server.log")
        run("pg_ctl", "-D", str(self.folder), "-l", log, "-o", told, "-t", str(START_S), "-w", "start")

    def kill(self) -> None:
        """The whole server at once, as when its machine loses power."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + KILL_S
        while self._processes():
            assert time.monotonic() < deadline, f"{self.name} outlives SIGKILL"
            time.sleep(0.005)
        # A zombie that nobody has reaped yet counts as gone here; PostgreSQL would take it for a running server.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def stop_following(self) -> None:
        """Have this standby confirm nothing to its primary any more, also after a restart."""
        with closing(psycopg.connect(self.dsn("postgres"), autocommit=True)) as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
            deadline = time.monotonic() + START_S
            while connection.execute("SELECT 1 FROM pg_stat_wal_receiver").fetchone():
                assert time.monotonic() < deadline, f"{self.name} still follows"
                time.sleep(0.01)

    def promote(self) -> None:
        """Make the standby a primary; it waits for nobody until it has a standby of its own."""
        run("pg_ctl", "-D", str(self.folder), "-t", str(START_S), "-w", "promote")
        with closing(psycopg.connect(self.dsn("postgres"), autocommit=True)) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            connection.execute("SELECT pg_reload_conf()")

    def rejoin(self, primary: "Instance") -> None:
        """Give up what only this server has, and follow the new primary."""
        source = f"host={primary.host} port={primary.port} user=postgres dbname=postgres"
        run("pg_rewind", "--target-pgdata", str(self.folder), "--source-server", source)
        self._point_at(primary)
        self.start()
        with closing(psycopg.connect(primary.dsn("postgres"), autocommit=True)) as connection:
            require_standby(connection, self.name)

    def follow(self, primary: "Instance") -> None:
        """Become a copy of `primary` that follows it."""
        run(
            "pg_basebackup",
            *("-h", primary.host, "-p", str(primary.port), "-U", "postgres", "-D", str(self.folder), "-c", "fast"),
        )
        self._point_at(primary)

    def _point_at(self, primary: "Instance") -> None:
        connect = f"host={primary.host} port={primary.port} user=postgres application_name={self.name}"
        with (self.folder / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{connect}'\n")
        (self.folder / "standby.signal").touch()

    def _processes(self) -> list[psutil.Process]:
        return [psutil.Process(pid) for pid in postgres._processes(self.folder)]


@contextmanager
def replicated(folder: Path) -> Iterator[tuple[Instance, Instance]]:
    """A primary and its synchronous standby, both running; ended with the block."""
    folder.mkdir()
    if (account := running_account()) is not None:
        admit(account, folder)
        admit(account, postgres._binaries())
        shutil.chown(folder, account.uid, account.gid)
    first, second = (
        Instance(name, folder / name, f"127.0.0.{number}", find_free_port()) for number, name in enumerate(NAMES, 2)
    )
    try:
        run("initdb", "-D", str(first.folder), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C")
        with (first.folder / "postgresql.conf").open("a") as settings:
            settings.writelines(f"{name} = {value}\n" for name, value in PARAMETERS.items())
        first.start()
        second.follow(first)
        second.start()
        with closing(psycopg.connect(first.dsn("postgres"), autocommit=True)) as connection:
            require_standby(connection, second.name)
            connection.execute("CREATE DATABASE ledger")
        yield first, second
    finally:
        for instance in (second, first):
            instance.kill()


def require_standby(connection: psycopg.Connection, name: str) -> None:
    """Have the primary acknowledge nothing that the standby `name` has not, and wait until the standby follows."""
    connection.execute(sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}").format(sql.Literal(name)))
    connection.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + START_S
    while not connection.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'").fetchone():
        assert time.monotonic() < deadline, f"the standby {name} does not follow"
        time.sleep(0.05)


def run(program: str, *arguments: str) -> None:
    postgres._run(running_account(), program, *arguments)
