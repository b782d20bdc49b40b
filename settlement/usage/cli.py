"""`landfall usage`: usage out of any billing system's files."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from landfall.cli import emit
from landfall.errors import LandfallError
from settlement.money import format_sdrt
from settlement.usage.csv_mapping import read_mapping
from settlement.usage.intake import NetworkUsage, write_batches
from settlement.usage.rate_cli import read_tariff
from settlement.usage.rows import MAX_BAD, Tally, read_usage
from settlement.usage.tap3.sequence import digest_file
from settlement.usage.tariff import Metered
from settlement.usage.watch_cli import AsJson, Every, Folder, Mappings, Once, Places, Settle, deliver_to, watch_folder
from settlement.usage.watching import SETTLE_S

FIRST: Final = 5
"""Records that are shown to be compared with the file."""
SHOWN_BAD: Final = 20
"""Bad lines a screen shows; --json has more."""
TOLD_EVERY: Final = 10_000
"""Records between two signs of life."""

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Usage from CSV, XLSX and JSON Lines files of billing systems."
)


@app.callback()
def usage() -> None:
    """Usage from CSV, XLSX and JSON Lines files of billing systems."""


@app.command("import")
def import_usage(
    file: Annotated[Path, typer.Argument(help="A CSV, XLSX or JSON Lines file.", exists=True, dir_okay=False)],
    mapping: Annotated[Path, typer.Option("--mapping", "-m", help="TOML file that says what stands where.")],
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where batches for the operator node are written.", file_okay=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be reported.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Write the good lines of a file with bad ones.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Read a file of usage by a mapping: first --dry-run, then --out, then send the batches.

        landfall usage import november.csv --mapping billing.toml --dry-run
        landfall usage import november.csv --mapping billing.toml --out ./usage
        landfall operator usage send ./usage/november-…-1.json

    Every bad line is told with its number, column and value, 20 on a screen, 10,000 with --json. With any, nothing is
    written and the exit code is 1, unless --skip-bad. The same file makes the same batches, which the node takes once.
    """
    if dry_run == (folder is not None):
        raise LandfallError("say either --dry-run, or --out FOLDER for the batches")
    rules = read_mapping(mapping)
    tally = Tally()
    samples: list[NetworkUsage] = []
    batches: list[tuple[Path, int]] = []
    with Console(stderr=True).status(f"reading {file.name} …") as status:
        for one in tally.pick(read_usage(file, rules)):
            if len(samples) < FIRST:
                samples.append(one)
            if tally.records % TOLD_EVERY == 0:
                status.update(f"reading {file.name}: {tally.records:,} records …")
        if folder is not None and (skip_bad or not tally.bad_lines):
            status.update(f"writing {tally.records:,} records …")
            stem = "".join(filter(str.isalnum, file.stem))[:40]
            name = f"{stem}-{digest_file(file)[:12]}-{digest_file(mapping)[:6]}"
            batches = list(write_batches(folder, name, Tally().pick(read_usage(file, rules))))
    written = [str(path) for path, _ in batches]
    if as_json:
        answer = {"tally": tally, "first": [_show_usage(one) for one in samples], "batches": written}
        emit(answer, as_json=True)
    else:
        _tell(file, tally, [_show_usage(one) for one in samples], written)
    if tally.bad_lines and not skip_bad:
        raise typer.Exit(1)


def _show_usage(one: NetworkUsage) -> dict[str, Any]:
    # The subscriber's digits past the network's are nobody's business on a screen.
    return {
        "imsi": f"{one.imsi[:5]}…",
        "service": one.service,
        "start_ms": one.start_ms,
        "offset": one.offset,
        "duration": one.duration,
        "units": one.units,
        "place": one.place,
    }


def _tell(file: Path, tally: Tally, first: list[dict[str, Any]], batches: list[str]) -> None:
    emit([{"service": name, **sums} for name, sums in tally.by_service.items()], title=f"{file.name}")
    if first:
        emit(first, title="The first of them")
    errors = Console(stderr=True)
    for bad in tally.bad[:SHOWN_BAD]:
        told = f"line {bad.line}, {bad.column or 'the whole line'}: {bad.value!r} {bad.why}"
        errors.print(told, style="red", markup=False, highlight=False, soft_wrap=True)
    if tally.bad_lines > SHOWN_BAD:
        errors.print(
            f"… and {tally.bad_lines - SHOWN_BAD:,} bad lines more: --json has the first {MAX_BAD:,}", style="red"
        )
    emit({"records": tally.records, "bad lines": tally.bad_lines, "batches": batches or "none written"})


@app.command("watch")
def watch(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", help="Where batches for the operator node are put.", file_okay=False)],
    mapping: Mappings = [],  # noqa: B006 - typer makes a new list
    place: Places = [],  # noqa: B006
    once: Once = False,
    every: Every = SETTLE_S,
    settle: Settle = SETTLE_S,
    as_json: AsJson = False,
) -> None:
    """Take each file of a folder exactly once, and leave a report of it beside, as JSON and as a page.

        landfall usage watch ./inbox --mapping billing.toml --mapping 'mediation-*=feed.toml' --out ./batches
        landfall operator usage watch ./inbox --mapping billing.toml        # the same, and straight into the node

    CSV, XLSX and JSON Lines by the first mapping whose pattern fits (*.csv, *.xlsx or *.jsonl without one), TAP and RAP
    by their content. A file with anything wrong is refused whole: see reports/. Taken ones move to taken/. Put files in
    under a name ending in .part and rename them, or let them rest for --settle seconds. It may be killed at any time:
    started again, it goes on where it was, and no file counts twice, whatever it is called.
    """
    watch_folder(
        folder,
        deliver_to(out),
        mappings=mapping,
        places=place,
        once=once,
        every=every,
        settle=settle,
        as_json=as_json,
    )


@app.command("rate")
def rate_in_bulk(
    records: Annotated[Path, typer.Argument(help="Parquet (a file or folder) or CSV of records.", exists=True)],
    tariff: Annotated[list[str], typer.Option(help="NAME=FILE: JSON of the tariff the column names. Repeatable.")],
    spark: Annotated[
        str | None,
        typer.Option(help="Run on Spark: its master, as local[4] or spark://host:7077; else on DuckDB here."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write each record and its charge here: .parquet, .csv, or .xlsx with sums.", dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document; amounts are µSDRt.")] = False,
) -> None:
    """Rate millions of records by metered tariffs, and sum them up by partner, service and month.

        landfall usage rate october.parquet --tariff IOT-7=tariff-peak-tiers.json --out rated.xlsx

    Columns: partner, request, tariff (a NAME), position (order within the request), service (data, voice, message),
    start (minutes since 1970, UTC), offset (minutes), units (octets, seconds, messages), continues (true for a further
    part of the call before). Every record costs what the ledger charges for it, where escrow suffices. `landfall rate`
    tells how one request's amount came about.
    """
    # ibis takes a second to load
    from settlement.usage.bulk import check_rateable, connect, rate_records, read_records, sum_up, tell
    from settlement.usage.rated_files import check_ending, write_rated

    if out is not None:
        check_ending(out)
    tariffs = _read_metered(tariff)
    connection = connect() if spark is None else connect("spark", **{"spark.master": spark})
    with Console(stderr=True).status("rating …"):
        table = read_records(connection, records)
        try:
            check_rateable(table, tariffs)
            rated = rate_records(table, tariffs)
            sums = write_rated(connection, rated, out) if out else connection.to_pyarrow(sum_up(rated)).to_pylist()
        except LandfallError:
            raise
        except Exception as error:  # each engine has errors of its own: a cell that is no number, a sum past 64 bits
            raise LandfallError(f"{records}: cannot be rated: {tell(error)}") from None
    if inexact := [row for row in sums if not row["exact"]]:
        told = ", ".join(f"{row['partner']} {row['service']} {row['period']}" for row in inexact[:5])
        raise LandfallError(f"sums reach 2^53 and are not exact: {told}. Rate these requests with `landfall rate`")
    total = sum(row["charge"] for row in sums)
    for row in sums:
        del row["exact"]
    if as_json:
        emit({"charge": total, "rows": sums}, as_json=True)
        return
    emit([{**row, "charge": format_sdrt(row["charge"])} for row in sums], title=f"{records.name}")
    emit({"records": sum(row["records"] for row in sums), "charge": format_sdrt(total), "written": out and str(out)})


def _read_metered(given: list[str]) -> dict[str, Metered]:
    tariffs = {}
    for pair in given:
        name, equals, file = pair.partition("=")
        if not equals or not Path(file).is_file():
            raise LandfallError(
                f"--tariff {pair!r}: write NAME=FILE, the name in the column tariff and a file there is"
            )
        tariff = read_tariff(Path(file))
        if not isinstance(tariff, Metered):
            raise LandfallError(f"--tariff {pair}: is no metered tariff: only these are rated in bulk")
        tariffs[name] = tariff
    return tariffs
