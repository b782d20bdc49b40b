"""A closing cut off at every SQL statement, in every state it leaves behind, comes to the same documents, once.

The database is real and so is the ledger. A run may execute so many statements and is then cut off, its connections
with it, as a kill would. Where a run changed nothing that lasts, the next may go one statement further; where it did,
the count begins anew. So every statement is cut off at least once in every durable state there is.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event

from landfall.migrations import upgrade
from landfall.postgres import Server
from marketplace.closing.schemas import NewClosing
from marketplace.closing.service import Closings
from marketplace.debts.service import Debts
from marketplace.issuer_netting import find_taken, plan
from marketplace.ledger_link.follower import Follower
from marketplace.ledger_link.outbox import Outbox
from marketplace.ledger_link.tasks import Later, Tasks
from marketplace.operator_database import Database, scalar
from marketplace.operator_node import MIGRATIONS
from marketplace.operator_settings import ClosingSettings, LedgerSettings, OperatorSettings
from settlement.ledger.messages import ActivateRequest, ReportUsage, UsageGroup, UsageRecord
from settlement.ledger.settling import AcceptDispute, Change, ProposeCycle, ProposeInvoice, RaiseDispute
from settlement.netting import Method, Terms
from settlement.sdr import sample_rates
from settlement.usage.tariff import Metered
from tests.integration.ledger_world import DAY_MS, LedgerWorld, Member, now_ms

pytestmark = pytest.mark.slow

METERED = Metered(
    block=1_000_000,
    block_price=5_000,
    first_interval=60,
    first_price=30_000,
    next_interval=60,
    next_price=20_000,
    event_price=10_000,
    cap=9_000_000,
)
MINUTE_MS = 60_000
LEAST_RUNS, MOST_RUNS = 100, 1500
DURABLE = """
SELECT concat_ws('|', (SELECT cursor FROM book), (SELECT string_agg(state, ',') FROM closings),
    (SELECT string_agg(state || done || told, ',' ORDER BY number) FROM closing_steps),
    (SELECT count(*) FROM documents), (SELECT string_agg(state, ',' ORDER BY position) FROM outbox))
"""


class Cut(Exception):  # noqa: N818 - it says what happened
    """The power went."""


class Fuse:
    """Lets so many statements through, of all connections together."""

    def __init__(self, statements: int) -> None:
        self.left = statements

    def burn(self, *_: Any) -> None:
        if self.left <= 0:
            raise Cut
        self.left -= 1


@pytest.fixture
def second_database(postgres_server: Server) -> Iterator[str]:
    name = f"test_{uuid4().hex[:12]}"
    postgres_server.create_database(name)
    yield postgres_server.dsn(name)
    postgres_server.drop_database(name)


@asynccontextmanager
async def open_closings(
    dsn: str, member: Member, world: LedgerWorld, rates: Path, fuse: Fuse | None = None, *, pays: bool = True
) -> AsyncIterator[tuple[Closings, Outbox]]:
    """The closings of an operator's node and its outbox, on connections that the fuse cuts."""
    database = Database(dsn)
    if fuse is not None:
        event.listen(database.engine.sync_engine, "before_cursor_execute", fuse.burn)
    own = OperatorSettings(
        id=member.id,
        name=member.id,
        country="DE",
        ledger=LedgerSettings(world.url, str(world.log)),
        rates=rates,
        closing=ClosingSettings(pay_due=pays),
    )
    outbox = Outbox(database, member.client)
    try:
        yield Closings(own, database, member.client, outbox, Tasks(database)), outbox
    finally:
        await database.close()


async def live(home: Member, visited: Member) -> None:
    """Usage in two reports, a dispute that is conceded, a debt that is due, a ring of two debts that is netted."""
    offer = await visited.publish(METERED)
    request = await home.order(offer, 9_000_000)
    await visited.accept(request)
    start = now_ms() // MINUTE_MS
    await visited.client.submit(visited.client.make(ActivateRequest, request=request, at=start))
    for sequence in (1, 2):
        records = (
            UsageRecord("data", start, 60, 10, 2_500_000, "21401"),
            UsageRecord("voice", start, 60, 90, 90, "21401"),
        )
        groups = (UsageGroup(request, sequence, records),)
        reported = await visited.client.submit(visited.client.make(ReportUsage, groups=groups))
    dispute = home.client.make(
        RaiseDispute,
        entry=reported.index,
        leaf=reported.leaf,
        request=request,
        record=0,
        amount=10_000,
        cause="not-used",
    )
    await home.client.submit(dispute)
    await visited.client.submit(visited.client.make(AcceptDispute, dispute=dispute.id))
    due = await owe(visited, home, 7_000, now_ms() - DAY_MS)
    there = await owe(home, visited, 60_000, now_ms() + DAY_MS)
    back = await owe(visited, home, 40_000, now_ms() + DAY_MS)
    assert due != there
    changes = (Change(there, 60_000, 40_000), Change(back, 40_000, 40_000))
    leaf = await home.client.propose(ProposeCycle, method="setoff", changes=changes, until=now_ms() + DAY_MS)
    await visited.client.consent(leaf)


async def owe(debtor: Member, creditor: Member, amount: int, due: int) -> Any:
    message = creditor.client.make(
        ProposeInvoice, debtor=debtor.id, amount=amount, due=due, document="ab" * 32, until=now_ms() + DAY_MS
    )
    receipt = await creditor.client.submit(message)
    await debtor.client.consent(receipt.leaf)
    return message.id


async def step(closings: Closings, outbox: Outbox, closing: str) -> bool:
    """What the node's loops do once: the task, and the outbox; whether the closing is done."""
    with suppress(Later):
        await closings.close(f"{closing}#1")
    await outbox.flush()
    return (await closings.show(closing)).state == "done"


async def fingerprint(dsn: str) -> str:
    """Everything durable that a run can have changed."""
    database = Database(dsn)
    try:
        async with database.read() as connection:
            return str(await scalar(connection, DURABLE))
    finally:
        await database.close()


async def count_accepted(dsn: str, purpose: str) -> int:
    database = Database(dsn)
    try:
        async with database.read() as connection:
            sql = "SELECT count(*) FROM outbox WHERE purpose = :p AND state = 'accepted'"
            return int(await scalar(connection, sql, p=purpose))
    finally:
        await database.close()


async def list_made(closings: Closings, closing: str) -> list[Any]:
    return [
        (one.kind, one.number, one.counterparty, one.amount_usdr, [file.digest for file in one.files])
        for one in await closings.list_documents(closing)
    ]


async def test_a_closing_cut_off_at_every_statement_issues_the_same_documents_once(
    ledger: LedgerWorld, database: str, second_database: str, tmp_path: Path
) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text(sample_rates(datetime.now(UTC).date()))
    for dsn in (database, second_database):
        await asyncio.to_thread(upgrade, dsn, MIGRATIONS)
    async with ledger.operator(minted=50_000_000) as home, ledger.operator() as visited:
        begin = now_ms() - 1000
        await live(home, visited)
        await asyncio.sleep(0.01)
        asked = NewClosing(from_ms=begin, to_ms=now_ms())
        await asyncio.sleep(1.1)

        async with open_closings(second_database, visited, ledger, rates, pays=False) as (closings, _):
            closing = (await closings.open(asked)).id
            with suppress(Later):  # it waits for the ledger to have the digests, which are not sent from here
                await closings.close(f"{closing}#1")
            expected = await list_made(closings, closing)
        async with open_closings(database, visited, ledger, rates) as (closings, _):
            await closings.open(asked)

        budget, runs, done, seen = 1, 0, False, await fingerprint(database)
        while not done:
            runs += 1
            assert runs < MOST_RUNS, f"not done: {seen}"
            with suppress(Cut):
                async with open_closings(database, visited, ledger, rates, Fuse(budget)) as (closings, outbox):
                    done = await step(closings, outbox, closing)
            now = await fingerprint(database)
            budget, seen = (budget + 1, seen) if now == seen else (1, now)

        assert runs > LEAST_RUNS, f"{runs} runs: hardly anything was cut off"
        async with open_closings(database, visited, ledger, rates) as (closings, _):
            made = await list_made(closings, closing)
        paid, recorded = await count_accepted(database, "pay"), await count_accepted(database, "record-document")
        assert made == expected
        # What the debts come to at the period's end, the payment after it left out; the dispute was paid in full.
        assert made[-1][3] == 60_000 - 40_000 - 7_000
        digests = [digest for one in made for digest in one[4]]
        assert [one[:3] for one in made] == [
            ("statement", "ST-2026-000001", None),
            ("invoice", "INV-2026-000001", home.id),
            ("usage", "US-2026-000001", home.id),
            ("credit-note", "CN-2026-000001", home.id),
            ("netting-notice", "NN-2026-000001", None),
            ("act", "RA-2026-000001", home.id),
        ]
        assert (paid, recorded) == (1, len(digests))
        for digest in digests:
            assert len(await visited.client.find_document(digest)) == 1
        assert sum(one.remaining for one in await visited.client.obligations(state="open")) == 20_000


async def test_netting_cut_off_at_every_statement_and_answer_is_proposed_and_executed_once(
    ledger: LedgerWorld, database: str
) -> None:
    await asyncio.to_thread(upgrade, database, MIGRATIONS)
    async with ledger.operator() as home, ledger.operator() as visited:
        there = await owe(home, visited, 60_000, now_ms() + DAY_MS)
        back = await owe(visited, home, 40_000, now_ms() + DAY_MS)
        for lost in (True, False):  # the first time the issuer does not live to see the answer
            async with ledger.issuer_client() as issuer:
                rows = [await issuer.obligation(each) for each in (there, back)]
                found = plan(rows, Method.SETOFF, Terms(), await find_taken(issuer))
                assert len(found.cycles) == (1 if lost else 0)
                for fields in found.cycles:
                    await issuer.submit(issuer.make(ProposeCycle, until=now_ms() + DAY_MS, **fields))
        (proposal,) = await home.client.proposals(state="open", kind="cycle")
        await home.client.consent(proposal.leaf)

        budget, done, runs = 1, False, 0
        own = OperatorSettings(
            id=visited.id, name=visited.id, country="DE", ledger=LedgerSettings(ledger.url, str(ledger.log))
        )
        while not done:
            runs += 1
            assert runs < LEAST_RUNS
            cut = Database(database)
            event.listen(cut.engine.sync_engine, "before_cursor_execute", Fuse(budget).burn)
            outbox, follower = Outbox(cut, visited.client), Follower(cut, visited.client)
            debts = Debts(own, cut, visited.client, outbox, follower, Tasks(cut))
            with suppress(Cut):
                await debts.consider(str(proposal.subject))
                await outbox.flush()
                done = (await visited.client.proposal(proposal.leaf)).state == "effective"
            await cut.close()
            budget += 1
        await settle_outbox(database, visited)
        assert await count_accepted(database, "consent") == 1
        (left,) = await home.client.obligations(state="open")
        assert (left.id, left.remaining) == (there, 20_000)


async def settle_outbox(dsn: str, member: Member) -> None:
    """What was sent and whose answer was lost is learnt by sending it again."""
    database = Database(dsn)
    await Outbox(database, member.client).flush()
    await database.close()
