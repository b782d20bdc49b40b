"""Work on chunks by several processes, answers in order, with a bounded number of chunks under way."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final, TypeVar

from settlement.usage.tap3.ber import grammar

CHUNK: Final = 1000
"""Records handed to a process at once: some 30 ms of work, so that handing over costs little."""
AHEAD: Final = 3
"""Chunks under way for each process: enough to keep it busy, few enough to bound memory."""
PARALLEL_FROM: Final = 2 * 1024 * 1024
"""Octets of a file from which processes pay for being started."""

Given = TypeVar("Given")
Answer = TypeVar("Answer")


def in_processes(work: Callable[[Given], Answer], chunks: Iterable[Given], workers: int) -> Iterator[Answer]:
    """Answers of `work`, a module's function or a partial of one, in the order of `chunks`."""
    grammar("CallEvent")  # before processes are forked, so that they have it
    with ProcessPoolExecutor(workers) as pool:
        pending: deque[Future[Answer]] = deque()
        try:
            for chunk in chunks:
                pending.append(pool.submit(work, chunk))
                if len(pending) >= workers * AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
