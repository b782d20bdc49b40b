"""`landfall usage watch`: a folder looked at again and again, told line by line; the operator's command runs it too."""

import os
import re
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console

from landfall.errors import LandfallError
from settlement.usage.taking import Sources, read_mappings
from settlement.usage.watching import SETTLE_S, Deliver, FileReport, Watch

RETRY_S: Final = 30.0
"""Pause after the node did not take a batch: it is being restarted, or somebody has to look."""

PLACE: Final = re.compile(r"[0-9]{5,6}|[A-Z]{2}", re.ASCII)

Folder = Annotated[Path, typer.Argument(help="The folder files are put into.", exists=True, file_okay=False)]
Mappings = Annotated[
    list[str],
    typer.Option("--mapping", "-m", help="TOML of tables, or 'PATTERN=FILE' for names like the pattern. Repeatable."),
]
Places = Annotated[list[str], typer.Option("--place", help="PLMN or country of a TADIG code, RUS01=25001. Repeatable.")]
Once = Annotated[bool, typer.Option("--once", help="Take what is there, then end.")]
Every = Annotated[float, typer.Option(help="Seconds between looks.", min=0.1)]
Settle = Annotated[float, typer.Option(help="Seconds a file must have been left alone.", min=0)]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON document a file, a line each.")]


def watch_folder(
    folder: Path,
    deliver: Deliver,
    *,
    mappings: list[str],
    places: list[str],
    once: bool = False,
    every: float = SETTLE_S,
    settle: float = SETTLE_S,
    as_json: bool = False,
) -> None:
    """Look until told to stop. With `once` raises what `look` raises, and exits with 1 if a file was refused."""
    pairs = dict(pair.split("=", 1) for pair in places if "=" in pair)
    if len(pairs) != len(places):
        raise LandfallError(f"--place {' '.join(places)}: write each as TADIG=PLMN, RUS01=25001, and each TADIG once")
    if wrong := [place for place in pairs.values() if not PLACE.fullmatch(place)]:
        raise LandfallError(f"--place …={wrong[0]}: a PLMN of 5 or 6 digits, or a country of two capital letters")
    watch = Watch(folder, Sources(read_mappings(mappings), pairs), deliver, settle_s=settle)
    errors = Console(stderr=True)
    refused = False
    with watch.alone(), suppress(KeyboardInterrupt):
        while True:
            pause = every
            try:
                for report in watch.look():
                    refused |= report.status == "refused"
                    _tell(report, as_json)
            except LandfallError as error:
                if once:
                    raise
                errors.print(f"{error}; again in {RETRY_S:.0f} s", style="red", markup=False, soft_wrap=True)
                pause = RETRY_S
            if once:
                break
            time.sleep(pause)
    if once and refused:
        raise typer.Exit(1)


def _tell(report: FileReport, as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()
        return
    told = f"{report.at} {report.name}: {report.status}"
    if report.copy_of is not None:
        told += f", the content of {report.copy_of}"
    elif report.taken is not None and report.status == "taken":
        told += f", {report.stored:,} of {report.taken.records:,} records"
    elif report.taken is not None and report.taken.problems:
        first, count = report.taken.problems[0], report.taken.problem_count
        at = [f"line or record {first.place}"] if first.place else []
        at += [first.field] if first.field else []
        at += [repr(first.value)] if first.value else []
        place = f"{', '.join(at)}: " if at else ""
        told += f", {count:,} problem{'s' * (count != 1)}; {place}{first.why}"
    Console().print(told, markup=False, highlight=False, soft_wrap=True)


def deliver_to(folder: Path) -> Deliver:
    """Put batches into a folder, whole, for somebody else to send."""

    def deliver(batch: Path) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = folder / f".{batch.name}.part"
        shutil.copyfile(batch, part)
        part.chmod(0o600)
        os.replace(part, folder / batch.name)
        held = msgspec.json.decode(batch.read_bytes(), type=dict[str, Any])
        return {"stored": len(held["records"])}

    return deliver
