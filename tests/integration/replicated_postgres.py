"""Two PostgreSQL servers on addresses of their own, the second a synchronous standby of the first.

    with replicated(folder) as (first, second):
        dsn = both(first, second, "ledger")          # whoever of the two takes writes
        first.kill(); second.promote(); first.start()

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

from landfall import postgres
from landfall.system_account import admit, running_account
from tests.integration.ledger_world import free_port

NAMES = ("first", "second")
START_S = 60
PARAMETERS = {
    "unix_socket_directories": "",
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
        options = {**PARAMETERS, "listen_addresses": self.host, "port": str(self.port)}
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        told = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        log = str(self.folder / "server.log")
        run("pg_ctl", "-D", str(self.folder), "-l", log, "-o", told, "-t", str(START_S), "-w", "start")

    def kill(self) -> None:
        """The whole server at once, as when its machine loses power."""
        processes = self._processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=20)

    def promote(self) -> None:
        """Make the standby a primary; it waits for nobody until it has a standby of its own."""
        run("pg_ctl", "-D", str(self.folder), "-t", str(START_S), "-w", "promote")
        with closing(psycopg.connect(self.dsn("postgres"), autocommit=True)) as connection:
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_reload_conf()")

    def follow(self, primary: "Instance") -> None:
        """Become a copy of `primary` that follows it."""
        run(
            "pg_basebackup",
            *("-h", primary.host, "-p", str(primary.port), "-U", "postgres", "-D", str(self.folder), "-c", "fast"),
        )
        connect = f"host={primary.host} port={primary.port} user=postgres application_name={self.name}"
        with (self.folder / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{connect}'\n")
        (self.folder / "standby.signal").touch()

    def _processes(self) -> list[psutil.Process]:
        return [psutil.Process(pid) for pid in postgres._processes(self.folder)]


@contextmanager
def replicated(folder: Path) -> Iterator[tuple[Instance, Instance]]:
    """A primary and its synchronous standby, both running; ended with the block."""
    if (account := running_account()) is not None:
        admit(account, folder)
        admit(account, postgres._binaries())
        shutil.chown(folder, account.uid, account.gid)
    first, second = (
        Instance(name, folder / name, f"127.0.0.{number}", free_port()) for number, name in enumerate(NAMES, 2)
    )
    try:
        run("initdb", "-D", str(first.folder), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C")
        first.start()
        second.follow(first)
        second.start()
        with closing(psycopg.connect(first.dsn("postgres"), autocommit=True)) as connection:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{second.name}'")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE ledger")
            await_synchronous(connection)
        yield first, second
    finally:
        for instance in (second, first):
            instance.kill()


def both(first: Instance, second: Instance, database: str) -> str:
    """A DSN of whichever of the two takes writes."""
    addresses = f"{first.host}:{first.port},{second.host}:{second.port}"
    return f"postgresql://postgres@{addresses}/{database}?target_session_attrs=read-write"


def await_synchronous(connection: psycopg.Connection) -> None:
    deadline = time.monotonic() + START_S
    while not connection.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'").fetchone():
        assert time.monotonic() < deadline, "the standby does not follow"
        time.sleep(0.05)


def run(program: str, *arguments: str) -> None:
    postgres._run(running_account(), program, *arguments)
