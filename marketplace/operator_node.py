"""One operator's node put together: database, keys, ledger link and domains, and the loops that keep them going.

    async with open_node(settings) as node: ...

Several processes may serve the API of one node; the loops run in whichever holds the node's advisory lock, and another
takes over when it goes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import structlog
from msgspec import Struct

from landfall.keystore import Keystore
from landfall.migrations import upgrade
from landfall.postgres import open_database
from landfall.settings import Settings
from marketplace.agreeing.disputes import Disputes
from marketplace.agreeing.evidence import EvidenceChecks
from marketplace.agreeing.meters import Meters
from marketplace.agreeing.reported import ReportedUsage
from marketplace.agreeing.service import Agreeing
from marketplace.campaigns.sending import Sender
from marketplace.campaigns.service import Campaigns
from marketplace.card_keys.service import CardKeyImport
from marketplace.closing.service import Closings
from marketplace.codes.service import CodePool
from marketplace.deals.service import Deals
from marketplace.debts.service import Debts
from marketplace.ledger_link.follower import Follower
from marketplace.ledger_link.keys import OperatorKeys
from marketplace.ledger_link.outbox import Outbox
from marketplace.ledger_link.service import Membership
from marketplace.ledger_link.tasks import Tasks
from marketplace.networks.carrier import open_carrier
from marketplace.networks.hlr import HlrClient
from marketplace.operator_database import Database, scalar
from marketplace.operator_settings import KEYS_FOLDER, TOKEN_FILE, OperatorSettings, read_operator_settings
from marketplace.packages.service import Packages
from marketplace.payments.providers import OperatorBilling, PaymentProvider, TestProvider
from marketplace.profiles.service import ProfilePool
from marketplace.staff.service import Staff
from marketplace.storefront.delivery import Delivery
from marketplace.storefront.service import Storefront
from marketplace.subscribers.reports import CardReports
from marketplace.subscribers.service import Subscribers
from marketplace.usage.service import UsageReports
from marketplace.wholesale.clock import Clock
from marketplace.wholesale.service import Wholesale
from ota.key_import import KeyImport
from ota.key_rotation import KeyRotation
from ota.outbox import KeyCipher, PostgresOutbox
from ota.smpp.carrier import SmppCarrier
from ota.turns import CardTurns
from settlement.ledger.client import LedgerClient
from settlement.ledger.note import VerifierKey

MIGRATIONS: Final = Path(__file__).parent / "operator_migrations"
DATABASE: Final = "operator"
_LOOPS_LOCK: Final = 0x6F70657261746F72  # "operator": who runs the loops
TAKE_OVER_S: Final = 1.0
"""How long the loops may stand still when the process that ran them has gone."""


class Node(Struct, frozen=True):
    """What the API's controllers work with."""

    settings: OperatorSettings
    token: str
    database: Database
    keys: OperatorKeys
    ledger: LedgerClient
    outbox: Outbox
    follower: Follower
    tasks: Tasks
    membership: Membership
    wholesale: Wholesale
    pool: ProfilePool
    codes: CodePool
    usage: UsageReports
    subscribers: Subscribers
    reports: CardReports
    cards: PostgresOutbox
    packages: Packages
    storefront: Storefront
    campaigns: Campaigns
    card_keys: CardKeyImport
    staff: Staff
    agreeing: Agreeing
    disputes: Disputes
    meters: Meters
    evidence: EvidenceChecks
    closings: Closings
    debts: Debts
    deals: Deals


def prepare_database(settings: Settings) -> str:
    """The DSN of the node's database, of the newest schema. Raises PostgresError, MigrationError."""
    dsn = open_database(settings.database_url, settings.data_dir, DATABASE)
    upgrade(dsn, MIGRATIONS)
    return dsn


@asynccontextmanager
async def open_node(settings: Settings) -> AsyncIterator[Node]:
    """A running node. Raises LandfallError where `landfall operator init` has not been here."""
    own = read_operator_settings(settings.data_dir)
    keys = OperatorKeys(Keystore.open(settings.data_dir / KEYS_FOLDER, settings.require_kek()))
    token = (settings.data_dir / TOKEN_FILE).read_text().strip()
    dsn = await asyncio.to_thread(prepare_database, settings)
    async with AsyncExitStack() as stack:
        database = Database(dsn)
        stack.push_async_callback(database.close)
        http = await stack.enter_async_context(httpx.AsyncClient())
        ledger = await stack.enter_async_context(
            LedgerClient(own.ledger.url, log=VerifierKey.parse(own.ledger.key), signer=keys.signer(), operator=own.id)
        )
        node, loops = _assemble(own, token, database, keys, ledger, http)
        await node.membership.introduce()
        running = asyncio.create_task(_run_loops(database, loops), name="loops")
        try:
            yield node
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


Loop = Callable[[], Coroutine[Any, Any, None]]


def _assemble(
    own: OperatorSettings,
    token: str,
    database: Database,
    keys: OperatorKeys,
    ledger: LedgerClient,
    http: httpx.AsyncClient,
) -> tuple[Node, list[Loop]]:
    outbox, follower, tasks = Outbox(database, ledger), Follower(database, ledger), Tasks(database)
    pool, codes = ProfilePool(own, keys), CodePool(keys)
    cards = PostgresOutbox(database.engine, KeyCipher(keys.encrypt, keys.decrypt))
    usage = UsageReports(database, ledger, outbox, pool)
    hlrs = {
        network.plmn: HlrClient(
            http, url=network.url, plmn=network.plmn, token=keys.secret(f"network-{network.plmn}").decode()
        )
        for network in own.networks
    }
    subscribers = Subscribers(database, cards)
    reports = CardReports(database, cards, subscribers.find_number)
    carrier = None
    if own.carrier is not None:
        carrier = open_carrier(own.carrier, http, keys.secret("carrier").decode(), reports.find_number, reports.take)
    providers: dict[str, PaymentProvider] = {"test": TestProvider()}
    if own.billing is not None:
        providers["billing"] = OperatorBilling(http, url=own.billing.url, secret=keys.secret("billing"))
    membership = Membership(database, ledger, outbox, keys)
    wholesale = Wholesale(database, ledger, outbox, follower, tasks, pool, codes, usage, hlrs)
    storefront = Storefront(database, ledger, outbox, follower, tasks, keys, providers)
    turns = CardTurns()
    Delivery(database, ledger, outbox, tasks, keys, cards, carrier, turns)
    rotation = KeyRotation(cards)
    Sender(database, tasks, cards, carrier, turns, subscribers.find_number, rotation)
    reported = ReportedUsage(database, ledger)
    clock = Clock(database, ledger, outbox, tasks, usage)
    node = Node(
        settings=own,
        token=token,
        database=database,
        keys=keys,
        ledger=ledger,
        outbox=outbox,
        follower=follower,
        tasks=tasks,
        membership=membership,
        wholesale=wholesale,
        pool=pool,
        codes=codes,
        usage=usage,
        subscribers=subscribers,
        reports=reports,
        cards=cards,
        packages=Packages(database, ledger, own.rates),
        storefront=storefront,
        campaigns=Campaigns(database, tasks),
        card_keys=CardKeyImport(database, KeyImport(cards)),
        staff=Staff(database, token),
        agreeing=Agreeing(database, reported),
        meters=Meters(database),
        evidence=EvidenceChecks(database, reported),
        disputes=Disputes(database, ledger, outbox, follower, tasks, reported),
        closings=Closings(own, database, ledger, outbox, tasks),
        debts=Debts(own, database, ledger, outbox, follower, tasks),
        deals=Deals(database, ledger, outbox, follower, tasks, reported),
    )
    loops = [outbox.run, follower.run, tasks.run, clock.run]
    if isinstance(carrier, SmppCarrier):
        loops.append(carrier.run)  # a proof comes to whoever is bound: one process, the one that sends
    return node, loops


async def _run_loops(database: Database, loops: list[Loop]) -> None:
    """Run the loops while this process holds the lock; if its connection is lost, so is the lock: begin again."""
    log = structlog.get_logger(__name__)
    while True:
        try:
            async with database.engine.connect() as connection:
                autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
                if await scalar(autocommit, "SELECT pg_try_advisory_lock(:lock)", lock=_LOOPS_LOCK):
                    running = [asyncio.create_task(loop()) for loop in loops]
                    try:
                        while await scalar(autocommit, "SELECT true"):  # noqa: ASYNC110 - asks the database, not us
                            await asyncio.sleep(TAKE_OVER_S)
                    finally:
                        for task in running:
                            task.cancel()
                        await asyncio.gather(*running, return_exceptions=True)
                        await connection.invalidate()  # gives the lock back whatever state the connection is in
        except Exception as error:
            log.warning("the loops stopped and begin again", exc_info=error)
        await asyncio.sleep(TAKE_OVER_S)
