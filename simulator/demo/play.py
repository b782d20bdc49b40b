"""The play: eleven acts and an audit, each checked as it is played.

    report = await play_demo(Path("build/demo"), seed=7, subscribers=4, teller=ConsoleTeller())

A step that did not do what it says raises `DemoError`, which says what was expected and what was seen; nodes and
database are stopped whatever happens, and their logs stay in `logs/`.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from landfall.errors import LandfallError
from settlement.ledger.client import Rejected, Unreachable
from settlement.ledger.trust import Untrusted
from simulator.demo import closing, ending, market, sales, settling, travel
from simulator.demo.account import Account, DemoError, Teller
from simulator.demo.cast import draw_cast
from simulator.demo.database import dump_database
from simulator.demo.report import Report
from simulator.demo.stage import Stage, now_ms
from simulator.demo.world import DUMP_FILE, alone, open_world
from simulator.hlr import HlrKind

EXPECTED: Final = (LandfallError, Rejected, Unreachable, Untrusted, OSError, TimeoutError)
"""What can go wrong without a mistake in the play itself."""


async def play_demo(
    folder: Path,
    *,
    seed: int,
    subscribers: int,
    teller: Teller,
    dump_ledger: bool = False,
    hlr: HlrKind = HlrKind.EMBEDDED,
) -> Report:
    """Play it in `folder`, whose earlier demonstration is removed. Raises `DemoError`.

    `hlr` stands behind the visited networks. With `dump_ledger` the ledger's whole database is left there as well, for
    those who look for leaks.
    """
    account, cast = Account(teller), draw_cast(seed, subscribers)
    with alone(folder):
        try:
            async with AsyncExitStack() as stack:
                with account.step(0, "One PostgreSQL, a ledger and five operators: processes with keys of their own"):
                    world = await stack.enter_async_context(open_world(folder, cast, account, hlr=hlr))
                try:
                    return await _play(Stage(world), dump_ledger=dump_ledger)
                except Exception:
                    world.processes.check()  # a node that has ended is the better explanation
                    raise
        except (*EXPECTED, ExceptionGroup) as error:
            raise DemoError(f"{_first_of(error)}\nThe nodes' logs are in {folder / 'logs'}.") from error


async def _play(stage: Stage, *, dump_ledger: bool) -> Report:
    step, begin_ms = stage.account.step, now_ms()
    with step(1, "The issuer mints SDRt against deposits"):
        await market.mint(stage)
    with step(2, "Visited operators and the service provider publish signed offers"):
        await market.publish_offers(stage)
    with step(3, "Home operators search, bundle offers into packages, see the margin"):
        await market.make_packages(stage)
        await market.enter_subscribers(stage)
    with step(4, "Subscribers buy"):
        unlucky = await sales.sell(stage)
    with step(5, "Each purchase becomes signed requests, SDRt moves into escrow"):
        await sales.place_requests(stage, unlucky)
    with step(6, "Accepts with sealed payloads; a decline, a cancellation, an expiry"):
        await sales.answer_requests(stage, unlucky)
    with step(7, "Profiles over the air into multi-account SIMs, before travel"):
        await travel.deliver(stage)
    with step(8, "Arrival: refused as a stranger, served as a local"):
        await travel.arrive(stage)
    with step(9, "Usage settles record by record; requests close; profiles end; SDRt is redeemed"):
        await settling.use_and_report(stage)
        await settling.go_home_and_close(stage)
        await settling.redeem(stage)
        statements = await settling.state_accounts(stage)
    with step(10, "Invoices from outside are confirmed, netted by the issuer, and all consent"):
        netted = await closing.net_invoices(stage)
    with step(11, "The period is reconciled, closed and documented; documents are verified"):
        closed = await closing.close_period(stage, begin_ms)
    with step(12, "The log is exported and audited offline"):
        audit = await ending.export_and_audit(stage)
    if dump_ledger:
        world = stage.world
        await asyncio.to_thread(dump_database, world.server.dsn("ledger"), world.folder / DUMP_FILE)
    stage.world.processes.check()
    return await ending.make_report(stage, audit, statements, netted, closed)


def _first_of(error: BaseException) -> BaseException:
    """Of several that failed at once, one that tells why."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
