"""The check at the end of a load test: it passes what is true, and names what was lost, doubled or made up."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from loadtests.cast import DAY_MS, PRICE, now_ms
from loadtests.load.check import Finding, check_run
from loadtests.load.journal import Answered, Bought, Journal, Record, Sent, read_journal
from loadtests.load.plan import Key, Mixes, Plan
from loadtests.load.session import Session, Turn
from loadtests.load.setting import admit
from settlement.ledger.api import Receipt
from settlement.ledger.ids import new_id
from settlement.ledger.messages import PlaceRequest
from settlement.ledger.note import Signer as NoteSigner
from tests.integration.ledger_world import LedgerWorld

ENTRIES = 30


class Run:
    """A small run that has been: its plan, and the journal of its one worker."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.journal = folder / "worker.journal"

    async def check(self) -> Finding:
        return await check_run(self.plan, self.folder, 1)

    def rewrite(self, edit: Callable[[list[Record]], list[Record]]) -> None:
        """Write the journal anew, closed as a worker would close it, with other records."""
        records = edit(list(read_journal(self.journal)))
        self.journal.unlink()
        with Journal(self.journal, "worker") as journal:
            for record in records[1:]:
                journal._write(record)


@pytest.fixture(params=["overseer", "operators"])
async def run(request: pytest.FixtureRequest, ledger: LedgerWorld, tmp_path: Path) -> Run:
    async with ledger.issuer_client() as issuer:
        assert issuer.signer is not None
        traders = await admit(issuer, issuer.signer, 3)
        first = (await issuer.checkpoint()).size
        overseer = Key(issuer.operator, issuer.signer.key.seed) if request.param == "overseer" else None
    plan = Plan(
        url=ledger.url,
        log=str(ledger.log),
        traders=traders,
        overseer=overseer,
        node=None,
        first=first,
        mix_name="transactions",
        mix=Mixes.read().mix("transactions"),
        shape_name="steady",
        stages=Mixes.read().shape("steady"),
        users=1,
        seconds=1,
        workers=1,
        sequence=ENTRIES,
    )
    session = Session(plan, tmp_path / "worker.journal", "worker", 0)
    home, visited, _ = session.actors
    for _ in range(2):
        messages = [
            session.ledger.make(
                PlaceRequest,
                offer=visited.bundle,
                user_id=new_id().hex,
                delivery_key=home.seal_key,
                escrow=PRICE,
                ends=now_ms() + DAY_MS,
            )
            for _ in range(ENTRIES)
        ]
        answers = await session.send(Turn(), home, "request", messages, begun=0.0)
        assert all(isinstance(answer, Receipt) for answer in answers)
    await session.close()
    return Run(plan, tmp_path)


async def test_what_was_acknowledged_and_is_there_passes(run: Run) -> None:
    finding = await run.check()
    assert finding.faults == []
    assert finding.acknowledged == 2 * ENTRIES
    assert finding.kinds == {"request": 2 * ENTRIES}


async def test_a_log_that_cannot_be_believed_is_a_fault_that_says_what_was_left_unchecked(run: Run) -> None:
    run.plan = msgspec.structs.replace(run.plan, log=str(NoteSigner(run.plan.key.name, b"2" * 32).verifier))
    (fault,) = (await run.check()).faults
    assert fault.startswith("unproven: the check ended at the newest checkpoint, Untrusted: a checkpoint of")
    assert fault.endswith(f"left unchecked: {2 * ENTRIES} acknowledged, 0 rejected, 0 with a lost answer")


async def test_purchases_that_nobody_may_look_for_are_told_and_are_no_fault(run: Run) -> None:
    run.rewrite(lambda records: [*records, Bought("home", new_id().bytes)])
    finding = await run.check()
    told = [] if run.plan.overseer else ["1 purchases were not looked for in the log: give --auditor-key"]
    assert finding.unchecked == told
    assert finding.faults == []


async def test_a_fabricated_acknowledgement_fails_the_run(run: Run) -> None:
    made_up = new_id()

    def add(records: list[Record]) -> list[Record]:
        answered = records[2]
        assert isinstance(answered, Answered)
        sent = Sent(99, run.plan.traders[0].key.operator, "request", (), made_up.bytes)
        return [*records, sent, Answered(99, answered.indices[:8], answered.leaves[:32], ())]

    run.rewrite(add)
    faults = (await run.check()).faults
    assert any(fault.startswith("lost") and str(made_up) in fault for fault in faults)


async def test_an_acknowledgement_with_another_leaf_or_index_is_unproven(run: Run) -> None:
    def change(records: list[Record]) -> list[Record]:
        answered = records[2]
        assert isinstance(answered, Answered)
        other_leaf = bytes([answered.leaves[0] ^ 1]) + answered.leaves[1:]
        other_place = answered.indices[:8] + (2**40).to_bytes(8, "big") + answered.indices[16:]
        return [*records[:2], Answered(answered.number, other_place, other_leaf, ()), *records[3:]]

    run.rewrite(change)
    faults = (await run.check()).faults
    assert len([fault for fault in faults if fault.startswith("unproven")]) == 2


async def test_an_entry_acknowledged_twice_fails_the_run(run: Run) -> None:
    def double(records: list[Record]) -> list[Record]:
        sent, answered = records[1], records[2]
        assert isinstance(sent, Sent)
        assert isinstance(answered, Answered)
        again = msgspec.structs.replace(sent, number=99), msgspec.structs.replace(answered, number=99)
        return [*records, *again]

    run.rewrite(double)
    assert any(fault.startswith("doubled") for fault in (await run.check()).faults)


async def test_an_entry_that_no_journal_has_fails_the_run(run: Run) -> None:
    run.rewrite(lambda records: [*records[:1], *records[3:]])
    faults = (await run.check()).faults
    assert any(fault.startswith("in the log, but in nobody's journal") for fault in faults)
    assert any("more" in fault for fault in faults)  # thirty are not told one by one


async def test_an_entry_said_to_be_rejected_that_is_there_fails_the_run(run: Run) -> None:
    def reject(records: list[Record]) -> list[Record]:
        answered = records[2]
        assert isinstance(answered, Answered)
        indices, leaves = b"\xff" * 8 + answered.indices[8:], bytes(32) + answered.leaves[32:]
        return [*records[:2], Answered(answered.number, indices, leaves, ("expired",)), *records[3:]]

    run.rewrite(reject)
    assert any(fault.startswith("rejected, but in the log") for fault in (await run.check()).faults)


async def test_a_lost_answer_is_learnt_by_id(run: Run) -> None:
    run.rewrite(lambda records: [*records[:2], *records[3:]])
    finding = await run.check()
    assert finding.faults == []
    assert finding.unknown == finding.learnt == ENTRIES


async def test_an_edited_journal_fails_the_run(run: Run) -> None:
    octets = bytearray(run.journal.read_bytes())
    octets[len(octets) // 2] ^= 1
    run.journal.write_bytes(octets)
    assert any("worker.journal" in fault for fault in (await run.check()).faults)


async def test_a_journal_that_did_not_come_fails_the_run(run: Run) -> None:
    run.journal.unlink()
    faults = (await run.check()).faults
    assert any("brought no journal" in fault for fault in faults)
