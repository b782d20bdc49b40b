"""`/v1/transactions`: the one way to write, and the sender's receipt by id."""

from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.params import PathParameter

from marketplace.access.caller import BearerAuthentication, Caller
from marketplace.ledger_node import LedgerNode, Node
from marketplace.openapi import SequenceOperation
from marketplace.problems import ProblemError, describe, respond
from marketplace.transactions.repository import find_own_entry
from marketplace.transactions.sequence import answer_sequence, read_pieces, submit_when_room
from settlement.ledger.api import JOSE, JOSE_SEQUENCE, MAX_SEQUENCE, Path, Receipt
from settlement.ledger.envelope import MAX_RAW
from settlement.ledger.rejections import Rejection
from settlement.ledger.sequencer import receipt_of

NDJSON: Final = "application/x-ndjson"
MAX_BODY: Final = MAX_SEQUENCE * (MAX_RAW + 1)
"""Octets of a sequence whose every line is as long as it may be; it is never held as a whole."""


class TransactionController(Controller):
    """Envelopes in, receipts out."""

    path = Path.TRANSACTIONS
    tags = ("transactions",)

    @post(
        summary="Submit one envelope, or a sequence of them",
        request_max_body_size=MAX_BODY,
        operation_class=SequenceOperation,
        media_type="application/json",
    )
    async def submit(self, request: Request[Any, Any, Any], node: Node) -> Response[bytes]:
        """Have envelopes sequenced; the answer comes when they are durable. The signature is the only credential.

        `application/jose`: one compact JWS → 201 and its receipt with inclusion proof and checkpoint, or a problem.

        `application/jose-seq`: up to 10,000 of them, one a line → 200 and NDJSON, an `Answer` a line in the order
        sent; the last line is the checkpoint that covers all. Some hundreds a call are best. Answers begin when the
        whole body was read.

        The same octets again give the first receipt again, so after a lost answer send the same. On 503 wait for
        `Retry-After` and send the same.

        Example: `curl -H 'content-type: application/jose' --data-binary @offer.jws …/v1/transactions`
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == JOSE_SEQUENCE:
            body = await answer_sequence(node.sequencer, read_pieces(request.stream()))
            return Response(body, status_code=200, media_type=NDJSON)
        if kind != JOSE:
            detail = f"the content type is {kind[:80]!r}, it must be {JOSE} or {JOSE_SEQUENCE}"
            return respond(describe("malformed", detail, 415))
        return await _answer_one(node, await _read_one(request))

    @get("/{transaction:uuid}", summary="Your receipt of a transaction", middleware=[BearerAuthentication])
    async def read(
        self,
        request: Request[Caller, Any, Any],
        node: Node,
        transaction: Annotated[UUID, PathParameter(description="The id that the sender gave.")],
    ) -> Receipt:
        """The receipt of an entry the caller sent, with a fresh proof: how a lost answer is learnt.

        404: nothing of this id was accepted from the caller.
        Example: `curl -H "authorization: Bearer $TOKEN" …/v1/transactions/01890a5d-ac96-774b-bcce-b302099a8057`
        """
        entry = await find_own_entry(node.store.pool, transaction, request.user.operator)
        if entry is None:
            raise ProblemError("not-found", f"no transaction {transaction} of {request.user.operator} was accepted")
        return await node.prover.prove_receipt(receipt_of(entry), await node.sequencer.checkpoint())


async def _read_one(request: Request[Any, Any, Any]) -> bytes:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_RAW:
            raise ProblemError("too-large", f"the envelope has more than {MAX_RAW} octets")
    return raw


async def _answer_one(node: LedgerNode, raw: bytes) -> Response[bytes]:
    if not node.sequencer.room():
        raise ProblemError("overloaded", node.sequencer.halted or "the queue is full")
    [answer] = await submit_when_room(node.sequencer, [raw])
    if isinstance(answer, Rejection):
        raise ProblemError(answer.code, answer.detail)
    receipt = await node.prover.prove_receipt(answer, node.sequencer.covering_checkpoint())
    return Response(msgspec.json.encode(receipt), status_code=201, media_type="application/json")
