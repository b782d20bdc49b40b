"""The caller of a request, and what roles may do."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from msgspec import Struct

from marketplace.problems import ProblemError
from settlement.ledger.messages import Role


class Caller(Struct, frozen=True):
    """Who holds the access token: an admitted operator, by its role."""

    operator: str
    role: Role

    @property
    def reads_everything(self) -> bool:
        """Whether all entries are open to it (docs/protocol.md, Who may read)."""
        return self.role == "auditor"

    @property
    def oversees(self) -> bool:
        """Whether the whole log is open to it, and so every obligation and dispute."""
        return self.role in ("auditor", "issuer")


Connection = ASGIConnection[Any, Caller, Any, Any]


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Demand a valid access token (RFC 6750 §2.1); the request's `user` is then its `Caller`."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """Read the token. Raises ProblemError `unauthorized`."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ProblemError("unauthorized", "there is no Authorization: Bearer header")
        caller = await connection.app.state.node.tokens.read(token)
        return AuthenticationResult(user=caller, auth=None)


def require_operator(connection: Connection, _: BaseRouteHandler) -> None:
    """Only operators trade; issuer and auditors do not."""
    _require(connection.user, "operator")


def require_overseer(connection: Connection, _: BaseRouteHandler) -> None:
    """Only auditors and the issuer read everybody's entries in bundles."""
    _require(connection.user, "auditor", "issuer")


def _require(caller: Caller, *roles: Role) -> None:
    if caller.role not in roles:
        raise ProblemError("not-permitted", f"{caller.operator} is an {caller.role}; this is for: {', '.join(roles)}")
