"""`landfall ledger export` and `audit` against a running ledger: beside its database, and over HTTP as an auditor."""

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from landfall.keystore import Keystore
from settlement.ledger.audit import audit
from settlement.ledger.messages import (
    ActivateRequest,
    CloseRequest,
    ReportUsage,
    UsageGroup,
    UsageRecord,
    WithdrawOffer,
)
from settlement.ledger.store import LedgerStore
from tests.integration.ledger_world import PRICE, LedgerWorld, now_ms

GOLDEN = Path(__file__).parents[1] / "data/golden-v1"
MINUTE_MS = 60_000


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "landfall", "ledger", *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)


def environment_of(ledger: LedgerWorld) -> dict[str, str]:
    """The settings under which the ledger's own node runs."""
    return {
        "LANDFALL_DATA_DIR": str(ledger.settings.data_dir),
        "LANDFALL_DATABASE_URL": ledger.settings.database_url or "",
        "LANDFALL_KEK": base64.b64encode(ledger.settings.require_kek()).decode(),
    }


async def trade(ledger: LedgerWorld) -> None:
    """A request from order to close, on terms whose maps a database reads back in another order."""
    async with ledger.operator(minted=10 * PRICE) as home, ledger.operator() as visited:
        names: dict[str, Any] = {"name": {"ru": "Неделя", "en": "Week", "de": "Woche"}, "stock": 5}
        offer = await visited.publish(**names)
        request = await home.order(offer)
        await visited.accept(request)
        say, make = visited.client.submit, visited.client.make
        minute = now_ms() // MINUTE_MS
        await say(make(ActivateRequest, request=request, at=minute))
        used = UsageRecord("data", minute, 60, 60, 500_000_000, "ES")
        await say(make(ReportUsage, groups=(UsageGroup(request, 1, (used,)),)))
        await say(make(CloseRequest, request=request))
        await say(make(WithdrawOffer, offer=offer))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_the_log_is_exported_beside_the_database_and_over_http_alike_and_replays_to_its_state(
    ledger: LedgerWorld, tmp_path: Path
) -> None:
    await trade(ledger)
    (tmp_path / "origin.vkey").write_text(f"{ledger.log}\n")
    auditor_data, kek = tmp_path / "auditor", base64.b64encode(bytes(32)).decode()
    async with ledger.operator(role="auditor") as auditor:
        keystore = Keystore.open(auditor_data / "keys", bytes(32))
        keystore.put("sign", auditor.keys.signer.key.seed, purpose="ledger signature")
        own = run("export", tmp_path / "own", "--json", **environment_of(ledger))
        assert own.returncode == 0, own.stderr
        remote = run(
            "export",
            tmp_path / "remote",
            "--url",
            ledger.url,
            "--operator",
            auditor.id,
            "--key",
            tmp_path / "origin.vkey",
            LANDFALL_DATA_DIR=str(auditor_data),
            LANDFALL_KEK=kek,
        )
        assert remote.returncode == 0, remote.stderr
    assert files(tmp_path / "own") == files(tmp_path / "remote")

    report = audit(tmp_path / "own", ledger.log)
    assert report.entries == msgspec.json.decode(own.stdout)["entries"]
    async with LedgerStore.open(environment_of(ledger)["LANDFALL_DATABASE_URL"]) as store:
        head = await store.head()
        rows = await store.pool.fetch("SELECT operator, available, escrow, held FROM accounts ORDER BY operator")
    assert report.chain == head.chain.hex(), "the database's state is the log's"
    assert [(row.operator, row.available, row.escrow, row.held) for row in report.balances] == [
        tuple(row) for row in sorted(rows, key=lambda row: row["operator"])
    ]
    assert report.last_time == head.time


async def test_who_is_no_auditor_exports_nothing(ledger: LedgerWorld, tmp_path: Path) -> None:
    (tmp_path / "origin.vkey").write_text(str(ledger.log))
    async with ledger.operator() as member:
        keystore = Keystore.open(tmp_path / "data/keys", bytes(32))
        keystore.put("sign", member.keys.signer.key.seed, purpose="ledger signature")
        refused = run(
            "export",
            tmp_path / "log",
            "--url",
            ledger.url,
            "--operator",
            member.id,
            "--key",
            tmp_path / "origin.vkey",
            LANDFALL_DATA_DIR=str(tmp_path / "data"),
            LANDFALL_KEK=base64.b64encode(bytes(32)).decode(),
        )
    assert refused.returncode != 0
    assert "not-permitted" in refused.stderr
    assert not (tmp_path / "log").exists()


def audit_golden(*options: str | Path) -> subprocess.CompletedProcess[str]:
    return run("audit", GOLDEN / "log", "--key", GOLDEN / "origin.vkey", *options)


def test_an_audit_shows_what_it_proved() -> None:
    shown = audit_golden()
    assert shown.returncode == 0, shown.stderr
    for text in ("Every signature, rule and balance holds", "insurer", "15.100000 SDRt", "5 usage"):
        assert text in shown.stdout
    document: Any = msgspec.json.decode(audit_golden("--json", "--checkpoint", GOLDEN / "log/checkpoint").stdout)
    assert document["ok"] is True
    assert document["report"]["continues"] == document["report"]["entries"] == 61


def test_an_audit_names_the_first_bad_entry_and_ends_with_1(tmp_path: Path) -> None:
    for path, octets in files(GOLDEN / "log").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(octets.replace(b"\0", b"\1", 1) if "entries" in path else octets)
    refused = run("audit", tmp_path, "--key", GOLDEN / "origin.vkey")
    assert (refused.returncode, "REFUSED" in refused.stderr) == (1, True)
    document = msgspec.json.decode(run("audit", tmp_path, "--key", GOLDEN / "origin.vkey", "--json").stdout)
    assert document["ok"] is False
    assert document["index"] == 0


def test_an_audit_without_a_usable_key_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bad.vkey").write_text("not a key")
    missing = run("audit", GOLDEN / "log")
    assert missing.returncode == 1
    assert "--key is missing" in missing.stderr
    for file in ("bad.vkey", "no.vkey"):
        answer = run("audit", GOLDEN / "log", "--key", tmp_path / file)
        assert answer.returncode == 1
        assert "--key" in answer.stderr
