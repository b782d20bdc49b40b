"""All journals against the log: every acknowledged transaction is there once, where its receipt says, and proven.

    finding = await check_run(plan, folder)              # finding.faults is empty, or the run has failed

1. The newest checkpoint is verified, with its consistency, by the SDK. Leaf hashes since the run's beginning are read
   from the public hash tiles, the tree is grown by them, and its root must be the signed one: that proves every leaf at
   its index at once (RFC 6962); inclusion proofs one by one would say the same and take minutes.
2. Every acknowledged entry: its index is in that range, and its leaf hash, which the SDK made from the octets sent, is
   the leaf there.
3. Every id is in the log once. An overseer (issuer, auditor) reads all entry bundles; else each sender its own entries.
   Another id at the place, an id twice, a rejected id that is there all the same, an entry of a trader that no journal
   has: each is a fault.
4. Answers that were lost are learnt by id, as the sender. Either outcome is right, so long as the log has the same.
5. Purchases a node acknowledged have been ordered or refunded, and their requests are in the log, once; OTA jobs have
   come to an end.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from itertools import chain, repeat
from pathlib import Path
from typing import Final
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
from loadtests.load.log import fetch_hashes, fetch_leaves, frontier_at
from loadtests.load.node import ENDED, has_ended, is_ordered, open_node, wait_for
from loadtests.load.plan import Plan
from settlement.ledger.api import MAX_PAGE
from settlement.ledger.client import LedgerClient
from settlement.ledger.envelope import parse
from settlement.ledger.log import read_leaf
from settlement.ledger.tiles import TILE_WIDTH
from settlement.ledger.trust import Untrusted

SHOWN: Final = 10
"""Faults of one kind that are told one by one; of the rest the number."""
AT_ONCE: Final = 8
"""Tiles or bundles asked for at a time."""


class Ack(Struct, frozen=True):
    """An acknowledged entry."""

    id: bytes
    sender: str
    index: int
    leaf: bytes


class Journals(Struct):
    """What all journals say together."""

    workers: list[str] = field(default_factory=list)
    sent: int = 0
    records: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    acks: list[Ack] = field(default_factory=list)
    rejected: dict[bytes, str] = field(default_factory=dict)
    unknown: dict[bytes, str] = field(default_factory=dict)
    purchases: list[UUID] = field(default_factory=list)
    jobs: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Finding(Struct):
    """What the check found. `faults` names every lost, doubled or unproven transaction, and what else is not right."""

    workers: int = 0
    sent: int = 0
    acknowledged: int = 0
    rejected: int = 0
    rejections: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    learnt: int = 0
    usage_records: int = 0
    purchases: int = 0
    jobs: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    log_entries: int = 0
    checkpoint: str = ""
    faults: list[str] = field(default_factory=list)

    def add(self, what: str, named: Iterable[str]) -> None:
        """Name faults of a kind."""
        told = list(named)
        self.faults += [f"{what}: {one}" for one in told[:SHOWN]]
        if len(told) > SHOWN:
            self.faults.append(f"{what}: {len(told) - SHOWN:,} more")


def read_journals(folder: Path) -> Journals:
    """Read every journal of a run; what is wrong with one is a fault, and the others are read all the same."""
    read = Journals()
    for path in sorted(folder.glob("*.journal")):
        open_sequences: dict[int, Sent] = {}
        try:
            for record in read_journal(path):
                _take(read, open_sequences, record, path.name)
        except JournalError as error:
            read.faults.append(f"unproven: {error}")
        for sent in open_sequences.values():
            read.unknown |= dict.fromkeys(_split(sent.ids, ID), sent.sender)
    return read


def _take(read: Journals, waiting: dict[int, Sent], record: object, name: str) -> None:
    match record:
        case Opened():
            read.workers.append(record.worker)
        case Sent():
            waiting[record.number] = record
            read.sent += len(record.ids) // ID
        case Answered():
            if (sent := waiting.pop(record.number, None)) is None or len(record.indices) * ID != len(sent.ids) * PLACE:
                read.faults.append(f"unproven: {name} has an answer to a sequence that was not sent: {record.number}")
                return
            _take_answers(read, sent, record)
        case Unanswered():
            if record.untrusted:
                read.faults.append(f"unproven: {name}: {record.why}")
        case Bought():
            read.purchases.append(UUID(bytes=record.purchase))
        case Ordered():
            read.jobs.append(record.job)


def _take_answers(read: Journals, sent: Sent, answered: Answered) -> None:
    codes = iter(answered.codes)
    places = zip(_split(sent.ids, ID), _split(answered.indices, PLACE), _split(answered.leaves, LEAF), strict=True)
    records = chain(sent.records, repeat(0))
    for (entry, place, leaf), count in zip(places, records, strict=False):
        if place == REJECTED:
            read.rejected[entry] = next(codes, "?")
        else:
            read.acks.append(Ack(entry, sent.sender, int.from_bytes(place, "big"), leaf))
            read.kinds[sent.kind] += 1
            read.records += count


def _split(octets: bytes, width: int) -> list[bytes]:
    return [octets[at : at + width] for at in range(0, len(octets), width)]


class LogCheck:
    """One check of one run, under one checkpoint."""

    def __init__(self, plan: Plan, journals: Journals, client: LedgerClient) -> None:
        self.plan, self.journals, self.client = plan, journals, client
        self.finding = Finding(
            workers=len(journals.workers),
            sent=journals.sent,
            acknowledged=len(journals.acks),
            rejected=len(journals.rejected),
            rejections=dict(Counter(journals.rejected.values())),
            unknown=len(journals.unknown),
            usage_records=journals.records,
            purchases=len(journals.purchases),
            jobs=len(journals.jobs),
            kinds=dict(journals.kinds),
            faults=list(journals.faults),
        )

    async def run(self) -> Finding:
        """The whole check. Raises Unreachable, Untrusted, Rejected."""
        ordered = await self._ask_node()
        learnt = await self._learn()
        head = await self.client.checkpoint()
        self.finding.checkpoint, self.finding.log_entries = head.text(), head.size - self.plan.first
        leaves = await self._prove(head.size)
        places = [places async for places in self._read_ids(head.size)]
        self._compare(leaves, places, learnt)
        if self.plan.overseer is not None:
            there = Counter(entry for _, entry, _ in places)
            self.finding.add("lost, of a purchase", (str(one) for one in ordered if there[one.bytes] != 1))
        return self.finding

    async def _ask_node(self) -> list[UUID]:
        """The requests that purchases became; a purchase or job of which nothing became is a fault."""
        requests, lost = list[UUID](), list[str]()
        if self.plan.node is None:
            return requests
        async with open_node(self.plan.node) as http:
            for purchase in self.journals.purchases:
                seen = await wait_for(http, f"/purchases/{purchase}", is_ordered)
                if not is_ordered(seen):
                    lost.append(f"purchase {purchase}: {str(seen)[:200]}")
                elif seen["state"] not in ENDED:
                    requests += [UUID(item["request"]) for item in seen["items"] if item["state"] != "rejected"]
            for job in self.journals.jobs:
                seen = await wait_for(http, f"/ota/jobs/{job}", has_ended)
                if not has_ended(seen):
                    lost.append(f"OTA job {job}: {str(seen)[:200]}")
        self.finding.add("lost", lost)
        return requests

    async def _learn(self) -> dict[bytes, Ack]:
        """Look unknown answers up, each as its sender."""
        keys, found = {trader.key.operator: trader.key for trader in self.plan.traders}, {}
        for sender in set(self.journals.unknown.values()):
            async with self.plan.client(keys[sender]) as client:
                for entry in [entry for entry, by in self.journals.unknown.items() if by == sender]:
                    receipt = await client.receipt(UUID(bytes=entry))
                    if receipt is not None:
                        found[entry] = Ack(entry, sender, receipt.index, bytes.fromhex(receipt.leaf))
        self.finding.learnt = len(found)
        return found

    async def _prove(self, size: int) -> list[bytes]:
        """Leaf hashes from the run's beginning on, proven to lead to the signed root."""
        head = self.client.seen
        assert head is not None
        assert head.size == size
        first, leaves = self.plan.first, list[bytes]()
        frontier = await frontier_at(self.client, first, head)
        numbers = range(first // TILE_WIDTH, -(-size // TILE_WIDTH))
        for at in range(0, len(numbers), AT_ONCE):
            wanted = numbers[at : at + AT_ONCE]
            for hashes in await asyncio.gather(*(fetch_hashes(self.client, number, size) for number in wanted)):
                leaves += hashes
        leaves = leaves[first % TILE_WIDTH :]
        frontier, _ = frontier.extend(leaves)
        if frontier.root() != head.root:
            raise Untrusted(f"the hash tiles lead to the root {frontier.root().hex()}, signed is {head.text()!r}")
        return leaves

    async def _read_ids(self, size: int) -> AsyncIterator[tuple[int, bytes, str]]:
        """(index, id, sender's key or name) of the entries since the run's beginning, as far as one may read them."""
        if self.plan.overseer is None:
            for trader in self.plan.traders:
                async with self.plan.client(trader.key) as client:
                    after = self.plan.first - 1
                    while page := await client.entries(after=after, limit=MAX_PAGE):
                        for entry in page:
                            if entry.sender == trader.key.operator and entry.index < size:
                                yield entry.index, parse(entry.envelope.encode()).id.bytes, entry.sender
                        after = page[-1].index
            return
        names = {trader.key.signer.kid: trader.key.operator for trader in self.plan.traders}
        numbers = range(self.plan.first // TILE_WIDTH, -(-size // TILE_WIDTH))
        for at in range(0, len(numbers), AT_ONCE):
            wanted = numbers[at : at + AT_ONCE]
            bundles = await asyncio.gather(*(fetch_leaves(self.client, number, size) for number in wanted))
            for number, bundle in zip(wanted, bundles, strict=True):
                for index, leaf in enumerate(bundle, number * TILE_WIDTH):
                    if index >= self.plan.first:
                        envelope = parse(read_leaf(leaf)[1])
                        yield index, envelope.id.bytes, names.get(envelope.kid, "")

    def _compare(self, leaves: list[bytes], places: list[tuple[int, bytes, str]], learnt: dict[bytes, Ack]) -> None:
        first, add = self.plan.first, self.finding.add
        at: dict[bytes, list[int]] = {}
        for index, entry, _ in places:
            at.setdefault(entry, []).append(index)
        told = Counter(ack.id for ack in self.journals.acks)
        known = {*told, *self.journals.rejected, *self.journals.unknown}
        acks = [*self.journals.acks, *learnt.values()]
        add("lost", (_name(ack) for ack in acks if ack.id not in at))
        add("doubled", (f"{UUID(bytes=entry)} is at {indices}" for entry, indices in at.items() if len(indices) > 1))
        add("doubled", (f"{UUID(bytes=entry)} was acknowledged {n} times" for entry, n in told.items() if n > 1))
        add(
            "unproven",
            (
                f"{_name(ack)}, which the log's tree does not have there"
                for ack in acks
                if not first <= ack.index < first + len(leaves)
                or leaves[ack.index - first] != ack.leaf
                or at.get(ack.id, [ack.index]) != [ack.index]
            ),
        )
        add(
            "rejected, but in the log",
            (f"{UUID(bytes=entry)} ({code})" for entry, code in self.journals.rejected.items() if entry in at),
        )
        add(
            "unknown, said to be nowhere, but in the log",
            (str(UUID(bytes=entry)) for entry in self.journals.unknown if entry in at and entry not in learnt),
        )
        add(
            "in the log, but in nobody's journal",
            (f"{UUID(bytes=entry)} at {index} by {by}" for index, entry, by in places if by and entry not in known),
        )


def _name(ack: Ack) -> str:
    return f"{UUID(bytes=ack.id)} by {ack.sender}, acknowledged at index {ack.index}"


async def check_run(plan: Plan, folder: Path, expected: int) -> Finding:
    """Check the journals in `folder`, of which there are to be `expected`, against the log."""
    journals = await asyncio.to_thread(read_journals, folder)
    if (missing := expected - len(journals.workers)) > 0:
        journals.faults.append(f"unproven: {missing} of {expected} workers brought no journal to {folder}")
    async with plan.client(plan.overseer) as client:
        return await LogCheck(plan, journals, client).run()
