"""A ledger's life as processes: founded once, served by workers that may die, stopped and started again."""

import asyncio
import base64
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest

from landfall.errors import LandfallError
from landfall.postgres import Server, ensure_server
from landfall.settings import read_settings
from marketplace.ledger_setup import initialise
from settlement.ledger.messages import Parameters
from settlement.ledger.note import VerifierKey
from tests.integration.ledger_world import ORIGIN, Keys, LedgerWorld, fresh_database, start_ledger


@pytest.fixture
def own_ledger(server_folder: Path) -> Iterator[LedgerWorld]:
    """A ledger with an embedded server of its own, to be treated badly."""
    with start_ledger(server_folder, None, parameters=Parameters(offer_fee_per_day=10)) as world:
        yield world
    ensure_server(server_folder).stop()


def run_landfall(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from marketplace.cli import {program}; {program}()", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_founding_prints_the_verifier_key_and_is_done_once(postgres_server: Server, tmp_path: Path) -> None:
    environment = {
        "LANDFALL_DATA_DIR": str(tmp_path / "data"),
        "LANDFALL_DATABASE_URL": fresh_database(postgres_server),
        "LANDFALL_KEK": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    unfounded = run_landfall("serve", "--role", "ledger", "--port", "0", **environment)
    assert unfounded.returncode != 0
    assert "landfall market init" in unfounded.stderr
    party = tmp_path / "issuer.json"
    party.write_bytes(msgspec.json.encode(Keys().party("issuer", "issuer")))
    arguments = ["init", "--origin", ORIGIN, "--issuer", str(party), "--json"]
    first, again = (run_landfall("market", *arguments, **environment) for _ in range(2))
    assert first.stdout == again.stdout
    assert VerifierKey.parse(msgspec.json.decode(first.stdout)["vkey"]).name == ORIGIN
    with pytest.raises(LandfallError, match="holds the ledger"):
        initialise(read_settings(environment), "other.example/log", Keys().party("issuer", "issuer"))


def test_an_issuer_that_is_none_founds_nothing(postgres_server: Server, tmp_path: Path) -> None:
    environment = {
        "LANDFALL_DATA_DIR": str(tmp_path),
        "LANDFALL_DATABASE_URL": fresh_database(postgres_server),
        "LANDFALL_KEK": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    with pytest.raises(LandfallError, match="invalid-terms"):
        initialise(read_settings(environment), ORIGIN, Keys().party("issuer", "operator"))


async def test_what_was_acknowledged_outlives_the_workers_and_the_database(own_ledger: LedgerWorld) -> None:
    async with own_ledger.operator(minted=1_000_000) as member:
        before = [await member.publish() for _ in range(3)]
        balance = (await member.client.account()).available
        assert balance == 1_000_000 - 3 * 5 * 10
        for worker in psutil.Process(own_ledger.node.process.pid).children():
            if "multiprocessing.spawn" in " ".join(worker.cmdline()):
                worker.kill()
        during = [await member.publish() for _ in range(3)]
        os.kill(ensure_server(own_ledger.settings.data_dir).pid, signal.SIGKILL)
        after = await asyncio.gather(*(member.publish() for _ in range(3)))
        found = [offer.id for offer in await member.client.offers(status="all")]
        assert sorted(found) == sorted([*before, *during, *after])


async def test_both_workers_answer_and_sign_the_same_checkpoint(ledger: LedgerWorld) -> None:
    async def fetch() -> str:
        async with httpx.AsyncClient(base_url=ledger.url) as http:
            return (await http.get("/checkpoint")).text

    assert len(set(await asyncio.gather(*(fetch() for _ in range(20))))) == 1
