"""Visited operators: each hears of requests by following its own entries, accepts them, sees phones register, reports
what they use, and closes.

A turn: read the new entries; one sequence of accepts and activations; one signed report over the requests that are
active. Sequence numbers of reports count without gaps for each request.
"""

import random
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from loadtests.cast import PLMN, RECORDS_A_REQUEST, REQUESTS_A_REPORT, Actor, now_ms
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

REPORTS_A_CALL: Final = 4
REPORTS: Final = 3
"""Reports on a request before it is closed."""
MOST_OCTETS: Final = 5_000
"""Of a record: small beside the escrow of a request."""
NO_PAYLOAD: Final = "0" * 64
"""The digest an accept names where nothing is sealed: the load is on the ledger."""


class Active(Struct):
    """A request that is used: whose, since when, and how many reports there were."""

    request: UUID
    home: str
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
        self.waiting: deque[tuple[UUID, str]] = deque()
        self.active: defaultdict[str, deque[Active]] = defaultdict(deque)  # by home operator: a report is to one

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
                self.waiting.append((message.id, entry.sender))
        if entries:
            followed[self.actor.id] = entries[-1].index

    async def _accept(self, turn: Turn) -> None:
        minute, begun, make = now_ms() // 60_000, time.perf_counter(), self.session.ledger.make
        taken = [self.waiting.popleft() for _ in range(min(len(self.waiting), self.session.plan.sequence))]
        if not taken:
            return
        accepts = [make(AcceptRequest, request=request, payload=NO_PAYLOAD) for request, _ in taken]
        answers = await self.session.send(turn, self.actor, "accept", accepts, begun=begun)
        taken = [one for one, answer in zip(taken, answers, strict=False) if isinstance(answer, Receipt)]
        if not taken:
            return
        begun = time.perf_counter()
        activations = [make(ActivateRequest, request=request, at=minute) for request, _ in taken]
        answers = await self.session.send(turn, self.actor, "activate", activations, begun=begun)
        for (request, home), answer in zip(taken, answers, strict=False):
            if isinstance(answer, Receipt):
                self.active[home].append(Active(request, home, minute))

    async def _report(self, turn: Turn) -> None:
        used = [self._next(home) for home in list(self.active)[:REPORTS_A_CALL]]
        if not used:
            return
        begun = time.perf_counter()
        reports = [self.session.ledger.make(ReportUsage, groups=tuple(map(_draw_group, part))) for part in used]
        records = [RECORDS_A_REQUEST * len(part) for part in used]
        answers = await self.session.send(turn, self.actor, "usage report", reports, begun=begun, records=records)
        over: list[Active] = []
        for part, answer in zip(used, answers, strict=False):
            if not isinstance(answer, Receipt):
                continue  # these are left as they are: the report was refused, or whether it counts is not known
            for one in part:
                one.reports += 1
                (self.active[one.home] if one.reports < REPORTS else over).append(one)
        await self._close(turn, over)

    def _next(self, home: str) -> list[Active]:
        """What the next report to a home operator is about."""
        active = self.active[home]
        part = [active.popleft() for _ in range(min(len(active), REQUESTS_A_REPORT))]
        if not active:
            del self.active[home]
        return part

    async def _close(self, turn: Turn, over: Sequence[Active]) -> None:
        begun = time.perf_counter()
        closes = [self.session.ledger.make(CloseRequest, request=one.request) for one in over]
        if closes:
            await self.session.send(turn, self.actor, "close", closes, begun=begun)


def _draw_group(one: Active) -> UsageGroup:
    used = tuple(
        UsageRecord("data", one.minute, 120, 60, random.randrange(1, MOST_OCTETS), PLMN)
        for _ in range(RECORDS_A_REQUEST)
    )
    return UsageGroup(one.request, one.reports + 1, used)
