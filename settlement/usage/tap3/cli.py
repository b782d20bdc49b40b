"""`landfall tap`: decode, encode and validate TAP files; take usage from them; write a settled period as one."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from landfall.cli import emit
from landfall.errors import LandfallError
from settlement.usage.intake import NetworkUsage, write_batches
from settlement.usage.tap3.checks import Report, refuse, validate
from settlement.usage.tap3.findings import Finding
from settlement.usage.tap3.rap import describe, write_return
from settlement.usage.tap3.returns import Applied, apply_returns, list_returned
from settlement.usage.tap3.sequence import SequenceBook, digest_file
from settlement.usage.tap3.stream import Record, TapError, TapStream, open_tap
from settlement.usage.tap3.usage import Batch, NotUsage, Settled, TapUsage, to_usage, write_settled
from settlement.usage.tap3.writer import replace, to_lines, write_lines

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="TAP files (GSMA TD.57): decode, encode, validate, and take usage from them.",
)

TapFile = Annotated[Path, typer.Argument(help="A TAP file.", dir_okay=False, exists=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Workers = Annotated[
    int | None, typer.Option(min=1, max=64, help="Processes; one a processor by default, one for a short file.")
]

MAX_SHOWN: Final = 200
"""Returns shown on a screen; --json prints them all."""

_TOLD: Final = {"correct": "green", "warning": "yellow", "severe": "red", "fatal": "bold red"}


@app.command("decode")
def decode(file: TapFile, as_json: AsJson = False, workers: Workers = None) -> None:
    """Show what a file holds; with --json all of it, as JSON Lines: header, one record a line, audit.

    landfall tap decode CDDEUD1RUS0100001 --json > batch.jsonl
    """
    _decode(file, as_json, workers, rap=False)


@app.command("rap")
def decode_rap(file: TapFile, as_json: AsJson = False, workers: Workers = None) -> None:
    """Show a RAP file, what a partner returns: each return, its file and codes; with --json all of it."""
    _decode(file, as_json, workers, rap=True)
    if not as_json:
        with open_tap(file, rap=True) as tap:
            emit(describe([record.value for record in islice(tap.records(), MAX_SHOWN)]))


@app.command("apply")
def apply_rap(
    rap: Annotated[Path, typer.Argument(help="A RAP file a partner sent.", dir_okay=False, exists=True)],
    sent: Annotated[list[Path], typer.Argument(help="The TAP files it answers.", dir_okay=False, exists=True)],
    book: Annotated[
        Path | None, typer.Option(help="File of the RAP numbers seen: finds gaps and reuse, and takes this file in.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the returned records here, JSON Lines with their causes.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
    workers: Workers = None,
) -> None:
    """Find what a partner returns in the files you sent: which records, why, and what stands of each file.

        landfall tap apply RCDEUD1RUS0100001 CDRUS01DEUD10000* --book returned.book --out returned.jsonl

    Exit code 1: the RAP file's own sums are wrong (nothing is applied), or a return is not of these files. With --book
    a RAP file is applied once.
    """
    if out is not None:
        _check_folder(out)
    with open_tap(rap, rap=True) as stream:
        control = dict(stream.header.get("rapBatchControlInfoRap", {}))
        control["fileSequenceNumber"] = control.get("rapFileSequenceNumber", "")
    digest = digest_file(rap)
    with _progress_of(Console(stderr=True), f"{rap.name} in {len(sent)} files", None) as advance:
        if book is None:
            applied = apply_returns(rap, sent, workers=workers, advance=advance)
        else:
            with SequenceBook(book) as kept:
                also = kept.check(control, digest)
                if any(one.rule == "identical-copy" for one in also):
                    raise LandfallError(f"{rap}: was applied before, the same octets: nothing is returned twice")
                applied = apply_returns(rap, sent, workers=workers, advance=advance, also=also)
                if applied.verdict == "applied":
                    kept.take(control, digest)
    if out is not None:
        with replace(out) as file:
            file.writelines(msgspec.json.encode(line) + b"\n" for line in list_returned(applied))
    if as_json:
        emit({"verdict": applied.verdict, "applied": applied}, as_json=True)
    else:
        _show_applied(applied)
    if applied.verdict != "applied":
        raise typer.Exit(1)


def _show_applied(applied: Applied) -> None:
    told = {"from": applied.sender, "to": applied.recipient, "number": applied.sequence, "verdict": applied.verdict}
    emit({"file": applied.file, **told})
    for one in applied.findings:
        emit(f"  {one.severity} {one.code} {one.rule}: {one.field}: {one.message}")
    rows = [
        {
            "return": one.kind,
            "file": one.file,
            "record": one.record or None,
            "event": one.event or None,
            "value": one.value,
            "why": "; ".join(f"{cause.code} {cause.field}".rstrip() for cause in one.causes),
            "status": one.status,
        }
        for one in applied.returns[:MAX_SHOWN]
    ]
    if rows:
        emit(rows, title="What comes back")
    if applied.files:
        emit([msgspec.to_builtins(state) for state in applied.files], title="What stands, in each file's decimals")


@app.command("return")
def return_file(
    file: TapFile,
    out: Annotated[Path, typer.Argument(help="The RAP file to write.", dir_okay=False)],
    sequence: Annotated[int, typer.Option(min=1, max=99_999, help="RAP file sequence number.")],
    book: Annotated[
        Path | None, typer.Option(help="File of the sequence numbers seen: what is missing is asked for.")
    ] = None,
    as_json: AsJson = False,
    workers: Workers = None,
) -> None:
    """Validate a file and write what goes back of it as RAP: the whole file, its severe records, missing numbers.

    landfall tap return CDRUS01DEUD100001 RCDEUD1RUS0100001 --sequence 1
    """
    _check_folder(out)
    missing: list[tuple[str, str]] = []
    also: list[Finding] = []
    if book is not None:
        with open_tap(file) as tap, SequenceBook(book) as kept:
            control = tap.header.get("batchControlInfo", tap.header)
            missing, also = kept.missing(control), kept.check(control, digest_file(file))
    report = validate(file, workers=workers, also=also)
    now = int(time.time())
    emit(write_return(out, file, report, sequence=sequence, created_s=now, missing=missing), as_json)


def _decode(file: Path, as_json: bool, workers: int | None, *, rap: bool) -> None:
    with open_tap(file, rap=rap) as tap:
        if as_json:
            for piece in to_lines(tap, workers):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        kinds: Counter[str] = Counter()
        with _progress(tap) as advance:
            for counted in tap.map(_count_kinds, workers):
                kinds.update(counted)
                advance(counted.total())
        control = tap.header.get("batchControlInfo") or tap.header.get("rapBatchControlInfoRap") or tap.header
        shown: dict[str, Any] = {"file": str(file), "kind": tap.kind}
        for name in ("sender", "recipient", "fileSequenceNumber", "rapFileSequenceNumber"):
            shown |= {name: control[name]} if name in control else {}
        shown |= {kind: f"{number:,}" for kind, number in kinds.most_common()}
        audit = tap.header.get("auditControlInfo") or tap.header.get("rapAuditControlInfo") or {}
        emit(shown | {name: value for name, value in audit.items() if isinstance(value, int)})


def _count_kinds(records: list[Record]) -> Counter[str]:
    return Counter(kind for record in records for kind in record.value)


@app.command("encode")
def encode(
    lines: Annotated[Path, typer.Argument(help="JSON Lines as decode --json prints.", dir_okay=False, exists=True)],
    out: Annotated[Path, typer.Argument(help="The file to write.", dir_okay=False)],
    as_json: AsJson = False,
    workers: Workers = None,
) -> None:
    """Write a TAP file from JSON Lines; without an auditControlInfo at their end the sums are worked out.

    landfall tap encode batch.jsonl CDDEUD1RUS0100001
    """
    _check_folder(out)
    with _progress_of(Console(stderr=True), lines.name, None) as advance:
        totals = write_lines(lines, out, workers, advance)
    emit({"file": str(out), "octets": out.stat().st_size, "records": totals.count, "charge": totals.charge}, as_json)


@app.command("validate")
def validate_files(
    files: Annotated[list[Path], typer.Argument(help="TAP files, in order.", dir_okay=False, exists=True)],
    book: Annotated[
        Path | None,
        typer.Option(help="File of the sequence numbers seen: finds gaps and reuse, and takes these files in."),
    ] = None,
    as_json: AsJson = False,
    workers: Workers = None,
) -> None:
    """Tell all that is wrong with files, by code. Exit code 1: something must go back (fatal or severe).

        landfall tap validate CDDEUD1RUS01* --book taken.jsonl

    A file that is fatal is not taken into the book.
    """
    reports = []
    for file in files:
        try:
            reports.append(_validate(file, book, workers))
        except TapError as error:
            reports.append(refuse(error))
    if as_json:
        emit([{"verdict": report.verdict, "report": report} for report in reports], as_json=True)
    else:
        for report in reports:
            _show(report)
    if any(report.verdict in ("fatal", "severe") for report in reports):
        raise typer.Exit(1)


def _validate(file: Path, book: Path | None, workers: int | None) -> Report:
    with open_tap(file) as tap, _progress(tap) as advance:
        control = tap.header if tap.kind == "notification" else tap.header.get("batchControlInfo", {})
        if book is None:
            return validate(file, workers=workers, advance=advance)
        digest = digest_file(file)
        with SequenceBook(book) as kept:
            also = kept.check(control, digest)
            report = validate(file, workers=workers, advance=advance, also=also)
            if report.verdict != "fatal" and not any(one.rule == "identical-copy" for one in also):
                kept.take(control, digest)
        return report


def _show(report: Report) -> None:
    console = Console()
    told = f"{report.file}: {report.verdict}, {report.records:,} records, {sum(report.counts.values()):,} findings"
    console.print(told, style=_TOLD[report.verdict], markup=False, soft_wrap=True)
    for one in report.findings:
        at = (f"record {one.record}" if one.record else "", f"octet {one.offset}" if one.offset else "", one.field)
        where = ", ".join(filter(None, at)) or "the file"
        line = f"  {one.severity} {one.code} {one.rule}: {where}: {one.message}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if (more := sum(report.counts.values()) - len(report.findings)) > 0:
        console.print(f"  and {more:,} more: {report.counts}", markup=False)


@app.command("usage")
def take_usage(
    file: TapFile,
    folder: Annotated[Path, typer.Argument(help="Where batches for the operator node are written.", file_okay=False)],
    place: Annotated[list[str], typer.Option(help="PLMN or country of a TADIG code: RUS01=25001. Repeatable.")],
    as_json: AsJson = False,
) -> None:
    """Write a file's calls, messages and data as batches of usage, which the operator node takes.

        landfall tap usage CDDEUD1RUS0100001 ./usage --place RUS01=25001
        landfall operator usage send ./usage/RUS01-DEUD1-00001-…-1.json

    The batches hold IMSIs, which that node replaces by its requests' ids; delete them when they are sent.
    """
    places = dict(pair.split("=", 1) for pair in place if "=" in pair)
    if len(places) != len(place):
        raise LandfallError(f"--place {' '.join(place)}: write each as TADIG=PLMN, RUS01=25001, and each TADIG once")
    causes: Counter[str] = Counter()
    with open_tap(file) as tap:
        control = tap.header.get("batchControlInfo", {})
        names = [control.get(name, "") for name in ("sender", "recipient", "fileSequenceNumber")]
        name = "-".join("".join(filter(str.isalnum, one))[:8] for one in names) + f"-{digest_file(file)[:12]}"
        batches = list(write_batches(folder, name, _taken(to_usage(tap, places), causes)))
    answer = {
        "batches": [str(path) for path, _ in batches],
        "records": sum(count for _, count in batches),
        "not usage": dict(causes),
    }
    emit(answer, as_json)


def _taken(items: Iterator[TapUsage | NotUsage], causes: Counter[str]) -> Iterator[NetworkUsage]:
    for item in items:
        if isinstance(item, NotUsage):
            causes[item.cause] += 1
        else:
            yield NetworkUsage.of(item.imsi, item.start_ms, item.usage)


@app.command("write")
def write(
    settled: Annotated[
        Path,
        typer.Argument(help="JSON Lines, one settled record each.", dir_okay=False, exists=True),
    ],
    out: Annotated[Path, typer.Argument(help="The file to write.", dir_okay=False)],
    sender: Annotated[str, typer.Option(help="TADIG code of the visited operator.")],
    recipient: Annotated[str, typer.Option(help="Your TADIG code.")],
    sequence: Annotated[int, typer.Option(min=1, max=99_999, help="File sequence number.")],
    test: Annotated[bool, typer.Option("--test", help="Mark the file as a test.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write settled records as a TAP 3.12 file for the home billing, in SDR with six decimal places.

    A line is {"imsi": "26201…", "network": "RUS01", "charge": 1234567, "record": ["data", 29892060, 180, 60, 5000000,
    "25001"]}: charge in µSDRt, the record as usage reports have it.
    """
    _check_folder(out)
    now = int(time.time())
    totals = write_settled(out, Batch(sender, recipient, sequence, now, now, test), _read_settled(settled))
    emit({"file": str(out), "records": totals.count, "total charge, µSDRt": totals.charge}, as_json)


def _read_settled(path: Path) -> Iterator[Settled]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield msgspec.json.decode(line, type=Settled)
                except msgspec.MsgspecError as error:
                    raise LandfallError(f"{path}: line {number}: {error}") from None


def _check_folder(out: Path) -> None:
    if not out.parent.is_dir():
        raise LandfallError(f"{out.parent} is no folder: make it first, or name another place for {out.name}")


def _progress(tap: TapStream) -> AbstractContextManager[Callable[[int], None]]:
    """Records done of those the file says it has, on standard error when somebody looks at it."""
    stated = tap.header.get("auditControlInfo", {}).get("callEventDetailsCount")
    return _progress_of(Console(stderr=True), tap.path.name, stated)


@contextmanager
def _progress_of(console: Console, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.advance(task, done)
