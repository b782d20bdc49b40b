"""One SMPP connection, the same for both of its ends: requests with a window, answers by sequence number.

    session = Session(reader, writer, answer)        # answer(pdu) -> Pdu: the reply to a request of the other end
    running = asyncio.create_task(session.run())     # until the connection ends; then every open request fails
    reply = await session.request(Command.SUBMIT_SM, message)

`answer` must not wait long: it may be awaited, and nothing more is read meanwhile. A request that gets no reply in time
raises `NoAnswer`, after which nobody knows whether it was taken. A link on which nothing came for `enquire_s` is asked,
and closed where it keeps silent.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from ota.smpp.pdu import (
    HEADER,
    SEQUENCE_MAX,
    Body,
    Command,
    Pdu,
    PduError,
    SmppError,
    decode_pdu,
    encode_pdu,
    peek_length,
)

WINDOW: Final = 10
"""Requests without an answer at once: what centres commonly allow."""
RESPONSE_TIMEOUT_S: Final = 10.0
"""response_timer, 7.2: a centre answers before it delivers, so this is network and queueing."""
ENQUIRE_S: Final = 30.0
"""enquire_link_timer, 7.2: well under the minutes after which firewalls forget a silent connection."""

Answer = Callable[[Pdu], Pdu | Awaitable[Pdu]]


class LinkLost(SmppError):  # noqa: N818 - what happened
    """The connection ended; a request under way may or may not have been taken."""


class NoAnswer(SmppError):  # noqa: N818 - what happened
    """The other end did not answer in time; the request may or may not have been taken."""


class Session:
    """Reads and writes PDUs on a connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Answer,
        *,
        window: int = WINDOW,
        response_timeout_s: float = RESPONSE_TIMEOUT_S,
        enquire_s: float = ENQUIRE_S,
    ) -> None:
        self._reader, self._writer, self._answer = reader, writer, answer
        self._window = asyncio.Semaphore(window)
        self._response_timeout_s, self._enquire_s = response_timeout_s, enquire_s
        self._open: dict[int, asyncio.Future[Pdu]] = {}
        self._sequence = 0
        self._heard_at = time.monotonic()
        self.closed = False

    async def request(self, command: Command, body: Body = None) -> Pdu:
        """Send a request, within the window, and return its answer. Raises `LinkLost`, `NoAnswer`, `PduError`."""
        async with self._window:
            return await self._exchange(command, body)

    async def run(self) -> None:
        """Read until the connection ends; never raises for what the other end does."""
        keeping = asyncio.create_task(self._keep_alive(), name="smpp enquire_link")
        try:
            while (data := await self._read()) is not None and await self._take(data):
                await self._writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            keeping.cancel()
            self.close()

    def close(self) -> None:
        """End the connection at once; open requests fail with `LinkLost`."""
        self.closed = True
        for waiting in self._open.values():
            if not waiting.done():
                waiting.set_exception(LinkLost("the SMPP connection ended before the answer came"))
        self._writer.close()

    async def unbind(self) -> None:
        """Say good-bye and close."""
        with suppress(SmppError):
            await self.request(Command.UNBIND)
        self.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _exchange(self, command: Command, body: Body) -> Pdu:
        if self.closed:
            raise LinkLost("there is no SMPP connection")
        self._sequence = self._sequence % SEQUENCE_MAX + 1
        sequence = self._sequence
        data = encode_pdu(Pdu(command, sequence, body=body))
        waiting: asyncio.Future[Pdu] = asyncio.get_running_loop().create_future()
        self._open[sequence] = waiting
        try:
            self._writer.write(data)
            await self._writer.drain()
            async with asyncio.timeout(self._response_timeout_s):
                return await waiting
        except TimeoutError:
            raise NoAnswer(f"no answer to {command.name.lower()} within {self._response_timeout_s:.0f} s") from None
        except OSError:
            raise LinkLost("the SMPP connection ended while a request was sent") from None
        finally:
            del self._open[sequence]
            if waiting.done() and not waiting.cancelled():
                waiting.exception()  # looked at, whoever else raised first

    async def _read(self) -> bytes | None:
        try:
            header = await self._reader.readexactly(4)
            return header + await self._reader.readexactly(peek_length(header) - 4)
        except PduError as error:  # the stream cannot be followed any more
            self._write(Pdu(Command.GENERIC_NACK, 0, error.status))
            return None

    async def _take(self, data: bytes) -> bool:
        """Handle one PDU; False where it ends the connection."""
        self._heard_at = time.monotonic()
        try:
            pdu = decode_pdu(data)
        except PduError as error:
            if not int.from_bytes(data[4:8], "big") & 0x80000000:  # an answer is never answered
                self._write(Pdu(Command.GENERIC_NACK, error.sequence, error.status))
            return len(data) >= HEADER.size
        if pdu.command.is_response:
            waiting = self._open.get(pdu.sequence)
            if waiting is not None and not waiting.done():
                waiting.set_result(pdu)
            return True
        if pdu.command is Command.ENQUIRE_LINK:
            self._write(Pdu(Command.ENQUIRE_LINK_RESP, pdu.sequence))
        elif pdu.command is Command.UNBIND:
            self._write(Pdu(Command.UNBIND_RESP, pdu.sequence))
            return False
        else:
            answer = self._answer(pdu)
            self._write(answer if isinstance(answer, Pdu) else await answer)
        return True

    def _write(self, pdu: Pdu) -> None:
        self._writer.write(encode_pdu(pdu))

    async def _keep_alive(self) -> None:
        while True:
            silent = time.monotonic() - self._heard_at
            if silent < self._enquire_s:
                await asyncio.sleep(self._enquire_s - silent)
                continue
            try:
                await self._exchange(Command.ENQUIRE_LINK, None)
            except SmppError:
                self.close()
                return
