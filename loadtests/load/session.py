"""One worker's part of a run: its plan, its journal, its connections, and what its users have in common.

A user's turn is a coroutine that returns what was measured. Two kinds of rows come of it: `http`, the time of a call as
Locust usually has it, and `durable`, from before the first signature until the answer is verified and its checkpoint
proven to continue the log: one for each transaction, however many go in a call.
"""

import heapq
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx
from msgspec import Struct

from loadtests.cast import Actor
from loadtests.load.journal import Journal
from loadtests.load.plan import Plan, Role
from settlement.ledger.api import Receipt
from settlement.ledger.client import LedgerClient, Rejected, Unreachable
from settlement.ledger.messages import Message
from settlement.ledger.rejections import Rejection
from settlement.ledger.trust import Untrusted

HTTP: Final = "http"
DURABLE: Final = "durable"


class Timed(Struct, frozen=True):
    """What was measured: `count` things of one name, each of which took `seconds`. `failure`: why they failed."""

    kind: str
    name: str
    seconds: float
    count: int = 1
    octets: int = 0
    failure: str | None = None


class Turn(list[Timed]):
    """What one turn of a user has measured so far."""

    def add(self, kind: str, name: str, begun: float, count: int = 1, failure: str | None = None) -> None:
        """Note what began at `begun` (of `time.perf_counter`) and is over now."""
        self.append(Timed(kind, name, time.perf_counter() - begun, count, failure=failure))

    def fail(self, name: str, error: Exception) -> None:
        """Note a turn that an error ended."""
        self.append(Timed(HTTP, f"{name}: a turn", 0.0, failure=f"{type(error).__name__}: {error}"[:300]))


class Session:
    """What the users of one worker process share."""

    def __init__(self, plan: Plan, journal: Path, worker: str, index: int) -> None:
        self.plan = plan
        self.index = index
        self.journal = Journal(journal, worker)
        self.actors = [trader.actor for trader in plan.traders]
        self.ledger = plan.client(connections=64)
        self.followed: dict[str, int] = {}
        """Index of the last entry that a visited operator has seen."""
        self.others: list[LedgerClient] = []
        """Connections that users made; closed with the rest."""
        self.http: list[httpx.AsyncClient] = []
        """Connections to nodes, likewise."""
        self._readers: dict[str, LedgerClient] = {}
        self._numbers: dict[Role, list[int]] = {}
        self._given: dict[Role, int] = {}

    async def close(self) -> None:
        """Close the connections, then the journal, which notes a fork that is found only now."""
        for client in (self.ledger, *self.others, *self._readers.values()):
            try:
                await client.close()
            except (Rejected, Untrusted) as error:  # without its end the journal would not be believed
                self.journal.distrusted(str(error))
        for http in self.http:
            await http.aclose()
        self.journal.close()

    def take_number(self, role: Role) -> int:
        """The lowest number no user of the role has, over all workers."""
        free = self._numbers.setdefault(role, [])
        if free:
            return heapq.heappop(free)
        given = self._given.get(role, 0)
        self._given[role] = given + 1
        return self.index + self.plan.workers * given

    def give_back(self, role: Role, number: int) -> None:
        """A user of the role has gone."""
        heapq.heappush(self._numbers[role], number)

    def reader(self, number: int) -> LedgerClient:
        """The connection of a trader that reads as itself."""
        trader = self.plan.traders[number]
        if trader.key.operator not in self._readers:
            self._readers[trader.key.operator] = self.plan.client(trader.key, connections=4)
        return self._readers[trader.key.operator]

    async def send(
        self,
        turn: Turn,
        actor: Actor,
        kind: str,
        messages: Sequence[Message],
        *,
        begun: float,
        records: Sequence[int] = (),
    ) -> list[Receipt | Rejection]:
        """Sign, journal, send and prove one sequence. Empty where no answer came, or none that can be believed."""
        envelopes = [actor.signer.sign(message) for message in messages]
        number = self.journal.sent(actor.id, kind, [message.id for message in messages], records)
        sent = time.perf_counter()
        try:
            answers = await self.ledger.send_all(envelopes)
        except (Unreachable, Untrusted, Rejected) as error:
            return self._miss(turn, number, kind, begun, len(messages), error)
        turn.add(HTTP, f"sequence: {kind}", sent)
        self.journal.answered(number, answers)
        try:
            await self.ledger.settle()
        except (Unreachable, Untrusted, Rejected) as error:
            return self._miss(turn, number, kind, begun, len(messages), error)
        accepted = sum(isinstance(answer, Receipt) for answer in answers)
        if accepted:
            turn.add(DURABLE, kind, begun, accepted)
        for answer in answers:
            if isinstance(answer, Rejection):
                turn.add(DURABLE, kind, begun, failure=f"rejected: {answer.code}")
        return answers

    def _miss(
        self, turn: Turn, number: int, kind: str, begun: float, count: int, error: Exception
    ) -> list[Receipt | Rejection]:
        self.journal.unanswered(number, str(error), untrusted=isinstance(error, Untrusted))
        turn.add(DURABLE, kind, begun, count, f"{type(error).__name__}: {error}"[:300])
        return []
