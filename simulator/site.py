"""The site of a simulation: PostgreSQL, the ledger, the operators' nodes, their networks and short message centre.

    async with open_site(folder, world, tell) as site:
        await site.issuer.submit(…)
        site.apis[operator.number]                  # an operator's live node, where it has one
        await site.kill("ledger")                   # as kill -9 does, and started again

Everything of a run lies in its folder, and the folder is enough to go on: the keys are there, ports stay the same, what
a killed simulator left running is ended first, and what had been founded is found again.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from landfall.postgres import Server, ensure_server
from marketplace.operator_settings import TOKEN_FILE
from ota.sealing import SealPrivateKey
from settlement.ledger.client import LedgerClient, Rejected
from settlement.ledger.envelope import Signer
from settlement.ledger.keys import to_base64url
from settlement.ledger.messages import AddKey, Admit, Party
from settlement.ledger.note import VerifierKey
from simulator.field import Field
from simulator.field_app import NetworkAccess, create_field_app, serve_field
from simulator.founding import (
    AUDITOR,
    ISSUER,
    VKEY_FILE,
    clear_unfinished,
    describe_auditor,
    describe_operator,
    find_or_found,
    open_operator_keys,
    ota_address,
)
from simulator.hlr import Hlr
from simulator.kept_network import KeptHlr, LoggedNetwork
from simulator.living_nodes import LivingNodes
from simulator.node_api import NodeApi
from simulator.osmo_hlr import run_osmo_hlr
from simulator.processes import HOST, NodeError
from simulator.site_keys import SiteKeys, open_keys
from simulator.smsc import Faults, Smsc
from simulator.world import Operator, World

FOUNDED: Final = "private/founded"
PROCESSES_FILE: Final = "private/processes.json"
LEDGER_WORKERS: Final = 2
REVIVALS: Final = 3
"""Times that nodes which an outage of the database has ended are started again."""
SEAL_WAIT_S: Final = 180.0
"""Nodes make their sealing keys known by themselves, once they are admitted: in a second, or on a busy machine ten."""

Tell = Callable[[str], None]


class GivenLedger(Struct, frozen=True):
    """A ledger that runs already: where it answers, the key it is believed by, and who issues SDRt there."""

    url: str
    key: str
    issuer: str
    seed: bytes

    def __repr__(self) -> str:
        return f"GivenLedger({self.url})"


class Site:
    """What runs. `signers` and `seal_ids`: by operator number; `apis`: of those with a node."""

    def __init__(self, folder: Path, world: World, given: GivenLedger | None = None, *, osmo: bool = False) -> None:
        self.folder, self.world, self.given, self.osmo = folder.resolve(), world, given, osmo
        self.folder.mkdir(parents=True, exist_ok=True)
        self.keys: SiteKeys = open_keys(self.folder, world)
        self.ledger_url = given.url if given else self.url("ledger")
        self.field = Field()
        self.smsc = Smsc(self.field, self.keys.passwords, seed=world.seed)
        self.networks: dict[int, LoggedNetwork] = {}
        self.apis: dict[int, NodeApi] = {}
        self.signers: list[Signer] = []
        self.seal_ids: list[str] = []
        self.server: Server
        self.processes: LivingNodes
        self.log_key: VerifierKey
        self.issuer: LedgerClient
        self.auditor: LedgerClient

    def url(self, name: str) -> str:
        """Where something is served."""
        return f"http://{HOST}:{self.keys.ports[name]}"

    def start(self, name: str) -> None:
        """Start a node's process."""
        role, port = ("ledger" if name == "ledger" else "operator"), self.keys.ports[name]
        environment = {**self.settings(name), "LANDFALL_PORT": str(port)}
        if name == "ledger":
            environment["LANDFALL_WORKERS"] = str(LEDGER_WORKERS)
        self.processes.start(name, ["serve", "--role", role], environment, port=port)
        self.processes.note()

    def settings(self, name: str) -> dict[str, str]:
        """A node's environment."""
        return {
            "LANDFALL_DATA_DIR": str(self.folder / "data" / name),
            "LANDFALL_DATABASE_URL": self.server.dsn(name),
            "LANDFALL_KEK": self.keys.keks[name],
            "LANDFALL_HOST": HOST,
            "LANDFALL_LOG_JSON": "true",
        }

    async def kill(self, name: str, pause_s: float = 0.0) -> None:
        """Kill a node, leave it dead for a while, start it again and wait until it is well."""
        await asyncio.to_thread(self.processes.kill, name)
        await asyncio.sleep(pause_s)
        self.start(name)
        await self.processes.wait_ready()

    async def freeze(self, name: str, pause_s: float) -> None:
        """Stop a node's processes where they stand, connections open, and let them go on after a while."""
        await self.processes.freeze(name, pause_s)

    async def restart_database(self, pause_s: float = 0.0) -> None:
        """Stop PostgreSQL under everybody's feet and start it again."""
        await asyncio.to_thread(self.server.stop)
        await asyncio.sleep(pause_s)
        self.server = await asyncio.to_thread(ensure_server, self.folder / "data")
        await self._revive()

    async def _revive(self) -> None:
        """Wait until all are well; what ended meanwhile is started again, as by whoever runs nodes. Raises `NodeError`.

        A node whose workers cannot reach the database as they start gives up.
        """
        for _ in range(REVIVALS):
            try:
                await self.processes.wait_ready()
            except NodeError:
                if not (ended := self.processes.ended):
                    raise
                for name in ended:
                    await asyncio.to_thread(self.processes.kill, name)  # what is left of it
                    self.start(name)
            else:
                return
        await self.processes.wait_ready()


@asynccontextmanager
async def open_site(folder: Path, world: World, tell: Tell, *, osmo: bool = False) -> AsyncIterator[Site]:
    """Found or find it, hand it over, and take it down, whatever happens. Raises `NodeError` where a node fails.

    With `osmo`, an osmo-hlr stands behind each network that only serves guests.
    """
    async with AsyncExitStack() as stack:
        site = Site(folder, world, osmo=osmo)
        site.processes = LivingNodes(site.folder / "logs", site.folder / PROCESSES_FILE)
        if ended := site.processes.end_left_over(site.folder):
            tell(f"ended {ended} processes that an earlier run had left")
        founded = (site.folder / FOUNDED).exists()
        if not founded:
            clear_unfinished(site)
        site.server = await asyncio.to_thread(ensure_server, site.folder / "data")
        stack.push_async_callback(asyncio.to_thread, _stop_database, site)
        tell("embedded PostgreSQL is up")
        parties = await asyncio.to_thread(find_or_found, site)
        site.log_key = VerifierKey.parse((site.folder / VKEY_FILE).read_text().strip())
        await stack.enter_async_context(site.processes)
        await _start(site, stack)
        tell(f"{1 + len(world.nodes)} nodes are up")
        await _connect(site, stack)
        await _admit(site, parties)
        (site.folder / FOUNDED).touch()
        yield site


async def _start(site: Site, stack: AsyncExitStack) -> None:
    """Networks and the message centre here, nodes as processes, all at once."""
    plan, access = site.world.scenario.smsc, {}
    site.smsc.faults = Faults(loss=plan.loss, duplicate=plan.duplicate, reorder=plan.reorder, delay_s=plan.delay_s)
    site.smsc.accounts = {name[:15]: password for name, password in site.keys.passwords.items()}
    for operator in site.world.nodes:
        hlr = await _open_hlr(site, operator, stack)
        network = site.networks[operator.number] = LoggedNetwork(operator, hlr, site.folder / "private")
        network.centre = site.smsc
        site.smsc.addresses[ota_address(operator)] = operator.id[:15]
        site.field.add_network(network)
        access[operator.plmn] = NetworkAccess(
            site.keys.network_secrets[operator.id],
            f"{site.url(operator.id)}/webhooks/registrations",
            site.keys.webhook_secrets[operator.id],
        )
    await stack.enter_async_context(site.smsc.serve(HOST, site.keys.ports["smsc"]))
    field = create_field_app(site.field, carrier_secret=site.keys.carrier_secret, access=access)
    await stack.enter_async_context(serve_field(field, HOST, site.keys.ports["field"]))
    for name in ("ledger", *(operator.id for operator in site.world.nodes)):
        site.start(name)
    await site.processes.wait_ready()


async def _open_hlr(site: Site, operator: Operator, stack: AsyncExitStack) -> Hlr:
    """The embedded HLR, or osmo-hlr for those who serve guests. Raises `OsmoHlrError` where it is not installed."""
    if site.osmo and not operator.plan.cards:
        folder = site.folder / "data" / f"osmo-hlr-{operator.id}"
        return await stack.enter_async_context(run_osmo_hlr(folder))
    return KeptHlr(site.folder / "private" / f"hlr-{operator.id}.jsonl")


def _stop_database(site: Site) -> None:
    with suppress(OSError):
        shutil.copyfile(site.folder / "data" / "postgres" / "server.log", site.folder / "logs" / "postgres.log")
    site.server.stop()


async def _connect(site: Site, stack: AsyncExitStack) -> None:
    for operator in site.world.operators:
        if operator.has_node:
            token = (site.folder / "data" / operator.id / TOKEN_FILE).read_text().strip()
            api = site.apis[operator.number] = NodeApi(operator.id, site.url(operator.id), token)
            stack.push_async_callback(api.close)
            keys = open_operator_keys(site, operator)
            site.signers.append(keys.signer())
            site.seal_ids.append(keys.seal_key().public_key().key_id)
        else:
            site.signers.append(Signer(site.keys.seeds[operator.id]))
            seal = SealPrivateKey.from_bytes(site.keys.seal_keys[operator.id])
            site.seal_ids.append(seal.public_key().key_id)
    given = site.given
    parties = {
        "issuer": (given.issuer, given.seed) if given else (ISSUER, site.keys.seeds["issuer"]),
        "auditor": (f"{AUDITOR}-{site.keys.token}" if given else AUDITOR, site.keys.seeds["auditor"]),
    }
    for name, (operator_id, seed) in parties.items():
        client = LedgerClient(site.ledger_url, log=site.log_key, signer=Signer(seed), operator=operator_id)
        setattr(site, name, await stack.enter_async_context(client))


@asynccontextmanager
async def join_ledger(folder: Path, world: World, given: GivenLedger) -> AsyncIterator[Site]:
    """A site that is only operators' keys: the ledger is somebody else's, and no node is started.

    The operators are new ones there; admitting them takes the issuer. Raises `Unreachable`, `Rejected`.
    """
    async with AsyncExitStack() as stack:
        site = Site(folder, world, given)
        site.log_key = VerifierKey.parse(given.key)
        (site.folder / VKEY_FILE).write_text(f"{given.key}\n")
        await _connect(site, stack)
        auditor = f"{AUDITOR}-{site.keys.token}"
        parties = {auditor: describe_auditor(site, auditor)}
        parties |= {operator.id: describe_operator(site, operator) for operator in world.operators}
        await _admit(site, parties)
        yield site


async def _admit(site: Site, parties: dict[str, Party]) -> None:
    """The issuer admits everybody; those without a node make their sealing key known here, the others by themselves."""
    for party in parties.values():
        await _tolerate(site.issuer, site.issuer.make(Admit, party=party), "already-exists")
    for operator in site.world.operators:
        if not operator.has_node:
            seal = SealPrivateKey.from_bytes(site.keys.seal_keys[operator.id]).public_key()
            message = site.issuer.make(AddKey, purpose="seal", key=to_base64url(seal.to_bytes()))
            signed = site.signers[operator.number].sign(message)
            with suppress(Rejected):  # it is there already: a founding that was broken off goes on
                await site.issuer.send(signed)
    until = time.monotonic() + SEAL_WAIT_S
    for operator in site.world.operators:
        while not any(key.purpose == "seal" for key in await site.issuer.operator_keys(operator.id)):
            if site.given is None:
                site.processes.check()
            if time.monotonic() > until:
                raise NodeError(f"{operator.id} has made no sealing key known in {SEAL_WAIT_S:.0f} s; see its log")
            await asyncio.sleep(0.1)


async def _tolerate(client: LedgerClient, message: Admit, code: str) -> None:
    try:
        await client.submit(message)
    except Rejected as error:
        if error.rejection.code != code:
            raise
