"""What every test may ask for: a real PostgreSQL, a database of its own, foreign programs by name."""

import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from landfall.postgres import Server, ensure_server

IN_CI = os.environ.get("CI") == "true"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The embedded server of this test process (under xdist each worker has its own; it starts in half a second)."""
    with own_folder() as folder:
        server = ensure_server(folder)
        yield server
        server.stop()


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for a database server. Not pytest's, which another pytest that starts closes to the server's user."""
    with tempfile.TemporaryDirectory(prefix="landfall-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for a test that runs a database server of its own."""
    with own_folder() as folder:
        yield folder


@pytest.fixture
def database(postgres_server: Server) -> Iterator[str]:
    """The DSN of a fresh, empty database, dropped after the test."""
    name = f"test_{uuid4().hex[:12]}"
    postgres_server.create_database(name)
    yield postgres_server.dsn(name)
    postgres_server.drop_database(name)


@pytest.fixture
def program() -> Callable[..., Path]:
    """Find a foreign program, or skip by its name: `program("osmo-auc-gen", package="libosmocore-utils")`."""

    def find(name: str, *, package: str) -> Path:
        if (found := shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")) is None:
            pytest.skip(f"{name} is missing: apt-get install {package}")
        return Path(found)

    return find


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail instead of skipping in CI: there, everything that can run must run."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI does not accept: {reason}"
    return report
