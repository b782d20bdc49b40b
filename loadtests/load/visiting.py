"""Visited operators: each hears of requests by following its own entries, accepts them, sees phones register, reports
what they use, and closes.

A turn: read the new entries; one sequence of accepts and activations; one signed report over the requests that are
active. Sequence numbers of reports count without gaps for each request.
"""

import random
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from loadtests.cast import PLMN, Actor, now_ms
from loadtests.load.plan import Role
from loadtests.load.session import HTTP, Turn
from loadtests.load.user import LandfallUser
from settlement.ledger.api import MAX_PAGE, Receipt
from settlement.ledger.client import LedgerClient, message_of
from settlement.ledger.messages import (
    AcceptRequest,
    ActivateRequest,
    CloseRequest,
    PlaceRequest,
    ReportUsage,
    UsageGroup,
    UsageRecord,
)

REQUESTS_A_REPORT: Final = 20
RECORDS_A_REQUEST: Final = 30
"""600 records a report: what fills an entry of realistic records by half."""
REPORTS: Final = 3
"""Reports on a request before it is closed."""
MOST_OCTETS: Final = 5_000
"""Of a record: small beside the escrow of a request."""
NO_PAYLOAD: Final = "0" * 64
"""The digest an accept names where nothing is sealed: the load is on the ledger."""


class Active(Struct):
    """A request that is used: when it began, and how many reports there were."""

    request: UUID
    minute: int
    reports: int = 0


class Visited(LandfallUser):
    """The visited operator's side of the market."""

    role = Role.VISITED
    pause_s = 0.05
    actor: Actor
    reader: LedgerClient

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.waiting: deque[UUID] = deque()
        self.active: deque[Active] = deque()

    def on_start(self) -> None:
        """Take an operator that no other user is."""
        super().on_start()
        plan = self.session.plan
        if self.number >= plan.serving:
            self.leave(f"the plan has {plan.serving} visited operators, all taken: give --operators a higher number")
        self.actor, self.reader = self.session.actors[self.number], self.session.reader(self.number)

    async def turn(self, turn: Turn) -> None:
        """Read, accept, report."""
        await self._read(turn)
        await self._accept(turn)
        await self._report(turn)

    async def _read(self, turn: Turn) -> None:
        begun = time.perf_counter()
        followed = self.session.followed
        after = followed.get(self.actor.id, self.session.plan.first - 1)
        entries = await self.reader.entries(after=after, limit=MAX_PAGE)
        turn.add(HTTP, "own entries, a page", begun)
        for entry in entries:
            if entry.sender != self.actor.id and isinstance(message := message_of(entry), PlaceRequest):
                self.waiting.append(message.id)
        if entries:
            followed[self.actor.id] = entries[-1].index

    async def _accept(self, turn: Turn) -> None:
        minute, begun, make = now_ms() // 60_000, time.perf_counter(), self.session.ledger.make
        taken = [self.waiting.popleft() for _ in range(min(len(self.waiting), self.session.plan.sequence))]
        if not taken:
            return
        accepts = [make(AcceptRequest, request=request, payload=NO_PAYLOAD) for request in taken]
        answers = await self.session.send(turn, self.actor, "accept", accepts, begun=begun)
        taken = [request for request, answer in zip(taken, answers, strict=False) if isinstance(answer, Receipt)]
        begun = time.perf_counter()
        activations = [make(ActivateRequest, request=request, at=minute) for request in taken]
        if not activations:
            return
        answers = await self.session.send(turn, self.actor, "activate", activations, begun=begun)
        for request, answer in zip(taken, answers, strict=False):
            if isinstance(answer, Receipt):
                self.active.append(Active(request, minute))

    async def _report(self, turn: Turn) -> None:
        if not self.active:
            return
        begun = time.perf_counter()
        used = [self.active.popleft() for _ in range(min(len(self.active), REQUESTS_A_REPORT))]
        groups = tuple(UsageGroup(one.request, one.reports + 1, _draw_records(one.minute)) for one in used)
        report = self.session.ledger.make(ReportUsage, groups=groups)
        records = RECORDS_A_REQUEST * len(used)
        answers = await self.session.send(turn, self.actor, "usage report", [report], begun=begun, units=records)
        if not answers or not isinstance(answers[0], Receipt):
            return  # these are left as they are: whether the report counts is not known, or it was refused
        for one in used:
            one.reports += 1
        over = [one for one in used if one.reports >= REPORTS]
        self.active.extend(one for one in used if one.reports < REPORTS)
        await self._close(turn, over)

    async def _close(self, turn: Turn, over: Sequence[Active]) -> None:
        begun = time.perf_counter()
        closes = [self.session.ledger.make(CloseRequest, request=one.request) for one in over]
        if closes:
            await self.session.send(turn, self.actor, "close", closes, begun=begun)


def _draw_records(minute: int) -> tuple[UsageRecord, ...]:
    return tuple(
        UsageRecord("data", minute, 120, 60, random.randrange(1, MOST_OCTETS), PLMN) for _ in range(RECORDS_A_REQUEST)
    )
