"""Access tokens for client assertions (RFC 7523 §2.2: private_key_jwt; RFC 6749 §4.4: client credentials).

    token = await tokens.grant(assertion)      # a JWT signed with one of the operator's signing keys on the ledger
    caller = await tokens.read(bearer)         # on every call

An access token is a JWT of ten minutes under a key that all processes of the node share. It names the signing key it
was bought with, and that key is looked up at every use: once it is revoked, its tokens are worth nothing.
"""

import time
from hashlib import sha256
from typing import Any, Final

import asyncpg
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from marketplace.access.caller import Caller
from marketplace.access.repository import find_signing_key, use_assertion
from marketplace.problems import ProblemError
from settlement.ledger.api import Path, Token

TOKEN_S: Final = 600
MAX_ASSERTION_S: Final = 300
"""Longest lifetime of an assertion: each is remembered until it ends."""
LEEWAY_S: Final = 10
"""How far an operator's clock may be off."""
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_ALGORITHM: Final = "HS256"
_REQUIRED: Final = ["iss", "sub", "aud", "exp", "iat", "jti"]


class Tokens:
    """Grants and reads access tokens of one ledger."""

    def __init__(self, pool: asyncpg.Pool, *, origin: str, key: bytes) -> None:
        self._pool = pool
        self._origin = origin
        self._key = key

    async def grant(self, assertion: str, *, url: str = "") -> Token:
        """A token for an assertion whose audience is the log's origin, or the `url` of the token endpoint.

        Raises ProblemError `unauthorized`: signature, key, audience, lifetime, or used before.
        """
        try:
            kid = str(jwt.get_unverified_header(assertion).get("kid"))
            signer = await find_signing_key(self._pool, kid)
            if signer is None:
                raise ProblemError("unauthorized", f"kid {kid[:64]} is no valid signing key of an operator")
            claims = jwt.decode(
                assertion,
                Ed25519PublicKey.from_public_bytes(signer.public),
                algorithms=["EdDSA"],
                audience=[self._origin, url, url.removesuffix(Path.TOKEN)],
                issuer=signer.operator,
                subject=signer.operator,
                leeway=LEEWAY_S,
                options={"require": _REQUIRED},
            )
        except jwt.InvalidTokenError as error:
            raise ProblemError("unauthorized", f"the client assertion does not hold: {error}") from None
        await self._use_once(signer.operator, claims)
        now = int(time.time())
        granted = {"iss": self._origin, "aud": self._origin, "sub": signer.operator, "kid": kid, "exp": now + TOKEN_S}
        return Token(jwt.encode(granted, self._key, algorithm=_ALGORITHM), TOKEN_S)

    async def _use_once(self, operator: str, claims: dict[str, Any]) -> None:
        now, expires = int(time.time()), int(claims["exp"])
        if expires - now > MAX_ASSERTION_S + LEEWAY_S:
            raise ProblemError("unauthorized", f"exp is {expires - now} s away, at most {MAX_ASSERTION_S} are allowed")
        jti = sha256(f"{operator}\n{claims['jti']}".encode()).hexdigest()
        if not await use_assertion(self._pool, jti, expires=expires + LEEWAY_S, now=now):
            raise ProblemError(
                "unauthorized", f"the assertion {str(claims['jti'])[:64]} was used before: make a new one"
            )

    async def read(self, token: str) -> Caller:
        """Who holds this token. Raises ProblemError `unauthorized`."""
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[_ALGORITHM], audience=self._origin, options={"require": ["exp", "kid"]}
            )
        except jwt.InvalidTokenError as error:
            raise ProblemError("unauthorized", f"the access token does not hold: {error}") from None
        signer = await find_signing_key(self._pool, claims["kid"])
        if signer is None:
            raise ProblemError("unauthorized", f"the key {claims['kid']} that the token was bought with has ended")
        return Caller(signer.operator, signer.role)
