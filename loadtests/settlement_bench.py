"""Benchmarks of settlement: netting, reconciliation and rating, whole commands' work on made-up data.

    python -m loadtests.settlement_bench                   # under a minute
    python -m loadtests.settlement_bench --scale 0.1       # a tenth of the debts and records

Every netting is verified as a validator would; every reconciliation is told how many differences were put in and fails
if it finds another number. A table is printed, `build/bench/settlement.json` written. Figures of one machine compare
with each other, not with another's: look at the load of the machine beside them.
"""

import resource
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import polars as pl
import typer

from loadtests.figures import Figure, measured, publish
from settlement.ledger.messages import UsageRecord
from settlement.money import MAX_AMOUNT
from settlement.netting import Debt, Method, net, verify
from settlement.reconciliation import Kind, read_records, reconcile, summarise
from settlement.usage.bulk import check_rateable, connect, rate_records, sum_up
from settlement.usage.bulk import read_records as read_usage
from settlement.usage.derivation import new_meter
from settlement.usage.rate_cli import read_tariff
from settlement.usage.rating import MINUTE_MS, charge
from settlement.usage.tariff import Metered

SEED: Final = 20_261_120
CYCLES: Final = ((1_000, 100_000, 0.2), (10_000, 1_000_000, 2.0))
"""Operators, debts, and the seconds the solver may take."""
RECORDS: Final = 1_000_000
RATED: Final = 500_000
"""Records rated one by one and in bulk."""
CHANGED: Final = 100
"""One record in so many has its amount changed, another is missing, another comes twice, another has lost its key."""
MONTH_S: Final = 30 * 86_400
FIRST_MS: Final = 1_790_812_800_000
"""2026-10-01T00:00:00Z."""


def make_debts(operators: int, debts: int, *, skewed: bool) -> list[Debt]:
    """Random debts; skewed ones between operators of very different sizes, as a market has them."""
    random = np.random.default_rng(SEED)
    weights = random.lognormal(0, 1.5, operators) if skewed else np.ones(operators)
    shares = weights / weights.sum()
    debtors, creditors = (random.choice(operators, debts, p=shares) for _ in range(2))
    creditors = np.where(creditors == debtors, (creditors + 1) % operators, creditors)
    amounts = random.lognormal(18, 2, debts).astype(np.int64) + 1 if skewed else random.integers(1, 10**9, debts)
    return [
        Debt(f"OP{debtor:05d}", f"OP{creditor:05d}", amount)
        for debtor, creditor, amount in zip(debtors.tolist(), creditors.tolist(), amounts.tolist(), strict=True)
    ]


def measure_netting(scale: float) -> list[Figure]:
    """Solver and verifier, even and skewed debts."""
    rows = []
    for operators, debts, target in CYCLES:
        operators, debts = max(3, int(operators * scale)), max(3, int(debts * scale))
        for skewed in (False, True):
            made = make_debts(operators, debts, skewed=skewed)
            name = f"{operators:,} operators, {debts:,} {'skewed' if skewed else 'even'} debts"
            begin = time.process_time()
            netting = net(made, Method.SETOFF)
            whole_s = time.process_time() - begin
            begin = time.process_time()
            verify(made, netting)
            verify_s = time.process_time() - begin
            novation = net(made, Method.NOVATION)
            note = (
                f"{netting.saved_percent} % saved, novation {novation.saved_percent} %; "
                f"with merging and proof {whole_s:.2f} s of processor, verified in {verify_s:.2f} s"
            )
            rows.append(measured(f"set-off, {name}", netting.solver_s, "s in the solver", f"{target} s", note))
    return rows


def make_records(count: int, folder: Path, ending: str) -> tuple[Path, Path, dict[Kind, int]]:
    """Two files that differ in a known way, and the differences of theirs by kind."""
    random = np.random.default_rng(SEED)
    ours = pl.DataFrame(
        {
            "key": pl.Series(np.arange(count)).cast(pl.String).str.pad_start(12, "0"),
            "party": pl.Series([f"OP{number:03d}" for number in range(200)]).gather(random.integers(0, 200, count)),
            "request": pl.Series(random.integers(0, count // 20 + 1, count)).cast(pl.String),
            "time": pl.Series(FIRST_MS + random.integers(0, MONTH_S, count) * 1000).cast(pl.Datetime("ms", "UTC")),
            "amount_usdr": random.integers(1, 10**8, count),
            "volume": random.integers(0, 10**9, count),
            "duration": random.integers(0, 3600, count),
        }
    )
    some = count // CHANGED
    theirs = ours.sample(fraction=1, shuffle=True, seed=SEED).with_columns(
        pl.when(pl.int_range(pl.len()) < some).then(pl.col("amount_usdr") + 7).otherwise("amount_usdr"),
        pl.when(pl.int_range(pl.len()).is_between(some, 2 * some - 1)).then(pl.lit("")).otherwise("key").alias("key"),
    )
    theirs = pl.concat([theirs[:-some], theirs[2 * some : 3 * some]])
    files = folder / f"ours.{ending}", folder / f"theirs.{ending}"
    for frame, file in zip((ours, theirs), files, strict=True):
        if ending == "csv":
            frame.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv(file)
        else:
            frame.write_parquet(file)
    return *files, {Kind.AMOUNT: some, Kind.DUPLICATE: some, Kind.MISSING_HERE: 0}


def measure_reconciliation(scale: float) -> list[Figure]:
    """Reading, pairing and summing up, from CSV and from Parquet."""
    rows, count = [], max(CHANGED, int(RECORDS * scale))
    for ending in ("csv", "parquet"):
        with tempfile.TemporaryDirectory(prefix="landfall-bench-") as folder:
            ours, theirs, expected = make_records(count, Path(folder), ending)
            begin, processor = time.perf_counter(), time.process_time()
            records = read_records(ours), read_records(theirs)
            read_s = time.perf_counter() - begin
            report = summarise(reconcile(*records))
            whole_s, processor_s = time.perf_counter() - begin, time.process_time() - processor
        found = {tally.kind: tally.theirs for tally in report.kinds}
        wrong = {kind.value: (found[kind], much) for kind, much in expected.items() if found[kind] != much}
        if wrong:
            raise SystemExit(f"the reconciliation found {wrong} (found, put in)")
        note = (
            f"reading {read_s:.2f} s, pairing {report.seconds:.2f} s, {processor_s:.2f} s of processor; "
            f"{report.breaks_in_all:,} differences found"
        )
        rows.append(measured(f"reconciliation, {count:,} against {count:,}, {ending}", whole_s, "s", "5 s", note))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # KiB on Linux
    rows.append(measured("peak memory of this process, making the data included", peak, "GiB", "2 GB", ""))
    return rows


def measure_rating(scale: float) -> list[Figure]:
    """Records by the ledger's arithmetic, one after the other; a file of them in bulk, and both agree."""
    plain = Metered(block=1024, block_price=3, first_price=100, next_price=2, event_price=5)
    graded = read_tariff(Path(str(files("settlement.usage") / "examples" / "tariff-peak-tiers.json")))
    assert isinstance(graded, Metered)
    count = max(1000, int(RATED * scale))
    random = np.random.default_rng(SEED)
    services: tuple[Literal["data", "voice", "message"], ...] = ("data", "voice", "message")
    kinds, units = random.integers(0, 3, count).tolist(), random.integers(1, 100_000, count).tolist()
    starts = (FIRST_MS // MINUTE_MS + np.arange(count) // 30).tolist()
    records = [
        UsageRecord(services[kind], start, 60, 0, unit if kind < 2 else 1, "DE")
        for kind, start, unit in zip(kinds, starts, units, strict=True)
    ]
    rows, charged = [], 0
    requests = max(1, count // 50)
    for name, tariff in (("version 1", plain), ("tiers, zones and tax", graded)):
        meters = [new_meter(MAX_AMOUNT) for _ in range(requests)]
        begin = time.process_time()
        charged = sum(charge(meters[n % requests], record, tariff).settled for n, record in enumerate(records))
        rate = count / (time.process_time() - begin)
        rows.append(measured(f"rating, {name}, one core", rate, "records/s of processor"))
    with tempfile.TemporaryDirectory(prefix="landfall-bench-") as folder:
        path = Path(folder) / "records.parquet"
        pl.DataFrame(
            {
                "partner": [f"OP{n % 50:02d}" for n in range(count)],
                "request": [f"R{n % requests}" for n in range(count)],
                "tariff": ["T"] * count,
                "position": range(count),
                "service": [record.service for record in records],
                "start": [record.start for record in records],
                "offset": [60] * count,
                "units": [record.units for record in records],
                "continues": [False] * count,
            }
        ).write_parquet(path)
        connection = connect()
        begin, processor = time.perf_counter(), time.process_time()
        table = read_usage(connection, path)
        check_rateable(table, {"T": graded})
        sums = connection.to_pyarrow(sum_up(rate_records(table, {"T": graded}))).to_pylist()
        whole_s, rate = time.perf_counter() - begin, count / (time.process_time() - processor)
    if sum(row["charge"] for row in sums) != charged:
        raise SystemExit(f"in bulk {sum(row['charge'] for row in sums)} was charged, record by record {charged}")
    note = f"{whole_s:.2f} s with reading and sums, {rate:,.0f} a second of processor; charges as record by record"
    rows.append(
        measured(
            f"bulk rating on DuckDB, {count:,} records, tiers, zones and tax", count / whole_s, "records/s", note=note
        )
    )
    return rows


def main(
    scale: Annotated[float, typer.Option(min=0.001, max=10, help="Share of the debts and records.")] = 1.0,
    output: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")] = Path("build/bench/settlement.json"),
) -> None:
    """Measure netting, reconciliation and rating."""
    rows = measure_reconciliation(scale) + measure_netting(scale) + measure_rating(scale)
    publish(rows, output)


if __name__ == "__main__":
    typer.run(main)
