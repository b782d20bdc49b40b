"""What a client of a log believes: only checkpoints signed by the log's key that are all parts of one history.

    trust = Trust(key, fetch_history, seen)
    shown = trust.show(note)          # the signature now; the history soon, in the background
    await trust.settle()              # until everything shown is proven to be one history

What is shown within GATHER_S is linked by one call; who settles does not wait for that.

Every checkpoint ever shown is linked by a consistency proof to its neighbours, also one that is older than the newest
or that comes while a proof is under way: a log that tells one client two stories is found whichever it goes on with.
Once that happens nothing is believed any more (`Untrusted`), and the two notes are the evidence.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from settlement.ledger import checkpoint, merkle
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.note import VerifierKey

FetchHistory = Callable[[Sequence[int]], Awaitable[list[list[bytes]]]]
"""The consistency proofs between neighbours of two or more ascending sizes."""

GATHER_S: Final = 0.5
"""How long checkpoints may wait for others to be linked with: at full load a call for each cost a tenth of all time."""


class Untrusted(Exception):  # noqa: N818 - the word is the finding
    """What the ledger answered cannot be verified: keep the evidence and do not go on."""


class Trust:
    """One client's view of one log. `seen`: the newest checkpoint that is linked to all others."""

    def __init__(self, key: VerifierKey, fetch: FetchHistory, seen: Checkpoint | None = None) -> None:
        self.key = key
        self.seen = seen
        self._fetch = fetch
        self._shown: dict[int, Checkpoint] = {}
        self._broken: Untrusted | None = None
        self._linking: asyncio.Task[None] | None = None
        self._begun = self._linked = 0  # batches of what was shown
        self._progress = asyncio.Event()
        self._hurried = asyncio.Event()

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
        if self._shown:
            self._hurried.set()
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
        while self._shown and self._broken is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), GATHER_S)
            self._hurried.clear()
            batch, self._shown = self._shown, {}
            self._begun += 1
            found = {*batch.values(), self.seen} if self.seen is not None else {*batch.values()}
            chain = sorted(found, key=lambda each: each.size)
            try:
                await self._verify(chain)
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

    async def _verify(self, chain: list[Checkpoint]) -> None:
        """Raise ValueError unless each continues the one before; every tree continues the empty one."""
        entered = [each for each in chain if each.size]
        if len(entered) < 2:
            return
        proofs = await self._fetch([each.size for each in entered])
        for (old, new), proof in zip(itertools.pairwise(entered), proofs, strict=True):
            merkle.verify_consistency(old.size, new.size, proof, old.root, new.root)


def _note_outcome(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        task.exception()  # told to who settles; unsettled, it is no news
