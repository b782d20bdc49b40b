"""What integration tests share: one ledger for all tests of a process."""

from collections.abc import Iterator

import pytest

from landfall.postgres import Server
from tests.integration.ledger_world import LedgerWorld, fresh_database, start_ledger


@pytest.fixture(scope="session")
def ledger(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedgerWorld]:
    """A ledger of two API processes."""
    with start_ledger(tmp_path_factory.mktemp("ledger"), fresh_database(postgres_server)) as world:
        yield world
