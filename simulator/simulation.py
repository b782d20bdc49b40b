"""A simulation from beginning to end, or from where it was broken off to the end.

    result = await simulate(plan, board)

The world is drawn from scenario and seed; its nodes are started and its operators admitted and funded, or found again
in the run's folder; the steps are played; then the log is exported, audited, checked and reported.
"""

import asyncio
import hashlib
import shutil
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from landfall.errors import LandfallError
from landfall.postgres import ensure_server
from settlement.ledger.client import LedgerClient, Rejected, Unreachable
from simulator.book import Book
from simulator.card_book import open_card_book
from simulator.desk import Access, Desk, open_desk
from simulator.ending import Ending, end
from simulator.engine import Engine
from simulator.faults import Faults, revoked_operators, spare_seed
from simulator.journal import RUN_FILE, Journal, Run
from simulator.living_nodes import LivingNodes
from simulator.pace import TELL_S, Pace
from simulator.plan import Plan
from simulator.population import draw_population, draw_trips
from simulator.scenario import without_nodes
from simulator.screen_board import Board
from simulator.simulation_report import write_report
from simulator.site import PROCESSES_FILE, Site, join_ledger, open_site
from simulator.together import together
from simulator.travellers import Travellers
from simulator.world import World, make_world

TOKEN_DIGITS: Final = 6
"""By which the operators of a run are told from other runs' on the same ledger."""
UNDONE: Final = "the ledger stayed away; {done} of {steps} steps are done, {left} journeys are under way or to come"


class SimulationError(LandfallError):
    """The simulation could not go on; says why, what is left undone, and how to go on."""


async def simulate(plan: Plan, board: Board) -> Ending:
    """Play it, check it, report it. Raises `SimulationError` where it cannot go on; failed checks are in the ending."""
    url = plan.ledger.url if plan.ledger else None
    journal = Journal(plan.folder)
    run = Run(
        scenario=plan.name,
        seed=plan.seed,
        began_ms=time.time_ns() // 1_000_000,
        ledger=url,
        subscribers=plan.subscribers,
        osmo=plan.osmo,
    )
    run = journal.open(run, plan.text)
    async with AsyncExitStack() as stack:
        site = await _open(plan, run.began_ms, stack, board)
        world = site.world
        desk = await stack.enter_async_context(open_desk(_access(site), workers=plan.workers))
        board.watch(lambda: desk.doing)
        engine = _make_engine(world, site, desk, journal, run)
        travellers = Travellers(site, open_card_book(site.folder, world), board.tell)
        try:
            await play(plan, engine, travellers, site, board)
            ending = await end(plan, engine, travellers.book, site, board.tell)
            await asyncio.to_thread(write_report, plan, engine, ending)
            return ending
        except Unreachable as error:
            raise SimulationError(_undone(engine, plan, error)) from None
        except Exception as error:  # whatever it is, it is told how to repeat it
            raise SimulationError(f"{_tell(error)}\nTo repeat it: {plan.command}") from error


async def _open(plan: Plan, began_ms: int, stack: AsyncExitStack, board: Board) -> Site:
    """Our own nodes, or operators' keys at a ledger that was given."""
    if plan.ledger is None:
        world = make_world(plan.scenario, plan.seed)
        return await stack.enter_async_context(open_site(plan.folder, world, board.tell, osmo=plan.osmo))
    url = plan.ledger.url
    token = hashlib.sha256(f"{plan.folder.resolve()} {began_ms}".encode()).hexdigest()[:TOKEN_DIGITS]
    named, left_out = without_nodes(plan.scenario, f"-{token}")
    for words in left_out:
        board.tell(f"left out at a ledger that is not started here: {words}")
    try:
        world = make_world(named, plan.seed)
        return await stack.enter_async_context(join_ledger(plan.folder, world, plan.ledger))
    except Unreachable as error:
        raise SimulationError(f"{error}\nNothing was done: start the ledger, or mend --ledger {url}") from None
    except Rejected as error:
        raise SimulationError(
            f"the ledger at {url} did not admit the operators ({error}): LANDFALL_DATA_DIR must be its issuer's folder"
        ) from None


def start_anew(folder: Path) -> None:
    """Remove a run from its folder, ending what it left running. Raises `LandfallError` when it is no run's folder."""
    if not folder.exists():
        return
    if not (folder / RUN_FILE).exists() and any(folder.iterdir()):
        raise LandfallError(f"{folder} has no run in it, but other things: name another --folder")
    LivingNodes(folder / "logs", folder / PROCESSES_FILE).end_left_over(folder.resolve())
    if (folder / "data" / "postgres" / "postmaster.pid").exists():
        ensure_server(folder.resolve() / "data").stop()
    shutil.rmtree(folder)


def _access(site: Site) -> Access:
    seeds = [signer.key.seed for signer in (*site.signers, site.issuer.signer) if signer is not None]
    seeds += [spare_seed(site, site.world.operators[number].id) for number in revoked_operators(site)]
    return Access(url=site.ledger_url, log=str(site.log_key), seeds=tuple(seeds))


def _make_engine(world: World, site: Site, desk: Desk, journal: Journal, run: Run) -> Engine:
    people = draw_population(world)
    trips = draw_trips(world, people)
    book = Book(world, origin=site.log_key.name, token=site.keys.token, began_ms=run.began_ms, seal_ids=site.seal_ids)
    return Engine(world, people, trips, desk, book, journal, site.keys.device_secret)


async def play(plan: Plan, engine: Engine, travellers: Travellers, site: Site, board: Board) -> None:
    """All steps that are left."""
    steps = plan.scenario.steps
    if engine.step:
        board.tell(f"{engine.step} of {steps} steps were done by an earlier run: going on from there")
    faults = Faults(site, engine, board.tell)
    await engine.prepare()
    await travellers.open()
    pace, most_s = Pace(plan.speed, plan.scenario, engine.step), 0.0
    while engine.step < steps:
        step, behind_s = engine.step, await pace.wait(engine.step)
        most_s = max(most_s, behind_s)
        await faults.prepare(step)
        available = await _balances(site)
        outcome, *_ = await together(engine.run_step(available, behind_s), travellers.step(step), faults.strike(step))
        board.step(engine.world, outcome)
    most_s = max(most_s, await pace.wait(steps))
    if most_s >= TELL_S:
        board.tell(f"the machine did not keep up with --speed {plan.speed:g}: {most_s:,.1f} s late, nothing left out")


async def _balances(site: Site) -> dict[str, int]:
    """What is available to the operators that need to know it: those that spend twice."""
    from simulator.frauds import double_spenders

    found = {}
    for number in double_spenders(site.world):
        operator = site.world.operators[number]
        async with LedgerClient(
            site.ledger_url, log=site.log_key, signer=site.signers[number], operator=operator.id
        ) as client:
            found[operator.id] = (await client.account()).available
    return found


def _tell(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, LandfallError) else f"{type(error).__name__}: {error}"


def _undone(engine: Engine, plan: Plan, error: Unreachable) -> str:
    left = int((engine.journeys.stage < 5).sum())
    words = UNDONE.format(done=engine.step, steps=plan.scenario.steps, left=left)
    return f"{error}\n{words}. Once it answers, go on with: {plan.going_on}"
