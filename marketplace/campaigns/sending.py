"""Sending a campaign: one task a campaign, a window of its cards at a time, each with its packet and its proof.

What becomes of a card's packet:

    proof of receipt           proven, or failed with the card's status in words
    the phone is off           the identical octets again, later and later
    no proof                   the identical octets again; the card's counter lets them act once
    "counter low" to that      an earlier attempt acted and its proof is lost, or a later packet has passed it: the
                               campaign's question is asked, or commands that may be done twice go in a new packet;
                               without either the outcome is unknown, and final

A node that dies takes up where its rows say: the packet is noted before it is sent. Only a window of cards is ever in
memory. Queued cards wait while a campaign is paused; what is on its way goes on to its end, also of one cancelled.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import msgspec
import structlog
from prometheus_client import Counter

from marketplace.campaigns.endings import Again, End
from marketplace.campaigns.repository import (
    claim_jobs,
    end_job,
    expire_queued,
    find_campaign,
    find_packet,
    next_due,
    note_packet,
    put_off,
    set_campaign,
)
from marketplace.campaigns.rotating import Rotator
from marketplace.campaigns.schemas import CampaignRow, JobRow, Question
from marketplace.campaigns.service import TASK
from marketplace.ledger_link.outbox import now_ms
from marketplace.ledger_link.tasks import Later, Tasks
from marketplace.operator_database import Database
from marketplace.operator_problems import Refusal
from ota.delivery import AbsentCard, Carrier, CarrierError, Outcome, Verdict, deliver, prepare
from ota.key_rotation import KeyRotation
from ota.outbox import OutboxError, PostgresOutbox
from ota.scp80.parameters import ResponseStatus, ScpError
from ota.templates import TemplateError, find_places, render
from ota.turns import CardTurns

WINDOW: Final = 32
"""Cards of a campaign at once: most of the time is waiting for a phone, and profile downloads must find room beside."""
FIRST_PAUSE_S: Final = 2.0
MAX_PAUSE_S: Final = 600.0
"""Two seconds, doubled with each attempt, at most ten minutes: a phone that comes back is found soon."""
LOOK_S: Final = 0.5
"""How late a pause, a cancellation or a job due by the clock is noticed."""
IDLE_S: Final = 2.0
"""How long a campaign that is paused gives its task back."""
IDLE_MAX_S: Final = 20.0
"""And one whose cards all wait longer than that: so late it may notice that it was cancelled."""

_ended = Counter("landfall_ota_jobs", "Jobs over the air that came to their end", ["state"])

FindNumber = Callable[[str], Awaitable[str]]


class Sender:
    """Does the task `campaign`."""

    def __init__(
        self,
        database: Database,
        tasks: Tasks,
        cards: PostgresOutbox,
        carrier: Carrier | None,
        turns: CardTurns,
        find_number: FindNumber,
        rotation: KeyRotation,
    ) -> None:
        self._database = database
        self._cards = cards
        self._carrier = carrier
        self._turns = turns
        self._find_number = find_number
        self._rotator = Rotator(database, rotation, self._send)
        self._log = structlog.get_logger(__name__)
        tasks.on(TASK, self.run)

    async def run(self, subject: str) -> None:
        """Task: send a campaign until nothing of it is open. Raises `Later` where there is nothing to do now."""
        campaign = UUID(subject)
        running: dict[int, asyncio.Task[None]] = {}
        throttle = Throttle()
        try:
            while True:
                for job in [job for job, task in running.items() if task.done()]:
                    running.pop(job).result()
                row = await self._take_stock(campaign)
                for claimed in await self._claim(row, running, throttle):
                    running[claimed.id] = asyncio.create_task(self._do(row, claimed), name=f"job {claimed.id}")
                if running:
                    await asyncio.wait(running.values(), timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                elif await self._is_finished(row):
                    return
                else:
                    await asyncio.sleep(LOOK_S)
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    async def _take_stock(self, campaign: UUID) -> CampaignRow:
        async with self._database.read() as connection:
            row = await find_campaign(connection, campaign)
        assert row is not None, "campaigns are never deleted"
        if now_ms() >= row.expires_ms:
            async with self._database.begin() as connection:
                await expire_queued(connection, campaign)
        return row

    async def _claim(
        self, row: CampaignRow, running: dict[int, asyncio.Task[None]], throttle: "Throttle"
    ) -> list[JobRow]:
        limit = min(WINDOW - len(running), throttle.allow(row.per_minute))
        if limit <= 0:
            return []
        async with self._database.begin() as connection:
            begin = row.state == "running"
            found = await claim_jobs(connection, row.id, running=list(running), begin=begin, limit=limit)
        throttle.spend(len(found))
        return found

    async def _is_finished(self, row: CampaignRow) -> bool:
        """Nothing is on its way: whether nothing will be. Raises `Later` where that is a while off."""
        async with self._database.begin() as connection:
            current = await find_campaign(connection, row.id, lock=True)
            assert current is not None, "campaigns are never deleted"
            due = await next_due(connection, row.id, begin=current.state != "cancelled")
            if due is None:
                if current.state != "cancelled":
                    await set_campaign(connection, row.id, "done")
                return True
        if current.state == "paused":
            raise Later(IDLE_S, "the campaign is paused")
        wait_s = (due - now_ms()) / 1000
        if wait_s > IDLE_S:
            raise Later(min(wait_s, IDLE_MAX_S), "every card waits for its next attempt")
        return False

    async def _do(self, row: CampaignRow, job: JobRow) -> None:
        """One attempt for one card, and what became of it."""
        try:
            async with self._turns.turn(job.iccid):
                await self._attempt(row, job)
        except End as end:
            await self._end(job, end.state, str(end))
        except Again as again:
            await self._put_off(row, job, str(again), absent=again.absent)
        except (OutboxError, TemplateError, ScpError, Refusal) as error:
            await self._end(job, "failed", str(error))
        except Exception as error:
            self._log.warning("an attempt did not succeed", job=job.id, exc_info=error)
            await self._put_off(row, job, f"{type(error).__name__}: {error}", absent=False)

    async def _end(self, job: JobRow, state: str, words: str) -> None:
        async with self._database.begin() as connection:
            await end_job(connection, job.id, state, words)
        _ended.labels(state).inc()

    async def _put_off(self, row: CampaignRow, job: JobRow, words: str, *, absent: bool) -> None:
        now = now_ms()
        if now >= row.expires_ms:
            unsent = absent and row.kind == "commands" and await self._was_never_there(job)
            await self._end(job, "expired" if unsent else "unknown", f"its time is over; the last word: {words}")
            return
        pause_s = min(FIRST_PAUSE_S * 2 ** min(job.attempts, 16), MAX_PAUSE_S) * random.uniform(0.7, 1.0)  # noqa: S311 - jitter
        async with self._database.begin() as connection:
            due_ms = min(now + int(pause_s * 1000), row.expires_ms)
            await put_off(connection, job.id, due_ms=due_ms, absent=absent, words=words)

    async def _was_never_there(self, job: JobRow) -> bool:
        """Whether each attempt ever begun found the phone out of reach."""
        async with self._database.read() as connection:
            packet = (await find_packet(connection, job.id)) or job.packet
        return packet is None or (await self._cards.packet(packet)).attempts <= job.absences + 1

    async def _attempt(self, row: CampaignRow, job: JobRow) -> None:
        if row.kind == "rotation":
            return await self._rotator.advance(job)
        packet = job.packet or await self._make(row, job)
        outcome = await self._send(packet)
        if outcome.verdict is Verdict.DONE:
            raise End("proven", outcome.words)
        if outcome.verdict is not Verdict.UNKNOWN:
            raise End("failed", outcome.words)
        if outcome.status is ResponseStatus.CNTR_LOW:
            await self._settle(row, job, outcome)
        raise Again(outcome.words)

    async def _settle(self, row: CampaignRow, job: JobRow, outcome: Outcome) -> None:
        """The card has counted past the packet: find out whether it acted, or do again what may be done twice."""
        values = await self._values(row, job)
        if row.question is not None:
            question = msgspec.json.decode(row.question, type=Question)
            orders = render(question.commands, values)
            asked = await prepare(self._cards, job.iccid, orders.apdus, tar=orders.tar)
            answer = await self._send(asked.id)
            if answer.verdict is Verdict.UNKNOWN:
                raise Again(f"asked whether it has acted: {answer.words}")
            if answer.verdict is Verdict.DONE and answer.data.startswith(bytes.fromhex(question.expect)):
                raise End("proven", f"its proof was lost; asked, the card answers {question.expect}")
        elif not render(msgspec.json.decode(row.commands), values).repeatable:
            raise End("unknown", outcome.words)
        async with self._database.begin() as connection:
            await note_packet(connection, job.id, None)
        raise Again("the card has not acted on it, or may do so twice: sent anew")

    async def _make(self, row: CampaignRow, job: JobRow) -> UUID:
        orders = render(msgspec.json.decode(row.commands), await self._values(row, job))
        packet = (await prepare(self._cards, job.iccid, orders.apdus, tar=orders.tar)).id
        async with self._database.begin() as connection:
            await note_packet(connection, job.id, packet)
        return packet

    async def _values(self, row: CampaignRow, job: JobRow) -> dict[str, str]:
        decode = msgspec.json.decode
        values = {**decode(row.given), **decode(job.given), "iccid": job.iccid}
        if "msisdn" in find_places([decode(row.commands), decode(row.question or "[]")]):
            values["msisdn"] = await self._find_number(job.iccid)
        return values

    async def _send(self, packet: UUID) -> Outcome:
        if self._carrier is None:
            raise Again("no carrier of short messages: set [carrier] in operator.toml and its secret")
        try:
            return await deliver(self._cards, packet, self._carrier)
        except AbsentCard as error:
            raise Again(str(error), absent=True) from None
        except CarrierError as error:
            raise Again(str(error)) from None


class Throttle:
    """How many cards may begin now, where a campaign has a limit a minute."""

    def __init__(self) -> None:
        self._credit = 1.0
        self._seen_s = time.monotonic()

    def allow(self, per_minute: int | None) -> int:
        """Cards that may begin now; what was saved up is never more than a second's worth."""
        now_s = time.monotonic()
        if per_minute is None:
            return WINDOW
        rate = per_minute / 60
        self._credit = min(self._credit + (now_s - self._seen_s) * rate, max(1.0, rate))
        self._seen_s = now_s
        return int(self._credit)

    def spend(self, cards: int) -> None:
        """So many have begun."""
        self._credit -= cards
