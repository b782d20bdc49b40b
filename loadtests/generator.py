"""Generators: operators that sign and send inside the timed interval, and note when each answer was durable.

    result = await run_requests(ledger, cast, seconds=60, sequence=250, senders=6)          # as fast as it goes
    result = await run_requests(ledger, cast, seconds=60, sequence=50, senders=8, rate=8000)  # open loop at a rate
    result = await run_usage(ledger, pairs, seconds=60, records=30, senders=6)

With a rate the load is an open loop: sequences are due at fixed times whatever the answers do, and latency counts from
when a sequence was due, so a stall is not hidden by waiting for it (coordinated omission).
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from msgspec import Struct, field

from loadtests.cast import DAY_MS, PLMN, PRICE, Actor, Pair, now_ms
from settlement.ledger.api import Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.ids import new_id
from settlement.ledger.messages import PlaceRequest, ReportUsage, UsageGroup, UsageRecord

EXPIRY_MS: Final = 300_000
SAMPLE_SECOND_S: Final = 1.0


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
            accepted, rejected, units = await work(sender)
            done = time.perf_counter()
            measured.accepted += accepted
            measured.rejected += rejected
            measured.units += units
            measured.latencies.append((done - due, accepted))
            second = int((done - begin) / SAMPLE_SECOND_S)
            measured.timeline[second] = measured.timeline.get(second, 0) + accepted

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
    actors = len(cast)

    async def work(_sender: int) -> tuple[int, int, int]:
        ends, expires = now_ms() + 5 * DAY_MS, now_ms() + EXPIRY_MS
        envelopes = []
        for _ in range(sequence):
            place, distance = int(random.random() * actors), 1 + int(random.random() * (actors - 1))
            home, visited = cast[place], cast[place - distance]
            message = PlaceRequest(
                id=new_id(),
                aud=ledger.origin,
                exp=expires,
                offer=visited.bundle,
                user_id=f"{random.getrandbits(128):032x}",
                delivery_key=home.seal_key,
                escrow=PRICE,
                ends=ends,
            )
            envelopes.append(home.signer.sign(message))
        return await _count(ledger, envelopes, 1)

    return await run(work, seconds=seconds, senders=senders, per_second=rate / sequence if rate else None)


async def run_usage(
    ledger: LedgerClient, pairs: Sequence[Pair], *, seconds: float, records: int, senders: int, reports: int = 4
) -> Measured:
    """Signed usage reports: `records` records for each request of a pair in one report, `reports` reports in a call."""
    sequences = dict.fromkeys((request for pair in pairs for request in pair.requests), 0)
    turns = [0] * senders

    async def work(sender: int) -> tuple[int, int, int]:
        own = pairs[sender::senders]
        envelopes = []
        for _ in range(reports):
            pair = own[turns[sender] % len(own)]
            turns[sender] += 1
            envelopes.append(_report(ledger, pair, sequences, records))
        return await _count(ledger, envelopes, records * len(pairs[0].requests))

    return await run(work, seconds=seconds, senders=senders)


def _report(ledger: LedgerClient, pair: Pair, sequences: dict[UUID, int], records: int) -> bytes:
    groups = []
    for request in pair.requests:
        sequences[request] += 1
        used = tuple(
            UsageRecord("data", pair.activated_minute + 1, 120, 60, random.randrange(1, 200_000), PLMN)
            for _ in range(records)
        )
        groups.append(UsageGroup(request, sequences[request], used))
    message = ReportUsage(id=new_id(), aud=ledger.origin, exp=now_ms() + EXPIRY_MS, groups=tuple(groups))
    return pair.visited.signer.sign(message)


async def _count(ledger: LedgerClient, envelopes: list[bytes], units: int) -> tuple[int, int, int]:
    answers = await ledger.send_all(envelopes)
    accepted = sum(isinstance(answer, Receipt) for answer in answers)
    return accepted, len(answers) - accepted, accepted * units
