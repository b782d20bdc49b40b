"""A body of envelopes is divided into lines and pieces the same way however it arrives, and is never held whole."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.problems import ProblemError
from marketplace.transactions.sequence import PIECE_LINES, PIECE_OCTETS, answer_sequence, read_pieces
from settlement.ledger.envelope import MAX_RAW
from settlement.ledger.sequencer import MAX_QUEUED, Sequencer
from settlement.ledger.store import LedgerStore


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def read(*chunks: bytes) -> list[list[bytes]]:
    async def gather() -> list[list[bytes]]:
        return [piece async for piece in read_pieces(stream(*chunks))]

    return asyncio.run(gather())


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(0, 400), max_size=8), st.booleans())
def test_lines_do_not_depend_on_how_the_body_was_cut(lines: list[bytes], cuts: list[int], ended: bool) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    body = b"".join(line + b"\n" for line in lines)
    if not ended and lines and lines[-1]:
        body = body[:-1]
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[first:end] for first, end in itertools.pairwise(edges)]
    assert [line for piece in read(*chunks) for line in piece] == lines


def test_pieces_are_bounded_in_lines_and_octets() -> None:
    pieces = read(b"x\n" * (3 * PIECE_LINES + 7))
    assert [len(piece) for piece in pieces] == [PIECE_LINES] * 3 + [7]
    line = b"y" * 60_000 + b"\n"
    pieces = read(*[line] * 150)
    assert sum(map(len, pieces)) == 150
    assert all(sum(map(len, piece)) <= PIECE_OCTETS + len(line) for piece in pieces)


def test_of_an_overlong_line_just_enough_is_kept_to_refuse_it() -> None:
    [piece] = read(b"a\n", *[b"b" * 10_000] * 50, b"\nc")
    assert [len(line) for line in piece] == [1, MAX_RAW + 1, 1]


def test_a_full_queue_refuses_the_call_before_reading_it() -> None:
    sequencer = Sequencer(LedgerStore(None), seed=b"1" * 32, origin="ledger.example/full")
    sequencer._queue.extend([None] * MAX_QUEUED)  # type: ignore[list-item]
    with pytest.raises(ProblemError) as refused:
        asyncio.run(answer_sequence(sequencer, read_pieces(stream(b"never read"))))
    assert refused.value.code == "overloaded"
