"""Generators: operators that sign and send inside the timed interval, and note when each answer was durable.

    result = await run_requests(ledger, cast, seconds=60, sequence=250, senders=6)          # as fast as it goes
    result = await run_requests(ledger, cast, seconds=60, sequence=50, senders=8, rate=8000)  # open loop at a rate
    result = await run_usage(ledger, pairs, seconds=60, records=30, senders=6)
    await fill(ledger, cast, 1_000_000, tell=print)     # what a ledger in use has, before the clock runs

With a rate the load is an open loop: sequences are due at fixed times whatever the answers do, and latency counts from
when a sequence was due, so a stall is not hidden by waiting for it (coordinated omission).
"""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import IO, Final

from msgspec import Struct, field

from loadtests.cast import DAY_MS, PLMN, PRICE, Actor, Pair, expect_receipts, now_ms
from settlement.ledger.api import Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.ids import new_id
from settlement.ledger.messages import PlaceRequest, ReportUsage, UsageGroup, UsageRecord
from simulator.together import together

EXPIRY_MS: Final = 300_000
PRESIGNED_MS: Final = 7_200_000
"""What is signed beforehand lasts until all of it was signed and sent."""
SAMPLE_SECOND_S: Final = 1.0
FILL_SEQUENCE, FILL_SENDERS = 500, 8
"""How requests are opened that nobody measures."""
FILL_TOLD: Final = 10
"""So often progress is told until they are open."""


class Measured(Struct, kw_only=True):
    """What one run did. `latencies`: seconds from when a sequence was due (or signed) to its durable answer, each
    with the number of envelopes in it. `timeline`: accepted in each second.
    """

    seconds: float = 0.0
    accepted: int = 0
    rejected: int = 0
    units: int = 0
    latencies: list[tuple[float, int]] = field(default_factory=list)
    timeline: dict[int, int] = field(default_factory=dict)

    def note(self, begin: float, due: float, done: tuple[int, int, int]) -> None:
        """Count a sequence that has just been answered: (accepted, rejected, units), due at `due`."""
        now = time.perf_counter()
        accepted, rejected, units = done
        self.accepted += accepted
        self.rejected += rejected
        self.units += units
        self.latencies.append((now - due, accepted))
        second = int((now - begin) / SAMPLE_SECOND_S)
        self.timeline[second] = self.timeline.get(second, 0) + accepted

    @property
    def rate(self) -> float:
        """Accepted envelopes a second."""
        return self.accepted / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds within which `share` of the envelopes were durable."""
        ordered, total, passed = sorted(self.latencies), sum(count for _, count in self.latencies), 0
        for latency, count in ordered:
            passed += count
            if passed >= share * total:
                return latency
        return float("nan")


Work = Callable[[int], Awaitable[tuple[int, int, int]]]
"""One sequence of a sender: (accepted, rejected, units) once it is durable."""


async def run(work: Work, *, seconds: float, senders: int, per_second: float | None = None) -> Measured:
    """Let `senders` do `work` for `seconds`; with `per_second`, so many sequences are due each second over all."""
    measured, begin = Measured(), time.perf_counter()
    turn = iter(range(10**12))

    async def send(sender: int) -> None:
        while True:
            due = time.perf_counter()
            if per_second is not None:
                due = begin + next(turn) / per_second
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if due - begin >= seconds:
                return
            measured.note(begin, due, await work(sender))

    await asyncio.gather(*(send(sender) for sender in range(senders)))
    measured.seconds = time.perf_counter() - begin
    return measured


async def run_requests(
    ledger: LedgerClient,
    cast: Sequence[Actor],
    *,
    seconds: float,
    sequence: int,
    senders: int,
    rate: float | None = None,
) -> Measured:
    """Individually signed requests between operators drawn at random, in sequences of `sequence`."""

    async def work(_sender: int) -> tuple[int, int, int]:
        return await _count(ledger, sign_requests(ledger.origin, cast, sequence), 1)

    return await run(work, seconds=seconds, senders=senders, per_second=rate / sequence if rate else None)


def sign_requests(origin: str, cast: Sequence[Actor], count: int, *, valid_ms: int = EXPIRY_MS) -> list[bytes]:
    """So many requests between operators drawn at random, each signed by its own sender."""
    actors = len(cast)
    ends, expires = now_ms() + 5 * DAY_MS, now_ms() + valid_ms
    envelopes = []
    for _ in range(count):
        place, distance = int(random.random() * actors), 1 + int(random.random() * (actors - 1))
        home, visited = cast[place], cast[place - distance]
        message = PlaceRequest(
            id=new_id(),
            aud=origin,
            exp=expires,
            offer=visited.bundle,
            user_id=f"{random.getrandbits(128):032x}",
            delivery_key=home.seal_key,
            escrow=PRICE,
            ends=ends,
        )
        envelopes.append(home.signer.sign(message))
    return envelopes


async def fill(ledger: LedgerClient, cast: Sequence[Actor], count: int, *, tell: Callable[[str], None]) -> None:
    """Open `count` requests that stay open, signed and sent like any. `tell`: progress.

    Raises RuntimeError where one is rejected.
    """
    sizes = itertools.chain(itertools.repeat(FILL_SEQUENCE, count // FILL_SEQUENCE), (count % FILL_SEQUENCE,))
    opened, told = 0, 0

    async def send() -> None:
        nonlocal opened, told
        for size in sizes:
            await expect_receipts(ledger, sign_requests(ledger.origin, cast, size))
            opened += size
            if opened * FILL_TOLD >= (told + 1) * count:
                told = opened * FILL_TOLD // count
                tell(f"  {opened:,} of {count:,} requests opened")

    await together(*(send() for _ in range(FILL_SENDERS)))


class Presigned:
    """Sequences of requests signed before the clock runs. They wait in a file: five minutes' are some gigabytes."""

    def __init__(self, file: IO[bytes], origin: str, cast: Sequence[Actor], count: int, sequence: int) -> None:
        """Sign `count` requests into an empty file, in sequences of `sequence`; they are valid for PRESIGNED_MS."""
        self._file = file
        self._sizes: list[int] = []
        for _ in range(count // sequence):
            lines = b"\n".join(sign_requests(origin, cast, sequence, valid_ms=PRESIGNED_MS))
            self._sizes.append(file.write(lines))

    def __iter__(self) -> Iterator[list[bytes]]:
        """Each sequence, once."""
        self._file.seek(0)
        for size in self._sizes:
            yield self._file.read(size).split(b"\n")


async def run_presigned(ledger: LedgerClient, presigned: Presigned, *, senders: int) -> Measured:
    """Send what was signed, until all of it is answered."""
    left = iter(presigned)
    measured, begin = Measured(), time.perf_counter()

    async def send() -> None:
        for envelopes in left:
            due = time.perf_counter()
            measured.note(begin, due, await _count(ledger, envelopes, 1))

    await asyncio.gather(*(send() for _ in range(senders)))
    measured.seconds = time.perf_counter() - begin
    return measured


async def run_usage(
    ledger: LedgerClient, pairs: Sequence[Pair], *, seconds: float, records: int, senders: int, reports: int = 4
) -> Measured:
    """Signed usage reports: `records` records for each request of a pair in one report, `reports` reports in a call."""
    turns = [0] * senders

    async def work(sender: int) -> tuple[int, int, int]:
        own = pairs[sender::senders]
        envelopes = []
        for _ in range(reports):
            pair = own[turns[sender] % len(own)]
            turns[sender] += 1
            envelopes.append(_report(ledger, pair, records))
        return await _count(ledger, envelopes, records * len(pairs[0].requests))

    return await run(work, seconds=seconds, senders=senders)


def _report(ledger: LedgerClient, pair: Pair, records: int) -> bytes:
    groups = []
    for request in pair.requests:
        pair.requests[request] += 1
        used = tuple(
            UsageRecord("data", pair.activated_minute + 1, 120, 60, random.randrange(1, 200_000), PLMN)
            for _ in range(records)
        )
        groups.append(UsageGroup(request, pair.requests[request], used))
    message = ReportUsage(id=new_id(), aud=ledger.origin, exp=now_ms() + EXPIRY_MS, groups=tuple(groups))
    return pair.visited.signer.sign(message)


async def _count(ledger: LedgerClient, envelopes: list[bytes], units: int) -> tuple[int, int, int]:
    answers = await ledger.send_all(envelopes)
    accepted = sum(isinstance(answer, Receipt) for answer in answers)
    return accepted, len(answers) - accepted, accepted * units
