"""Closing a period, step by step; each step is kept with its effect, so that it goes on wherever it was cut off.

    await closings.open(NewClosing(period="2026-10"))        # 202; a task takes the steps
    await closings.close("2026-10#1")                        # the task; does what is left, raises Later to wait

    gather      the book catches up with the ledger to the period's end
    deals       periods of deals that are due are settled
    pay         what is due is paid, where the settings say so
    documents   each is issued, kept, and its digests stored for the ledger, in one transaction
    tap         what own subscribers used, as TAP for the home billing, likewise
    record      the ledger has every digest

A closing that fails by what a person must mend says so and is taken up again by asking for it again.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, date, datetime
from typing import Final

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from landfall.errors import LandfallError
from marketplace.closing import figures, repository
from marketplace.closing.book import Book
from marketplace.closing.paper import Frame, Known, Paper
from marketplace.closing.papers import plan
from marketplace.closing.parties import find_parties
from marketplace.closing.schemas import ClosingView, DocumentView, Draft, DraftDocument, NewClosing, Span
from marketplace.closing.tap import plan_tap, put_tap
from marketplace.ledger_link.outbox import Outbox, now_ms
from marketplace.ledger_link.tasks import Later, Tasks
from marketplace.operator_database import Database, execute, fetch
from marketplace.operator_problems import Refusal
from marketplace.operator_settings import OperatorSettings
from settlement.documents import issue, state_rate
from settlement.ledger.client import LedgerClient
from settlement.ledger.settling import Pay, RecordDocument, SettleDeal
from settlement.ledger.state import Deal
from settlement.sdr import RateError, load_rates
from settlement.usage.deals import bounds, periods

TASK: Final = "close-period"
STEPS: Final = ("gather", "deals", "pay", "documents", "tap", "record")
MARGIN_MS: Final = 1_000
"""How far this clock may run ahead of the ledger's: a period is over so long after its end."""
ANSWER_S: Final = 0.2
"""How often a step that waits for the ledger's answers looks for them."""
DAY_MS: Final = 86_400_000

Step = Callable[[repository.Closing, Span], Awaitable[None]]


class Closings:
    """The periods of one operator."""

    def __init__(
        self, own: OperatorSettings, database: Database, ledger: LedgerClient, outbox: Outbox, tasks: Tasks
    ) -> None:
        self._own = own
        self._database = database
        self._ledger = ledger
        self._outbox = outbox
        self._tasks = tasks
        self._book = Book(database, ledger)
        self._steps: dict[str, Step] = {
            "gather": self._gather,
            "deals": self._settle_deals,
            "pay": self._pay,
            "documents": self._issue,
            "tap": self._write_tap,
            "record": self._await_recorded,
        }
        assert tuple(self._steps) == STEPS, "steps are taken in their order"
        tasks.on(TASK, self.close)

    async def open(self, new: NewClosing) -> ClosingView:
        """Begin a closing, or take one up again that failed. Raises Refusal for a period that is not over."""
        span = new.span()
        if span.to_ms > now_ms():
            ends = datetime.fromtimestamp(span.to_ms / 1000, UTC).isoformat(" ", "seconds")
            raise Refusal("wrong-state", f"{span.id} is not over before {ends}: --draft shows what it would be now")
        async with self._database.begin() as connection:
            await repository.lock_closings(connection)
            if (other := await repository.find_overlapping(connection, span)) is not None:
                raise Refusal("already-exists", f"{span.id} has entries that closing {other} has too: name the rest")
            row = await repository.find_closing(connection, span.id, lock=True)
            if row is None:
                await repository.insert_closing(connection, span, datetime.now(UTC).date(), STEPS)
            elif row.state == "failed":
                sql = "UPDATE closings SET state = 'running', error = NULL, attempt = attempt + 1 WHERE id = :id"
                await execute(connection, sql, id=span.id)
                await self._record_again(connection, span)
            row = await repository.find_closing(connection, span.id)
            assert row is not None, "it was there or was made"
            if row.state == "running":
                await self._tasks.add(connection, TASK, f"{row.id}#{row.attempt}")
            return await repository.view_closing(connection, row, span.name)

    async def show(self, closing: str) -> ClosingView:
        """How far a closing is. Raises Refusal `not-found`."""
        async with self._database.read() as connection:
            row = await repository.find_closing(connection, closing.replace("/", "_"))
            if row is None:
                raise Refusal("not-found", f"there is no closing {closing}")
            return await repository.view_closing(connection, row, _span_of(row).name)

    async def list_all(self) -> list[ClosingView]:
        """All closings, the latest period first."""
        async with self._database.read() as connection:
            rows = await repository.list_closings(connection)
            return [await repository.view_closing(connection, row, _span_of(row).name) for row in rows]

    async def list_documents(self, closing: str | None = None) -> list[DocumentView]:
        """What closings made. Raises Refusal `not-found`."""
        if closing is not None:
            closing = (await self.show(closing)).id
        async with self._database.read() as connection:
            return await repository.list_made(connection, closing=closing)

    async def read_file(self, name: str) -> bytes:
        """A file's octets. Raises Refusal `not-found`."""
        async with self._database.read() as connection:
            octets = await repository.read_octets(connection, name)
        if octets is None:
            raise Refusal("not-found", f"there is no file {name}: GET /documents lists their names")
        return octets

    async def draft(self, new: NewClosing) -> Draft:
        """What closing a period would make now: the book catches up, nothing is issued. Raises LandfallError."""
        span = new.span()
        await self._book.catch_up(span.to_ms)
        papers = await self._plan(span, datetime.now(UTC).date())
        drawn = [DraftDocument(paper.kind, paper.counterparty, paper.amount_usdr) for paper in papers]
        return Draft(span.name, span.from_ms, span.to_ms, span.to_ms <= now_ms(), tuple(drawn))

    async def close(self, subject: str) -> None:
        """Take the steps that are left. What a person must mend ends it as failed; other errors are the task's."""
        closing = subject.partition("#")[0]
        async with self._database.read() as connection:
            row = await repository.find_closing(connection, closing)
            steps = await repository.list_steps(connection, closing) if row is not None else []
        if row is None or row.state != "running" or subject != f"{row.id}#{row.attempt}":
            return
        try:
            for step in steps:
                if step.state != "done":
                    await self._steps[step.name](row, _span_of(row))
        except (LandfallError, RateError) as error:
            async with self._database.begin() as connection:
                await repository.set_closing(connection, row.id, "failed", error=str(error))
            return
        async with self._database.begin() as connection:
            await repository.set_closing(connection, row.id, "done")

    # steps

    async def _gather(self, row: repository.Closing, span: Span) -> None:
        if (wait := span.to_ms + MARGIN_MS - now_ms()) > 0:
            raise Later(wait / 1000, "the period's last entries may still come")
        await self._finish_step_running(row, "gather")
        booked = await self._book.catch_up(span.to_ms)
        await self._finish_step(row, "gather", f"{booked} entries booked")

    async def _settle_deals(self, row: repository.Closing, span: Span) -> None:
        """Every period of a deal that ended by the end of this one and is not settled; the partner may be quicker."""
        due: list[tuple[Deal, int]] = []
        for deal in await self._ledger.deals(state="agreed"):
            settled = {one.number for one in await self._ledger.deal_periods(deal.id) if one.settled is not None}
            for number in range(periods(deal.calendar)):
                after = bounds(deal.calendar, number)[1]
                ripe = after <= span.to_ms and after + deal.settle_after_days * DAY_MS + MARGIN_MS <= now_ms()
                if ripe and number not in settled:
                    due.append((deal, number))
        subjects = [f"{deal.id}.{number}" for deal, number in due]
        async with self._database.begin() as connection:
            for (deal, number), subject in zip(due, subjects, strict=True):
                message = self._ledger.make(SettleDeal, deal=deal.id, period=number)
                if await self._outbox.find(connection, "settle-deal", subject) is None:
                    await self._outbox.enqueue(connection, message, subject=subject)
        accepted, rejected = await self._await_answers("settle-deal", subjects)
        told = f"{accepted} periods of deals settled" + (f", {rejected} not: see the outbox" if rejected else "")
        await self._finish_step(row, "deals", told)

    async def _pay(self, row: repository.Closing, span: Span) -> None:
        if not self._own.closing.pay_due:
            await self._finish_step(row, "pay", "pay_due is off: nothing was paid")
            return
        owed = await self._ledger.obligations(role="debtor", state="open")
        due = [one for one in owed if one.due <= span.to_ms]
        prefix = f"close:{row.id}:"
        async with self._database.begin() as connection:
            for one in due:
                subject = f"{prefix}{one.id}"
                message = self._ledger.make(Pay, obligation=one.id, amount=one.remaining)
                if await self._outbox.find(connection, "pay", subject) is None:
                    await self._outbox.enqueue(connection, message, subject=subject)
        accepted, rejected = await self._await_answers("pay", prefix=prefix)
        told = f"{accepted} obligations paid" + (f", {rejected} not: see the outbox" if rejected else "")
        await self._finish_step(row, "pay", told)

    async def _issue(self, row: repository.Closing, span: Span) -> None:
        papers = await self._plan(span, row.issued_on)
        async with self._database.read() as connection:
            numbers = await repository.list_numbers(connection, row.id)
        for place, paper in enumerate(papers, start=1):
            if f"{paper.kind} {paper.subject}" in numbers:
                continue
            async with self._database.begin() as connection:
                number = await self._issue_one(connection, row, span, paper, numbers)
                await repository.set_step(
                    connection, row.id, "documents", "running", done=place, total=len(papers), told=number
                )
            numbers[f"{paper.kind} {paper.subject}"] = number
        await self._finish_step(row, "documents", f"{len(papers)} documents issued")

    async def _issue_one(
        self, connection: AsyncConnection, row: repository.Closing, span: Span, paper: Paper, numbers: dict[str, str]
    ) -> str:
        wanted = [(language, format_) for language in self._own.closing.languages for format_ in paper.formats]
        stored = await issue(connection, paper.make(numbers), subject=paper.subject, files=wanted)
        await execute(
            connection,
            "INSERT INTO closing_documents (closing, document, kind, counterparty, amount_usdr)"
            " VALUES (:closing, :document, :kind, :counterparty, :amount) ON CONFLICT DO NOTHING",
            closing=row.id,
            document=stored.id,
            kind=paper.kind,
            counterparty=paper.counterparty,
            amount=paper.amount_usdr,
        )
        for obligation in paper.obligations:
            sql = "INSERT INTO closing_obligations (obligation, closing) VALUES (:o, :c) ON CONFLICT DO NOTHING"
            await execute(connection, sql, o=obligation, c=row.id)
        for file in stored.files:
            await self._record(connection, file.digest, paper.kind, paper.counterparty, span)
        return stored.document.number

    async def _write_tap(self, row: repository.Closing, span: Span) -> None:
        tadigs = {one.id: one.tadig or "" for one in await self._parties_on_ledger(span)}
        async with self._database.read() as connection:
            batches = await plan_tap(connection, span, self._own.tadig or "", tadigs)
        written = 0
        for batch in batches:
            async with self._database.begin() as connection:
                digest = await put_tap(connection, row, span, self._own.tadig or "", batch)
                if digest is not None:
                    await self._record(connection, digest, "tap", None, span)
                    written += 1
        await self._finish_step(row, "tap", f"{len(batches)} TAP files for the home billing")

    async def _await_recorded(self, row: repository.Closing, span: Span) -> None:
        async with self._database.read() as connection:
            views = await repository.list_made(connection, closing=row.id)
        files = [file for view in views for file in view.files]
        waiting = [file.digest for file in files if not file.recorded]
        if waiting:
            async with self._database.begin() as connection:
                done = len(files) - len(waiting)
                await repository.set_step(connection, row.id, "record", "running", done=done, total=len(files))
            _, rejected = await self._await_answers("record-document", waiting)
            if rejected:
                raise ClosingError(
                    f"the ledger did not take {rejected} digests, see the outbox (rules of version 2 do: landfall "
                    "issuer upgrade-rules 2); then close the period again"
                )
        await self._finish_step(row, "record", f"{len(files)} digests on the ledger")

    # what steps share

    async def _record(
        self, connection: AsyncConnection, digest: bytes, kind: str, counterparty: str | None, span: Span
    ) -> None:
        """Store the message that puts a digest on the ledger; of one digest one stands."""
        message = self._ledger.make(
            RecordDocument, counterparty=counterparty, kind=kind, digest=digest.hex(), period=span.name
        )
        await self._outbox.enqueue(connection, message, subject=digest.hex())

    async def _record_again(self, connection: AsyncConnection, span: Span) -> None:
        """Store once more what the ledger rejected; what it has, or has yet to answer, stays as it is."""
        for view in await repository.list_made(connection, closing=span.id):
            counterparty = None if view.kind == "tap" else view.counterparty
            for file in view.files:
                await self._record(connection, bytes.fromhex(file.digest), view.kind, counterparty, span)

    async def _await_answers(
        self, purpose: str, subjects: Iterable[str] = (), *, prefix: str | None = None
    ) -> tuple[int, int]:
        """How many messages were accepted and rejected; raises Later while any waits."""
        async with self._database.read() as connection:
            rows = await fetch(
                connection,
                _Answer,
                "SELECT DISTINCT ON (subject) subject, state FROM outbox WHERE purpose = :purpose"
                " AND (subject = ANY(:subjects) OR starts_with(subject, :prefix)) ORDER BY subject, position DESC",
                purpose=purpose,
                subjects=list(subjects),
                prefix=prefix if prefix is not None else "\x01",
            )
        states = [row.state for row in rows]
        if "pending" in states:
            raise Later(ANSWER_S, f"{states.count('pending')} messages wait for the ledger's answer")
        return states.count("accepted"), states.count("rejected")

    async def _finish_step_running(self, row: repository.Closing, name: str) -> None:
        async with self._database.begin() as connection:
            await repository.set_step(connection, row.id, name, "running")

    async def _finish_step(self, row: repository.Closing, name: str, told: str) -> None:
        async with self._database.begin() as connection:
            await repository.set_step(connection, row.id, name, "done", told=told)

    async def _plan(self, span: Span, issued_on: date) -> list[Paper]:
        known = await self._ask_ledger(span)
        parties, notes = await find_parties(self._own, self._ledger, await self._partners(span, known))
        rates = load_rates(self._own.rates)
        frame = Frame(
            span=span,
            own=self._own.id,
            parties=parties,
            issued_on=issued_on,
            rate=state_rate(self._own.currency, min(span.last, issued_on), rates),
            closing=self._own.closing,
            notes=notes,
        )
        async with self._database.read() as connection:
            return await plan(connection, frame, known)

    async def _ask_ledger(self, span: Span) -> Known:
        obligations = await self._ledger.obligations()
        disputes = await self._ledger.disputes()
        async with self._database.read() as connection:
            lines = await figures.list_debt_lines(connection, span.to_ms)
        executed = {line.source for line in lines if line.cause == "netting" and line.time_ms >= span.from_ms}
        cycles = {one: await self._ledger.cycle(one) for one in executed if one is not None}
        return Known(obligations, cycles, {one.id: one for one in disputes})

    async def _partners(self, span: Span, known: Known) -> set[str]:
        """Everybody a document may name."""
        found = {party for one in known.obligations for party in (one.debtor, one.creditor)}
        found |= {party for one in known.disputes.values() for party in (one.home, one.visited)}
        found |= {cycle.hub for cycle in known.cycles.values() if cycle.hub is not None}
        async with self._database.read() as connection:
            found |= {row.partner for row in await figures.list_turnover(connection, span)}
        return found - {self._own.id}

    async def _parties_on_ledger(self, span: Span) -> list["_Named"]:
        async with self._database.read() as connection:
            partners = {row.partner for row in await figures.list_turnover(connection, span)}
        rows = [await self._ledger.find_operator(partner) for partner in sorted(partners)]
        return [_Named(row.id, row.tadig) for row in rows]


class ClosingError(LandfallError):
    """A closing cannot go on before a person has mended something."""


class _Answer(Struct, frozen=True):
    subject: str
    state: str


class _Named(Struct, frozen=True):
    id: str
    tadig: str | None


def _span_of(row: repository.Closing) -> Span:
    """The span of a closing's row."""
    if row.id.count("T"):
        return NewClosing(from_ms=row.from_ms, to_ms=row.to_ms).span()
    return NewClosing(period=row.id).span()
