"""What happens because time has passed: requests expire, finished ones close, stored usage is reported.

One round looks for what is due and stores the messages; the ledger, whose clock counts, decides.
"""

import asyncio
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.outbox import Outbox, now_ms
from marketplace.ledger_link.tasks import Tasks
from marketplace.operator_database import Database, fetch
from marketplace.usage.service import UsageReports
from marketplace.wholesale.schemas import RequestView
from settlement.ledger.client import LedgerClient
from settlement.ledger.messages import ExpireRequest

ROUND_S: Final = 1.0
"""How late an expiry may be noticed."""
MARGIN_MS: Final = 1_000
"""How far this clock may run ahead of the ledger's before an expiry comes too early and is rejected."""
REPORT_S: Final = 60.0
"""Usage leaves at least so often; POST /usage/send does not wait."""


class Clock:
    """The node's timer."""

    def __init__(
        self, database: Database, ledger: LedgerClient, outbox: Outbox, tasks: Tasks, usage: UsageReports
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._outbox = outbox
        self._tasks = tasks
        self._usage = usage
        self._log = structlog.get_logger(__name__)

    async def run(self) -> None:
        """Look every ROUND_S, for ever. Survives everything but cancellation."""
        rounds = 0
        while True:
            try:
                await self.look()
                if rounds % int(REPORT_S / ROUND_S) == 0:
                    await self._usage.report()
            except Exception as error:
                self._log.error("the clock stumbled", exc_info=error)
            rounds += 1
            await asyncio.sleep(ROUND_S)

    async def look(self) -> None:
        """One round."""
        async with self._database.read() as connection:
            overdue = await self._overdue(connection)
            finished = await self._finished(connection)
        if not overdue and not finished:
            return
        async with self._database.begin() as connection:
            for request in overdue:
                message = self._ledger.make(ExpireRequest, request=request.id)
                await self._outbox.enqueue(connection, message, subject=str(request.id))
            for request in finished:
                await self._tasks.add(connection, "close", str(request.id))

    async def _overdue(self, connection: AsyncConnection) -> list[RequestView]:
        """Requests this operator placed, unanswered or unfinished past their time, no expiry under way."""
        return await fetch(
            connection,
            RequestView,
            "SELECT * FROM requests r WHERE role = 'home' AND (state = 'requested' AND accept_by_ms < :now"
            " OR state IN ('accepted', 'delivered', 'active') AND report_by_ms < :now)"
            " AND NOT EXISTS (SELECT FROM outbox WHERE purpose = 'expire' AND subject = CAST(r.id AS text)"
            " AND (state <> 'rejected' OR answered_ms > :now - 10 * :margin))",
            now=now_ms() - MARGIN_MS,
            margin=MARGIN_MS,
        )

    async def _finished(self, connection: AsyncConnection) -> list[RequestView]:
        """Requests this operator serves, past their end and half their reporting time."""
        return await fetch(
            connection,
            RequestView,
            "SELECT * FROM requests r WHERE role = 'visited' AND state = 'active'"
            " AND ends_ms + (report_by_ms - ends_ms) / 2 < :now"
            " AND NOT EXISTS (SELECT FROM tasks WHERE kind = 'close' AND subject = CAST(r.id AS text))",
            now=now_ms(),
        )
