"""The world of a demonstration: one PostgreSQL, six nodes, networks and phones, and who drives them.

    async with open_world(folder, cast, account) as world:
        await world.node(ALFA).post("/purchases", {...})

Each node has a database, a data folder, keys and a key-encryption key of its own, and is reached through its HTTP API
only. The issuer and the auditor have no node: they use the SDK, as such parties may. Networks and phones live here, in
this process, and nodes reach them on loopback: over HTTP as `simulator.field_app` has it, cards by SMPP through
`simulator.smsc`.

What an earlier demonstration left in the folder is ended and removed first; nothing else on the machine is touched.
"""

import asyncio
import base64
import fcntl
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from landfall.keystore import Keystore
from landfall.postgres import Server, ensure_server
from landfall.settings import read_settings
from marketplace import ledger_setup, operator_setup
from marketplace.ledger_link.keys import OperatorKeys
from marketplace.operator_settings import KEYS_FOLDER, TOKEN_FILE
from settlement.ledger.client import LedgerClient
from settlement.ledger.envelope import Signer
from settlement.ledger.keys import to_base64url
from settlement.ledger.messages import Admit, Parameters, Party, Role
from settlement.ledger.note import VerifierKey
from settlement.sdr import sample_rates
from simcard.readers import MemoryLink
from simcard.uicc import personalise
from simulator.demo.account import Account, DemoError, Via
from simulator.demo.billing import PATH, PhoneBill
from simulator.demo.cast import (
    ALFA,
    AUDITOR,
    HOMES,
    HOUSES,
    ISSUER,
    ORIGIN,
    VISITED,
    Cast,
    House,
    list_secrets,
)
from simulator.field import Field, Network, Phone
from simulator.field_app import NetworkAccess, create_field_app, serve_field
from simulator.hlr import Cause, EmbeddedHlr, Hlr, HlrKind, HlrRefusalError
from simulator.network import Mobile
from simulator.node_api import NodeApi
from simulator.osmo_hlr import run_osmo_hlr
from simulator.processes import HOST, Nodes, find_free_ports
from simulator.smsc import Smsc

LEDGER_WORKERS: Final = 2
SMPP_PASSWORD_BYTES: Final = 6
"""In base64 the eight characters that SMPP has room for."""
ENVELOPE: Final = "80c2"
"""CLA and INS of ENVELOPE (TS 102 221 §11.2.2)."""
LOCK_FILE: Final = ".lock"
VKEY_FILE: Final = "origin.vkey"
TRUTH_FILE: Final = "truth.json"
DUMP_FILE: Final = "ledger-database.copy"
SETTLED: Final = ("invoices", "documents", "netting.svg")
"""What the acts of settling leave."""
RATES_FILE: Final = "rates.csv"
"""Sample rates of today, by which the nodes value their packages."""
OURS: Final = (
    "data",
    "logs",
    "ledger",
    "private",
    VKEY_FILE,
    RATES_FILE,
    "report.json",
    "report.html",
    DUMP_FILE,
    *SETTLED,
)
"""All that a demonstration writes into its folder, and so all that the next one removes."""
_HOUSE_IDS: Final = tuple(house.id for house in HOUSES)
_SERVED: Final = ("ledger", "field", "billing", "smsc", *_HOUSE_IDS)
DIGEST_INTERVAL: Final = 50
"""Entries between state digests: small, so that a short story has some for the auditor to compare."""


class Attempt(msgspec.Struct, frozen=True):
    """A phone tried to register: which PLMN its IMSI is of, and the cause it was refused for, if it was."""

    home_plmn: str
    cause: Cause | None


class WatchedNetwork(Network):
    """A network that remembers who tried to register."""

    def __init__(self, house: House, hlr: Hlr) -> None:
        assert house.plmn is not None, f"{house.id} has no network"
        super().__init__(house.plmn, house.name, hlr)
        self.attempts: list[Attempt] = []

    async def attach(self, phone: Mobile) -> None:
        """Register the phone, or raise `HlrRefusalError`; remember which."""
        plmn = phone.imsi[: len(self.plmn)]
        try:
            await super().attach(phone)
        except HlrRefusalError as refusal:
            self.attempts.append(Attempt(plmn, refusal.cause))
            raise
        self.attempts.append(Attempt(plmn, None))


class CountingLink(MemoryLink):
    """A reader that counts the ENVELOPEs a card was given."""

    envelopes = 0

    def send_apdu(self, apdu: str) -> tuple[str, str]:
        """Send one APDU, as every reader does."""
        self.envelopes += apdu.lower().startswith(ENVELOPE)
        return super().send_apdu(apdu)


class World:
    """What the play is played with."""

    def __init__(self, folder: Path, cast: Cast, account: Account) -> None:
        self.folder, self.cast, self.account = folder.resolve(), cast, account
        self.ports = dict(zip(_SERVED, find_free_ports(len(_SERVED)), strict=True))
        self.issuer_key, self.auditor_key = Signer(secrets.token_bytes(32)), Signer(secrets.token_bytes(32))
        self.carrier_secret, self.bill_secret = secrets.token_urlsafe(), secrets.token_urlsafe()
        self.smpp_passwords = {house.id: secrets.token_urlsafe(SMPP_PASSWORD_BYTES) for house in HOMES}
        self.access = {
            house.plmn: NetworkAccess(
                secrets.token_urlsafe(), f"{self.url(house.id)}/webhooks/registrations", secrets.token_urlsafe()
            )
            for house in VISITED
            if house.plmn is not None
        }
        self.field = Field()
        self.smsc = Smsc(self.field, self.smpp_passwords)
        self.hlrs: dict[str, Hlr] = {house.id: EmbeddedHlr() for house in (*HOMES, *VISITED)}
        self.bill = PhoneBill(self.bill_secret.encode())
        self.networks: dict[str, WatchedNetwork] = {}
        self.phones: dict[int, Phone] = {}
        self.links: dict[int, CountingLink] = {}
        self.nodes: dict[str, NodeApi] = {}
        self.parties: dict[str, LedgerClient] = {}
        self.server: Server
        self.processes: Nodes
        self.key: VerifierKey
        self._keks = {name: base64.b64encode(secrets.token_bytes(32)).decode() for name in ("ledger", *_HOUSE_IDS)}

    @property
    def issuer(self) -> LedgerClient:
        """The issuer at its desk."""
        return self.parties[ISSUER]

    @property
    def auditor(self) -> LedgerClient:
        """The auditor, who may read everything and write nothing."""
        return self.parties[AUDITOR]

    def node(self, house: House) -> NodeApi:
        """A house's node."""
        return self.nodes[house.id]

    def url(self, name: str) -> str:
        """Where a node, the field or the phone bill is served."""
        return f"http://{HOST}:{self.ports[name]}"

    def start(self, name: str, role: str, more: Mapping[str, str]) -> None:
        """Start a node's process."""
        port = self.ports[name]
        environment = {**self.settings(name), **more, "LANDFALL_PORT": str(port)}
        self.processes.start(name, ["serve", "--role", role], environment, port=port)

    def settings(self, name: str) -> Mapping[str, str]:
        """A node's environment."""
        return {
            "LANDFALL_DATA_DIR": str(self.folder / "data" / name),
            "LANDFALL_DATABASE_URL": self.server.dsn(name),
            "LANDFALL_KEK": self._keks[name],
            "LANDFALL_HOST": HOST,
            "LANDFALL_LOG_JSON": "true",
        }


@asynccontextmanager
async def open_world(
    folder: Path, cast: Cast, account: Account, *, hlr: HlrKind = HlrKind.EMBEDDED
) -> AsyncIterator[World]:
    """Build it, hand it over, and take it down again, whatever happens. Raises `NodeError` where a node fails.

    `hlr` is what stands behind the visited networks; osmo-hlr that is not installed is an `OsmoHlrError`.
    """
    async with AsyncExitStack() as stack:
        clear(folder)
        world = World(folder, cast, account)
        (world.folder / RATES_FILE).write_text(sample_rates(datetime.now(UTC).date()))
        if hlr is HlrKind.OSMO:
            for house in VISITED:
                running = run_osmo_hlr(world.folder / "data" / f"osmo-hlr-{house.id}")
                world.hlrs[house.id] = await stack.enter_async_context(running)
            account.tell("osmo-hlr", "", "one is up for each visited operator, spoken to in GSUP", via=Via.API)
        world.server = await asyncio.to_thread(ensure_server, folder / "data")
        stack.push_async_callback(_stop_database, world)
        account.tell("database", "", "embedded PostgreSQL is up", via=Via.API)
        parties = await asyncio.to_thread(_found, world)
        world.processes = await stack.enter_async_context(Nodes(folder / "logs"))
        await _start(world, stack)
        await _connect(world, stack)
        await _admit(world, parties)
        yield world


async def _admit(world: World, parties: Mapping[str, Party]) -> None:
    """The issuer, who is the registrar, admits everybody; each node then makes its sealing key known by itself."""
    for party in parties.values():
        await world.issuer.submit(world.issuer.make(Admit, party=party))
        world.account.tell(ISSUER, party.id, f"admits {party.name} as {party.role}", via=Via.LEDGER)
    for house in HOUSES:
        while not any(key.purpose == "seal" for key in await world.issuer.operator_keys(house.id)):
            world.processes.check()
            await asyncio.sleep(0.1)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have the folder to oneself; the kernel gives it back when this process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError(
                f"another demonstration is being played in {folder}: wait for its end, or use --folder"
            ) from None
        yield


def clear(folder: Path) -> None:
    """End what an earlier demonstration left running here, and remove what it wrote."""
    if (folder / "data" / "postgres" / "postmaster.pid").exists():
        ensure_server(folder / "data").stop()
    for name in OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _found(world: World) -> dict[str, Party]:
    """Make databases and keys, the ledger's first entry, and every operator's folder; who is to be admitted."""
    for name in ("ledger", *_HOUSE_IDS):
        world.server.create_database(name)
    vkey = ledger_setup.initialise(
        read_settings(world.settings("ledger")),
        ORIGIN,
        _party(world.issuer_key, ISSUER, "SDRt Issuer", "CH", "issuer"),
        Parameters(digest_interval=DIGEST_INTERVAL),
    )
    (world.folder / VKEY_FILE).write_text(f"{vkey}\n")
    world.key = VerifierKey.parse(vkey)
    private = world.folder / "private"
    private.mkdir(mode=0o700)
    (private / TRUTH_FILE).write_bytes(msgspec.json.encode(list_secrets(world.cast)))
    parties = {house.id: _enrol(world, house) for house in HOUSES}
    parties[AUDITOR] = _party(world.auditor_key, AUDITOR, "Open Audit", "SE", "auditor")
    return parties


def _party(signer: Signer, operator: str, name: str, country: str, role: Role) -> Party:
    """A party without a node; its recovery key is thrown away with the demonstration."""
    recovery = Signer(secrets.token_bytes(32))
    return Party(
        id=operator,
        name=name,
        country=country,
        role=role,
        key=to_base64url(signer.public),
        recovery_key=to_base64url(recovery.public),
    )


def _enrol(world: World, house: House) -> Party:
    """Make an operator's folder: its settings, its keys, and the secrets it shares with its own surroundings."""
    settings = read_settings(world.settings(house.id))
    recovery = world.folder / "private" / f"recovery-{house.id}.json"
    party = operator_setup.initialise(settings, _describe(world, house), recovery)
    shared = {"billing": world.bill_secret}
    if house in HOMES:
        shared["carrier"] = world.smpp_passwords[house.id]
    if house in VISITED and house.plmn is not None:
        access = world.access[house.plmn]
        shared |= {f"network-{house.plmn}": access.secret, f"webhook-{house.plmn}": access.webhook_secret}
    keys = OperatorKeys(Keystore.open(settings.data_dir / KEYS_FOLDER, settings.require_kek()))
    for name, secret in shared.items():
        keys.put_secret(name, secret.encode())
    return party


def _describe(world: World, house: House) -> str:
    """The house's operator.toml."""
    lines = [
        f'id = "{house.id}"',
        f'name = "{house.name}"',
        f'country = "{house.country}"',
        f'currency = "{house.currency}"',
        f'rates = "{world.folder / RATES_FILE}"',
    ]
    if house.plmn is not None:
        lines += [f'tadig = "{house.tadig}"', f'plmns = ["{house.plmn}"]']
    lines += ["[ledger]", f'url = "{world.url("ledger")}"', f'key = "{world.key}"']
    if house in HOMES:
        lines += ["[carrier]", f'url = "smpp://{house.id}@{HOST}:{world.ports["smsc"]}"', f'sender = "{house.ota}"']
    if house is ALFA:
        lines += ["[billing]", f'url = "{world.url("billing")}{PATH}"']
    if house in VISITED:
        lines += [
            "[[networks]]",
            f'plmn = "{house.plmn}"',
            f'url = "{world.url("field")}"',
            f'spn = "{house.spn}"',
            f'smsc = "{house.smsc}"',
        ]
    lines += ["[company]", *_describe_company(house)]
    for partner in HOUSES:
        if partner is not house:
            lines += ["[[partners]]", f'operator = "{partner.id}"', *_describe_company(partner)]
    lines += ["[closing]", f'languages = ["{"ru" if house.country == "RU" else "en"}"]']
    return "\n".join(lines) + "\n"


def _describe_company(house: House) -> list[str]:
    """Who a house is in law."""
    return [f'{name} = "{getattr(house, name)}"' for name in ("legal_name", "street", "city", "register_id")]


async def _start(world: World, stack: AsyncExitStack) -> None:
    """Put networks, phones and the phone bill up, then all nodes at once."""
    for house in (*HOMES, *VISITED):
        network = world.networks[house.id] = WatchedNetwork(house, world.hlrs[house.id])
        network.centre = world.smsc
        world.field.add_network(network)
    world.smsc.addresses |= {house.ota: house.id for house in HOMES}
    for person in world.cast.people:
        profile = person.home_profile
        await world.networks[person.home.id].provision(
            profile.imsi, k=profile.k, opc=profile.opc, algorithm=profile.algorithm, msisdn=profile.msisdn
        )
        card = personalise(iccid=person.iccid, home=profile, ota=[person.ota], adm=f"{secrets.randbelow(10**8):08d}")
        link = world.links[person.number] = CountingLink(card)
        world.phones[person.number] = await world.field.add_phone(link, place=profile.plmn)
    await stack.enter_async_context(world.smsc.serve(HOST, world.ports["smsc"]))
    field = create_field_app(world.field, carrier_secret=world.carrier_secret, access=world.access)
    await stack.enter_async_context(serve_field(field, HOST, world.ports["field"]))
    world.bill.webhook_url = f"{world.url(ALFA.id)}/webhooks/payments"
    await stack.enter_async_context(serve_field(world.bill.app(), HOST, world.ports["billing"]))
    ledger = {"LANDFALL_WORKERS": str(LEDGER_WORKERS)}
    world.start("ledger", "ledger", ledger)
    for house in HOUSES:
        world.start(house.id, "operator", {})
    await world.processes.wait_ready()


async def _stop_database(world: World) -> None:
    """Keep the server's log with the others, then stop the server."""
    server_log = world.folder / "data" / "postgres" / "server.log"
    (world.folder / "logs").mkdir(exist_ok=True)
    shutil.copyfile(server_log, world.folder / "logs" / "postgres.log")
    await asyncio.to_thread(world.server.stop)


async def _connect(world: World, stack: AsyncExitStack) -> None:
    for house in HOUSES:
        token = (world.folder / "data" / house.id / TOKEN_FILE).read_text().strip()
        node = world.nodes[house.id] = NodeApi(house.id, world.url(house.id), token)
        stack.push_async_callback(node.close)
    for operator, signer in ((ISSUER, world.issuer_key), (AUDITOR, world.auditor_key)):
        client = LedgerClient(world.url("ledger"), log=world.key, signer=signer, operator=operator)
        world.parties[operator] = await stack.enter_async_context(client)
