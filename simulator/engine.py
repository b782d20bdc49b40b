"""The engine: takes a world through its steps, all unsampled journeys at once.

    engine = Engine(world, people, trips, desk, book, journal)
    await engine.prepare()                       # offers published, every home funded
    while engine.step < world.scenario.steps:
        outcome = await engine.run_step()

A step goes through the phases of a request's life in order, each a sequence of signed envelopes for all journeys that
are at it: ordered, accepted or declined, delivered or called off, activated, used and reported, closed. What the ledger
refuses stays refused, with its reason. Then truth, evidence and state are written, and the step is done.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from settlement.ledger.messages import Message, Mint, WithdrawOffer
from simulator.book import Book
from simulator.card_book import CARD_ESCROW_USDR
from simulator.desk import Answered, Desk, Sending
from simulator.double_spending import Attempt, spend_twice, take_back
from simulator.evidence_book import EvidenceBook
from simulator.frauds import WITHDRAW, Frauds, draw_frauds
from simulator.journal import Journal
from simulator.journeys import Array, Journeys, Stage
from simulator.population import Population, Trips, draw_use, generator
from simulator.reporting import Reporter
from simulator.world import World

FUNDS_USDR: Final = 100_000_000
"""Minted for each home beyond what its journeys and cards put into escrow, so that nobody runs quite dry."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What a step came to. `codes`: refusals by phase and code. `settled`: µSDRt by (home, visited), all so far.

    `seconds`: how long it took; `behind_s`: how late it began, by the speed that was asked for.
    """

    step: int
    stages: dict[str, int]
    codes: dict[str, int]
    attempts: tuple[Attempt, ...]
    sendings: tuple[Sending, ...]
    records: int
    settled: list[list[int]]
    octets: int
    seconds: float
    again: bool
    behind_s: float = 0.0


class Engine:
    """Plays the unsampled journeys of a world."""

    def __init__(
        self, world: World, people: Population, trips: Trips, desk: Desk, book: Book, journal: Journal, device: bytes
    ) -> None:
        self.world, self.people, self.trips = world, people, trips
        self.desk, self.book, self.journal = desk, book, journal
        self.frauds: Frauds = draw_frauds(world, people, trips)
        sellers = np.array([offer.operator for offer in world.offers] or [0])
        self.visited: Array = np.where(trips.offer >= 0, sellers[trips.offer], 0)
        self.home: Array = people.home[trips.subscriber].astype(np.int64)
        self.fate: Array = generator(world, "fate").random(len(trips))
        kept = journal.restore()
        self.step = 0 if kept is None else kept[0] + 1
        self.journeys = Journeys.plan(trips.offer, len(world.operators)) if kept is None else Journeys.restore(kept[1])
        self.evidence = EvidenceBook(self, device)
        self.signers = list(range(len(world.operators) + 1))
        """Which key an operator signs with: its place among the desk's. The last is the issuer's."""
        self.spares: dict[int, int] = {}
        """Keys in reserve, of operators whose first is going to be revoked."""
        self.codes: Counter[str] = Counter()
        self.attempts: list[Attempt] = []

    async def prepare(self) -> None:
        """Fund the homes and publish the offers. Sent again after a crash, it gets the first receipts."""
        await self.expect("mint", [(len(self.world.operators), message) for message in self._mints()])
        await self.expect("offer", [(offer.operator, self.book.offer(offer)) for offer in self.world.offers])

    async def expect(self, kind: str, orders: Sequence[tuple[int, Message]]) -> None:
        """Send what may not be refused. Raises `RuntimeError`."""
        if wrong := [one for one in await self.send(kind, orders) if one.code]:
            raise RuntimeError(f"{len(wrong)} messages of kind {kind} were refused: {wrong[0].code}: {wrong[0].detail}")

    def _mints(self) -> list[Mint]:
        """For every home all that its journeys and cards will put into escrow, and something more."""
        escrow = np.where(self.trips.offer >= 0, self.trips.escrow, 0)
        need = np.bincount(self.home, weights=escrow, minlength=len(self.world.operators))
        return [
            Mint(
                **self.book.fields(f"mint/{operator.number}"),
                to=operator.id,
                amount=FUNDS_USDR + int(need[operator.number]) + operator.plan.cards * CARD_ESCROW_USDR,
                deposit=f"deposit for {operator.id} of run {self.book.token}",
            )
            for operator in self.world.operators
        ]

    async def run_step(self, available: dict[str, int], behind_s: float = 0.0) -> Outcome:
        """One step, whole. Raises `Unreachable`; then it may be run again."""
        step, again = self.step, self.journal.has_begun(self.step)
        begun = self.journal.begin(step, available, behind_s)
        self.codes.clear()
        self.attempts.clear()
        self.desk.sendings.clear()
        clock = time.perf_counter()
        placed_ms = await self._order(step)
        # No use before its order: a step that was broken off may have placed it long after it began.
        minute = max(begun.minute, placed_ms // 60_000)
        if again:
            await take_back(self, step)
        else:  # a refusal is not remembered: what was refused then might be taken now
            await spend_twice(self, step, begun.available)
        await self._serve()
        await self._activate(step, minute)
        reporter = Reporter(self, step, minute)
        await reporter.report(draw_use(self.world, self.people, self.trips, step))
        await self._end(step)
        await self._withdraw(step)
        reporter.truth.write(self.journal.truth(step))
        self.evidence.write(step, self.journal.evidence(step), minute)
        outcome = Outcome(
            step=step,
            stages={stage.name.lower(): int((self.journeys.stage == stage).sum()) for stage in Stage},
            codes=dict(self.codes),
            attempts=tuple(self.attempts),
            sendings=tuple(self.desk.sendings),
            records=len(reporter.truth),
            settled=self.journeys.settled.tolist(),
            octets=reporter.octets,
            seconds=round(time.perf_counter() - clock, 3),
            again=again,
            behind_s=begun.behind_s,
        )
        self.journal.finish(step, outcome, self.journeys.arrays())
        self.step += 1
        return outcome

    async def send(self, kind: str, orders: Sequence[tuple[int, Message]]) -> list[Answered]:
        """Send what operators (by number) sign, and count what was refused.

        Who is told that its key is not valid takes its spare one from then on, and says again what it said.
        """
        answers = await self.desk.send(kind, [(self.signers[operator], message) for operator, message in orders])
        self.count(kind, answers)
        again = [
            place
            for place, ((operator, _), answer) in enumerate(zip(orders, answers, strict=True))
            if answer.code == "key-not-valid" and operator in self.spares
        ]
        if again:
            for place in again:
                self.signers[orders[place][0]] = self.spares[orders[place][0]]
            parts = [(self.signers[orders[place][0]], orders[place][1]) for place in again]
            for place, answer in zip(again, await self.desk.send(kind, parts), strict=True):
                answers[place] = answer
            self.count(kind, [answers[place] for place in again])
        return answers

    def count(self, kind: str, answers: Sequence[Answered]) -> None:
        """Count refusals by phase and code."""
        for answer in answers:
            if answer.code is not None:
                self.codes[f"{kind}: {answer.code}"] += 1

    # phases

    async def _move(
        self, kind: str, trips: Array, signer: Array, make: Callable[[int], Message], done: Stage, refused: Stage | None
    ) -> list[Answered]:
        """Send one message for each journey, and move on those that were taken; the others are `refused`, or stay."""
        orders = [(int(signer[trip]), make(int(trip))) for trip in trips]
        answers = await self.send(kind, orders)
        for trip, answer in zip(trips, answers, strict=True):
            if answer.code is None:
                self.journeys.stage[trip] = done
                self.journeys.settled[self.home[trip], self.visited[trip]] += answer.settled
            elif refused is not None:
                self.journeys.stage[trip] = refused
        return answers

    async def _order(self, step: int) -> int:
        """The requests of the step; when the last of them was placed (ms), 0 without any."""
        trips, stage = self.trips, self.journeys
        due = np.flatnonzero(stage.having(Stage.PLANNED) & (trips.buy_step == step))

        def make(trip: int) -> Message:
            escrow, renewals = int(trips.escrow[trip]), int(trips.renewals[trip])
            return self.book.request(trip, int(self.home[trip]), int(trips.offer[trip]), escrow, renewals)

        answers = await self._move("request", due, self.home, make, Stage.REQUESTED, Stage.REFUSED)
        return max((answer.time for answer in answers), default=0)

    async def _serve(self) -> None:
        """Accept or decline, then deliver or call off, as each journey's fate has it."""
        asked = self.journeys.having(Stage.REQUESTED)
        scenario, book = self.world.scenario, self.book
        declined = self.fate < scenario.decline
        await self._move("decline", np.flatnonzero(asked & declined), self.visited, book.decline, Stage.DECLINED, None)
        await self._move("accept", np.flatnonzero(asked & ~declined), self.visited, book.accept, Stage.ACCEPTED, None)
        called_off = (self.fate >= scenario.decline) & (self.fate < scenario.decline + scenario.cancel)
        accepted = self.journeys.having(Stage.ACCEPTED)
        await self._move(
            "cancel",
            np.flatnonzero(accepted & called_off),
            self.home,
            lambda trip: book.cancel(trip, "unwanted"),
            Stage.CANCELLED,
            None,
        )
        await self._move(
            "deliver", np.flatnonzero(accepted & ~called_off), self.home, book.deliver, Stage.DELIVERED, None
        )

    async def _activate(self, step: int, minute: int) -> None:
        """Arrivals register. Who withdraws serves nobody; a phantom's guest never comes, and is billed all the same."""
        due = self.journeys.having(Stage.DELIVERED) & (self.trips.start_step <= step) & (self.trips.end_step >= step)
        arrived = np.flatnonzero(due & (self.frauds.kind != WITHDRAW))
        await self._move(
            "activate", arrived, self.visited, lambda trip: self.book.activate(trip, minute), Stage.ACTIVE, None
        )
        self.journeys.on[arrived] = minute

    async def _end(self, step: int) -> None:
        """Journeys end: requests close; what was never served is cancelled, and its escrow returns."""
        over = self.trips.end_step <= step
        served = np.flatnonzero(over & self.journeys.having(Stage.ACTIVE))
        await self._move("close", served, self.visited, self.book.close, Stage.CLOSED, None)
        unserved = np.flatnonzero(over & self.journeys.having(Stage.DELIVERED, Stage.ACCEPTED))
        await self._move(
            "cancel",
            unserved,
            self.home,
            lambda trip: self.book.cancel(trip, "not-served"),
            Stage.CANCELLED,
            None,
        )

    async def _withdraw(self, step: int) -> None:
        """Half way through, who withdraws takes its first offer off the market, with requests on it under way."""
        if step != self.world.scenario.steps // 2:
            return
        for operator in self.world.operators:
            if any(one.operator == operator.id and one.fraud == "withdraw" for one in self.world.scenario.dishonest):
                offer = next(offer for offer in self.world.offers if offer.operator == operator.number)
                message = WithdrawOffer(
                    **self.book.fields(f"withdraw/{offer.number}"), offer=self.book.offer_ids[offer.number]
                )
                await self.send("withdraw", [(operator.number, message)])
