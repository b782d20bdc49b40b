"""A client of an HLR that speaks GSUP, Osmocom's protocol in the place of MAP (OsmoHLR user manual, chapter 15).

    async with GsupClient("127.0.4.1", name="landfall") as gsup:
        answer = await gsup.ask(MsgType.SEND_AUTH_INFO_REQUEST, imsi)
        answer.kind, answer.all("auth_tuple")

Messages are coded by pyosmocom. One procedure of an IMSI is under way at a time; others go beside it. What the HLR asks
meanwhile is answered with success: INSERT DATA within a location update, a cancelled location. A lost connection fails
what is under way and is opened again by the next question.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import structlog
from osmocom.gsup.message import GsupMessage, MsgType

from landfall.errors import LandfallError
from simulator.ipa import CCM, GSUP, IDENTITY_REQUEST, OSMO, PING, PONG, answer_identity, encode_frame, read_frame

PORT: Final = 4222
"""Of osmo-hlr; its configuration has only the address."""
REPLY_S: Final = 10.0
"""A row of SQLite and at most one question back; what takes longer is a dead HLR."""
# The two low bits of a message type: a request, its error, its result.
_KIND, _REQUEST, _RESULT = 0x03, 0x00, 0x02


class GsupError(LandfallError):
    """The HLR does not answer, or not in GSUP."""


class Message(msgspec.Struct, frozen=True):
    """A decoded message: its type, and its information elements in order, as pyosmocom names them."""

    kind: MsgType
    elements: tuple[tuple[str, Any], ...]

    def first(self, name: str) -> Any:
        """The value of the first element of that name, or None."""
        return next((value for key, value in self.elements if key == name), None)

    def all(self, name: str) -> list[Any]:
        """The values of all elements of that name."""
        return [value for key, value in self.elements if key == name]

    @property
    def imsi(self) -> str:
        """Whom it is about; empty where it does not say."""
        return str(self.first("imsi") or "").rstrip("fF")

    def __repr__(self) -> str:
        return f"Message({self.kind.name})"  # elements are keys and persons


def encode_message(kind: MsgType, imsi: str, *more: tuple[str, Any]) -> bytes:
    """The octets of a message about a subscriber."""
    message = GsupMessage(kind)
    message.ies.from_dict([{"imsi": imsi}, *({name: value} for name, value in more)])
    return bytes(message.to_bytes())


def decode_message(data: bytes) -> Message:
    """Read a message; raises `GsupError` for octets that are none."""
    try:
        message = GsupMessage.from_bytes(data)
        pairs = (next(iter(element.items())) for element in message.ies.to_dict())
        return Message(message.msg_type, tuple(pairs))
    except Exception as error:  # pyosmocom and construct raise whatever comes
        raise GsupError(f"{len(data)} octets from the HLR are no GSUP message ({type(error).__name__})") from None


class GsupClient:
    """One connection to an HLR, opened at the first question."""

    def __init__(self, host: str, port: int = PORT, *, name: str) -> None:
        self._host, self._port, self._name = host, port, name
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._opening = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(__name__)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def ask(self, kind: MsgType, imsi: str, *more: tuple[str, Any]) -> Message:
        """Put a request and return its result or error. Raises `GsupError` where neither comes."""
        async with self._turns[imsi]:
            writer = await self._open()
            answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            self._waiting[imsi] = answer
            try:
                writer.write(_frame(encode_message(kind, imsi, *more)))
                async with asyncio.timeout(REPLY_S):
                    await writer.drain()
                    reply = await answer
            except TimeoutError:
                raise GsupError(f"the HLR at {self._host} gave no answer to {kind.name} in {REPLY_S:.0f} s") from None
            except OSError as error:
                raise GsupError(f"the HLR at {self._host} is gone: {error}") from None
            finally:
                del self._waiting[imsi]
        if reply.kind & ~_KIND != kind:
            raise GsupError(f"the HLR at {self._host} answered {kind.name} with {reply.kind.name}")
        return reply

    async def _open(self) -> asyncio.StreamWriter:
        async with self._opening:
            if self._writer is None or self._writer.is_closing():
                try:
                    reader, self._writer = await asyncio.open_connection(self._host, self._port)
                except OSError as error:
                    raise GsupError(f"no HLR answers at {self._host}:{self._port}: {error}") from None
                named = asyncio.Event()
                self._reading = asyncio.create_task(self._read(reader, self._writer, named), name="gsup")
                with suppress(TimeoutError):
                    async with asyncio.timeout(REPLY_S):
                        await named.wait()
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, named: asyncio.Event) -> None:
        """Take frames until the connection ends; then everything under way has failed."""
        try:
            while True:
                protocol, payload = await read_frame(reader)
                if protocol == CCM and payload[:1] == bytes((IDENTITY_REQUEST,)):
                    writer.write(answer_identity(self._name))
                    named.set()
                elif protocol == CCM and payload[:1] == bytes((PING,)):
                    writer.write(encode_frame(CCM, bytes((PONG,))))
                elif protocol == OSMO and payload[:1] == bytes((GSUP,)):
                    self._take(payload[1:], writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            named.set()
            writer.close()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(GsupError(f"the HLR at {self._host} closed the connection"))

    def _take(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            message = decode_message(data)
        except GsupError as error:
            self._log.warning("not taken", error=str(error))
            return
        if message.kind & _KIND == _REQUEST:
            writer.write(_frame(encode_message(MsgType(message.kind | _RESULT), message.imsi)))
            return
        waiting = self._waiting.get(message.imsi)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)


def _frame(message: bytes) -> bytes:
    return encode_frame(OSMO, bytes((GSUP,)) + message)
