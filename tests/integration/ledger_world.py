"""A ledger as operators meet it: real processes on a free port, an issuer, and as many operators as a test wants.

    @pytest.fixture(scope="session")
    def ledger(…): ...                        # this module's fixture, which tests/integration/conftest.py hands on

    async def test_…(ledger: LedgerWorld) -> None:
        async with ledger.operator(minted=5_000_000) as home, ledger.operator() as visited:
            offer = await visited.publish()
            request = await home.order(offer)
            await visited.client.submit(visited.client.make(AcceptRequest, request=request, payload=…))

Every operator a test asks for is new, so tests share one ledger and do not meet.
"""

import asyncio
import itertools
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec

from landfall.postgres import Server
from landfall.settings import Settings, read_settings
from marketplace.ledger_setup import initialise
from ota.sealing import SealPrivateKey
from settlement.ledger.api import Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.envelope import Signer
from settlement.ledger.keys import to_base64url
from settlement.ledger.messages import (
    AcceptRequest,
    AddKey,
    Admit,
    Mint,
    Parameters,
    Party,
    PlaceRequest,
    PublishOffer,
    Role,
    Terms,
)
from settlement.ledger.note import VerifierKey
from settlement.usage.tariff import Bundle, Tariff
from simulator.processes import Node, draw_settings, find_free_port, serve_node

ORIGIN = "ledger.example/test"
DAY_MS = 86_400_000
PRICE = 1_000_000
"""Of the offers that `publish` makes, micro-SDRt."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Keys:
    """What one party keeps to itself."""

    signer: Signer = field(default_factory=lambda: Signer(secrets.token_bytes(32)))
    recovery: Signer = field(default_factory=lambda: Signer(secrets.token_bytes(32)))
    seal: SealPrivateKey = field(default_factory=SealPrivateKey.generate)

    def party(self, name: str, role: Role = "operator") -> Party:
        return Party(
            id=name,
            name=name.title(),
            country="DE",
            role=role,
            key=to_base64url(self.signer.public),
            recovery_key=to_base64url(self.recovery.public),
        )


@dataclass
class Member:
    """An admitted operator with its connection to the ledger and the deeds tests need over and over."""

    id: str
    keys: Keys
    client: LedgerClient

    async def publish(self, tariff: Tariff | None = None, **terms: Any) -> UUID:
        """Publish an offer (a bundle of data for Spain, if not told otherwise) and return its id."""
        message = self.client.make(PublishOffer, terms=make_terms(tariff, **terms))
        await self.client.submit(message)
        return message.id

    def make_order(self, offer: UUID, escrow: int = PRICE, **fields: Any) -> PlaceRequest:
        fields.setdefault("ends", now_ms() + 10 * DAY_MS)
        fields.setdefault("user_id", secrets.token_hex(16))
        fields.setdefault("delivery_key", self.keys.seal.public_key().key_id)
        return self.client.make(PlaceRequest, offer=offer, escrow=escrow, **fields)

    async def order(self, offer: UUID, escrow: int = PRICE, **fields: Any) -> UUID:
        """Place a request on an offer and return its id."""
        message = self.make_order(offer, escrow, **fields)
        await self.client.submit(message)
        return message.id

    async def accept(self, request: UUID, sealed: bytes = b"sealed") -> Receipt:
        """Lay a payload down and accept a request with it."""
        digest = await self.client.put_payload(sealed)
        return await self.client.submit(self.client.make(AcceptRequest, request=request, payload=digest))

    async def get(self, path: str, **params: Any) -> httpx.Response:
        """One GET with this operator's token, as any program would do it."""
        return await self.request("GET", path, params=params)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {await self.client._connection.bearer()}"}
        return await self.client._connection.http.request(method, path, headers=headers, **options)


def make_terms(tariff: Tariff | None = None, **terms: Any) -> Terms:
    """The terms of an offer: a bundle of 1 GB for Spain, but for what is given."""
    given: dict[str, Any] = {
        "name": {"en": "Spain 1 GB"},
        "description": {"en": "Data in Spain"},
        "category": "telecom",
        "countries": ("ES",),
        "plmns": ("21401",),
        "delivery": "profile",
        "tariff": tariff or Bundle(price=PRICE, octets=1_000_000_000, hours=72, renewals=5),
        "valid_until": now_ms() + 5 * DAY_MS,
        "accept_within_s": 3600,
        "report_within_s": 86_400,
    }
    return Terms(**given | terms)


class LedgerWorld:
    """A running ledger and its issuer."""

    def __init__(
        self,
        vkey: str,
        issuer: Keys,
        settings: Settings,
        node: Node,
        environment: dict[str, str],
    ) -> None:
        self.url = node.url
        self.log = VerifierKey.parse(vkey)
        self.issuer = issuer
        self.settings = settings
        self.node = node
        self.environment = environment
        self._names = (f"op-{number:04d}" for number in itertools.count(1))

    def client(self, name: str = "", signer: Signer | None = None) -> LedgerClient:
        """A connection; without a signer it only reads what is public."""
        return LedgerClient(self.url, log=self.log, signer=signer, operator=name)

    def issuer_client(self) -> LedgerClient:
        return self.client("issuer", self.issuer.signer)

    async def admit(self, name: str, *, role: Role = "operator", minted: int = 0, keys: Keys | None = None) -> Keys:
        """Have the issuer admit a party (and mint for it) and the party register its seal key."""
        keys = keys or Keys()
        async with self.issuer_client() as issuer:
            await issuer.submit(issuer.make(Admit, party=keys.party(name, role)))
            if minted:
                await issuer.submit(issuer.make(Mint, to=name, amount=minted, deposit=f"deposit of {name}"))
        async with self.client(name, keys.signer) as client:
            seal = to_base64url(keys.seal.public_key().to_bytes())
            await client.submit(client.make(AddKey, purpose="seal", key=seal))
        return keys

    @asynccontextmanager
    async def operator(self, *, minted: int = 0, role: Role = "operator") -> AsyncIterator[Member]:
        """A new operator, admitted and connected."""
        name = next(self._names)
        keys = await self.admit(name, role=role, minted=minted)
        async with self.client(name, keys.signer) as client:
            yield Member(name, keys, client)


@contextmanager
def start_ledger(
    folder: Path, database_url: str | None, *, workers: int = 2, parameters: Parameters | None = None
) -> Iterator[LedgerWorld]:
    """Found a ledger in `folder` and serve it by `workers` processes until the end of the block.

    `database_url`: an empty database; None starts an embedded server in `folder`.
    """
    port = find_free_port()
    environment = {
        **os.environ,
        **draw_settings(folder, database_url or "", port=port),
        "LANDFALL_WORKERS": str(workers),
    }
    settings = read_settings(environment)
    issuer = Keys()
    vkey = initialise(settings, ORIGIN, issuer.party("issuer", "issuer"), parameters)
    with serve_node("ledger", environment, port=port) as node:
        yield LedgerWorld(vkey, issuer, settings, node, environment)


def fresh_database(server: Server) -> str:
    """The DSN of a new database of the tests' server."""
    name = f"ledger_{secrets.token_hex(6)}"
    server.create_database(name)
    return server.dsn(name)


async def eventually(condition: Any, *, within_s: float = 10.0) -> Any:
    """The first true value of an async function, asked for again and again."""
    deadline = time.monotonic() + within_s
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"{condition} was not true within {within_s} s"
        await asyncio.sleep(0.05)
    return value


def decode(response: httpx.Response, shape: Any = dict) -> Any:
    return msgspec.json.decode(response.content, type=shape)
