"""TAP and RAP files as streams: the sections of a batch at once, its records one by one or by several processes.

    with open_tap(path) as tap:
        tap.kind                        # "transferBatch", "notification"; of RAP "returnBatch", "acknowledgement"
        tap.header                      # every section but the records, decoded
        for record in tap.records(): …  # Record(number from 1, offset in the file, value)
        for answer in tap.map(work): …  # `work`, a module's function, on lists of records, answers in order

The file is mapped, not read: memory holds one chunk of records a process, whatever the file's size. Whatever is wrong
raises `TapError`, which names file, octet, record and field. Nothing is written.
"""

import mmap
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from msgspec import Struct

from landfall.errors import LandfallError
from settlement.usage.tap3 import processes
from settlement.usage.tap3.ber import (
    LIST,
    BerError,
    Node,
    Unknown,
    decode_content,
    decode_element,
    grammar,
    read_header,
)

MAX_RECORD: Final = 256 * 1024
"""Octets of one record: real ones have some hundred; the dicts of a hostile one take thirty times its size."""
MAX_SECTION: Final = 4 * 1024 * 1024
"""Octets of a section such as networkInfo: 100,000 recording entities."""
BEYOND: Final = 1 << 62
"""An end no file has: headers are read as they say, past what there is of a cut file."""

_LISTS: Final = {"transferBatch": ("callEventDetails", "CallEvent"), "returnBatch": ("returnDetails", "ReturnDetail")}
_TYPES: Final = {
    "transferBatch": "TransferBatch",
    "notification": "Notification",
    "returnBatch": "ReturnBatch",
    "acknowledgement": "Acknowledgement",
}
_BEGINNINGS: Final = {b"\x1f\x8b": "gzip: unpack it first", b"PK": "a ZIP archive: unpack it first", b"{": "JSON"}

T = TypeVar("T")


class TapError(LandfallError):
    """A file that cannot be read as TAP or RAP, with the octet, the record (0: none) and the field it fails at."""

    def __init__(self, path: Path, why: str, *, offset: int = 0, record: int = 0, field: str = "") -> None:
        self.path, self.why, self.offset, self.record, self.field = path, why, offset, record, field
        place = [f"octet {offset}", f"record {record}" if record else "", field]
        super().__init__(f"{path}: {', '.join(filter(None, place))}: {why}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.path, self.why, self.offset, self.record, self.field)


def _restore(path: Path, why: str, offset: int, record: int, field: str) -> TapError:
    return TapError(path, why, offset=offset, record=record, field=field)


class Record(Struct, frozen=True):
    """One call event or return: its number from 1, its offset in the file, `{"gprsCall": {…}}`, fields not known."""

    number: int
    offset: int
    value: dict[str, Any]
    unknown: tuple[Unknown, ...] = ()


Span = tuple[int, int, int]
"""Number, offset and length of a record."""


class TapStream:
    """An open file; made by `open_tap`, used as a context manager."""

    def __init__(self, path: Path, *, rap: bool) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                if not self.size:
                    raise TapError(path, "the file is empty")
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise TapError(path, f"cannot be read: {error.strerror}") from None
        try:
            self._read_sections(rap)
        except BaseException:
            self._map.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._map.close()

    def _read_sections(self, rap: bool) -> None:
        self.header: dict[str, Any] = {}
        self.unknown: list[Unknown] = []
        self._records = (0, 0)
        try:
            root, beginning = grammar("DataInterChange"), self._map[:4]
            if not beginning.startswith(tuple(root.by_tag)):
                raise BerError(f"{beginning.hex(' ')} begins neither TAP nor RAP{_guess(beginning)}", 0)
            self._check_complete()
            tag, at, end, following = read_header(self._map, 0, self.size)
            self.kind = root.by_tag[tag][0]
            self._check_kind(rap, at, end)
            if self._map[following : following + 64].strip(b"\0"):
                raise BerError(f"{self.size - following} octets follow the end of the {self.kind}", following)
            self._read_children(grammar(_TYPES[self.kind]), at, end)
        except BerError as error:
            raise TapError(self.path, error.why, offset=error.offset, field=error.field) from None

    def _check_complete(self) -> None:
        """Tell a cut file by the record it ends in; an indefinite length says no size and is left to the reading."""
        try:
            tag, at, end, _ = read_header(self._map, 0, BEYOND)
        except IndexError:
            return
        if end > self.size:
            within = self._find_cut(grammar("DataInterChange").by_tag[tag][2], at)
            raise BerError(f"the file is cut {end - self.size} octets before its end, in {within}", self.size)

    def _find_cut(self, node: Node, at: int) -> str:
        number, section, name = 1, "", "its first section"
        with suppress(IndexError, BerError):
            while at < self.size:
                tag, inner, _, following = read_header(self._map, at, BEYOND)
                if following <= self.size:
                    number, at = number + bool(section), following
                    continue
                name = node.by_tag[tag][0] if tag in node.by_tag else name
                if section or tag not in node.by_tag or node.by_tag[tag][2].kind != LIST:
                    break
                section, at = name, inner
        return f"record {number} of {section}" if section else name

    def _check_kind(self, rap: bool, at: int, end: int) -> None:
        is_rap = self.kind in ("returnBatch", "acknowledgement")
        if is_rap and not rap:
            raise BerError(f"this is a RAP {self.kind}, not TAP: landfall tap rap reads it", 0)
        if rap and not is_rap:
            raise BerError(f"this is a TAP {self.kind}, not RAP: landfall tap decode reads it", 0)
        if self.kind == "transferBatch" and at < end:
            first = read_header(self._map, at, end)[0]
            if first not in grammar("TransferBatch").by_tag:
                other = "an NRTRDE file, or none of TAP" if first in grammar("Notification").by_tag else "no TAP"
                raise BerError(f"tag {first.hex()} comes where batchControlInfo should: this is {other}", at)

    def _read_children(self, node: Node, at: int, end: int) -> None:
        if self.kind not in _LISTS:
            if end - at > MAX_SECTION:
                raise BerError(f"a {self.kind} of {end - at} octets: more than {MAX_SECTION}", at)
            self.header = self._decode(node, at, end)
            return
        while at < end:
            start = at
            tag, inner, stop, at = read_header(self._map, at, end)
            if (found := node.by_tag.get(tag)) is None:
                self.unknown.append(Unknown(start, tag.hex(), node.name))
                continue
            name, _, child = found
            if name in self.header or (name == _LISTS[self.kind][0] and self._records[1]):
                raise BerError(f"the section {name} occurs twice", start)
            if name == _LISTS[self.kind][0]:
                self._records = (inner, stop)
                continue
            if stop - inner > MAX_SECTION:
                raise BerError(f"{name} has {stop - inner} octets: more than {MAX_SECTION}", start)
            try:
                self.header[name] = self._decode(child, inner, stop)
            except BerError as error:
                error.path.append(name)
                raise

    def _decode(self, node: Node, at: int, end: int) -> Any:
        unknown: list[Unknown] = []
        try:
            value = decode_content(node, self._map[at:end], unknown)
        except BerError as error:
            error.offset += at
            raise
        self.unknown += [Unknown(at + one.offset, one.tag, one.within) for one in unknown]
        return value

    def spans(self) -> Iterator[Span]:
        """Where each record is, found without decoding any. Raises `TapError`."""
        at, end = self._records
        limit = MAX_RECORD if self.kind == "transferBatch" else MAX_SECTION  # a fatal return holds a section
        number = 0
        while at < end:
            start = at
            number += 1
            try:
                at = read_header(self._map, at, end)[3]
            except BerError as error:
                raise TapError(self.path, error.why, offset=error.offset, record=number) from None
            if at - start > limit:
                why = f"the record has {at - start} octets: more than {limit}"
                raise TapError(self.path, why, offset=start, record=number)
            yield number, start, at - start

    def records(self) -> Iterator[Record]:
        """Decode the records one by one. Raises `TapError`."""
        if self.kind not in _LISTS:
            return
        node = grammar(_LISTS[self.kind][1])
        for span in self.spans():
            yield _decode_record(self.path, self._map, node, span)

    def pick(self, numbers: Collection[int]) -> Iterator[Record]:
        """Decode the records of these numbers only. Raises `TapError`."""
        node = grammar(_LISTS[self.kind][1])
        for span in self.spans():
            if span[0] in numbers:
                yield _decode_record(self.path, self._map, node, span)

    def map(self, work: Callable[[list[Record]], T], workers: int | None = None) -> Iterator[T]:
        """Give lists of up to `CHUNK` records to `work` in several processes; its answers in the file's order.

        One process for each processor by default, and none for a short file. `work` and its answers are pickled.
        """
        if self.kind not in _LISTS:
            return
        chunks = processes.in_chunks(self.spans(), lambda span: span[2])
        workers = (os.cpu_count() or 1) if workers is None else workers
        node = _LISTS[self.kind][1]
        if workers <= 1 or self.size < processes.PARALLEL_FROM:
            for chunk in chunks:
                yield work([_decode_record(self.path, self._map, grammar(node), span) for span in chunk])
            return
        yield from processes.in_processes(partial(_work_on, self.path, node, work), chunks, workers)


def open_tap(path: Path, *, rap: bool = False) -> TapStream:
    """Open a TAP file, or with `rap` a RAP file. Raises `TapError` naming what it is instead."""
    return TapStream(path, rap=rap)


def _decode_record(path: Path, source: mmap.mmap, node: Node, span: Span) -> Record:
    number, offset, length = span
    unknown: list[Unknown] = []
    try:
        value = decode_element(node, source[offset : offset + length], unknown)
    except BerError as error:
        where = offset + error.offset
        raise TapError(path, error.why, offset=where, record=number, field=error.field) from None
    return Record(number, offset, value, tuple(Unknown(offset + one.offset, one.tag, one.within) for one in unknown))


def _work_on(path: Path, node: str, work: Callable[[list[Record]], T], spans: list[Span]) -> T:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as source:
        return work([_decode_record(path, source, grammar(node), span) for span in spans])


def _guess(beginning: bytes) -> str:
    for octets, name in _BEGINNINGS.items():
        if beginning.startswith(octets):
            return f"; this looks like {name}"
    return "; this looks like text" if beginning.isascii() and beginning.decode().isprintable() else ""
