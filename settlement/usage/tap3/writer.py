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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from landfall.errors import LandfallError
from settlement.usage.tap3.ber import BerError, encode_element, encode_field, grammar, length_octets
from settlement.usage.tap3.events import Fields
from settlement.usage.tap3.stream import MAX_RECORD, MAX_SECTION, TapStream
from settlement.usage.tap3.totals import Totals, utc_offsets

COPY: Final = 1024 * 1024
"""Octets copied at a time."""
MAX_LINE: Final = 16 * MAX_SECTION
"""Octets of a line of JSON: a section's text is some ten times its BER."""

_BEFORE: Final = ("batchControlInfo", "accountingInfo", "networkInfo", "messageDescriptionInfo")


def write_batch(path: Path, header: Fields, events: Iterable[Fields]) -> Totals:
    """Write a transfer batch to `path`, in one move when it is complete; returns the sums of its records.

    `events` may end with `{"auditControlInfo": {…}}`, which then stands as it is; else the sums are written. Memory
    holds one record. Raises `LandfallError` with the record's number and field.
    """
    node, event_node = grammar("TransferBatch"), grammar("CallEvent")
    if strange := header.keys() - set(_BEFORE):
        raise LandfallError(f"a batch's header has no {', '.join(sorted(strange))}: it has {', '.join(_BEFORE)}")
    before = b"".join(_field(name, header[name]) for name in _BEFORE if name in header)
    totals, offsets, audit = Totals(), utc_offsets(header), None
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        for number, event in enumerate(events, 1):
            if audit is not None:
                raise LandfallError(f"record {number} comes after auditControlInfo, which must be the last")
            if event.keys() == {"auditControlInfo"}:
                audit = event["auditControlInfo"]
                continue
            try:
                octets = encode_element(event_node, event)
            except BerError as error:
                raise LandfallError(f"record {number}, {error.field}: {error.why}") from None
            if len(octets) > MAX_RECORD:
                raise LandfallError(f"record {number} has {len(octets)} octets: more than {MAX_RECORD}")
            spool.write(octets)
            [(kind, body)] = event.items()
            totals.add(kind, body, offsets)
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


def write_lines(source: Path, path: Path) -> Totals:
    """Encode a file of JSON Lines as TAP. Raises `LandfallError` naming the line or the record."""
    with source.open("rb") as file:
        lines = _read_lines(source, file)
        first = next(lines, {})
        if first.keys() == {"notification"}:
            write_element(path, first)
            return Totals()
        if first.keys() != {"transferBatch"} or not isinstance(first["transferBatch"], dict):
            raise LandfallError(f"{source}: line 1 must be an object with the one name transferBatch, or notification")
        try:
            return write_batch(path, first["transferBatch"], lines)
        except LandfallError as error:
            raise LandfallError(f"{source}: {error}") from None


def write_element(path: Path, value: Fields) -> None:
    """Write a file that is small enough to be one value: a notification, a RAP batch. Raises `LandfallError`."""
    try:
        octets = encode_element(grammar("DataInterChange"), value)
    except BerError as error:
        raise LandfallError(f"{error.field}: {error.why}") from None
    with replace(path) as file:
        file.write(octets)


def _read_lines(source: Path, file: IO[bytes]) -> Iterator[Fields]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if line.strip():
            yield _read_line(source, number, line)


def _read_line(source: Path, number: int, line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise LandfallError(f"{source}: line {number} is longer than {MAX_LINE} octets")
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LandfallError(f"{source}: line {number} is no JSON object: {error}") from None


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
    yield from tap.map(_encode_lines, workers)
    if last:
        yield msgspec.json.encode(last) + b"\n"


def _encode_lines(records: list[Any]) -> bytes:
    return b"".join(msgspec.json.encode(record.value) + b"\n" for record in records)
