"""The check at the end of a load test where the ledger does not answer: a fault that says what was left unchecked."""

import secrets
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtests.load.check import Finding, check_run
from loadtests.load.cli import FAILED, app
from loadtests.load.journal import Journal
from loadtests.load.locust_settings import JOURNALS
from loadtests.load.plan import PLAN_FILE, HomeNode, Key, Mixes, Plan, Trader
from loadtests.load.session import Session
from settlement.ledger import connection
from settlement.ledger.api import Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.ids import new_id
from settlement.ledger.note import Signer as NoteSigner
from settlement.ledger.rejections import Rejection
from settlement.ledger.trust import Untrusted

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run on a ledger and a node that do not answer any more."""
    monkeypatch.setattr(connection, "ATTEMPTS", 1)
    (tmp_path / JOURNALS).mkdir()
    ids = [new_id() for _ in range(3)]
    with Journal(tmp_path / JOURNALS / "worker.journal", "worker") as journal:
        number = journal.sent("alfa", "request", ids)
        receipts = [Receipt(id=one, index=place, time=1, leaf="ab" * 32) for place, one in enumerate(ids[:2])]
        journal.answered(number, [*receipts, Rejection("no", "no")])
        journal.bought("home", new_id())
    make_plan().write(tmp_path / PLAN_FILE)
    return tmp_path


def make_plan() -> Plan:
    mixes = Mixes.read()
    return Plan(
        url=NOBODY,
        log=str(NoteSigner("ledger.example/check", b"1" * 32).verifier),
        traders=(Trader(Key("alfa", secrets.token_bytes(32)), "seal", new_id(), new_id()),),
        overseer=None,
        node=HomeNode("home", NOBODY, "token", (), (), ()),
        first=0,
        mix_name="trade",
        mix=mixes.mix("trade"),
        shape_name="steady",
        stages=mixes.shape("steady"),
        users=1,
        seconds=1,
        workers=1,
        sequence=3,
    )


async def check(run: Path) -> Finding:
    return await check_run(Plan.read(run / PLAN_FILE), run / JOURNALS, 1)


async def test_a_ledger_that_does_not_answer_is_a_fault_that_says_what_was_left_unchecked(run: Path) -> None:
    finding = await check(run)
    node, ledger = finding.faults
    assert node.startswith("unproven: the node: GET http://127.0.0.1:1/purchases/")
    assert node.endswith("left unchecked: 1 purchases and OTA jobs")
    assert ledger.startswith("unproven: the check ended at the newest checkpoint, Unreachable: GET http://127.0.0.1:1")
    assert "left unchecked: 2 acknowledged, 1 rejected, 0 with a lost answer; the requests of 1 purchases" in ledger


async def test_a_ledger_that_forks_is_a_fault_though_closing_the_connection_says_it_again(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fork(client: LedgerClient) -> None:
        raise Untrusted("it signed two trees of 7 entries")

    monkeypatch.setattr(LedgerClient, "checkpoint", fork)
    monkeypatch.setattr(LedgerClient, "close", fork)
    fault = (await check(run)).faults[-1]
    assert "Untrusted: it signed two trees of 7 entries; left unchecked: 2 acknowledged" in fault


def test_load_check_on_a_ledger_that_does_not_answer_ends_with_the_status_of_a_failed_run(run: Path) -> None:
    done = CliRunner().invoke(app, ["check", str(run)])
    assert done.exit_code == FAILED
    assert "Unreachable" in done.output


async def test_a_worker_that_finds_a_fork_at_its_end_still_brings_a_whole_journal(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fork(client: LedgerClient) -> None:
        raise Untrusted("it signed two trees of 7 entries")

    session = Session(make_plan(), run / JOURNALS / "late.journal", "late", 0)
    with monkeypatch.context() as patched:
        patched.setattr(LedgerClient, "close", fork)
        await session.close()
    faults = (await check(run)).faults
    assert "unproven: late.journal: it signed two trees of 7 entries" in faults
    assert not any("has no end" in fault for fault in faults)
