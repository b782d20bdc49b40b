"""A ledger of its own for a load test: embedded PostgreSQL, a founded log, API processes; all gone at the end."""

import base64
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from msgspec import Struct

from landfall.settings import read_settings
from marketplace.ledger_setup import initialise
from settlement.ledger.client import LedgerClient
from settlement.ledger.envelope import Signer
from settlement.ledger.keys import to_base64url
from settlement.ledger.messages import Party
from settlement.ledger.note import VerifierKey

ORIGIN: Final = "ledger.example/load-test"
START_S: Final = 60
STOP_S: Final = 30


class LedgerUnderTest(Struct, frozen=True):
    """A ledger that runs: where it answers, the key it is verified with, and its issuer's key."""

    url: str
    log: VerifierKey
    issuer: Signer
    database_url: str
    pid: int

    def client(self, connections: int = 16) -> LedgerClient:
        """A connection of the issuer's."""
        return LedgerClient(self.url, log=self.log, signer=self.issuer, operator="issuer", connections=connections)


@contextmanager
def serve_ledger(folder: Path, database_url: str, *, workers: int) -> Iterator[LedgerUnderTest]:
    """Found a ledger in the empty database `database_url` and serve it by `workers` processes. Raises RuntimeError."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "LANDFALL_DATA_DIR": str(folder),
        "LANDFALL_DATABASE_URL": database_url,
        "LANDFALL_KEK": base64.b64encode(secrets.token_bytes(32)).decode(),
        "LANDFALL_PORT": str(port),
        "LANDFALL_WORKERS": str(workers),
        "LANDFALL_LOG_LEVEL": "warning",
    }
    issuer, recovery = Signer(secrets.token_bytes(32)), Signer(secrets.token_bytes(32))
    party = Party(
        id="issuer",
        name="Issuer",
        country="CH",
        role="issuer",
        key=to_base64url(issuer.public),
        recovery_key=to_base64url(recovery.public),
    )
    log = VerifierKey.parse(initialise(read_settings(environment), ORIGIN, party))
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "landfall", "serve", "--role", "ledger"], env=environment)
    try:
        _await_ready(process, url)
        yield LedgerUnderTest(url, log, issuer, database_url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the ledger ended with status {process.returncode} before it was ready")
        try:
            with urlopen(f"{url}/health/ready", timeout=2) as answer:  # noqa: S310 - our own address
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the ledger at {url} was not ready within {START_S} s")
