"""The sequence numbers of files seen: gaps and reuse, for each sender, recipient and kind (live or test) by itself.

A book is a file of JSON Lines, one a TAP file taken, that only grows. Numbers run from 00001 to 99999 and begin anew; a
number is reused when it comes again within half of that cycle. The same file again is a copy and is told as one.

    with SequenceBook(Path("taken.jsonl")) as book:
        findings = book.check(control, digest)       # warning 200: a gap; fatal 201: reused with other content
        book.take(control, digest)                   # when the file has been settled
"""

import fcntl
import hashlib
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
from msgspec import Struct

from landfall.errors import LandfallError
from settlement.usage.tap3.events import Fields
from settlement.usage.tap3.findings import Finding, finding

CYCLE: Final = 99_999
"""Numbers before they begin anew with 00001 (TD.57, file sequence number)."""

Pair = tuple[str, str, bool]
"""Sender, recipient, whether a test."""


class _Taken(Struct, frozen=True, forbid_unknown_fields=True):
    sender: str
    recipient: str
    test: bool
    sequence: int
    digest: str


class SequenceBook:
    """A book, open and locked against other processes. Raises `LandfallError` for a line that is none of a book."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digests: dict[Pair, dict[int, str]] = {}
        self._last: dict[Pair, int] = {}

    def __enter__(self) -> Self:
        self._file = self._path.open("a+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.seek(0)
        for number, line in enumerate(self._file, 1):
            try:
                self._remember(msgspec.json.decode(line, type=_Taken))
            except msgspec.MsgspecError as error:
                self._file.close()
                raise LandfallError(f"{self._path}: line {number} is no entry of a sequence book: {error}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._file.close()

    def _remember(self, taken: _Taken) -> None:
        pair = (taken.sender, taken.recipient, taken.test)
        self._digests.setdefault(pair, {})[taken.sequence] = taken.digest
        if taken.sequence != (last := self._last.get(pair)) and (last is None or _ahead(last, taken.sequence)):
            self._last[pair] = taken.sequence

    def check(self, control: Fields, digest: str) -> list[Finding]:
        """What the number of a file says against those taken before; nothing where it is the next one, or the first."""
        pair, sequence = _identify(control)
        field = "batchControlInfo.fileSequenceNumber"
        last = self._last.get(pair)
        if sequence is None or last is None or sequence == last % CYCLE + 1:
            return []
        if _ahead(last, sequence):
            missing = last % CYCLE + 1
            return [
                finding("sequence-gap", field, f"{sequence:05d} after {last:05d}: {missing:05d} and on are missing")
            ]
        known = self._digests[pair].get(sequence)
        if known is None:
            return []  # it fills a gap
        if known == digest:
            return [finding("identical-copy", field, f"{sequence:05d} was taken before, the same octets")]
        return [finding("sequence-reused", field, f"{sequence:05d} was taken before, with other content")]

    def missing(self, control: Fields) -> list[tuple[str, str]]:
        """First and last number between the last file taken and this one; nothing if it is the next."""
        pair, sequence = _identify(control)
        last = self._last.get(pair)
        if sequence is None or last is None or not _ahead(last, sequence) or sequence == last % CYCLE + 1:
            return []
        return [(f"{last % CYCLE + 1:05d}", f"{(sequence - 2) % CYCLE + 1:05d}")]

    def take(self, control: Fields, digest: str) -> None:
        """Enter a file; one without a readable number is not entered."""
        pair, sequence = _identify(control)
        if sequence is None:
            return
        taken = _Taken(*pair, sequence, digest)
        self._file.write(msgspec.json.encode(taken) + b"\n")
        self._file.flush()
        self._remember(taken)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's octets, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ahead(last: int, sequence: int) -> bool:
    return 0 < (sequence - last) % CYCLE <= CYCLE // 2


def _identify(control: Fields) -> tuple[Pair, int | None]:
    text = control.get("fileSequenceNumber", "")
    pair = (control.get("sender", ""), control.get("recipient", ""), control.get("fileTypeIndicator") == "T")
    return pair, int(text) if len(text) == 5 and text.isascii() and text.isdigit() and int(text) else None
