"""Greenlets on one side, an event loop on the other: how Locust's users await coroutines of the SDK.

    bridge = Bridge()                        # starts one event loop in a native thread
    answers = bridge.run(ledger.send_all(envelopes))        # in a greenlet: only this greenlet waits
    bridge.close()                           # what is under way is awaited, then the loop ends

A greenlet that is killed while it waits leaves its coroutine running to its end: what was sent is journalled with its
answer, whoever still wants to hear it. Nothing of the standard library is replaced (docs/decisions/0195).
"""

import asyncio
import threading
from collections import deque
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import gevent
import gevent.event
import uvloop

T = TypeVar("T")


class Bridge:
    """One event loop, and the greenlets that wait for it. Made and used in the thread of gevent's hub."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sdk", daemon=True)
        self._thread.start()
        self._done: deque[gevent.event.Event] = deque()
        self._under_way: set[Future[Any]] = set()
        self._watcher = gevent.get_hub().loop.async_()
        self._watcher.start(self._wake)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` on the loop while other greenlets go on. Raises what it raises."""
        awake = gevent.event.Event()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._under_way.add(future)

        def tell(done: "Future[T]") -> None:  # on the loop's thread; the watcher's `send` is what may be called there
            self._under_way.discard(done)
            self._done.append(awake)
            self._watcher.send()

        future.add_done_callback(tell)
        awake.wait()
        return future.result()

    def _wake(self) -> None:
        while self._done:
            self._done.popleft().set()

    def settle(self, timeout_s: float) -> int:
        """Wait until nothing is under way; how much still is when the time is over."""
        with gevent.Timeout(timeout_s, False):
            while self._under_way:
                gevent.sleep(0.05)
        return len(self._under_way)

    def close(self) -> None:
        """End the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._watcher.close()
        self._loop.close()
