"""A worker's journal: what it sent, before it sent it, and what was acknowledged, as soon as it was.

    with Journal(path, worker="host_1f3a") as journal:
        number = journal.sent("op-7", [message.id for message in messages])
        answers = await ledger.send_all(envelopes)
        journal.answered(number, answers)

    for record in read_journal(path): …        # raises JournalError where a record is damaged or the end is missing

The file is records of msgpack, each behind its length as uint32. The last one, `Closed`, has the SHA-256 of all before
it: a worker that died, a file that was cut or edited is noticed. A sequence without an answer is *unknown*: it is
looked up by id. Some 60 octets a transaction.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import UUID

import msgspec
from msgspec import Struct

from landfall.errors import LandfallError
from settlement.ledger.api import Receipt
from settlement.ledger.rejections import Rejection

LENGTH: Final = 4
ID: Final = 16
LEAF: Final = 32
PLACE: Final = 8


class JournalError(LandfallError):
    """A journal is damaged, cut off or was edited."""


class Opened(Struct, frozen=True, tag=True, array_like=True):
    """The first record."""

    worker: str


class Sent(Struct, frozen=True, tag=True, array_like=True):
    """A sequence by `sender` that is about to be sent: ids of 16 octets, one after the other; what each entry is, and
    for usage reports how many records each has.
    """

    number: int
    sender: str
    kind: str
    records: tuple[int, ...]
    ids: bytes


class Answered(Struct, frozen=True, tag=True, array_like=True):
    """What the ledger said to sequence `number`: for each entry its index as 8 octets (all ones where it was rejected)
    and its leaf hash (zeros). `codes`: of the rejected ones, in order.
    """

    number: int
    indices: bytes
    leaves: bytes
    codes: tuple[str, ...]


class Unanswered(Struct, frozen=True, tag=True, array_like=True):
    """The answer to `number` was lost, or was not to be believed (`untrusted`). Number 0: what was read."""

    number: int
    why: str
    untrusted: bool


class Bought(Struct, frozen=True, tag=True, array_like=True):
    """An operator's node acknowledged a purchase; what becomes of it is the node's to answer for."""

    node: str
    purchase: bytes


class Ordered(Struct, frozen=True, tag=True, array_like=True):
    """A node took an OTA job for a card."""

    node: str
    job: int


class Closed(Struct, frozen=True, tag=True, array_like=True):
    """The last record: how many sequences there were, and the digest of all records before."""

    sequences: int
    digest: bytes


Record = Opened | Sent | Answered | Unanswered | Bought | Ordered | Closed
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)

REJECTED: Final = b"\xff" * PLACE
NO_LEAF: Final = bytes(LEAF)


class Journal:
    """The journal of one worker, while it is written."""

    def __init__(self, path: Path, worker: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("xb")
        self._digest = hashlib.sha256()
        self._sequences = 0
        self._write(Opened(worker))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def sent(self, sender: str, kind: str, ids: Sequence[UUID], records: Sequence[int] = ()) -> int:
        """Note what is about to be sent; the number to answer it under."""
        self._sequences += 1
        self._write(Sent(self._sequences, sender, kind, tuple(records), b"".join([one.bytes for one in ids])))
        self._file.flush()  # out of this process before the octets are, so that a killed worker has it
        return self._sequences

    def answered(self, number: int, answers: Sequence[Receipt | Rejection]) -> None:
        """Note the answers, in the order sent."""
        indices, leaves, codes = [], [], []
        for answer in answers:
            if isinstance(answer, Receipt):
                indices.append(answer.index.to_bytes(PLACE, "big"))
                leaves.append(bytes.fromhex(answer.leaf))
            else:
                indices.append(REJECTED)
                leaves.append(NO_LEAF)
                codes.append(answer.code)
        self._write(Answered(number, b"".join(indices), b"".join(leaves), tuple(codes)))

    def unanswered(self, number: int, why: str, *, untrusted: bool) -> None:
        """Note that no answer came, or one that cannot be believed."""
        self._write(Unanswered(number, why, untrusted))

    def distrusted(self, why: str) -> None:
        """Note that what the ledger showed could not be verified, outside a sequence."""
        self._write(Unanswered(0, why, True))

    def bought(self, node: str, purchase: UUID) -> None:
        """Note a purchase that a node acknowledged."""
        self._write(Bought(node, purchase.bytes))

    def ordered(self, node: str, job: int) -> None:
        """Note an OTA job that a node acknowledged."""
        self._write(Ordered(node, job))

    def close(self) -> None:
        """Write the last record."""
        if not self._file.closed:
            self._write(Closed(self._sequences, self._digest.digest()))
            self._file.close()

    def _write(self, record: Record) -> None:
        octets = _encoder.encode(record)
        framed = len(octets).to_bytes(LENGTH, "big") + octets
        self._digest.update(framed)
        self._file.write(framed)


def read_journal(path: Path) -> Iterator[Record]:
    """The records of a journal, `Closed` left out. Raises JournalError, also where the end is missing."""
    digest, last = hashlib.sha256(), b""
    with path.open("rb") as file:
        while head := file.read(LENGTH):
            octets = file.read(int.from_bytes(head, "big"))
            if len(octets) != int.from_bytes(head, "big"):
                raise JournalError(
                    f"{path} is cut off within a record: its worker died, or the file was not copied whole"
                )
            try:
                record: Record = _decoder.decode(octets)
            except msgspec.MsgspecError as error:
                raise JournalError(
                    f"{path} has a damaged record at octet {file.tell() - len(octets)}: {error}"
                ) from None
            if isinstance(record, Closed):
                if record.digest != digest.digest():
                    raise JournalError(f"{path} was altered: its digest is not the one it was closed with")
                last = file.read(1)
                break
            digest.update(head + octets)
            yield record
        else:
            raise JournalError(f"{path} has no end: its worker died before it had answered for what it sent")
    if last:
        raise JournalError(f"{path} goes on after its end: it was altered")
