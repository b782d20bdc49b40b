"""The primary database is lost while operators write; its standby takes over, and the deposed one comes back.

The runbook of docs/operations.md, step by step: nothing acknowledged is lost or written twice, and the deposed server,
which holds commits that its standby never had, gets nothing signed: the log has one line.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import httpx
import psycopg

from settlement.ledger import api
from simulator.processes import find_free_port, serve_node
from tests.integration.ledger_world import LedgerWorld, start_ledger
from tests.integration.replicated_postgres import Instance, replicated
from tests.integration.test_crash import SEQUENCE, Journal, live_through, read_log

WRITERS = 3
PHASE_S = 2.0
FENCED_S = 60
"""A node on a deposed server says so after the ten seconds of the store's barrier."""


def test_a_standby_takes_over_and_the_deposed_primary_is_fenced(server_folder: Path) -> None:
    with replicated(server_folder / "servers") as (first, second), ExitStack() as stack:
        world = stack.enter_context(start_ledger(server_folder, first.dsn("ledger")))
        journals = asyncio.run(write_through_failover(world, first, second, stack))
        assert leaves(first) - leaves(second), "the test wants commits that no standby had"
        refuse_to_serve(world, first)
        places = asyncio.run(read_log(world, second.dsn("ledger"), server_folder / "export"))
        first.kill()
        first.rejoin(second)
        assert leaves(first) == leaves(second)
    for journal in journals:
        assert len(journal.receipts) > SEQUENCE
        for raw in journal.sent:
            receipt = journal.receipts.get(raw)
            assert places.get(raw, []) == ([receipt.index] if receipt else [])


async def write_through_failover(
    world: LedgerWorld, first: Instance, second: Instance, stack: ExitStack
) -> list[Journal]:
    """Several operators write before, while and after the second server takes over; returns their journals."""
    stop, journals = asyncio.Event(), [Journal() for _ in range(WRITERS)]
    async with AsyncExitStack() as operators:
        visited = await operators.enter_async_context(world.operator())
        offer = await visited.publish()
        homes = [await operators.enter_async_context(world.operator(minted=10**12)) for _ in journals]
        writing = [
            asyncio.create_task(live_through(home, offer, journal, stop))
            for home, journal in zip(homes, journals, strict=True)
        ]
        await asyncio.sleep(PHASE_S)
        second.kill()  # what is committed from now on waits for a standby that is not there
        await asyncio.sleep(PHASE_S)
        first.kill()
        await asyncio.to_thread(fail_over, world, second, stack)
        await asyncio.to_thread(first.start)
        await asyncio.sleep(PHASE_S)
        stop.set()
        await asyncio.gather(*writing)
    return journals


def fail_over(world: LedgerWorld, second: Instance, stack: ExitStack) -> None:
    """The steps of the runbook: the standby becomes the primary, a new epoch begins, the nodes are restarted."""
    second.start()
    second.promote()
    world.environment["LANDFALL_DATABASE_URL"] = second.dsn("ledger")
    command = [sys.executable, "-m", "landfall", "ledger", "promote", "--json"]
    promoted = subprocess.run(command, env=world.environment, capture_output=True, check=True)
    assert b'"epoch":2' in promoted.stdout.replace(b" ", b"")
    world.node.stop()
    world.node = stack.enter_context(serve_node("ledger", world.environment, port=world.settings.port))


def refuse_to_serve(world: LedgerWorld, deposed: Instance) -> None:
    """A node that somebody starts on the deposed server signs nothing, and says why."""
    port = str(find_free_port())
    environment = {**world.environment, "LANDFALL_DATABASE_URL": deposed.dsn("ledger"), "LANDFALL_PORT": port}
    command = [sys.executable, "-c", "from marketplace.cli import serve; serve()", "--role", "ledger"]
    with NamedTemporaryFile() as said, closing_process(command, environment, said.fileno()):
        deadline = time.monotonic() + FENCED_S
        while b"if this server was deposed" not in Path(said.name).read_bytes():
            assert time.monotonic() < deadline, "the node does not say what is wrong"
            with suppress(httpx.TransportError):
                answer = httpx.get(f"http://127.0.0.1:{port}{api.Path.CHECKPOINT}")
                assert answer.status_code != 200, f"a deposed server's log was signed: {answer.text}"
            time.sleep(0.2)


@contextmanager
def closing_process(command: list[str], environment: dict[str, str], output: int) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def leaves(instance: Instance) -> set[bytes]:
    """Hashes of the entries, time and all, as one server shows them."""
    with closing(psycopg.connect(instance.dsn("ledger"))) as connection:
        return {bytes(row[0]) for row in connection.execute("SELECT leaf FROM entries")}
