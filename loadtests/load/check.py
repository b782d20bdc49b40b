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
   come to an end. The requests are a home operator's, whose entries only an overseer may read: without one they are not
   looked for, and `finding.unchecked` says so.

A log that cannot be believed, or that does not answer, ends the check where it is and is a fault of the run: it names
what was left unchecked.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Final
from uuid import UUID

from msgspec import Struct, field

from loadtests.load.gathered import Ack, Journals, read_journals
from loadtests.load.log import fetch_hashes, fetch_leaves, frontier_at
from loadtests.load.node import ENDED, NodeError, has_ended, is_ordered, open_node, wait_for
from loadtests.load.plan import Plan
from settlement.ledger.api import MAX_PAGE
from settlement.ledger.client import LedgerClient, Rejected, Unreachable
from settlement.ledger.envelope import parse
from settlement.ledger.log import read_leaf
from settlement.ledger.merkle import HASH_BYTES
from settlement.ledger.tiles import TILE_WIDTH
from settlement.ledger.trust import Untrusted

SHOWN: Final = 10
"""Faults of one kind that are told one by one; of the rest the number."""
AT_ONCE: Final = 8
"""Tiles or bundles asked for at a time."""
UNPROVEN: Final = (Rejected, Unreachable, Untrusted, ValueError)
"""What ends a check. ValueError: an answer that is not of the protocol, as a bundle that is cut off."""


class Finding(Struct):
    """What the check found. `faults` names every lost, doubled or unproven transaction, and what else is not right;
    `unchecked` what was not looked for, and why: that is no fault.
    """

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
    unchecked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, what: str, named: Iterable[object]) -> None:
        """Name faults of a kind."""
        told = list(named)
        self.faults += [f"{what}: {one}" for one in told[:SHOWN]]
        if len(told) > SHOWN:
            self.faults.append(f"{what}: {len(told) - SHOWN:,} more")


class LogIds(Struct):
    """The ids in the log since the run's beginning. `at`: where a trader's entry is; once an acknowledgement of it was
    seen, minus that and one. `others`: of everybody else. `doubled`: what is there more than once.
    """

    at: dict[bytes, int] = field(default_factory=dict)
    others: set[bytes] = field(default_factory=set)
    doubled: dict[bytes, list[int]] = field(default_factory=dict)

    def take(self, entry: bytes, index: int, by_trader: bool) -> None:
        """Note an entry."""
        if entry in self.at or entry in self.others:
            self.doubled.setdefault(entry, [self.at.get(entry, -1)]).append(index)
        elif by_trader:
            self.at[entry] = index
        else:
            self.others.add(entry)


class LogCheck:
    """One check of one run, under one checkpoint."""

    def __init__(self, plan: Plan, journals: Journals, client: LedgerClient) -> None:
        self.plan, self.journals, self.client = plan, journals, client
        self.at = "the node"
        self.finding = Finding(
            workers=len(journals.workers),
            sent=journals.sent,
            acknowledged=journals.acknowledged,
            rejected=len(journals.rejected),
            rejections=dict(Counter(journals.rejected.values())),
            unknown=len(journals.unknown),
            usage_records=journals.records,
            purchases=len(journals.purchases),
            jobs=len(journals.jobs),
            kinds=dict(journals.kinds),
            faults=list(journals.faults),
        )

    async def run(self) -> None:
        """The whole check. Raises UNPROVEN; `give_up` then says what that means."""
        ordered = await self._ask_node()
        self.at = "the lost answers"
        learnt = await self._learn()
        self.at = "the newest checkpoint"
        head = await self.client.checkpoint()
        self.finding.checkpoint, self.finding.log_entries = head.text(), head.size - self.plan.first
        self.at = "the hash tiles"
        leaves = await self._prove(head.size)
        self.at = "the ids in the log"
        ids = await self._read_ids(head.size)
        if self.plan.overseer is not None:
            lost = (one for one in ordered if one.bytes not in ids.others or one.bytes in ids.doubled)
            self.finding.add("lost or doubled, of a purchase", lost)
        elif self.finding.purchases:
            self.finding.unchecked.append(
                f"{self.finding.purchases:,} purchases were not looked for in the log: give --auditor-key"
            )
        self._compare(leaves, ids, learnt)

    def give_up(self, error: Exception) -> None:
        """Make a fault of what ended the check, which names what was left unchecked."""
        found = self.finding
        left = f"{found.acknowledged:,} acknowledged, {found.rejected:,} rejected, {found.unknown:,} with a lost answer"
        if found.purchases:
            left += f"; the requests of {found.purchases:,} purchases"
        found.add(
            "unproven", [f"the check ended at {self.at}, {type(error).__name__}: {error}; left unchecked: {left}"]
        )

    async def _ask_node(self) -> list[UUID]:
        """The requests that purchases became; a purchase or job of which nothing became is a fault."""
        requests, lost = list[UUID](), list[str]()
        if self.plan.node is None:
            return requests
        left = len(self.journals.purchases) + len(self.journals.jobs)
        try:
            async with open_node(self.plan.node) as http:
                for purchase in self.journals.purchases:
                    seen = await wait_for(http, f"/purchases/{purchase}", is_ordered)
                    left -= 1
                    if not is_ordered(seen):
                        lost.append(f"purchase {purchase}: {str(seen)[:200]}")
                    elif seen["state"] not in ENDED:
                        requests += [UUID(item["request"]) for item in seen["items"] if item["state"] != "rejected"]
                for job in self.journals.jobs:
                    seen = await wait_for(http, f"/ota/jobs/{job}", has_ended)
                    left -= 1
                    if not has_ended(seen):
                        lost.append(f"OTA job {job}: {str(seen)[:200]}")
        except NodeError as error:
            self.finding.add("unproven", [f"the node: {error}; left unchecked: {left:,} purchases and OTA jobs"])
        self.finding.add("lost", lost)
        return requests

    async def _learn(self) -> dict[bytes, Ack]:
        """Look unknown answers up, each as its sender."""
        keys, found = {trader.key.operator: trader.key for trader in self.plan.traders}, {}
        for sender in set(self.journals.unknown.values()):
            if sender not in keys:
                self.finding.add("sent by nobody of the run", [sender])
                continue
            async with self.plan.client(keys[sender]) as client:
                for entry in [entry for entry, by in self.journals.unknown.items() if by == sender]:
                    receipt = await client.receipt(UUID(bytes=entry))
                    if receipt is not None:
                        found[entry] = Ack(entry, sender, receipt.index, bytes.fromhex(receipt.leaf))
        self.finding.learnt = len(found)
        return found

    async def _prove(self, size: int) -> bytes:
        """Leaf hashes from the run's beginning on, one after the other, proven to lead to the signed root."""
        head = self.client.seen
        assert head is not None
        assert head.size == size
        frontier, leaves = await frontier_at(self.client, self.plan.first, head), bytearray()
        skip = self.plan.first % TILE_WIDTH
        for wanted in self._tiles(size):
            for hashes in await asyncio.gather(*(fetch_hashes(self.client, number, size) for number in wanted)):
                new, skip = hashes[skip:], 0
                frontier, _ = frontier.extend(new)
                leaves += b"".join(new)
        if frontier.root() != head.root:
            raise Untrusted(f"the hash tiles lead to the root {frontier.root().hex()}, signed is {head.text()!r}")
        return bytes(leaves)

    def _tiles(self, size: int) -> list[range]:
        """Numbers of the tiles since the run's beginning, as many at a time as are asked for."""
        numbers = range(self.plan.first // TILE_WIDTH, -(-size // TILE_WIDTH))
        return [numbers[at : at + AT_ONCE] for at in range(0, len(numbers), AT_ONCE)]

    async def _read_ids(self, size: int) -> LogIds:
        """The ids since the run's beginning, as far as one may read them."""
        ids = LogIds()
        if self.plan.overseer is None:
            for trader in self.plan.traders:
                await self._read_own(ids, trader.key.operator, self.plan.client(trader.key), size)
            return ids
        traders = {trader.key.signer.kid for trader in self.plan.traders}
        for wanted in self._tiles(size):
            bundles = await asyncio.gather(*(fetch_leaves(self.client, number, size) for number in wanted))
            for number, bundle in zip(wanted, bundles, strict=True):
                for index, leaf in enumerate(bundle, number * TILE_WIDTH):
                    if index >= self.plan.first:
                        envelope = parse(read_leaf(leaf)[1])
                        ids.take(envelope.id.bytes, index, envelope.kid in traders)
        return ids

    async def _read_own(self, ids: LogIds, operator: str, client: LedgerClient, size: int) -> None:
        async with client:
            after = self.plan.first - 1
            while page := await client.entries(after=after, limit=MAX_PAGE):
                for entry in page:
                    if entry.sender == operator and entry.index < size:
                        ids.take(parse(entry.envelope.encode()).id.bytes, entry.index, True)
                after = page[-1].index

    def _compare(self, leaves: bytes, ids: LogIds, learnt: dict[bytes, Ack]) -> None:
        first, at, add = self.plan.first, ids.at, self.finding.add
        lost, doubled, unproven = list[Ack](), list[object](), list[Ack]()
        for ack in chain(learnt.values(), self.journals.acks()):
            place = at.get(ack.id)
            start = (ack.index - first) * HASH_BYTES
            if place is None:
                lost.append(ack)
            elif place < 0:
                doubled.append(f"{ack}, a second time")
            elif place != ack.index or start < 0 or leaves[start : start + HASH_BYTES] != ack.leaf:
                unproven.append(ack)
            if place is not None and place >= 0:
                at[ack.id] = -place - 1
        rejected, unknown = self.journals.rejected, self.journals.unknown
        left = {entry: place for entry, place in at.items() if place >= 0}
        add("lost", lost)
        add("doubled", (f"{UUID(bytes=entry)} is at {places}" for entry, places in ids.doubled.items()))
        add("doubled", doubled)
        add("unproven, the log's tree has not that leaf there", unproven)
        add(
            "rejected, but in the log",
            (f"{UUID(bytes=entry)} ({rejected[entry]})" for entry in rejected if entry in at),
        )
        add("said to be nowhere, but in the log", (UUID(bytes=entry) for entry in unknown if entry in left))
        add(
            "in the log, but in nobody's journal",
            (
                f"{UUID(bytes=entry)} at {place}"
                for entry, place in left.items()
                if entry not in rejected and entry not in unknown
            ),
        )


async def check_run(plan: Plan, folder: Path, expected: int) -> Finding:
    """Check the journals in `folder`, of which there are to be `expected`, against the log.

    Whatever the ledger does meanwhile there is a finding: what could not be proven is a fault of it.
    """
    journals = await asyncio.to_thread(read_journals, folder)
    if (missing := expected - len(journals.workers)) > 0:
        journals.faults.append(f"unproven: {missing} of {expected} workers brought no journal to {folder}")
    client = plan.client(plan.overseer)
    check = LogCheck(plan, journals, client)
    try:
        async with client:
            await check.run()
    except UNPROVEN as error:
        check.give_up(error)
    return check.finding
