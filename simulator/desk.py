"""The operators' systems for the unsampled many: messages signed with the operators' keys and sent in sequences.

    async with open_desk(access, workers=2) as desk:
        answers = await desk.send("request", [(operator, message), …])      # in order: what became of each

With workers, other processes sign and send, each its share; without, this one does. Either way a sequence that was lost
is sent again until it is answered (the same octets get the first receipt again), and when the ledger stays away
`Unreachable` says so. Nothing here knows a scenario.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from multiprocessing import get_context
from typing import Final, TypeVar

from msgspec import Struct

from settlement.ledger.api import Receipt
from settlement.ledger.client import LedgerClient, Unreachable
from settlement.ledger.envelope import Signer
from settlement.ledger.messages import Message
from settlement.ledger.note import VerifierKey
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules.context import Refusal

SEQUENCE: Final = 1000
"""Envelopes in one call: large enough for the ledger's batches, small enough that a picture of latency has points."""
AT_ONCE: Final = 3
"""Sequences under way at once, of one process."""
PATIENCE: Final = 6
"""Times that the SDK's own retries (some 25 s each) are begun again: a node that restarts is waited for."""
OVERLOADED: Final = frozenset({"overloaded", "internal"})

T = TypeVar("T")
Order = tuple[int, Message]
"""Who signs (operator's number), and what."""


class Access(Struct, frozen=True, kw_only=True):
    """How to reach the ledger, and the keys to sign with, by operator number."""

    url: str
    log: str
    seeds: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"Access({self.url})"


class Answered(Struct, frozen=True):
    """What became of one message: `index` and `time` (ms) of its entry, `settled` µSDRt; or why it was refused."""

    index: int = -1
    time: int = 0
    settled: int = 0
    refused: tuple[Refusal, ...] = ()
    code: str | None = None
    detail: str = ""


class Sending(Struct, frozen=True):
    """One sequence: what it was of, how many, when (seconds since the epoch), and how long until it was durable."""

    kind: str
    count: int
    began: float
    seconds: float


class Desk:
    """Signs and sends. `sendings` is what the report draws load and latency from."""

    def __init__(self, access: Access, pool: ProcessPoolExecutor | None, workers: int) -> None:
        self._access, self._pool, self._workers = access, pool, workers
        self._line = None if pool else _Line(access)
        self.sendings: list[Sending] = []
        self.doing = ""
        """What is being sent, in words."""

    async def send(self, kind: str, orders: Sequence[Order]) -> list[Answered]:
        """Send all; what became of each, in order. Raises `Unreachable` when the ledger stays away."""
        if not orders:
            return []
        self.doing = f"sending {len(orders):,} of {kind}"
        try:
            return await self._send(kind, orders)
        finally:
            self.doing = ""

    async def _send(self, kind: str, orders: Sequence[Order]) -> list[Answered]:
        if self._line is not None:
            answers, sendings = await self._line.send(kind, orders)
            self.sendings += sendings
            return answers
        share = -(-len(orders) // self._workers)
        parts = [orders[first : first + share] for first in range(0, len(orders), share)]
        loop = asyncio.get_running_loop()
        results = await asyncio.gather(
            *(loop.run_in_executor(self._pool, partial(_work, kind, list(part))) for part in parts)
        )
        self.sendings += [sending for _, sendings in results for sending in sendings]
        return [answer for answers, _ in results for answer in answers]

    async def work(self, deed: Callable[[], T]) -> T:
        """Do something that takes its time in one of the processes; without any, in a thread of this one."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, deed)

    async def close(self) -> None:
        """Close the connections."""
        if self._line is not None:
            await self._line.close()


@asynccontextmanager
async def open_desk(access: Access, *, workers: int) -> AsyncIterator[Desk]:
    """A desk of so many processes; 0 or 1: this one."""
    pool = None
    if workers > 1:
        # Not fork: this process has threads. The processes are given keys and an address, nothing else.
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_open, initargs=(access,))
    desk = Desk(access, pool, workers)
    try:
        yield desk
    finally:
        await desk.close()
        if pool is not None:
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)


class _Line:
    """One process's keys and connection."""

    def __init__(self, access: Access) -> None:
        self._signers = [Signer(seed) for seed in access.seeds]
        self._client = LedgerClient(access.url, log=VerifierKey.parse(access.log))

    async def send(self, kind: str, orders: Sequence[Order]) -> tuple[list[Answered], list[Sending]]:
        gate, sendings = asyncio.Semaphore(AT_ONCE), []

        async def post(part: Sequence[Order]) -> list[Answered]:
            async with gate:
                envelopes = [self._signers[operator].sign(message) for operator, message in part]
                began, clock = time.time(), time.perf_counter()
                answers = await self._insist(envelopes)
                sendings.append(Sending(kind, len(part), began, time.perf_counter() - clock))
                return answers

        parts = [orders[first : first + SEQUENCE] for first in range(0, len(orders), SEQUENCE)]
        posted = await asyncio.gather(*(post(part) for part in parts))
        return [answer for answers in posted for answer in answers], sendings

    async def _insist(self, envelopes: list[bytes]) -> list[Answered]:
        for attempt in range(PATIENCE):
            try:
                answers = await self._client.send_all(envelopes)
            except Unreachable:
                if attempt == PATIENCE - 1:
                    raise
                continue
            busy = [one for one in answers if isinstance(one, Rejection) and one.code in OVERLOADED]
            if not busy:
                return [_answered(one) for one in answers]
            await asyncio.sleep(0.5)
        raise Unreachable(f"{len(busy)} envelopes were answered {busy[0].code} ({busy[0].detail}), {PATIENCE} times")

    async def close(self) -> None:
        await self._client.close()


def _answered(answer: Receipt | Rejection) -> Answered:
    if isinstance(answer, Rejection):
        return Answered(code=answer.code, detail=answer.detail)
    return Answered(answer.index, answer.time, answer.settled, answer.refused)


_loop: asyncio.AbstractEventLoop
_line: _Line


def _open(access: Access) -> None:
    """In a worker process: one event loop and one connection for good."""
    global _loop, _line
    _loop = asyncio.new_event_loop()
    _line = _Line(access)


def _work(kind: str, orders: list[Order]) -> tuple[list[Answered], list[Sending]]:
    return _loop.run_until_complete(_line.send(kind, orders))
