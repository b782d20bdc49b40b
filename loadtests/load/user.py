"""What every user of a load test is: turns on the SDK's loop, one after the other, and rows in Locust's tables."""

import logging
from typing import Any, ClassVar

from locust import User, task
from locust.exception import StopUser

from loadtests.load.bridge import Bridge
from loadtests.load.plan import Role
from loadtests.load.session import Session, Turn
from settlement.ledger.client import Rejected, Unreachable
from settlement.ledger.trust import Untrusted

log = logging.getLogger(__name__)


class Failed(Exception):  # noqa: N818 - shown in Locust's table of failures
    """Why something measured is a failure."""


class LandfallUser(User):
    """One user of a role. A role says what a turn is; `number` is nobody else's of the role, on any worker."""

    abstract = True
    role: ClassVar[Role]
    pause_s: ClassVar[float] = 0.0
    """Between turns: what a person, or a program that looks now and then, leaves."""
    bridge: ClassVar[Bridge]
    session: ClassVar[Session]

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.number = -1

    def on_start(self) -> None:
        """Be somebody."""
        self.number = self.session.take_number(self.role)

    def on_stop(self) -> None:
        """Leave the place to another."""
        self.session.give_back(self.role, self.number)

    def wait_time(self) -> float:
        """Seconds until the next turn."""
        return self.pause_s

    @task
    def take_turn(self) -> None:
        """One turn, and what it measured."""
        turn = Turn()
        try:
            self.bridge.run(self._act(turn))
        finally:
            self._fire(turn)

    async def turn(self, turn: Turn) -> None:
        """What the role does once."""
        raise NotImplementedError

    async def _act(self, turn: Turn) -> None:
        try:
            await self.turn(turn)
        except (Rejected, Unreachable, Untrusted, OSError) as error:
            turn.fail(self.role, error)
            if isinstance(error, Untrusted):
                self.session.journal.distrusted(str(error))

    def _fire(self, turn: Turn) -> None:
        for timed in turn:
            failure = Failed(timed.failure) if timed.failure else None
            for _ in range(timed.count):
                self.environment.events.request.fire(
                    request_type=timed.kind,
                    name=timed.name,
                    response_time=timed.seconds * 1000,
                    response_length=timed.octets,
                    exception=failure,
                    context={},
                )

    def leave(self, why: str) -> None:
        """End this user alone. Raises StopUser."""
        log.warning("a %s leaves: %s", self.role, why)
        raise StopUser
