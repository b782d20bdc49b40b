"""`landfall issuer net`: the issuer's own command, from its keys to cycles that wait for consents."""

import asyncio
import base64
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from landfall.postgres import Server
from landfall.settings import read_settings
from marketplace.ledger_setup import initialise
from settlement.ledger.client import LedgerClient
from settlement.ledger.messages import Party
from settlement.ledger.note import VerifierKey
from settlement.ledger.settling import ProposeInvoice
from simulator.processes import draw_settings, find_free_port, serve_node
from tests.integration.ledger_world import DAY_MS, Keys, fresh_database, now_ms

COMMAND = [sys.executable, "-c", "from landfall.cli import main; main()"]


def run(environment: dict[str, str], *arguments: str) -> Any:
    done = subprocess.run(
        [*COMMAND, *arguments, "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_issuer_shows_then_proposes_and_proposes_nothing_twice(postgres_server: Server, tmp_path: Path) -> None:
    kek = base64.b64encode(secrets.token_bytes(32)).decode()
    issuer = {**os.environ, "LANDFALL_DATA_DIR": str(tmp_path / "issuer"), "LANDFALL_KEK": kek}
    party = run(
        issuer, "issuer", "init", "sdr-issuer", "--name", "I", "--country", "CH", "--recovery-file", str(tmp_path / "r")
    )
    node = {
        **os.environ,
        **draw_settings(tmp_path / "ledger", fresh_database(postgres_server), port=find_free_port()),
    }
    settings = read_settings(node)
    key = initialise(settings, "ledger.example/net", msgspec.convert(party, Party))
    url = f"http://{settings.host}:{settings.port}"
    issuer |= {"LANDFALL_LEDGER_URL": url, "LANDFALL_LEDGER_KEY": key}
    with serve_node("ledger", node, port=settings.port):
        members = {name: Keys() for name in ("alfa", "bravo")}
        for name, keys in members.items():
            file = tmp_path / f"{name}.json"
            file.write_bytes(msgspec.json.encode(keys.party(name)))
            run(issuer, "issuer", "admit", str(file))
        asyncio.run(owe_each_other(url, key, members))
        shown = run(issuer, "issuer", "net", "--method", "setoff", "--dry-run")
        assert (shown["gross_before"], shown["gross_after"], shown["cycles"]) == (100, 20, 1)
        assert shown["proposed"] == []
        (cycle,) = run(issuer, "issuer", "net", "--method", "setoff")["proposed"]
        assert cycle["parties"] == ["alfa", "bravo"]
        assert run(issuer, "issuer", "net", "--method", "setoff")["proposed"] == []
        wrong = subprocess.run(
            [*COMMAND, "issuer", "net", "--method", "novation"], env=issuer, capture_output=True, text=True, check=False
        )
        assert (wrong.returncode, "--hub names" in wrong.stderr) == (1, True)


async def owe_each_other(url: str, key: str, members: dict[str, Keys]) -> None:
    async with (
        LedgerClient(url, log=VerifierKey.parse(key), signer=members["alfa"].signer, operator="alfa") as alfa,
        LedgerClient(url, log=VerifierKey.parse(key), signer=members["bravo"].signer, operator="bravo") as bravo,
    ):
        for creditor, debtor, amount in ((alfa, bravo, 60), (bravo, alfa, 40)):
            leaf = await creditor.propose(
                ProposeInvoice,
                debtor=debtor.operator,
                amount=amount,
                due=now_ms() + DAY_MS,
                document="ab" * 32,
                until=now_ms() + DAY_MS,
            )
            await debtor.consent(leaf)
