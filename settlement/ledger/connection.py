"""A connection to a ledger's HTTP API as one operator: tokens, retries, and what its answers mean.

    connection = Connection(url, origin=…, signer=signer, operator="alfa")
    account = await connection.get(Path.ACCOUNT, Account, authorised=True)       # raises Rejected, Unreachable
    offers = await connection.get_all(Path.OFFERS, Page[Offer], {"country": "ES"})

A call is repeated after a lost connection, an answer of 5xx or a token that has run out, and that is safe: the ledger
takes the same envelope once. What is believed of an answer is not decided here: see `settlement.ledger.client`.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, TypeVar

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from settlement.ledger.api import Page, Path, Problem, Token
from settlement.ledger.envelope import Signer
from settlement.ledger.ids import new_id
from settlement.ledger.rejections import Rejection

ATTEMPTS: Final = 8
FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 10.0
"""Retries after a lost connection or 503: 0.1 s, doubled each time with jitter, at most 10 s: some 25 s in all."""
TIMEOUT_S: Final = 60.0
QUIET_S: Final = 30.0
"""A stream of events in which nothing comes for longer, not even a sign of life, is lost."""
ASSERTION_S: Final = 60
"""Lifetime of a client assertion; it is used at once."""
TOKEN_USE: Final = 0.8
"""How much of its lifetime a token is used for: what begins with it is to end with it."""

T = TypeVar("T")


class Rejected(Exception):  # noqa: N818 - what it says is that the ledger rejected
    """The ledger's answer was no: `rejection.code` is one of docs/rejections.md."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection)  # what it is made of, so that a worker process can hand it over
        self.rejection = rejection

    def __str__(self) -> str:
        return f"{self.rejection.code}: {self.rejection.detail}"


class Unreachable(Exception):  # noqa: N818
    """The ledger did not answer in all attempts: whether a transaction was taken is unknown; send the same again."""


class Connection:
    """One party's HTTP connections to one ledger. Without a signer only what is public can be had."""

    def __init__(self, url: str, *, origin: str, signer: Signer | None, operator: str, connections: int) -> None:
        self.origin = origin
        self.signer = signer
        self.operator = operator
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self.http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, limits=limits)
        self._token: tuple[str, float] = ("", 0.0)

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    def require_signer(self) -> Signer:
        """Whose key signs."""
        assert self.signer is not None, "this client was made for reading: it has no signer"
        return self.signer

    async def call(self, method: str, path: str, *, authorised: bool = False, **options: Any) -> httpx.Response:
        """One call, again after a lost connection, a 503 or a token that has run out. Raises Unreachable."""
        pause, last = FIRST_PAUSE_S, "no attempt"
        for _ in range(ATTEMPTS):
            try:
                if authorised:
                    token = await self.bearer()
                    options["headers"] = {**options.get("headers", {}), "authorization": f"Bearer {token}"}
                response = await self.http.request(method, path, **options)
                if response.status_code == 401 and authorised:
                    self._token = ("", 0.0)
                elif response.status_code < 500:
                    return response
                last = f"HTTP {response.status_code} {response.text[:200]}"
            except httpx.TransportError as error:
                last = f"{type(error).__name__} {error}"
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, MAX_PAUSE_S)
        raise Unreachable(f"{method} {self.http.base_url}{path}: {ATTEMPTS} attempts failed, the last with {last}")

    async def ask(self, method: str, path: str, *, authorised: bool = False, **options: Any) -> bytes:
        """One call that is to succeed: the octets of its answer. Raises Rejected, Unreachable."""
        return _accept(await self.call(method, path, authorised=authorised, **options))

    async def get(
        self, path: str, shape: type[T], params: Mapping[str, Any] | None = None, *, authorised: bool = False
    ) -> T:
        """What is there, decoded. Raises Rejected, Unreachable."""
        return msgspec.json.decode(await self.ask("GET", path, params=params or {}, authorised=authorised), type=shape)

    async def find(self, path: str, shape: type[T], *, authorised: bool = False) -> T | None:
        """What is there, or None where nothing is. Raises Rejected, Unreachable."""
        response = await self.call("GET", path, authorised=authorised)
        return None if response.status_code == 404 else msgspec.json.decode(_accept(response), type=shape)

    async def get_all(self, path: str, shape: type[Page[T]], search: Mapping[str, str | int]) -> list[T]:
        """The items of all pages, for this party. Raises Rejected, Unreachable."""
        items: list[T] = []
        params = dict(search)
        while True:
            page: Page[T] = await self.get(path, shape, params, authorised=True)
            items.extend(page.items)
            if page.next is None:
                return items
            params["after"] = page.next

    async def events(self, path: str, params: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """The data of server-sent events, until the connection ends. Raises httpx.TransportError, Unreachable."""
        headers = {"authorization": f"Bearer {await self.bearer()}", "accept": "text/event-stream"}
        async with self.http.stream("GET", path, params=params, headers=headers, timeout=QUIET_S) as stream:
            if stream.status_code == 401:
                self._token = ("", 0.0)
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    yield line[5:].encode()

    async def bearer(self) -> str:
        """An access token that is valid for a while (RFC 6749 §4.4, with an assertion of RFC 7523)."""
        token, until = self._token
        if time.monotonic() < until:
            return token
        signer, now = self.require_signer(), int(time.time())
        claims = {
            "iss": self.operator,
            "sub": self.operator,
            "aud": self.origin,
            "iat": now,
            "exp": now + ASSERTION_S,
            "jti": str(new_id()),
        }
        key = Ed25519PrivateKey.from_private_bytes(signer.key.seed)
        assertion = jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": signer.kid})
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }
        granted = msgspec.json.decode(await self.ask("POST", Path.TOKEN, data=form), type=Token)
        self._token = (granted.access_token, time.monotonic() + granted.expires_in * TOKEN_USE)
        return granted.access_token


def _accept(response: httpx.Response) -> bytes:
    if response.status_code < 400:
        return response.content
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except msgspec.MsgspecError:
        raise Rejected(Rejection("not-found", f"HTTP {response.status_code}: {response.text[:200]}")) from None
    raise Rejected(Rejection(problem.code, problem.detail))
