"""Benchmarks of the ledger, as a user meets it: over HTTP, signed inside the interval, durable when counted.

    make bench                                     # 60 s a row, a million open requests: some ten minutes
    make bench ARGS="--seconds 300"                # five minutes a row: does it last, does memory stay?
    python -m loadtests.bench --seconds 10 --open-requests 0

Everything is on this machine: PostgreSQL with fsync, two API processes and the generator. Rejections are not counted.
A table is printed, `build/bench/ledger.json` written.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop
from rich.table import Table

from landfall.postgres import ensure_server
from loadtests.cast import RECORDS_A_REQUEST, REQUESTS_A_REPORT, Actor, admit_cast, make_cast, now_ms, open_pairs
from loadtests.figures import Figure, console, measured, publish
from loadtests.generator import Measured, Presigned, fill, run_presigned, run_requests, run_usage
from loadtests.memory import MemoryWatch
from loadtests.nodes import LedgerUnderTest, serve_ledger
from loadtests.stages import measure_stages
from settlement.ledger.audit import audit
from settlement.ledger.client import LedgerClient
from settlement.ledger.export import write_export
from settlement.ledger.store import LedgerStore

SEED: Final = 20_261_120
SEQUENCE: Final = 500
SENDERS: Final = 8
"""Four thousand envelopes under way, a third of a second's work; in sequences of 500 a call costs little of each."""
USAGE_SENDERS: Final = 16
PAIRS: Final = 24
LATENCY_SEQUENCE: Final = 200
LATENCY_SHARE: Final = 0.8
PACED_SENDERS: Final = 48
"""Sequences that may be under way at a fixed rate: more than there ever should be."""
PRESIGNED_RATE: Final = 20_000
"""So much is signed beforehand for each second of a run; five minutes of it are four gigabytes on disk."""


async def measure_ledger(
    ledger: LedgerUnderTest, folder: Path, *, seconds: float, operators: int, open_requests: int, postmaster: int
) -> list[Figure]:
    """The rows measured against a running ledger; `postmaster`: process id of its PostgreSQL."""
    cast = make_cast(SEED, operators, now_ms())
    rows: list[Figure] = []
    async with ledger.client(PACED_SENDERS) as client:
        console.print(f"admitting {operators} operators, {2 * operators} offers …")
        await admit_cast(client, ledger.issuer, SEED, cast)
        pairs = await open_pairs(client, SEED, cast, min(PAIRS, operators), REQUESTS_A_REPORT)

        async def requests(time_s: float) -> Measured:
            return await run_requests(client, cast, seconds=time_s, sequence=SEQUENCE, senders=SENDERS)

        async def usage(time_s: float) -> Measured:
            return await run_usage(
                client, pairs, seconds=time_s, records=RECORDS_A_REQUEST, senders=min(USAGE_SENDERS, len(pairs))
            )

        await requests(3)  # warm
        steady = await requests(seconds)
        rows.append(_transactions("transactions, signed one by one", steady, "12,000", _told(steady)))
        rows.append(await _measure_paced(client, cast, seconds / 2, steady.rate * LATENCY_SHARE))
        rows.append(_records("usage records", await usage(seconds)))
        roots = {"API": ledger.pid, "PostgreSQL": postmaster, "generator": os.getpid()}
        if open_requests:
            many = "a million" if open_requests == 10**6 else f"{open_requests:,}"
            console.print(f"opening {many} requests …")
            await fill(client, cast, open_requests, tell=console.print)
            async with MemoryWatch(roots) as memory:
                late = await requests(seconds)
            share = f"{100 * late.rate / steady.rate:.0f} % of the first, {_told(late)}; {memory}"
            rows.append(_transactions(f"transactions, {many} open", late, "12,000", share))
            async with MemoryWatch(roots) as memory:
                used = await usage(seconds)
            rows.append(_records(f"usage records, {many} open", used, f"; {memory}"))
        with tempfile.TemporaryFile(dir=folder) as file:
            count = int(seconds * PRESIGNED_RATE)
            console.print(f"signing {count:,} requests beforehand …")
            presigned = Presigned(file, client.origin, cast, count, SEQUENCE)
            async with MemoryWatch(roots) as memory:
                sent = await run_presigned(client, presigned, senders=SENDERS)
        rows.append(_transactions("transactions, signed beforehand", sent, "20,000", f"{_told(sent)}; {memory}"))
    return rows


def _told(run: Measured) -> str:
    return f"{run.rejected} rejected, p50 {run.percentile(0.5):.3f} s, p99 {run.percentile(0.99):.3f} s"


def _transactions(name: str, run: Measured, target: str, note: str) -> Figure:
    return measured(name, run.rate, "tx/s", target, note, series=run.timeline)


def _records(name: str, run: Measured, more: str = "") -> Figure:
    note = f"{RECORDS_A_REQUEST * REQUESTS_A_REPORT} a report, {_told(run)}{more}"
    return measured(name, run.units / run.seconds, "records/s", "70,000", note)


async def _measure_paced(client: LedgerClient, cast: list[Actor], seconds: float, rate: float) -> Figure:
    paced = await run_requests(
        client, cast, seconds=seconds, sequence=LATENCY_SEQUENCE, senders=PACED_SENDERS, rate=rate
    )
    note = f"{paced.rate:,.0f} tx/s offered in sequences of {LATENCY_SEQUENCE}, p50 {paced.percentile(0.5):.3f} s"
    return measured("p99 to durable at 80 %", paced.percentile(0.99), "s", "0.5", note)


async def measure_audit(ledger: LedgerUnderTest, folder: Path, live: float) -> list[Figure]:
    """Export the log and replay it from the files alone."""
    async with LedgerStore.open(ledger.database_url) as store, ledger.client() as client:
        begin = time.perf_counter()
        await write_export(folder, await client.note(), store.bundle, ledger.log)
        exported = time.perf_counter() - begin
    report = await asyncio.to_thread(audit, folder, ledger.log)
    return [
        measured("export", report.entries / exported, "entries/s"),
        measured(
            "auditor's replay",
            report.rate,
            "entries/s",
            "twice live",
            f"{report.entries:,} entries, {report.rate / live:.1f} × live",
        ),
    ]


def measure_pgbench(dsn: str, seconds: int) -> list[Figure]:
    """Pgbench's TPC-B on the same server, where pgbench is installed: what the machine's disk and cores give."""
    program = shutil.which("pgbench") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/pgbench")), None)
    if program is None:
        console.print("  pgbench is not installed (Debian package postgresql-contrib): left out")
        return []
    subprocess.run([program, "-i", "-q", "-s", "10", dsn], check=True, capture_output=True)
    done = subprocess.run(
        [program, "-c", "8", "-j", "2", "-T", str(seconds), dsn], check=True, capture_output=True, text=True
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("tps"))
    return [measured("pgbench TPC-B beside it", float(line.split()[2]), "tx/s", note="8 clients, scale 10")]


def main(
    seconds: Annotated[float, typer.Option(min=1, help="Length of each steady measurement.")] = 60,
    operators: Annotated[int, typer.Option(min=2, help="Operators that trade.")] = 1000,
    open_requests: Annotated[
        int, typer.Option(min=0, help="Requests opened for the rows that say so; 0: none of them.")
    ] = 10**6,
    workers: Annotated[int, typer.Option(min=1, help="API processes.")] = 2,
    output: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")] = Path("build/bench/ledger.json"),
) -> None:
    """Measure the ledger on this machine and print a table."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix="bench-") as name:
        folder = Path(name).resolve()
        server = ensure_server(folder / "data")
        try:
            server.create_database("ledger")
            rows: list[Figure] = []
            with serve_ledger(folder / "node", server.dsn("ledger"), workers=workers) as ledger:
                rows += uvloop.run(
                    measure_ledger(
                        ledger,
                        folder,
                        seconds=seconds,
                        operators=operators,
                        open_requests=open_requests,
                        postmaster=server.pid,
                    )
                )
                rows += asyncio.run(measure_audit(ledger, folder / "export", rows[0].value))
            server.create_database("stages")
            shares = asyncio.run(measure_stages(server.dsn("stages")))
            server.create_database("pgbench")
            rows += measure_pgbench(server.dsn("pgbench"), max(5, int(seconds / 4)))
        finally:
            server.stop()
    publish(rows, output, stages=shares)
    _show_stages(shares)


def _show_stages(shares: dict[str, float]) -> None:
    total = sum(shares.values())
    table = Table("stage of a request", "µs each", "share", title="where the time goes, in one process")
    for stage, seconds in shares.items():
        table.add_row(stage, f"{seconds * 1e6:.1f}", f"{100 * seconds / total:.0f} %")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
