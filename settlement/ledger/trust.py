"""What a client of a log believes: only checkpoints signed by the log's key that are all parts of one history.

    trust = Trust(key, fetch_consistency, seen)
    shown = trust.show(note)          # the signature now; the history soon, in the background
    await trust.settle()              # until everything shown is proven to be one history

Every checkpoint ever shown is linked by a consistency proof to its neighbours, also one that is older than the newest
or that comes while a proof is under way: a log that tells one client two stories is found whichever it goes on with.
Once that happens nothing is believed any more (`Untrusted`), and the two notes are the evidence.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Final

from settlement.ledger import checkpoint, merkle
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.note import VerifierKey

FetchConsistency = Callable[[int, int], Awaitable[list[bytes]]]
"""The consistency proof from the tree of one size to that of another."""

LINKED_AT_ONCE: Final = 4
"""Consistency proofs asked for at a time."""


class Untrusted(Exception):  # noqa: N818 - the word is the finding
    """What the ledger answered cannot be verified: keep the evidence and do not go on."""


class Trust:
    """One client's view of one log. `seen`: the newest checkpoint that is linked to all others."""

    def __init__(self, key: VerifierKey, fetch: FetchConsistency, seen: Checkpoint | None = None) -> None:
        self.key = key
        self.seen = seen
        self._fetch = fetch
        self._shown: dict[int, Checkpoint] = {}
        self._broken: Untrusted | None = None
        self._linking: asyncio.Task[None] | None = None
        self._begun = self._linked = 0  # batches of what was shown
        self._progress = asyncio.Event()

    def show(self, note: str) -> Checkpoint:
        """Take a signed checkpoint and begin to link it. Raises Untrusted for a bad signature, or after a finding."""
        if self._broken is not None:
            raise self._broken
        try:
            shown = checkpoint.verify(note.encode(), self.key)
        except ValueError as error:
            raise Untrusted(f"a checkpoint of {self.key.name} does not verify: {error}") from error
        known = self._shown.get(shown.size) or (self.seen if self.seen and self.seen.size == shown.size else None)
        if known is not None and known.root != shown.root:
            self._broken = Untrusted(
                f"{self.key.name} signed two trees of {shown.size} entries: {known.text()!r} and {shown.text()!r}"
            )
            raise self._broken
        if known is None:
            self._shown[shown.size] = shown
        if self._shown and (self._linking is None or self._linking.done()):  # also what an earlier attempt left
            self._linking = asyncio.get_running_loop().create_task(self._link())
            self._linking.add_done_callback(_note_outcome)
        return shown

    async def settle(self) -> None:
        """Wait until all that was shown before now is linked, whatever is shown meanwhile. Raises Untrusted."""
        wanted = self._begun + bool(self._shown)
        while self._linking is not None and self._broken is None and self._linked < wanted:
            if self._linking.done():
                return self._linking.result()  # raises what hindered it
            progress = asyncio.ensure_future(self._progress.wait())
            await asyncio.wait((self._linking, progress), return_when=asyncio.FIRST_COMPLETED)
            progress.cancel()
        if self._broken is not None:
            raise self._broken
        return None

    async def _link(self) -> None:
        gate = asyncio.Semaphore(LINKED_AT_ONCE)

        async def link(old: Checkpoint, new: Checkpoint) -> None:
            if old.size == 0:
                return
            async with gate:
                proof = await self._fetch(old.size, new.size)
            merkle.verify_consistency(old.size, new.size, proof, old.root, new.root)

        while self._shown and self._broken is None:
            batch, self._shown = self._shown, {}
            self._begun += 1
            if self.seen is not None:
                batch[self.seen.size] = self.seen
            chain = [batch[size] for size in sorted(batch)]
            try:
                await asyncio.gather(*(link(old, new) for old, new in itertools.pairwise(chain)))
            except ValueError as error:
                self._broken = Untrusted(f"the checkpoints of {self.key.name} are not one history: {error}")
            except Exception:  # whatever hinders a proof now: who settles is told, and the next one shown tries again
                self._shown = {**batch, **self._shown}
                raise
            else:
                self.seen = chain[-1]
                self._linked = self._begun
                self._progress.set()
                self._progress = asyncio.Event()


def _note_outcome(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        task.exception()  # told to who settles; unsettled, it is no news
