"""An auditor that follows the log while it grows, and believes nothing.

A turn: the newest checkpoint, proven to continue the one before (the SDK does that); the entry bundles since then;
every leaf hashed again; the root that follows, against the one signed; and where a hash tile became full, that the
ledger shows the same hashes to everybody. A difference fails the run, whatever the check of journals says.
"""

import time
from typing import Final

from loadtests.load.log import fetch_leaves, frontier_at
from loadtests.load.plan import Role
from loadtests.load.session import HTTP, Turn
from loadtests.load.user import LandfallUser
from settlement.ledger.client import LedgerClient
from settlement.ledger.merkle import Frontier, leaf_hash
from settlement.ledger.tiles import ENTRIES, TILE_WIDTH, Tile
from settlement.ledger.trust import Untrusted

MOST_ENTRIES: Final = 16 * TILE_WIDTH
"""Read in one turn: a turn is to end, also where the log grows faster than one auditor reads."""


class Auditor(LandfallUser):
    """An auditor, or the issuer as one."""

    role = Role.AUDITOR
    pause_s = 0.5
    _client: LedgerClient | None = None
    _frontier: Frontier | None = None

    @property
    def client(self) -> LedgerClient:
        """One connection for the auditors of a worker."""
        if Auditor._client is None:
            Auditor._client = self.session.plan.client(self.session.plan.overseer, connections=4)
            self.session.others.append(Auditor._client)
        return Auditor._client

    async def turn(self, turn: Turn) -> None:
        """Follow the log a step."""
        begun = time.perf_counter()
        head = await self.client.checkpoint()
        turn.add(HTTP, "checkpoint, and its consistency", begun)
        if self._frontier is None:
            self._frontier = await frontier_at(self.client, self.session.plan.first, head)
        frontier, size = self._frontier, min(head.size, self._frontier.size + MOST_ENTRIES)
        while frontier.size < size:
            begun = time.perf_counter()
            number, fresh = divmod(frontier.size, TILE_WIDTH)
            leaves = [leaf_hash(leaf) for leaf in await fetch_leaves(self.client, number, head.size)]
            turn.add(HTTP, "entry bundle, hashed again", begun)
            frontier, _ = frontier.extend(leaves[fresh:])
            if len(leaves) == TILE_WIDTH:
                await self._compare(turn, number, leaves)
        if frontier.size == head.size and frontier.root() != head.root:
            raise Untrusted(f"the entries lead to the root {frontier.root().hex()}, signed is {head.text()!r}")
        self._frontier = frontier

    async def _compare(self, turn: Turn, number: int, leaves: list[bytes]) -> None:
        begun = time.perf_counter()
        shown = await self.client.hash_tile(Tile(0, number))
        turn.add(HTTP, "hash tile", begun)
        if shown != b"".join(leaves):
            raise Untrusted(f"hash tile {number} shows other hashes than bundle {Tile(ENTRIES, number).path} has")
