"""Operators' nodes as processes of their own, beside a real ledger and a field of phones and networks.

    async with open_world(ledger, postgres_server, tmp_path) as world:
        purchase = await world.home.post("/purchases", {...})

The home operator has one subscriber whose multi-account SIM is in a phone in the field; the visited operator has a
network and five profiles; the service provider sells codes. What they say to each other goes through the ledger.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from landfall.keystore import Keystore
from landfall.postgres import Server
from landfall.settings import read_settings
from marketplace.ledger_link.keys import OperatorKeys
from marketplace.operator_settings import KEYS_FOLDER, TOKEN_FILE
from marketplace.operator_setup import initialise
from ota.profile import MobileProfile
from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte
from settlement.ledger.messages import Admit, Mint
from settlement.sdr import sample_rates
from settlement.usage.tariff import Tariff
from simcard.readers import MemoryLink
from simcard.uicc import personalise
from simulator.demo.billing import PATH as BILL_PATH
from simulator.demo.billing import PhoneBill
from simulator.field import Field, Network, Phone
from simulator.field_app import NetworkAccess, create_field_app, serve_field
from simulator.hlr import EmbeddedHlr
from simulator.processes import HOST, Node, draw_settings, find_free_port, start_node, wait_ready
from simulator.smsc import Faults, Smsc
from tests.integration.ledger_world import LedgerWorld, make_terms

ICCID, MSISDN = "8970199000000000017", "+79991234567"
SENDER = "70250"  # of the home operator's account at the centre
SMPP_PASSWORD = 8  # characters
HOME_PLMN, VISITED_PLMN = "25099", "26201"
OTA = KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=bytes(range(16)), kid_key=bytes(range(16, 32)))
PRICE = 2_000_000
BILL_SECRET = b"the billing system's secret"
WAIT_S = 20.0
logging.getLogger("httpx").setLevel(logging.WARNING)  # thousands of polls


@dataclass
class NodeProcess:
    """One operator's node: its process and its API as staff use it."""

    id: str
    environment: dict[str, str]
    port: int
    api: httpx.AsyncClient
    node: Node | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        self.node = start_node(self.id, ["serve", "--role", "operator"], self.environment, port=self.port)

    async def await_ready(self) -> None:
        assert self.node is not None
        await wait_ready([self.node])

    def kill(self) -> None:
        """As a power cut does."""
        assert self.node is not None
        self.node.kill()

    def stop(self) -> None:
        if self.node is not None:
            self.node.stop()

    async def get(self, path: str, **params: Any) -> Any:
        return _read(await self.api.get(path, params=params))

    async def post(self, path: str, body: Any = None) -> Any:
        content = b"" if body is None else msgspec.json.encode(body)
        return _read(await self.api.post(path, content=content, headers={"content-type": "application/json"}))

    async def post_text(self, path: str, text: str) -> Any:
        return _read(await self.api.post(path, content=text, headers={"content-type": "text/csv"}))

    async def wait(self, path: str, holds: Callable[[Any], bool], *, within_s: float = WAIT_S, **params: Any) -> Any:
        deadline = time.monotonic() + within_s
        while True:
            seen = await self.get(path, **params)
            if holds(seen):
                return seen
            assert time.monotonic() < deadline, f"{self.id} {path} after {within_s} s: {seen}"
            await asyncio.sleep(0.05)


@dataclass
class OperatorWorld:
    """Three operators, a ledger, a field."""

    ledger: LedgerWorld
    home: NodeProcess
    visited: NodeProcess
    provider: NodeProcess
    phone: Phone
    hlr: EmbeddedHlr

    async def sell(self, seller: NodeProcess, *, policy: str = "auto", tariff: Tariff, **terms: Any) -> str:
        """Publish an offer and wait until it is open; its id."""
        offer = await seller.post("/offers", {"terms": make_terms(tariff, **terms), "policy": policy})
        await seller.wait("/offers", lambda seen: _by_id(seen, offer["id"])["state"] == "open")
        return str(offer["id"])

    async def buy(self, *offers: str, retail_minor: int = 1000, **purchase: Any) -> Any:
        """The subscriber buys a package of these offers; the purchase as it is at first."""
        items = [{"offer": offer} for offer in offers]
        draft = {"name": "Away", "currency": "EUR", "items": items, "retail_minor": retail_minor}
        package = await self.home.post("/packages", draft)
        subscriber = (await self.home.get("/subscribers"))[0]
        return await self.home.post(
            "/purchases", {"subscriber": subscriber["id"], "package": package["id"], **purchase}
        )


@asynccontextmanager
async def open_world(
    ledger: LedgerWorld,
    server: Server,
    folder: Path,
    *,
    minted: int = 50_000_000,
    bill: PhoneBill | None = None,
    smpp: Faults | None = None,
) -> AsyncIterator[OperatorWorld]:
    """Found all three, admit them, start them; with `smpp`, cards are reached through a centre with these faults."""
    secret, mark = secrets.token_hex(16), secrets.token_hex(3)
    field, hlr = Field(), EmbeddedHlr()
    home_network = field.add_network(Network(HOME_PLMN, "Home", EmbeddedHlr()))
    field.add_network(Network(VISITED_PLMN, "Visited", hlr))
    phone = await _add_phone(field, home_network)
    field_url, visited_port = f"http://127.0.0.1:{find_free_port()}", find_free_port()
    access = {
        VISITED_PLMN: NetworkAccess(secret, f"http://127.0.0.1:{visited_port}/webhooks/registrations", secret),
    }
    carrier = f'[carrier]\nurl = "{field_url}"\n'
    network = f'[[networks]]\nplmn = "{VISITED_PLMN}"\nurl = "{field_url}"\nspn = "Visited"\nsmsc = "+491710760000"\n'
    async with AsyncExitStack() as stack:
        if smpp is not None:
            smsc = Smsc(field, {"ota": secret[:SMPP_PASSWORD]}, faults=smpp)
            smsc.addresses[SENDER] = "ota"
            for one in field.networks.values():
                one.centre = smsc
            smsc_port = await stack.enter_async_context(smsc.serve("127.0.0.1", 0))
            carrier = f'[carrier]\nurl = "smpp://ota@127.0.0.1:{smsc_port}"\nsender = "{SENDER}"\n'
        if bill is not None:
            bill_port = find_free_port()
            await stack.enter_async_context(serve_field(bill.app(), "127.0.0.1", bill_port))
            carrier += f'[billing]\nurl = "http://127.0.0.1:{bill_port}{BILL_PATH}"\n'
        app = create_field_app(field, carrier_secret=secret[:SMPP_PASSWORD], access=access)
        await stack.enter_async_context(serve_field(app, "127.0.0.1", int(field_url.rsplit(":", 1)[1])))
        nodes = []
        for name, more, port in (("home", carrier, 0), ("visited", network, visited_port), ("provider", "", 0)):
            node = await found_node(ledger, server, folder, f"{name}-{mark}", more, secret, port or find_free_port())
            stack.push_async_callback(node.api.aclose)
            stack.push_async_callback(asyncio.to_thread, node.stop)
            nodes.append(node)
        if bill is not None:
            bill.webhook_url = f"{nodes[0].url}/webhooks/payments"
        async with ledger.issuer_client() as issuer:
            deposit = f"deposit of {nodes[0].id}"
            if minted:
                await issuer.submit(issuer.make(Mint, to=nodes[0].id, amount=minted, deposit=deposit))
        for node in nodes:
            node.start()
        for node in nodes:
            await node.await_ready()
        world = OperatorWorld(ledger, nodes[0], nodes[1], nodes[2], phone, hlr)
        await _stock(world)
        yield world


async def found_node(
    ledger: LedgerWorld, server: Server, folder: Path, name: str, more: str, secret: str, port: int
) -> NodeProcess:
    database = name.replace("-", "_")
    server.create_database(database)
    environment = {**os.environ, **draw_settings(folder / name, server.dsn(database), port=port)}
    settings = read_settings(environment)
    rates = folder / "rates.csv"
    rates.write_text(sample_rates(datetime.now(UTC).date()))
    configuration = (
        f'id = "{name}"\nname = "{name.title()}"\ncountry = "DE"\nrates = "{rates}"\n'
        f'[ledger]\nurl = "{ledger.url}"\nkey = "{ledger.log}"\n{more}'
    )
    party = initialise(settings, configuration, folder / f"{name}-recovery.json")
    keys = OperatorKeys(Keystore.open(settings.data_dir / KEYS_FOLDER, settings.require_kek()))
    for shared in (f"network-{VISITED_PLMN}", f"webhook-{VISITED_PLMN}"):
        keys.put_secret(shared, secret.encode())
    keys.put_secret("carrier", secret[:SMPP_PASSWORD].encode())
    keys.put_secret("billing", BILL_SECRET)
    async with ledger.issuer_client() as issuer:
        await issuer.submit(issuer.make(Admit, party=party))
    token = (settings.data_dir / TOKEN_FILE).read_text()
    authorization = {"authorization": f"Bearer {token}"}
    api = httpx.AsyncClient(base_url=f"http://{HOST}:{port}", headers=authorization, timeout=30)
    return NodeProcess(name, environment, port, api)


async def _add_phone(field: Field, home: Network) -> Phone:
    profile = MobileProfile(
        imsi="250990000000001",
        k=secrets.token_bytes(16),
        opc=secrets.token_bytes(16),
        plmn=HOME_PLMN,
        spn="Home",
        acc=1,
        smsc="+79990000000",
        coverage=(HOME_PLMN, HOME_PLMN[:3]),
        msisdn=MSISDN,
    )
    await home.provision(profile.imsi, k=profile.k, opc=profile.opc, algorithm="milenage", msisdn=profile.msisdn)
    card = personalise(iccid=ICCID, home=profile, ota=[OTA], adm="12345678")
    return await field.add_phone(MemoryLink(card), place=HOME_PLMN)


async def _stock(world: OperatorWorld) -> None:
    rows = [
        f"{VISITED_PLMN}{number:010d},{secrets.token_hex(16)},{secrets.token_hex(16)},+4917100000{number:02d}"
        for number in range(5)
    ]
    imported = await world.visited.post_text("/profiles", "imsi,k,opc,msisdn\n" + "\n".join(rows))
    assert imported == {"imported": 5, "known": 0}
    card = {"iccid": ICCID, "kic": OTA.kic_key.hex(), "kid": OTA.kid_key.hex()}
    await world.home.post("/subscribers", {"name": "Anna Example", "msisdn": MSISDN, "card": card})


def _read(response: httpx.Response) -> Any:
    if response.status_code >= 400:
        raise NodeRefused(response)
    return response.json() if response.content else None


class NodeRefused(AssertionError):  # noqa: N818 - it says what happened
    """A node answered with a problem."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.request.method} {response.url}: {response.status_code} {response.text}")
        self.status = response.status_code
        self.code = response.json().get("code")


def _by_id(rows: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    return next(row for row in rows if row["id"] == wanted)
