"""TAP in and out, as a wholesale team meets it: files of data sessions written, read and validated on this machine.

    python -m loadtests.tap_bench --calls 100000

A table is printed, `build/bench/tap.json` written. Figures of one machine compare with each other, not with another's.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from loadtests.figures import Figure, measured, publish
from settlement.ledger.messages import UsageRecord
from settlement.usage.tap3.ber import decode_element, encode_element, grammar
from settlement.usage.tap3.checks import validate
from settlement.usage.tap3.stream import Record, open_tap
from settlement.usage.tap3.usage import Batch, Settled, to_usage, write_settled


def measure_tap(calls: int = 50_000) -> list[Figure]:
    """Rows of calls/s: encoding and decoding alone on one core, whole files by one process and by all."""
    processors = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.tap"
        batch = Batch("RUS01", "DEUD1", 1, 1_793_523_600, 1_793_523_600)
        grammar("CallEvent")  # made once a process
        rows = [_measure("TAP written, file of GPRS calls", calls, lambda: write_settled(path, batch, _settled(calls)))]
        with open_tap(path) as tap:
            records = [record.value for _, record in zip(range(5000), tap.records(), strict=False)]
            spans = [encode_element(grammar("CallEvent"), value) for value in records]
        node = grammar("CallEvent")
        rows += [
            _measure("TAP encode, one core", len(records), lambda: [encode_element(node, value) for value in records]),
            _measure("TAP decode, one core", len(spans), lambda: [decode_element(node, octets) for octets in spans]),
            _measure("TAP read, one process", calls, lambda: _read(path, 1)),
            _measure(f"TAP read, {processors} processes", calls, lambda: _read(path, processors)),
            _measure(f"TAP validated, {processors} processes", calls, lambda: _check(path)),
            _measure("TAP to usage records", calls, lambda: _use(path)),
        ]
        rows.append(measured("the file of these calls", path.stat().st_size / 1e6, "MB"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [*rows, measured("peak memory of the measuring process", peak, "MiB")]


def _measure(name: str, calls: int, work: Callable[[], object]) -> Figure:
    began, spent = time.perf_counter(), sum(os.times()[:4])
    work()
    spent = sum(os.times()[:4]) - spent  # of this process and of its children, which are over
    note = f"{calls / spent:,.0f} a second of processor" if spent else ""
    return measured(name, calls / (time.perf_counter() - began), "calls/s", note=note)


def _settled(calls: int) -> Iterator[Settled]:
    for number in range(calls):
        usage = UsageRecord("data", 29_892_060 + number // 60, 180, 600, 1_000_000 + number, "25001")
        yield Settled(f"26201{number % 10**10:010d}", "RUS01", usage, 3_000 + number)


def _read(path: Path, workers: int) -> None:
    with open_tap(path) as tap:
        for _ in tap.map(_count, workers):
            pass


def _count(records: list[Record]) -> int:
    return len(records)


def _check(path: Path) -> None:
    report = validate(path)
    assert report.verdict == "correct", report.counts


def _use(path: Path) -> None:
    with open_tap(path) as tap:
        for _ in to_usage(tap, {"RUS01": "25001"}):
            pass


def main(
    calls: Annotated[int, typer.Option(min=5000, help="GPRS calls in the file.")] = 50_000,
    output: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")] = Path("build/bench/tap.json"),
) -> None:
    """Measure TAP in and out on this machine."""
    publish(measure_tap(calls), output)


if __name__ == "__main__":
    typer.run(main)
