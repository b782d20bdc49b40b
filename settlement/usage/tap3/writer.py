"""TAP files written: sections and records in, a file of definite lengths out, whole or not at all.

JSON Lines are the form `landfall tap decode --json` prints and `landfall tap encode` takes: the header of the batch,
one record a line, and at the end the audit, which may be left out and is then worked out.

    {"transferBatch": {"batchControlInfo": {…}, "accountingInfo": {…}, "networkInfo": {…}}}
    {"gprsCall": {…}}
    {"auditControlInfo": {…}}
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import msgspec
from msgspec import Struct

from landfall.errors import LandfallError
from settlement.usage.tap3 import processes
from settlement.usage.tap3.ber import BerError, encode_element, encode_field, grammar, length_octets
from settlement.usage.tap3.events import Fields
from settlement.usage.tap3.stream import MAX_RECORD, MAX_SECTION, TapStream
from settlement.usage.tap3.totals import Totals, utc_offsets

COPY: Final = 1024 * 1024
"""Octets copied at a time."""
MAX_LINE: Final = 16 * MAX_SECTION
"""Octets of a line of JSON: a section's text is some ten times its BER."""

_BEFORE: Final = ("batchControlInfo", "accountingInfo", "networkInfo", "messageDescriptionInfo")


class Piece(Struct):
    """Some records encoded, their sums, and the audit if it stood at their end."""

    octets: bytes
    totals: Totals
    audit: Fields | None


def write_batch(path: Path, header: Fields, events: Iterable[Fields]) -> Totals:
    """Write a transfer batch to `path`, in one move when it is complete; returns the sums of its records.

    `events` may end with `{"auditControlInfo": {…}}`, which then stands as it is; else the sums are written. Memory
    holds one chunk of records. Raises `LandfallError` with the record's number and field.
    """
    numbered = enumerate(events, 1)
    chunks = iter(lambda: list(islice(numbered, processes.CHUNK)), [])
    return _compose(path, header, (_encode_events("record", utc_offsets(header), chunk) for chunk in chunks))


def _compose(
    path: Path, header: Fields, pieces: Iterable[Piece], advance: Callable[[int], None] = lambda _: None
) -> Totals:
    node = grammar("TransferBatch")
    if strange := header.keys() - set(_BEFORE):
        raise LandfallError(f"a batch's header has no {', '.join(sorted(strange))}: it has {', '.join(_BEFORE)}")
    before = b"".join(_field(name, header[name]) for name in _BEFORE if name in header)
    totals, audit = Totals(), None
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        for piece in pieces:
            if audit is not None:
                raise LandfallError("records come after auditControlInfo, which must be the last")
            audit = piece.audit
            spool.write(piece.octets)
            totals.merge(piece.totals)
            advance(piece.totals.count)
        size = spool.tell()
        spool.seek(0)
        after = _field("auditControlInfo", totals.audit() if audit is None else audit)
        middle = node.by_name["callEventDetails"][0] + length_octets(size)
        outer = grammar("DataInterChange").by_name["transferBatch"][0]
        whole = len(before) + len(middle) + size + len(after)
        with replace(path) as file:
            file.write(outer + length_octets(whole) + before + middle)
            shutil.copyfileobj(spool, file, COPY)
            file.write(after)
    return totals


def _encode_events(named: str, offsets: dict[int, int], events: list[tuple[int, Fields]]) -> Piece:
    """Encode numbered events; `named` is what their numbers count. Raises `LandfallError`."""
    node, parts = grammar("CallEvent"), []
    piece = Piece(b"", Totals(), None)
    for number, event in events:
        if piece.audit is not None:
            raise LandfallError(f"{named} {number} comes after auditControlInfo, which must be the last")
        if event.keys() == {"auditControlInfo"}:
            piece.audit = event["auditControlInfo"]
            continue
        try:
            octets = encode_element(node, event)
        except BerError as error:
            raise LandfallError(f"{named} {number}, {error.field}: {error.why}") from None
        if len(octets) > MAX_RECORD:
            raise LandfallError(f"{named} {number} has {len(octets)} octets: more than {MAX_RECORD}")
        parts.append(octets)
        [(kind, body)] = event.items()
        piece.totals.add(kind, body, offsets)
    piece.octets = b"".join(parts)
    return piece


def _field(name: str, value: Any) -> bytes:
    try:
        return encode_field(grammar("TransferBatch"), name, value)
    except BerError as error:
        raise LandfallError(f"{error.field}: {error.why}") from None


@contextmanager
def replace(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` when all is written, and vanishes when something fails."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def write_lines(
    source: Path, path: Path, workers: int | None = None, advance: Callable[[int], None] = lambda _: None
) -> Totals:
    """Encode JSON Lines as TAP, by several processes if they are long. `advance` is told of records done.

    Raises `LandfallError` naming the line.
    """
    with source.open("rb") as file:
        lines = _read_lines(file)
        number, text = next(lines, (1, b""))
        try:
            first = _read_line(number, text)
            if first.keys() == {"notification"}:
                write_element(path, first)
                return Totals()
            if first.keys() != {"transferBatch"} or not isinstance(header := first["transferBatch"], dict):
                raise LandfallError("line 1 must be an object with the one name transferBatch, or notification")
            chunks = processes.in_chunks(lines, lambda line: len(line[1]))
            work = partial(_encode_lines, header.get("networkInfo", {}))
            workers = (os.cpu_count() or 1) if workers is None else workers
            if workers <= 1 or source.stat().st_size < processes.PARALLEL_FROM:
                return _compose(path, header, map(work, chunks), advance)
            return _compose(path, header, processes.in_processes(work, chunks, workers), advance)
        except LandfallError as error:
            raise LandfallError(f"{source}: {error}") from None


def _encode_lines(network: Fields, lines: list[tuple[int, bytes]]) -> Piece:
    events = [(number, _read_line(number, line)) for number, line in lines]
    return _encode_events("line", utc_offsets({"networkInfo": network}), events)


def write_element(path: Path, value: Fields) -> None:
    """Write a file that is small enough to be one value: a notification, a RAP batch. Raises `LandfallError`."""
    try:
        octets = encode_element(grammar("DataInterChange"), value)
    except BerError as error:
        raise LandfallError(f"{error.field}: {error.why}") from None
    with replace(path) as file:
        file.write(octets)


def _read_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if line.strip():
            yield number, line


def _read_line(number: int, line: bytes) -> Fields:
    if len(line) > MAX_LINE:
        raise LandfallError(f"line {number} is longer than {MAX_LINE} octets")
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LandfallError(f"line {number} is no JSON object: {error}") from None


def to_lines(tap: TapStream, workers: int | None = None) -> Iterator[bytes]:
    """A file as JSON Lines, in pieces of many lines. Raises `TapError`."""
    if tap.kind == "notification":
        yield msgspec.json.encode({tap.kind: tap.header}) + b"\n"
        return
    last = {
        name: value for name, value in tap.header.items() if name.endswith(("auditControlInfo", "AuditControlInfo"))
    }
    first = {name: value for name, value in tap.header.items() if name not in last}
    yield msgspec.json.encode({tap.kind: first}) + b"\n"
    yield from tap.map(_write_json, workers)
    if last:
        yield msgspec.json.encode(last) + b"\n"


def _write_json(records: list[Any]) -> bytes:
    return b"".join(msgspec.json.encode(record.value) + b"\n" for record in records)
