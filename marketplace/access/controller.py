"""`POST /v1/token`: an access token for a client assertion."""

from typing import Annotated, Any, Literal

from litestar import Controller, Request, Response, post
from litestar.enums import RequestEncodingType
from litestar.params import Body
from msgspec import Struct

from marketplace.access.tokens import ASSERTION_TYPE
from marketplace.ledger_node import Node
from marketplace.problems import ProblemError
from settlement.ledger.api import Path, Token


class TokenRequest(Struct, frozen=True):
    """RFC 7523 §2.2, as a form. `client_assertion`: JWT (EdDSA) with kid, iss = sub = operator, aud, exp, iat, jti."""

    grant_type: Literal["client_credentials"]
    client_assertion_type: str
    client_assertion: str


class TokenController(Controller):
    """Access tokens."""

    path = Path.TOKEN
    tags = ("access",)

    @post(summary="Get an access token", status_code=200)
    async def grant(
        self,
        request: Request[Any, Any, Any],
        node: Node,
        data: Annotated[TokenRequest, Body(media_type=RequestEncodingType.URL_ENCODED)],
    ) -> Response[Token]:
        """Ten minutes of reading for a client assertion (private_key_jwt, RFC 7523) signed with any of the operator's
        valid signing keys. `aud` is the log's origin or this URL, `exp` at most five minutes away, `jti` used once.

        Example: `curl -d grant_type=client_credentials
        -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer -d client_assertion=$JWT
        …/v1/token`
        """
        if data.client_assertion_type != ASSERTION_TYPE:
            raise ProblemError("malformed", f"client_assertion_type must be {ASSERTION_TYPE}")
        token = await node.tokens.grant(data.client_assertion, url=str(request.url))
        return Response(token, headers={"cache-control": "no-store"})
