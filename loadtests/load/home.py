"""A home operator's node with subscribers and cards, and a service provider's node it sells for, as processes here.

    async with open_home(folder, server, ledger, issuer, logs=logs) as node:     # a HomeNode for the plan

The insurer sells codes, which need no card, so that purchases load the storefront and the ledger; OTA jobs go by SMPP
to software cards in phones, in this process. Both operators are admitted by the ledger's issuer; the home is funded.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from landfall.keystore import Keystore
from landfall.postgres import Server
from landfall.settings import read_settings
from loadtests.cast import DAY_MS, FUNDS, PRICE, now_ms
from loadtests.load.node import call, open_node, wait_for
from loadtests.load.plan import HomeNode
from loadtests.load.setting import find_node
from loadtests.nodes import LedgerUnderTest
from marketplace import operator_setup
from marketplace.ledger_link.keys import OperatorKeys
from marketplace.operator_settings import KEYS_FOLDER, TOKEN_FILE
from ota.profile import MobileProfile
from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte
from settlement.ledger.client import LedgerClient
from settlement.ledger.messages import Admit, Mint, Party, Terms
from settlement.sdr import sample_rates
from settlement.usage.tariff import Code
from simcard.readers import MemoryLink
from simcard.uicc import personalise
from simulator.card_book import close_with_luhn
from simulator.field import Field, Network
from simulator.hlr import EmbeddedHlr
from simulator.processes import HOST, Nodes, draw_settings, find_free_port
from simulator.smsc import Smsc

PLMN: Final = "25099"
CARDS: Final = 40
"""Software cards: one answers some hundred packets a second, and a card has one job at a time."""
PASSWORD_OCTETS: Final = 6
"""In base64 the eight characters that SMPP has room for."""


@asynccontextmanager
async def open_home(
    folder: Path, server: Server, ledger: LedgerUnderTest, issuer: LedgerClient, *, logs: Path
) -> AsyncIterator[HomeNode]:
    """Have both nodes run while the block does; what they log stays. Raises NodeError where one does not start."""
    mark, password = secrets.token_hex(4), secrets.token_urlsafe(PASSWORD_OCTETS)
    field = Field()
    smsc = Smsc(field, {"ota": password})
    cards = await _fill(field, smsc)
    async with AsyncExitStack() as stack:
        smpp = await stack.enter_async_context(smsc.serve(HOST, 0))
        nodes = await stack.enter_async_context(Nodes(logs))
        carrier = f'[carrier]\nurl = "smpp://ota@{HOST}:{smpp}"\n'
        made = []
        for name, more in ((f"home-{mark}", carrier), (f"insurer-{mark}", "")):
            port = find_free_port()
            server.create_database(name)
            settings = draw_settings(folder / name, server.dsn(name), port=port)
            party, token = await asyncio.to_thread(_found, settings, name, ledger, more, password)
            await issuer.submit(issuer.make(Admit, party=party))
            nodes.start(name, ["serve", "--role", "operator"], settings, port=port)
            made.append(HomeNode(name, f"http://{HOST}:{port}", token, (), (), ()))
        home, insurer = made
        await issuer.submit(issuer.make(Mint, to=home.operator, amount=FUNDS, deposit=f"load test of {home.operator}"))
        await nodes.wait_ready()
        yield await _stock(home, insurer, cards)


def _found(settings: dict[str, str], name: str, ledger: LedgerUnderTest, more: str, password: str) -> tuple[Party, str]:
    """An operator's folder; its party, and its staff's token."""
    read = read_settings(settings)
    rates = read.data_dir.with_name("rates.csv")
    rates.write_text(sample_rates(datetime.now(UTC).date()))
    configuration = (
        f'id = "{name}"\nname = "{name.title()}"\ncountry = "DE"\ncurrency = "EUR"\nrates = "{rates}"\n'
        f'[ledger]\nurl = "{ledger.url}"\nkey = "{ledger.log}"\n{more}'
    )
    party = operator_setup.initialise(read, configuration, read.data_dir.with_name(f"{name}-recovery.json"))
    keys = OperatorKeys(Keystore.open(read.data_dir / KEYS_FOLDER, read.require_kek()))
    keys.put_secret("carrier", password.encode())
    return party, (read.data_dir / TOKEN_FILE).read_text().strip()


async def _fill(field: Field, smsc: Smsc) -> list[dict[str, Any]]:
    """Phones with cards, all at home; what the home operator enters of each."""
    hlr, entered = EmbeddedHlr(), []
    field.add_network(Network(PLMN, "Home", hlr))
    for number in range(CARDS):
        iccid, msisdn = close_with_luhn(f"898826200000{number:06d}"), f"+49151000{number:05d}"
        profile = MobileProfile(
            imsi=f"{PLMN}{number:010d}",
            k=secrets.token_bytes(16),
            opc=secrets.token_bytes(16),
            plmn=PLMN,
            spn="Home",
            acc=1,
            smsc="+491510000000",
            coverage=(PLMN[:3],),
            msisdn=msisdn,
        )
        await hlr.create_subscriber(profile.imsi, k=profile.k, opc=profile.opc, algorithm="milenage", msisdn=msisdn)
        kic, kid = secrets.token_bytes(16), secrets.token_bytes(16)
        ota = KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=kic, kid_key=kid)
        card = personalise(iccid=iccid, home=profile, ota=[ota], adm=f"{secrets.randbelow(10**8):08d}")
        await field.add_phone(MemoryLink(card), place=PLMN)
        smsc.numbers[msisdn.lstrip("+")] = iccid
        known = {"iccid": iccid, "kic": kic.hex(), "kid": kid.hex()}
        entered.append({"name": f"Subscriber {number}", "msisdn": msisdn, "card": known})
    return entered


async def _stock(home: HomeNode, insurer: HomeNode, cards: list[dict[str, Any]]) -> HomeNode:
    """The insurer's offer, the home's package of it, and its subscribers, all through their nodes' APIs."""
    terms = Terms(
        name={"en": "Travel cover"},
        description={"en": "An offer of a load test"},
        category="insurance",
        delivery="code",
        tariff=Code(price=PRICE),
        valid_until=now_ms() + 30 * DAY_MS,
        accept_within_s=7 * 86_400,
        report_within_s=7 * 86_400,
    )
    async with open_node(insurer) as http:
        offer = (await call(http, "POST", "/offers", {"terms": msgspec.to_builtins(terms), "policy": "auto"}))["id"]
        await wait_for(http, "/offers", lambda seen: any(one["id"] == offer and one["state"] == "open" for one in seen))
    async with open_node(home) as http:
        await wait_for(http, "/operator", lambda seen: seen["admitted"] and seen["pending"] == 0)
        draft = {"name": "Cover", "currency": "EUR", "items": [{"offer": offer}], "retail_minor": 1000}
        await call(http, "POST", "/packages", draft)
        for card in cards:
            await call(http, "POST", "/subscribers", card)
    return await find_node(home.url, home.token)
