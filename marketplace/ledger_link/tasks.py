"""Work outside the database that follows from a change in it: a card to write, an HLR to tell, a payment to return.

    await tasks.add(connection, "deliver", str(request.id))       # in the transaction of the cause
    tasks.on("deliver", delivery.deliver)                         # async def deliver(subject: str) -> None

A task is named by kind and subject and there is one of each, ever; it runs until its handler returns. Handlers are
idempotent: they may run again after any crash. `Later` puts a task off without blame; other errors are tried again with
growing pauses and after `ATTEMPTS` stand as failed, for staff to see and to start again.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from msgspec import Struct
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import Database, await_bell, execute, fetch

CONCURRENCY: Final = 64
"""Tasks at once: most of their time is waiting for a card, up to a minute, or another company's server."""
ATTEMPTS: Final = 12
FIRST_PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 600.0
"""Half a second, doubled each time, at most ten minutes: some half an hour in all before staff are asked."""
POLL_S: Final = 0.5
"""How late a task that is due by the clock may start."""

Handler = Callable[[str], Awaitable[None]]
_runs = Counter("landfall_task_runs", "Runs of tasks", ["kind", "outcome"])


class Later(Exception):  # noqa: N818 - an instruction, not an error
    """Raised by a handler: not now, again in `seconds`."""

    def __init__(self, seconds: float, why: str) -> None:
        super().__init__(why)
        self.seconds = seconds


class Task(Struct, frozen=True):
    """One task; `error` is why it last did not come to its end."""

    position: int
    kind: str
    subject: str
    state: str
    attempts: int
    due_ms: int
    error: str | None


class Tasks:
    """The queue and its worker."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._handlers: dict[str, Handler] = {}
        self._log = structlog.get_logger(__name__)

    def on(self, kind: str, handler: Handler) -> None:
        """Name who does tasks of a kind."""
        self._handlers[kind] = handler

    async def add(self, connection: AsyncConnection, kind: str, subject: str, *, delay_s: float = 0) -> None:
        """Add a task in the caller's transaction; one that was ever added is not added again."""
        await execute(
            connection,
            "INSERT INTO tasks (kind, subject, due_ms) VALUES (:kind, :subject, :due) ON CONFLICT DO NOTHING",
            kind=kind,
            subject=subject,
            due=now_ms() + int(delay_s * 1000),
        )

    async def list_open(self) -> list[Task]:
        """What waits or has failed."""
        async with self._database.read() as connection:
            return await fetch(connection, Task, "SELECT * FROM tasks WHERE state <> 'done' ORDER BY position")

    async def restart(self, position: int) -> bool:
        """Put a task up again, now. False where it is done or not there."""
        async with self._database.begin() as connection:
            sql = "UPDATE tasks SET state = 'waiting', attempts = 0, due_ms = 0 WHERE position = :p AND state <> 'done'"
            return await execute(connection, sql, p=position) == 1

    async def run(self) -> None:
        """Do what is due, for ever."""
        bell = self._database.bell()
        running: dict[int, asyncio.Task[None]] = {}
        try:
            while True:
                for position, running_task in list(running.items()):
                    if running_task.done():
                        del running[position]
                for task in await self._due(set(running), CONCURRENCY - len(running)):
                    running[task.position] = asyncio.create_task(self._do(task), name=f"{task.kind} {task.subject}")
                await await_bell(bell, POLL_S)
        finally:
            for running_task in running.values():
                running_task.cancel()

    async def _due(self, running: set[int], limit: int) -> list[Task]:
        if limit <= 0:
            return []
        try:
            async with self._database.read() as connection:
                found = await fetch(
                    connection,
                    Task,
                    "SELECT * FROM tasks WHERE state = 'waiting' AND due_ms <= :now ORDER BY due_ms, position LIMIT :n",
                    now=now_ms(),
                    n=limit + len(running),
                )
        except Exception as error:
            self._log.error("tasks cannot be read", exc_info=error)
            return []
        return [task for task in found if task.position not in running][:limit]

    async def _do(self, task: Task) -> None:
        outcome, error, pause_s, attempts = "done", None, 0.0, task.attempts + 1
        try:
            await self._handlers[task.kind](task.subject)
        except Later as later:
            outcome, error, pause_s, attempts = "later", str(later), later.seconds, task.attempts
        except Exception as failure:
            outcome, error = "error", f"{type(failure).__name__}: {failure}"
            pause_s = min(FIRST_PAUSE_S * 2**task.attempts, MAX_PAUSE_S) * random.uniform(0.7, 1.0)  # noqa: S311 - jitter
            self._log.warning("a task did not succeed", kind=task.kind, subject=task.subject, exc_info=failure)
        _runs.labels(task.kind, outcome).inc()
        state = "done" if outcome == "done" else "failed" if attempts >= ATTEMPTS else "waiting"
        async with self._database.begin() as connection:
            await execute(
                connection,
                "UPDATE tasks SET state = :state, attempts = :attempts, due_ms = :due, error = :error"
                " WHERE position = :position",
                position=task.position,
                state=state,
                attempts=attempts,
                due=now_ms() + int(pause_s * 1000),
                error=error,
            )
