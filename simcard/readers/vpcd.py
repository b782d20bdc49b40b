"""A software card behind vpcd, so that any PC/SC program uses it as if it sat in a reader.

Debian's `vsmartcard-vpcd` gives `pcscd` a virtual reader that listens on TCP 35963; we are its client and the card:

    server = VpcdServer(card.transmit, card.reset)
    threading.Thread(target=server.run).start()      # connects, and connects again whenever pcscd comes back
    server.stop()                                    # from any thread or signal handler; `run` returns

Each frame is a 2-byte big-endian length and a payload. One byte from the reader is control: 0 power off, 1 power on,
2 reset, 4 "send your ATR", the only one that is answered. Anything longer is a command APDU, answered by its response.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from enum import IntEnum

import structlog

VPCD_HOST, VPCD_PORT = "127.0.0.1", 35963
# pcscd may start later than we do, or again; one attempt a second is soon enough for a person and costs nothing.
RECONNECT_AFTER_S = 1.0
CONNECT_TIMEOUT_S = 5.0
# How soon `stop` is noticed while the reader is silent.
POLL_S = 0.5

log = structlog.get_logger()


class Control(IntEnum):
    """The one-byte payloads of vpcd."""

    POWER_OFF = 0
    POWER_ON = 1
    RESET = 2
    ATR = 4


class VpcdServer:
    """Serves one card, given as `transmit` (APDU in, response out) and `reset` (ATR out), to the vpcd at host and port.

    `atr` replaces what `reset` returns, for tools that choose how to talk by the ATR. `run` blocks until `stop`.
    """

    def __init__(
        self,
        transmit: Callable[[bytes], bytes],
        reset: Callable[[], bytes],
        *,
        host: str = VPCD_HOST,
        port: int = VPCD_PORT,
        atr: bytes | None = None,
    ) -> None:
        self._transmit, self._reset, self._other_atr = transmit, reset, atr
        self._host, self._port = host, port
        self._reset_card()
        self._stopping = threading.Event()
        self.connected = threading.Event()

    def run(self) -> None:
        """Connect, serve, connect again; returns after `stop`, with the card reset and the socket closed."""
        waiting_told = False
        while not self._stopping.is_set():
            try:
                with socket.create_connection((self._host, self._port), CONNECT_TIMEOUT_S) as stream:
                    waiting_told = False
                    log.info("vpcd.connected", host=self._host, port=self._port)
                    self.connected.set()
                    self._serve(stream)
            except OSError as error:
                if not waiting_told:
                    log.info("vpcd.waiting", host=self._host, port=self._port, reason=str(error))
                    waiting_told = True
            finally:
                self.connected.clear()
                self._reset_card()
            self._stopping.wait(RECONNECT_AFTER_S)

    def stop(self) -> None:
        """Let `run` return, within half a second or once the APDU under way is answered."""
        self._stopping.set()

    def _serve(self, stream: socket.socket) -> None:
        stream.settimeout(POLL_S)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (header := self._receive(stream, 2)) is not None:
            payload = self._receive(stream, int.from_bytes(header, "big"))
            if payload is None:
                break
            if (answer := self._answer(payload)) is not None:
                stream.sendall(len(answer).to_bytes(2, "big") + answer)
        log.info("vpcd.disconnected", host=self._host, port=self._port)

    def _answer(self, payload: bytes) -> bytes | None:
        if len(payload) > 1:
            return self._transmit(payload)
        match payload[0] if payload else None:
            case Control.POWER_OFF | Control.POWER_ON | Control.RESET:
                self._reset_card()
            case Control.ATR:
                # Asked between APDUs too, only to see whether the card is there: no reset here.
                return self._atr
        return None

    def _reset_card(self) -> None:
        atr = self._reset()
        self._atr = self._other_atr or atr

    def _receive(self, stream: socket.socket, length: int) -> bytes | None:
        """Exactly `length` octets; None when the reader went away or we are to stop."""
        received = b""
        while len(received) < length:
            if self._stopping.is_set():
                return None
            try:
                # vpcd writes length and payload apart and waits between for our acknowledgement: 40 ms, were it late.
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                part = stream.recv(length - len(received))
            except TimeoutError:
                continue
            if not part:
                return None
            received += part
        return received
