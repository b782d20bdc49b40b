"""What a run showed: rows of latency and rate, and what the check found; as a table and as JSON."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from loadtests.figures import Machine, describe_machine
from loadtests.load.check import Finding
from loadtests.load.locust_settings import Aside
from loadtests.load.plan import Plan
from loadtests.load.session import DURABLE
from loadtests.memory import MemoryWatch


class Row(Struct, frozen=True):
    """Things of one name: how many, how many failed, how many a second, and how long they took, in seconds."""

    kind: str
    name: str
    count: int
    failures: int
    per_second: float
    p50: float
    p95: float
    p99: float
    longest: float


class Result(Struct, frozen=True, kw_only=True):
    """A run. `transactions_per_second`: acknowledged ones, over the time from when users began to the last answer.
    `processor`: seconds of processor that each process on this machine used meanwhile. `memory`: MiB of those started
    for the run, at its beginning and its end, by name. `log_before`: entries that the log had then.
    """

    passed: bool
    mix: str
    shape: str
    users: int
    seconds: float
    workers: int
    sequence: int
    operators: int
    transactions_per_second: float
    usage_records_per_second: float
    processor: dict[str, float]
    memory: dict[str, tuple[float, float]]
    log_before: int
    rows: tuple[Row, ...]
    finding: Finding
    machine: Machine

    def write(self, path: Path) -> None:
        """Write `load.json`."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def make_result(plan: Plan, stats: list[dict[str, Any]], finding: Finding, aside: Aside, memory: MemoryWatch) -> Result:
    """From Locust's figures and what the check found. A run of which nothing was acknowledged has not passed."""
    ended = max((entry["last_request_timestamp"] or 0.0 for entry in stats), default=0.0)
    seconds = max(ended - aside.begun, 1.0)
    rows = tuple(sorted((_row(entry, seconds) for entry in stats), key=lambda row: (row.kind, row.name)))
    if not any(row.count > row.failures for row in rows):
        finding.faults.append("nothing: not one call was answered as it should be")
    return Result(
        passed=not finding.faults,
        mix=plan.mix_name,
        shape=plan.shape_name,
        users=plan.users,
        seconds=round(seconds, 1),
        workers=plan.workers,
        sequence=plan.sequence,
        operators=len(plan.traders),
        transactions_per_second=round(finding.acknowledged / seconds, 1),
        usage_records_per_second=round(finding.usage_records / seconds, 1),
        processor=aside.processor,
        memory={name: (round(memory.first[name], 1), round(last, 1)) for name, last in memory.last.items()},
        log_before=plan.first,
        rows=rows,
        finding=finding,
        machine=describe_machine(),
    )


def _row(entry: dict[str, Any], seconds: float) -> Row:
    times = sorted((float(time), count) for time, count in entry["response_times"].items())
    return Row(
        kind=entry["method"],
        name=entry["name"],
        count=entry["num_requests"],
        failures=entry["num_failures"],
        per_second=round(entry["num_requests"] / seconds, 2),
        p50=_percentile(times, 0.5),
        p95=_percentile(times, 0.95),
        p99=_percentile(times, 0.99),
        longest=round(entry["max_response_time"] / 1000, 4),
    )


def _percentile(times: list[tuple[float, int]], share: float) -> float:
    """Seconds within which `share` of them were, as fine as Locust keeps them: two digits."""
    total, passed = sum(count for _, count in times), 0
    for time, count in times:
        passed += count
        if passed >= share * total:
            return time / 1000
    return 0.0


def show(result: Result, console: Console) -> None:
    """Print it."""
    title = (
        f"{result.mix}, {result.shape}: {result.users} users, {result.workers} workers, sequences of {result.sequence}"
    )
    table = Table("measured", "count", "failed", "a second", "p50 s", "p99 s", "longest s", title=title)
    for row in result.rows:
        table.add_row(
            f"{row.name} · {row.kind}",
            *(f"{row.count:,}", f"{row.failures:,}", f"{row.per_second:,.1f}"),
            *(f"{row.p50:.3f}", f"{row.p99:.3f}", f"{row.longest:.3f}"),
            style="bold" if row.kind == DURABLE else "",
        )
    console.print(table)
    finding = result.finding
    console.print(
        f"{finding.acknowledged:,} transactions acknowledged: [bold]{result.transactions_per_second:,.0f} a second[/]\n"
        f"{finding.usage_records:,} usage records: {result.usage_records_per_second:,.0f} a second\n"
        f"{finding.rejected:,} rejected; {finding.unknown:,} with a lost answer, {finding.learnt:,} of them accepted\n"
        f"{finding.purchases:,} purchases and {finding.jobs:,} OTA jobs at the node\n"
        f"{finding.log_entries:,} entries in the log since the beginning, {result.log_before:,} before"
    )
    if result.processor and finding.acknowledged:
        used = {name: 1e6 * seconds / finding.acknowledged for name, seconds in result.processor.items()}
        each = ", ".join(f"{name} {microseconds:,.0f}" for name, microseconds in used.items())
        console.print(f"processor, µs a transaction: {each}; all together {sum(used.values()):,.0f}")
    if result.memory:
        held = ", ".join(f"{name} {first:,.0f} → {last:,.0f}" for name, (first, last) in result.memory.items())
        console.print(f"memory, MiB at the beginning and the end: {held}")
    for code, count in sorted(finding.rejections.items()):
        console.print(f"  rejected {code}: {count:,} (docs/rejections.md)")
    for one in finding.unchecked:
        console.print(one, style="yellow", markup=False)
    if finding.faults:
        console.print(f"[bold red]FAILED[/]: {len(finding.faults)} faults")
        for fault in finding.faults:
            console.print(f"  {fault}", markup=False)
        return
    console.print("[bold green]PASSED[/]: nothing lost, nothing doubled, all of it proven under the last checkpoint.")
