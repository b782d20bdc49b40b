"""A short message centre's clients: a connection's binding and what it may send, and the messages that wait for it."""

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from ota.smpp.pdu import Bind, Command, Named, Pdu, ShortMessage, SmppError, Status
from ota.smpp.session import Session

if TYPE_CHECKING:
    from simulator.smsc import Smsc

NAME: Final = "landfall"
RETRY_S: Final = 0.5
"""Between attempts to reach a phone without service. A real centre waits for its HLR's alert; minutes otherwise."""
DELIVERIES: Final = 10
"""deliver_sm to one client at once."""
_BINDS: Final = {
    Command.BIND_TRANSCEIVER: (True, True),
    Command.BIND_TRANSMITTER: (True, False),
    Command.BIND_RECEIVER: (False, True),
}


class Link:
    """One connection of a client, bound or not."""

    session: Session

    def __init__(self, smsc: "Smsc") -> None:
        self._smsc = smsc
        self.system_id = ""
        self._may_submit = False
        self._recent: deque[float] = deque()

    def answer(self, pdu: Pdu) -> Pdu:
        """The reply to a request of the client."""
        match pdu.body:
            case Bind() as bind if pdu.command in _BINDS:
                return Pdu(pdu.command.response, pdu.sequence, self._bind(pdu.command, bind), Named(NAME))
            case ShortMessage() as message if pdu.command is Command.SUBMIT_SM:
                if not self._may_submit:
                    return Pdu(Command.SUBMIT_SM_RESP, pdu.sequence, Status.WRONG_BIND_STATE)
                status, message_id = self._smsc.accept(self, message)
                body = Named(message_id) if status == Status.OK else None
                return Pdu(Command.SUBMIT_SM_RESP, pdu.sequence, status, body)
        return Pdu(Command.GENERIC_NACK, pdu.sequence, Status.INVALID_COMMAND)

    def over_limit(self, most_per_s: int | None) -> bool:
        """Whether the client has sent that many within the last second."""
        if most_per_s is None:
            return False
        now = time.monotonic()
        while self._recent and self._recent[0] < now - 1:
            self._recent.popleft()
        if len(self._recent) >= most_per_s:
            return True
        self._recent.append(now)
        return False

    def _bind(self, command: Command, bind: Bind) -> Status:
        if self.system_id:
            return Status.ALREADY_BOUND
        if (status := self._smsc.check(bind)) == Status.OK:
            self.system_id = bind.system_id
            self._may_submit, receives = _BINDS[command]
            if receives:
                # The answer to the bind goes first: deliver_sm before it would be out of state (2.3).
                asyncio.get_running_loop().call_soon(self._smsc.attach, self)
        return status


class Box:
    """Messages that wait for a client, and those who bring them to whichever of its connections is bound."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[ShortMessage] = asyncio.Queue()
        self._sessions: list[Session] = []
        self._bound = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []

    def put(self, message: ShortMessage) -> None:
        """Let it wait."""
        self._queue.put_nowait(message)

    def attach(self, session: Session) -> None:
        """A connection is bound that takes messages."""
        self._sessions.append(session)
        self._bound.set()
        if not self._workers:
            self._workers = [asyncio.create_task(self._bring()) for _ in range(DELIVERIES)]

    def detach(self, session: Session) -> None:
        """A connection is gone."""
        if session in self._sessions:
            self._sessions.remove(session)
        if not self._sessions:
            self._bound.clear()

    async def close(self) -> None:
        """Bring nothing more."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _bring(self) -> None:
        while True:
            message = await self._queue.get()
            while True:
                await self._bound.wait()
                session = self._sessions[-1]
                try:
                    reply = await session.request(Command.DELIVER_SM, message)
                except SmppError:
                    self.detach(session)  # it is gone or silent: the next one bound gets the message
                    session.close()
                    continue
                if reply.status != Status.TEMPORARY_ERROR:
                    break
                await asyncio.sleep(RETRY_S)
