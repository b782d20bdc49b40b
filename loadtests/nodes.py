"""A ledger of its own for a load test: a founded log and its API processes, in an empty database; gone at the end."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from landfall.settings import read_settings
from marketplace.ledger_setup import initialise
from settlement.ledger.client import LedgerClient
from settlement.ledger.envelope import Signer
from settlement.ledger.keys import to_base64url
from settlement.ledger.messages import Party
from settlement.ledger.note import VerifierKey
from simulator.processes import draw_settings, find_free_port, serve_node

ORIGIN: Final = "ledger.example/load-test"


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
    """Found a ledger in the empty database `database_url` and serve it by `workers` processes. Raises NodeError."""
    port = find_free_port()
    settings = {**draw_settings(folder, database_url, port=port), "LANDFALL_WORKERS": str(workers)}
    issuer, recovery = Signer(secrets.token_bytes(32)), Signer(secrets.token_bytes(32))
    party = Party(
        id="issuer",
        name="Issuer",
        country="CH",
        role="issuer",
        key=to_base64url(issuer.public),
        recovery_key=to_base64url(recovery.public),
    )
    log = VerifierKey.parse(initialise(read_settings(settings), ORIGIN, party))
    with serve_node("ledger", settings, port=port) as node:
        yield LedgerUnderTest(node.url, log, issuer, database_url, node.process.pid)
