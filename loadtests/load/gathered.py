"""What all journals of a run say together, kept small: a run of minutes acknowledges millions of transactions.

read = read_journals(folder)
for ack in read.acks(): …
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from uuid import UUID

from msgspec import Struct, field

from loadtests.load.journal import (
    ID,
    LEAF,
    PLACE,
    REJECTED,
    Answered,
    Bought,
    JournalError,
    Opened,
    Ordered,
    Sent,
    Unanswered,
    read_journal,
)


class Ack(Struct, frozen=True):
    """An acknowledged entry."""

    id: bytes
    sender: str
    index: int
    leaf: bytes

    def __str__(self) -> str:
        return f"{UUID(bytes=self.id)} by {self.sender}, acknowledged at index {self.index}"


class Journals(Struct):
    """The journals' contents. Of accepted sequences the octets are kept as they stand, 56 an entry."""

    workers: list[str] = field(default_factory=list)
    sent: int = 0
    acknowledged: int = 0
    records: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    answered: list[tuple[Sent, Answered]] = field(default_factory=list)
    rejected: dict[bytes, str] = field(default_factory=dict)
    unknown: dict[bytes, str] = field(default_factory=dict)
    purchases: list[UUID] = field(default_factory=list)
    jobs: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def acks(self) -> Iterator[Ack]:
        """Every acknowledgement."""
        for sent, answered in self.answered:
            for entry, place, leaf in _lines(sent, answered):
                if place != REJECTED:
                    yield Ack(entry, sent.sender, int.from_bytes(place, "big"), leaf)


def read_journals(folder: Path) -> Journals:
    """Read every journal of a run; what is wrong with one is a fault, and the others are read all the same."""
    read = Journals()
    for path in sorted(folder.glob("*.journal")):
        waiting: dict[int, Sent] = {}
        try:
            for record in read_journal(path):
                _take(read, waiting, record, path.name)
        except JournalError as error:
            read.faults.append(f"unproven: {error}")
        for sent in waiting.values():
            read.unknown |= dict.fromkeys(split(sent.ids, ID), sent.sender)
    return read


def split(octets: bytes, width: int) -> list[bytes]:
    """Octets in pieces of `width`."""
    return [octets[at : at + width] for at in range(0, len(octets), width)]


def _take(read: Journals, waiting: dict[int, Sent], record: object, name: str) -> None:
    match record:
        case Opened():
            read.workers.append(record.worker)
        case Sent():
            waiting[record.number] = record
            read.sent += len(record.ids) // ID
        case Answered():
            sent = waiting.pop(record.number, None)
            if sent is None or not len(sent.ids) // ID == len(record.indices) // PLACE == len(record.leaves) // LEAF:
                read.faults.append(f"unproven: {name} has an answer to what was not sent so: {record.number}")
                return
            _count(read, sent, record)
        case Unanswered():
            if record.untrusted:
                read.faults.append(f"unproven: {name}: {record.why}")
        case Bought():
            read.purchases.append(UUID(bytes=record.purchase))
        case Ordered():
            read.jobs.append(record.job)


def _count(read: Journals, sent: Sent, answered: Answered) -> None:
    read.answered.append((sent, answered))
    codes, records = iter(answered.codes), chain(sent.records, repeat(0))
    accepted = 0
    for (entry, place, _), count in zip(_lines(sent, answered), records, strict=False):
        if place == REJECTED:
            read.rejected[entry] = next(codes, "?")
        else:
            accepted += 1
            read.records += count
    read.acknowledged += accepted
    read.kinds[sent.kind] += accepted


def _lines(sent: Sent, answered: Answered) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(id, index, leaf hash) of a sequence's entries."""
    return zip(split(sent.ids, ID), split(answered.indices, PLACE), split(answered.leaves, LEAF), strict=True)
