"""Work on chunks by several processes, answers in order, with a bounded number of chunks under way."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final, TypeVar

from settlement.usage.tap3.ber import grammar

CHUNK: Final = 1000
"""Records handed to a process at once: some 30 ms of work, so that handing over costs little."""
CHUNK_OCTETS: Final = 1024 * 1024
"""Octets of a chunk: ordinary ones have a third of it; values of hostile ones take thirty times their octets."""
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


def in_chunks(items: Iterable[Given], size_of: Callable[[Given], int]) -> Iterator[list[Given]]:
    """Lists of up to `CHUNK` items and, but for a single larger one, `CHUNK_OCTETS` octets."""
    chunk: list[Given] = []
    octets = 0
    for item in items:
        size = size_of(item)
        if chunk and (len(chunk) >= CHUNK or octets + size > CHUNK_OCTETS):
            yield chunk
            chunk, octets = [], 0
        chunk.append(item)
        octets += size
    if chunk:
        yield chunk
