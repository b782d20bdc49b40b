"""The embedded server is started, shared, killed and found again; what was committed stays."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import psycopg
import pytest

from landfall.postgres import PostgresError, Server, ensure_server, open_database


@pytest.fixture
def server(server_folder: Path) -> Iterator[Server]:
    """A server of the test's own, to be mistreated."""
    server = ensure_server(server_folder)
    server.create_database("ledger")
    yield server
    server.stop()


def write_row(server: Server, value: int) -> None:
    with psycopg.connect(server.dsn("ledger")) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])


def read_rows(server: Server) -> list[int]:
    with psycopg.connect(server.dsn("ledger")) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM kept ORDER BY value")]


def test_a_committed_row_survives_a_killed_postmaster(server: Server, server_folder: Path) -> None:
    for round_number in range(3):
        write_row(server, round_number)
        killed = server.pid
        os.kill(killed, signal.SIGKILL)
        again = ensure_server(server_folder)
        assert again.pid != killed
        assert read_rows(again) == list(range(round_number + 1))


def test_a_busy_backend_of_a_killed_postmaster_does_not_stop_the_next_one(server: Server, server_folder: Path) -> None:
    write_row(server, 1)
    with closing(psycopg.connect(server.dsn("ledger"))) as busy:
        busy.execute("INSERT INTO kept VALUES (2)")
        os.kill(server.pid, signal.SIGKILL)
        assert read_rows(ensure_server(server_folder)) == [1]


def test_a_pid_file_that_names_a_living_stranger_is_not_believed(server: Server, server_folder: Path) -> None:
    write_row(server, 1)
    os.kill(server.pid, signal.SIGKILL)
    pid_file = server_folder / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert read_rows(ensure_server(server_folder)) == [1]


def test_many_processes_starting_at_once_share_one_server(server_folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from landfall.postgres import ensure_server;"
        "server = ensure_server(Path(sys.argv[1])); server.create_database('ledger'); print(server.pid)"
    )
    command = [sys.executable, "-c", program, str(server_folder)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        assert len({process.communicate(timeout=60)[0] for process in started}) == 1
        assert all(process.returncode == 0 for process in started)
    finally:
        ensure_server(server_folder).stop()


def test_killing_the_process_that_started_the_server_leaves_it_running(server_folder: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from landfall.postgres import ensure_server;"
        "ensure_server(Path(sys.argv[1])).create_database('ledger'); os.killpg(0, signal.SIGKILL)"
    )
    process = subprocess.run([sys.executable, "-c", program, str(server_folder)], start_new_session=True)
    assert process.returncode == -signal.SIGKILL
    server = Server(server_folder / "postgres")
    try:
        write_row(server, 1)
        assert ensure_server(server_folder).pid == server.pid
    finally:
        ensure_server(server_folder).stop()


def test_stopping_and_starting_keeps_the_data(server: Server, server_folder: Path) -> None:
    write_row(server, 7)
    server.stop()
    server.stop()
    with pytest.raises(PostgresError, match="no PostgreSQL is running"):
        _ = server.pid
    assert read_rows(ensure_server(server_folder)) == [7]


def test_a_data_folder_too_deep_for_a_socket_works(server_folder: Path) -> None:
    server = ensure_server(server_folder / "deep" / ("x" * 100))
    try:
        server.create_database("ledger")
        write_row(server, 1)
        assert read_rows(server) == [1]
    finally:
        server.stop()


def test_a_data_folder_behind_a_closed_door_works_and_the_door_stays_closed(server_folder: Path) -> None:
    door = server_folder / "closed"
    door.mkdir(mode=0o700)
    server = ensure_server(door / "data")
    try:
        server.create_database("ledger")
        write_row(server, 1)
        assert door.stat().st_mode & 0o007 == 0
    finally:
        server.stop()


def test_nothing_is_acknowledged_before_it_is_on_the_disk(server: Server) -> None:
    with psycopg.connect(server.dsn("ledger")) as connection:
        for parameter in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute(f"SHOW {parameter}").fetchone() == ("on",)


async def test_every_driver_reads_the_dsn(database: str) -> None:
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    with psycopg.connect(database) as other:
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_an_external_database_is_used_as_it_is(database: str, server_folder: Path) -> None:
    assert open_database(database, server_folder, "ledger") == database
    assert list(server_folder.iterdir()) == []


def test_an_external_database_that_does_not_answer_is_named_without_its_password(server_folder: Path) -> None:
    with pytest.raises(PostgresError, match="LANDFALL_DATABASE_URL") as raised:
        open_database("postgresql://someone:tops3cret@127.0.0.1:1/ledger", server_folder, "ledger")
    assert "tops3cret" not in str(raised.value)
    assert "127.0.0.1:1/ledger" in str(raised.value)
