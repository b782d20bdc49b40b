"""A sequence of envelopes in one call: read as it streams in, sequenced in pieces, answered line by line.

    pieces = read_pieces(request.stream())             # bounded lists of lines
    body = await answer_sequence(sequencer, pieces)    # NDJSON: one Answer a line, in order; the last the checkpoint

A piece is durable before the next is taken, so a later line may build on an earlier one, and what is held is one piece
and the answers. Those begin to flow only when the whole body was read (docs/decisions/0030).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from marketplace.problems import ProblemError, describe
from marketplace.transactions.measures import count_answers, track
from settlement.ledger.api import MAX_SEQUENCE, Answer, Receipt
from settlement.ledger.envelope import MAX_RAW
from settlement.ledger.rejections import Rejection
from settlement.ledger.sequencer import Sequencer

PIECE_LINES: Final = 500
"""Envelopes given to the sequencer at once: what clients are advised to send in one call, and a quarter of a batch."""
PIECE_OCTETS: Final = 4 * 1024 * 1024
"""The same in octets, for sequences of full usage reports."""
ROOM_WAIT_S: Final = 5.0
"""How long a sequence under way waits for room before the rest of it is answered `overloaded`."""
ROOM_PAUSE_S: Final = 0.05

_encoder = msgspec.json.Encoder()


async def read_pieces(body: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Divide a stream into lines, and these into pieces of at most PIECE_LINES; a final newline may be missing.

    Of an overlong line one octet more than an envelope may have is kept: enough for it to be refused as too large.
    """
    lines: list[bytes] = []
    tail, held = b"", 0
    async for chunk in body:
        *whole, tail = (tail + chunk).split(b"\n")
        tail = tail[: MAX_RAW + 1]
        lines += whole
        held += len(chunk)
        while len(lines) >= PIECE_LINES or (lines and held >= PIECE_OCTETS):
            piece, lines = lines[:PIECE_LINES], lines[PIECE_LINES:]
            held = sum(map(len, lines))
            yield piece
    if tail:
        lines.append(tail)
    while lines:
        piece, lines = lines[:PIECE_LINES], lines[PIECE_LINES:]
        yield piece


async def answer_sequence(sequencer: Sequencer, pieces: AsyncIterator[list[bytes]]) -> bytes:
    """Sequence every piece and encode the answers. What is past MAX_SEQUENCE gets one answer and is not read.

    Raises ProblemError `overloaded` where there is no room at the beginning.
    """
    if not sequencer.room():
        raise ProblemError("overloaded", sequencer.halted or "the queue is full")
    answered, left = bytearray(), MAX_SEQUENCE
    async for piece in pieces:
        answered += encode_answers(await submit_when_room(sequencer, piece[:left]))
        left -= len(piece)
        if left < 0:
            excess = Rejection("too-large", f"a sequence has at most {MAX_SEQUENCE} lines: the rest was not read")
            answered += encode_answers([excess])
            break
    answered += _encoder.encode(Answer(checkpoint=sequencer.covering_checkpoint()))
    answered += b"\n"
    return bytes(answered)


async def submit_when_room(sequencer: Sequencer, envelopes: Sequence[bytes]) -> list[Receipt | Rejection]:
    """Submit as soon as there is room, or reject as `overloaded` when there is none for ROOM_WAIT_S."""
    waited = 0.0
    while not sequencer.room():
        if waited >= ROOM_WAIT_S or sequencer.halted:
            return [Rejection("overloaded", sequencer.halted or "the queue is full")] * len(envelopes)
        await asyncio.sleep(ROOM_PAUSE_S)
        waited += ROOM_PAUSE_S
    with track(len(envelopes)):
        answers = await sequencer.submit(envelopes)
    count_answers(answers)
    return answers


def encode_answers(answers: Sequence[Receipt | Rejection]) -> bytes:
    """NDJSON, one line an answer."""
    return _encoder.encode_lines(
        [
            Answer(receipt=answer)
            if isinstance(answer, Receipt)
            else Answer(problem=describe(answer.code, answer.detail))
            for answer in answers
        ]
    )
