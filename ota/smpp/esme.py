"""The client of a short message centre (ESME): bound as transceiver, and bound again whenever that ends.

    async with Esme(Centre(host="smsc.example", port=2775, system_id="ota", password="…"), hear) as esme:
        message_id = await esme.submit(ShortMessage(destination="491701234567", …))

`hear(message)` gets every deliver_sm, receipts included. The centre is told that a message was taken when `hear` has
returned, or what it returned was awaited, which must not take long: nothing else is read meanwhile. A message it raises
for is answered with a passing error, so that the centre sends it again. `submit` waits for the bind, for the window,
and as long as the centre throttles; what it raises says whether the message can have been taken:
`SubmitRefused` no, `LinkLost` and `NoAnswer` perhaps, `NotBound` no.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import structlog
from prometheus_client import Counter

from ota.scp80.concealed import Concealed
from ota.smpp.pdu import Bind, Command, Named, Pdu, ShortMessage, SmppError, Status, describe_status
from ota.smpp.session import ENQUIRE_S, RESPONSE_TIMEOUT_S, WINDOW, LinkLost, Session

FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 30.0
"""Between attempts to connect, doubled each time: a centre that restarts is not stormed by its clients."""
THROTTLE_FIRST_S: Final = 0.05
THROTTLE_MAX_S: Final = 5.0
"""Between submissions that the centre throttles; limits are per second, so longer pauses win nothing."""
PATIENCE_S: Final = 60.0
"""How long a submission waits for a bind, or for an end of throttling, before the caller hears of it."""

Hear = Callable[[ShortMessage], Awaitable[None] | None]
_submitted = Counter("landfall_smpp_submitted", "Answers to submit_sm", ["status"])
_heard = Counter("landfall_smpp_heard", "deliver_sm received", ["kind"])


class NotBound(SmppError):  # noqa: N818 - what is the case
    """No centre is connected; nothing was sent."""


class SubmitRefused(SmppError):  # noqa: N818 - what happened
    """The centre did not take the message, for `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the short message centre did not take a message: {describe_status(status)}")
        self.status = status


class Centre(Concealed, frozen=True, kw_only=True):
    """Where the centre is and who we are there. `tls` takes an `ssl.SSLContext`.

    `data_coding` is what this centre wants to read of a packet for a card, where it is not the class 2, 8 bit (F6) of
    the message itself: centres that know SMPP's own words only want 2 or 4, binary.
    """

    SECRET = frozenset({"password"})

    host: str
    port: int
    system_id: str
    password: str = ""
    system_type: str = ""
    address_range: str = ""
    tls: ssl.SSLContext | None = None
    data_coding: int | None = None
    window: int = WINDOW
    response_timeout_s: float = RESPONSE_TIMEOUT_S
    enquire_s: float = ENQUIRE_S


class Esme:
    """A client that stays bound as long as `run` runs; one at a time."""

    def __init__(self, centre: Centre, hear: Hear, *, patience_s: float = PATIENCE_S) -> None:
        self._centre, self._hear, self._patience_s = centre, hear, patience_s
        self._session: Session | None = None
        self._bound = asyncio.Event()
        self._trouble = "it was not tried yet"
        self._pause_s = 0.0
        self._free_at = 0.0
        self._running: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(__name__)

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.run(), name=f"smpp {self._centre.system_id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def run(self) -> None:
        """Connect and bind, for ever, until cancelled; then unbind."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if await self._serve():
                    pause_s = FIRST_PAUSE_S
            except (OSError, SmppError, TimeoutError) as error:
                self._trouble = str(error) or type(error).__name__
                self._log.warning("no short message centre", host=self._centre.host, error=self._trouble)
            await asyncio.sleep(pause_s * random.uniform(0.7, 1.0))  # noqa: S311 - jitter
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def wait_bound(self) -> None:
        """Return once bound. Raises `NotBound` with the last trouble when patience ends."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._bound.wait()
        except TimeoutError:
            where = f"{self._centre.host}:{self._centre.port}"
            raise NotBound(f"the short message centre at {where} cannot be bound: {self._trouble}") from None

    async def submit(self, message: ShortMessage) -> str:
        """Hand a message to the centre; the id it gave it. Raises as the module says."""
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + self._patience_s
        while True:
            await self.wait_bound()
            if (wait_s := self._free_at - loop.time()) > 0:
                await asyncio.sleep(wait_s)
                continue
            session = self._session
            if session is None:
                continue
            reply = await session.request(Command.SUBMIT_SM, message)
            _submitted.labels(f"{reply.status:08X}").inc()
            if reply.status == Status.OK and isinstance(reply.body, Named):
                self._pause_s = 0.0
                return reply.body.name
            if reply.status not in (Status.THROTTLED, Status.QUEUE_FULL) or loop.time() > patient_until:
                raise SubmitRefused(reply.status)
            if self._free_at <= loop.time():  # the first of a window that hears of it slows all of them down
                self._pause_s = min(max(2 * self._pause_s, THROTTLE_FIRST_S), THROTTLE_MAX_S)
                self._free_at = loop.time() + self._pause_s

    async def _serve(self) -> bool:
        """One connection from bind to end; True where it was bound."""
        centre = self._centre
        async with asyncio.timeout(centre.response_timeout_s):
            reader, writer = await asyncio.open_connection(centre.host, centre.port, ssl=centre.tls)
        session = Session(
            reader,
            writer,
            self._answer,
            window=centre.window,
            response_timeout_s=centre.response_timeout_s,
            enquire_s=centre.enquire_s,
        )
        running = asyncio.create_task(session.run(), name="smpp session")
        try:
            bind = Bind(
                system_id=centre.system_id,
                password=centre.password,
                system_type=centre.system_type,
                address_range=centre.address_range,
            )
            reply = await session.request(Command.BIND_TRANSCEIVER, bind)
            if reply.status != Status.OK:
                raise SmppError(f"the centre refused the bind of {centre.system_id}: {describe_status(reply.status)}")
            self._session = session
            self._bound.set()
            await asyncio.shield(running)
            self._trouble = "the connection ended"
            return True
        except asyncio.CancelledError:
            self._session = None
            await session.unbind()
            raise
        finally:
            self._session = None
            self._bound.clear()
            session.close()
            await asyncio.gather(running, return_exceptions=True)

    def _answer(self, pdu: Pdu) -> Pdu | Awaitable[Pdu]:
        if pdu.command is not Command.DELIVER_SM or not isinstance(pdu.body, ShortMessage):
            return Pdu(Command.GENERIC_NACK, pdu.sequence, Status.INVALID_COMMAND)
        _heard.labels("receipt" if pdu.body.is_receipt else "message").inc()
        try:
            work = self._hear(pdu.body)
        except Exception as error:
            return self._refuse(pdu, error)
        return _acknowledge(pdu, Status.OK) if work is None else self._finish(pdu, work)

    async def _finish(self, pdu: Pdu, work: Awaitable[None]) -> Pdu:
        try:
            await work
        except Exception as error:
            return self._refuse(pdu, error)
        return _acknowledge(pdu, Status.OK)

    def _refuse(self, pdu: Pdu, error: Exception) -> Pdu:
        self._log.error("a message from the centre was not taken", exc_info=error)
        return _acknowledge(pdu, Status.TEMPORARY_ERROR)


def _acknowledge(pdu: Pdu, status: Status) -> Pdu:
    return Pdu(Command.DELIVER_SM_RESP, pdu.sequence, status, Named())


__all__ = ["Centre", "Esme", "Hear", "LinkLost", "NotBound", "SubmitRefused"]
