"""Throughput and latency of the ledger against sequence size, what is under way, API processes, operators, log length.

    python -m loadtests.curves                      # some six minutes; a picture and JSON in build/bench/
    python -m loadtests.curves --seconds 4 --length 0

Each point is a short run by the same generator as `make bench`, signed inside the interval. One ledger serves all
points but those of API processes, which each get their own. Nothing else should run on the machine meanwhile.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import psutil
import typer
import uvloop
from msgspec import Struct

from landfall.postgres import Server, ensure_server
from loadtests.cast import Actor, admit_cast, make_cast, now_ms
from loadtests.curves_picture import draw_curves
from loadtests.figures import Figure, console, measured, publish
from loadtests.generator import Measured, run_requests
from loadtests.nodes import LedgerUnderTest, serve_ledger
from settlement.ledger.client import LedgerClient

SEED: Final = 20_261_121
OPERATORS: Final = 1000
SEQUENCE: Final = 250
SENDERS: Final = 16
SEQUENCES: Final = (1, 10, 50, 100, 250, 500, 1000)
UNDER_WAY: Final = (1, 2, 4, 8, 16, 32)
PROCESSES: Final = (1, 2, 3, 4)
TRADERS: Final = (2, 10, 100, 1000)
"""Two is one home operator and one visited: every request touches the same two balances."""
WARM_S: Final = 3.0


class Point(Struct, frozen=True):
    """One run: `at` is the value varied; transactions a second; seconds to durable; the nodes' memory in MiB."""

    at: int
    rate: float
    p50: float
    p99: float
    memory_mib: float


class Curve(Struct, frozen=True):
    """Points against one thing varied, all else at its usual value."""

    name: str
    points: list[Point]


async def _point(
    ledger: LedgerUnderTest,
    client: LedgerClient,
    cast: list[Actor],
    at: int,
    seconds: float,
    *,
    sequence: int,
    senders: int,
) -> Point:
    done: Measured = await run_requests(client, cast, seconds=seconds, sequence=sequence, senders=senders)
    point = Point(at, done.rate, done.percentile(0.5), done.percentile(0.99), _memory(ledger.pid))
    console.print(f"  {at:>9,}: {point.rate:>7,.0f} tx/s, p50 {point.p50:.3f} s, p99 {point.p99:.3f} s")
    return point


async def measure_shapes(ledger: LedgerUnderTest, seconds: float, length: int) -> list[Curve]:
    """The curves of one ledger: sequence size, sequences under way, operators, and the log's length, last."""
    cast = make_cast(SEED, OPERATORS, now_ms())
    async with ledger.client(max(UNDER_WAY)) as client:
        console.print(f"admitting {OPERATORS} operators …")
        await admit_cast(client, ledger.issuer, SEED, cast)
        await run_requests(client, cast, seconds=WARM_S, sequence=SEQUENCE, senders=SENDERS)
        curves = []
        console.print("envelopes in a sequence")
        points = [await _point(ledger, client, cast, n, seconds, sequence=n, senders=SENDERS) for n in SEQUENCES]
        curves.append(Curve("envelopes in a sequence", points))
        console.print(f"sequences of {SEQUENCE} under way")
        points = [await _point(ledger, client, cast, n, seconds, sequence=SEQUENCE, senders=n) for n in UNDER_WAY]
        curves.append(Curve(f"sequences of {SEQUENCE} under way", points))
        console.print("operators that trade")
        points = [
            await _point(ledger, client, cast[:n], n, seconds, sequence=SEQUENCE, senders=SENDERS) for n in TRADERS
        ]
        curves.append(Curve("operators that trade", points))
        if length:
            console.print("entries in the log, nearly all of them open requests")
            points, size = [], (await client.checkpoint()).size
            while size < length:
                points.append(await _point(ledger, client, cast, size, seconds, sequence=SEQUENCE, senders=SENDERS))
                size = (await client.checkpoint()).size
            curves.append(Curve("entries in the log", points))
    return [curve for curve in curves if curve.points]


async def _one_size(ledger: LedgerUnderTest, workers: int, seconds: float) -> Point:
    cast = make_cast(SEED, OPERATORS, now_ms())
    async with ledger.client() as client:
        await admit_cast(client, ledger.issuer, SEED, cast)
        await run_requests(client, cast, seconds=WARM_S, sequence=SEQUENCE, senders=SENDERS)
        return await _point(ledger, client, cast, workers, seconds, sequence=SEQUENCE, senders=SENDERS)


def _memory(pid: int) -> float:
    process = psutil.Process(pid)
    octets: int = sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
    return octets / 2**20


@contextmanager
def _ledger(server: Server, folder: Path, name: str, workers: int) -> Iterator[LedgerUnderTest]:
    server.create_database(name)
    with serve_ledger(folder / name, server.dsn(name), workers=workers) as ledger:
        yield ledger


def _figures(curves: list[Curve]) -> list[Figure]:
    rows = []
    for curve in curves:
        best = max(curve.points, key=lambda point: point.rate)
        rows.append(measured(f"best by {curve.name}", best.rate, "tx/s", note=f"at {best.at:,}, p99 {best.p99:.3f} s"))
    return rows


def main(
    seconds: Annotated[float, typer.Option(help="Length of each point.")] = 8,
    length: Annotated[
        int, typer.Option(help="Entries the log grows to for the last curve; 0 leaves it out.")
    ] = 1_000_000,
    output: Annotated[Path, typer.Option(help="Where the figures go; the picture beside it.")] = Path(
        "build/bench/curves.json"
    ),
) -> None:
    """Measure the curves on this machine, print their points, and draw them."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix="curves-") as name:
        folder = Path(name).resolve()
        server = ensure_server(folder / "data")
        try:
            console.print("API processes")
            points = []
            for workers in PROCESSES:
                with _ledger(server, folder, f"processes_{workers}", workers) as ledger:
                    points.append(uvloop.run(_one_size(ledger, workers, seconds)))
            with _ledger(server, folder, "shapes", 2) as ledger:
                curves = [Curve("API processes", points), *uvloop.run(measure_shapes(ledger, seconds, length))]
        finally:
            server.stop()
    publish(_figures(curves), output, curves=curves)
    picture = output.with_suffix(".svg")
    picture.write_text(draw_curves([(c.name, [(p.at, p.rate, p.p99) for p in c.points]) for c in curves]))
    console.print(f"picture: {picture}")


if __name__ == "__main__":
    typer.run(main)
