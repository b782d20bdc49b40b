"""Benchmarks of the ledger, as a user meets it: over HTTP, signed inside the interval, durable when counted.

    make bench                                     # 60 s a row, a million open requests: some ten minutes
    python -m loadtests.bench --seconds 10 --open-requests 0

Everything is on this machine: PostgreSQL with fsync, two API processes and the generator. Rejections are not counted.
A table is printed, `build/bench/ledger.json` written.
"""

import asyncio
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import uvloop
from rich.table import Table

from landfall.postgres import ensure_server
from loadtests.cast import admit_cast, make_cast, now_ms, open_pairs
from loadtests.figures import Figure, console, measured, publish
from loadtests.generator import Measured, run_requests, run_usage
from loadtests.nodes import LedgerUnderTest, serve_ledger
from loadtests.stages import measure_stages
from settlement.ledger.audit import audit
from settlement.ledger.export import write_export
from settlement.ledger.store import LedgerStore

SEED: Final = 20_261_120
SEQUENCE: Final = 250
SENDERS: Final = 16
RECORDS_A_REQUEST, REQUESTS_A_REPORT, PAIRS = 30, 20, 24
"""600 records a report, what fills an entry of realistic records by half."""
LATENCY_SEQUENCE: Final = 200
LATENCY_SHARE: Final = 0.8


async def measure_ledger(
    ledger: LedgerUnderTest, *, seconds: float, operators: int, open_requests: int
) -> list[Figure]:
    """The rows measured against a running ledger."""
    cast = make_cast(SEED, operators, now_ms())
    rows: list[Figure] = []
    async with ledger.client() as client:
        console.print(f"admitting {operators} operators, {2 * operators} offers …")
        await admit_cast(client, ledger.issuer, SEED, cast)
        pairs = await open_pairs(client, SEED, cast, PAIRS, REQUESTS_A_REPORT)

        async def requests(time_s: float, **options: Any) -> Measured:
            return await run_requests(client, cast, seconds=time_s, sequence=SEQUENCE, senders=SENDERS, **options)

        await requests(3)  # warm
        steady = await requests(seconds)
        rows.append(
            measured(
                "transactions, signed one by one",
                steady.rate,
                "tx/s",
                "10,000",
                f"{steady.rejected} rejected, p99 {steady.percentile(0.99):.3f} s",
                series=steady.timeline,
            )
        )
        paced = await run_requests(
            client,
            cast,
            seconds=seconds / 2,
            sequence=LATENCY_SEQUENCE,
            senders=24,
            rate=steady.rate * LATENCY_SHARE,
        )
        rows.append(
            measured(
                "p99 to durable at 80 %",
                paced.percentile(0.99),
                "s",
                "0.5",
                f"{paced.rate:,.0f} tx/s offered in sequences of {LATENCY_SEQUENCE}, p50 {paced.percentile(0.5):.3f} s",
            )
        )
        usage = await run_usage(client, pairs, seconds=seconds, records=RECORDS_A_REQUEST, senders=SENDERS)
        rows.append(
            measured(
                "usage records",
                usage.units / usage.seconds,
                "records/s",
                "40,000",
                f"{RECORDS_A_REQUEST * REQUESTS_A_REPORT} a report, {usage.rejected} rejected, "
                f"p99 {usage.percentile(0.99):.3f} s",
            )
        )
        if open_requests:
            console.print(f"opening {open_requests:,} requests …")
            filled = 0
            while filled < open_requests:
                filled += (await requests(min(60.0, (open_requests - filled) / steady.rate + 0.2))).accepted
                console.print(f"  {filled:,}")
            late = await requests(seconds)
            rows.append(
                measured(
                    "transactions with a million open" if open_requests == 10**6 else "transactions, many open",
                    late.rate,
                    "tx/s",
                    "within 20 %",
                    f"{100 * late.rate / steady.rate:.0f} % of the first, p99 {late.percentile(0.99):.3f} s, "
                    f"{filled:,} open",
                )
            )
    return rows


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
    seconds: Annotated[float, typer.Option(help="Length of each steady measurement.")] = 60,
    operators: Annotated[int, typer.Option(help="Operators that trade.")] = 1000,
    open_requests: Annotated[int, typer.Option(help="Open requests of the second run; 0: no second run.")] = 10**6,
    workers: Annotated[int, typer.Option(help="API processes.")] = 2,
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
                    measure_ledger(ledger, seconds=seconds, operators=operators, open_requests=open_requests)
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
