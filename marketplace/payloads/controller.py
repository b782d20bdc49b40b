"""`/v1/payloads/{digest}`: sealed profiles and codes, beside the log."""

from hashlib import sha256
from typing import Annotated, Any, Final

from litestar import Controller, Request, Response, delete, get, put
from litestar.params import PathParameter

from marketplace.access.caller import BearerAuthentication, Caller, require_operator
from marketplace.ledger_node import Node
from marketplace.openapi import BEARER, OctetsOperation
from marketplace.payloads.repository import erase_payload, read_payload, store_payload
from marketplace.problems import ProblemError
from settlement.ledger.api import MAX_PAYLOAD, Path

Digest = Annotated[str, PathParameter(pattern="^[0-9a-f]{64}$", description="SHA-256 of the ciphertext, hex.")]

MAX_READ: Final = 8 * MAX_PAYLOAD
"""What is read of too large a payload, so that its sender hears of it; a larger one's connection is just closed."""


class PayloadController(Controller):
    """Ciphertexts that an accept names by digest."""

    path = Path.PAYLOADS + "/{digest:str}"
    tags = ("payloads",)
    middleware = (BearerAuthentication,)
    guards = (require_operator,)
    security = BEARER

    @put(
        summary="Lay a sealed payload down",
        status_code=204,
        operation_class=OctetsOperation,
        request_max_body_size=MAX_READ,
    )
    async def store(self, request: Request[Caller, Any, Any], node: Node, digest: Digest) -> None:
        """At most 65,536 octets whose SHA-256 is `digest`; before the accept that names it. The same again is the same.

        Example: `curl -X PUT --data-binary @sealed.bin -H "authorization: Bearer $TOKEN" …/v1/payloads/$(sha256sum …)`
        """
        ciphertext = await request.body()
        if len(ciphertext) > MAX_PAYLOAD:
            raise ProblemError("too-large", f"the payload has {len(ciphertext)} octets, at most {MAX_PAYLOAD} are kept")
        found = sha256(ciphertext).hexdigest()
        if found != digest:
            raise ProblemError("malformed", f"the SHA-256 of the {len(ciphertext)} octets sent is {found}")
        if not await store_payload(node.store.pool, digest, request.user.operator, ciphertext):
            raise ProblemError("already-exists", f"the payload {digest} was erased: seal it anew")

    @get(summary="Fetch a sealed payload", media_type="application/octet-stream")
    async def fetch(self, request: Request[Caller, Any, Any], node: Node, digest: Digest) -> Response[bytes]:
        """For who sent it, and for the home operator of the request that was accepted with it.

        Example: `curl -o sealed.bin -H "authorization: Bearer $TOKEN" …/v1/payloads/9f86d081…`
        """
        ciphertext = await read_payload(node.store.pool, digest, request.user.operator)
        if ciphertext is None:
            raise _none_for(request, digest)
        return Response(ciphertext, headers={"cache-control": "private, no-store"})

    @delete(summary="Erase a sealed payload")
    async def erase(self, request: Request[Caller, Any, Any], node: Node, digest: Digest) -> None:
        """Erase the ciphertext for good; the digest in the log says nothing of what it was. For the same two.

        Example: `curl -X DELETE -H "authorization: Bearer $TOKEN" …/v1/payloads/9f86d081…`
        """
        if not await erase_payload(node.store.pool, digest, request.user.operator):
            raise _none_for(request, digest)


def _none_for(request: Request[Caller, Any, Any], digest: str) -> ProblemError:
    return ProblemError("not-found", f"there is no payload {digest} for {request.user.operator}")
