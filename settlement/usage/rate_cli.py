"""`landfall rate`: what use costs by a tariff, with every step from blocks to the charge."""

import csv
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from msgspec import Struct

from landfall.cli import emit
from landfall.errors import LandfallError
from settlement.encodings import tell_undecodable
from settlement.ledger.messages import UsageRecord
from settlement.money import MoneyError, format_sdrt, parse_sdrt
from settlement.usage.derivation import Derivation, derive, group_requests
from settlement.usage.intake import NetworkUsage
from settlement.usage.rating import MINUTE_MS, sells
from settlement.usage.tariff import MAX_RENEWALS, Code, Tariff, find_fault, version_needed

MAX_TARIFF: Final = 64 * 1024
"""Octets of a tariff: it fits an envelope."""
MAX_LINE: Final = 64 * 1024
"""Octets of a line of records."""
SHOWN: Final = 5
"""Requests that are derived on a screen; --json has all."""

rate = typer.Typer(add_completion=False)


class Use(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of records for people: `start` is RFC 3339 with its offset, `request` tells requests apart."""

    service: str
    start: str
    units: int
    duration: int = 0
    place: str = "XX"
    continues: bool = False
    request: str = ""


class Batch(Struct, frozen=True):
    """A batch of `landfall usage import` and `landfall tap usage`: each IMSI is taken as one request."""

    records: tuple[NetworkUsage, ...]


class Rated(Struct, frozen=True):
    """A request's amount with its derivation."""

    request: str
    derivation: Derivation


@rate.command()
def rate_records(
    tariff: Annotated[Path, typer.Argument(help="JSON of a tariff, or of an offer's terms.", exists=True)],
    records: Annotated[Path, typer.Argument(help="Use: .jsonl, .csv, or a .json batch.", exists=True, dir_okay=False)],
    escrow: Annotated[str | None, typer.Option(help="SDRt a request has in escrow, as 12.5; else enough.")] = None,
    renewals: Annotated[int, typer.Option(help="Bundle periods wanted beyond the first.", min=0, max=MAX_RENEWALS)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document; amounts are µSDRt.")] = False,
) -> None:
    """Print what RECORDS cost by TARIFF and how: zone, tier, rounding, least charge, taxes, cap, line by line.

        landfall rate settlement/usage/examples/tariff-peak-tiers.json settlement/usage/examples/month.csv

    A line of records has service (data, voice, message), start (2026-11-02T19:30+01:00: its own offset decides on peak
    hours), units (octets, seconds, messages), and if wanted place, duration, continues (a further part of the call
    before) and request (records of one name are counted together). It is the arithmetic the ledger settles by:
    nothing is estimated, nothing is sent.
    """
    terms = read_tariff(tariff)
    try:
        limit = None if escrow is None else parse_sdrt(escrow)
    except MoneyError as error:
        raise LandfallError(f"--escrow: {error}") from None
    if isinstance(terms, Code):
        raise LandfallError(f"{tariff}: a code is paid when it is redeemed: there is no use to rate")
    rated = [
        Rated(name, derive(terms, used, escrow=limit, renewals=renewals))
        for name, used in group_requests(list(_read_uses(records, terms))).items()
    ]
    total = sum(each.derivation.charge for each in rated)
    if as_json:
        emit({"charge": total, "rules_version": version_needed(terms), "requests": rated}, as_json=True)
        return
    for each in rated[:SHOWN]:
        _show(each)
    if len(rated) > SHOWN:
        emit(f"… and {len(rated) - SHOWN} requests more: --json has them all")
    emit({"requests": len(rated), "charge": format_sdrt(total), "rules version": version_needed(terms)})


def read_tariff(path: Path) -> Tariff:
    """Read a tariff, or the one in an offer's terms. Raises `LandfallError` naming the field."""
    with path.open("rb") as file:
        octets = file.read(MAX_TARIFF + 1)
    if len(octets) > MAX_TARIFF:
        raise LandfallError(f"{path}: has more than {MAX_TARIFF} octets: no tariff")
    try:
        whole = msgspec.json.decode(octets)
        inner = whole["tariff"] if isinstance(whole, dict) and "tariff" in whole else whole
        tariff: Tariff = msgspec.convert(inner, type=Tariff)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LandfallError(f"{path}: is no tariff: {error}") from None
    if (fault := find_fault(tariff)) is not None:
        raise LandfallError(f"{path}: {fault}")
    return tariff


def _read_uses(path: Path, tariff: Tariff) -> Iterator[tuple[str, UsageRecord]]:
    readers: dict[str, Callable[[Path], Iterator[tuple[int, str, UsageRecord]]]] = {
        ".csv": _read_csv,
        ".jsonl": _read_lines,
        ".json": _read_batch,
    }
    if (reader := readers.get(path.suffix.lower())) is None:
        raise LandfallError(f"{path}: ends in {path.suffix!r}: name a file that ends in {', '.join(readers)}")
    for number, name, record in reader(path):
        if not sells(tariff, record.service):
            raise LandfallError(f"{path}: record {number}: the tariff does not sell {record.service}")
        yield name, record


def _read_csv(path: Path) -> Iterator[tuple[int, str, UsageRecord]]:
    csv.field_size_limit(MAX_LINE)
    known = Use.__struct_fields__
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames
            if names is None:
                raise LandfallError(f"{path}: is empty: its first line names the columns, {', '.join(known)}")
            if strange := [name for name in names if name not in known][:5]:
                raise LandfallError(
                    f"{path}: has no use for the columns {', '.join(strange)}; known: {', '.join(known)}"
                )
            for number, row in enumerate(reader, 1):
                given = {name: cell for name, cell in row.items() if name is not None and cell}
                yield _take(path, number, given, strict=False)
    except UnicodeDecodeError:
        raise LandfallError(f"{path}: {tell_undecodable(path)}") from None
    except csv.Error as error:
        raise LandfallError(f"{path}: line {reader.line_num} is no CSV: {error}") from None


def _read_lines(path: Path) -> Iterator[tuple[int, str, UsageRecord]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise LandfallError(f"{path}: line {number} is longer than {MAX_LINE} octets")
            if not line.strip():
                continue
            try:
                value = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise LandfallError(f"{path}: line {number} is no JSON: {error}") from None
            yield _take(path, number, value, strict=True)


def _take(path: Path, number: int, value: Any, *, strict: bool) -> tuple[int, str, UsageRecord]:
    """A record in the form of the ledger (an array) or of people (an object)."""
    try:
        if isinstance(value, list):
            return number, "", msgspec.convert(value, type=UsageRecord)
        use = msgspec.convert(value, type=Use, strict=strict)
        moment = datetime.fromisoformat(use.start)
        offset = moment.utcoffset()
        if offset is None:
            raise ValueError(f"start {use.start!r} has no offset from UTC: write 2026-11-02T19:30+01:00")
        shift = int(offset.total_seconds()) // 60
        fields = [use.service, int(moment.timestamp()) // 60, shift, use.duration, use.units, use.place, use.continues]
        return number, use.request, msgspec.convert(fields, type=UsageRecord)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        raise LandfallError(f"{path}: record {number}: {error}") from None


def _read_batch(path: Path) -> Iterator[tuple[int, str, UsageRecord]]:
    try:
        batch = msgspec.json.decode(path.read_bytes(), type=Batch)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LandfallError(f"{path}: is no batch of `landfall usage import`: {error}") from None
    names: dict[str, str] = {}  # an IMSI is nobody's business on a screen
    for number, one in enumerate(batch.records, 1):
        start = one.start_ms // MINUTE_MS
        record = UsageRecord(one.service, start, one.offset, one.duration, one.units, one.place, one.continues)
        yield number, names.setdefault(one.imsi, f"subscriber {len(names) + 1}"), record


def _show(rated: Rated) -> None:
    derivation = rated.derivation
    name = f" of {rated.request}" if rated.request else ""
    lines = [
        {
            "zone": line.zone,
            "service": line.service,
            "what": line.what,
            "count": line.count,
            "price µSDRt": line.price,
            "amount µSDRt": line.amount,
        }
        for line in derivation.lines
    ]
    emit(lines or "nothing was used", title=f"{derivation.records} records{name}")
    emit([{"step": step.step, "": step.how, "total µSDRt": step.total} for step in derivation.steps])
    for refusal in derivation.refused[:SHOWN]:
        emit(f"record {refusal.record + 1}: {refusal.cause}, {refusal.amount} not covered")
