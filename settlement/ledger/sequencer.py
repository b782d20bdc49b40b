"""The sequencer: many callers' envelopes become one order, one commit at a time.

    sequencer = Sequencer(store, signer)
    await sequencer.start()
    answers = await sequencer.submit([raw, raw, …])    # Receipt | Rejection each, in order, once they are durable
    await sequencer.stop()

An envelope's way: `submit` takes it apart and verifies its signature, and puts it in the queue, which grows while the
database's lock is another's or a batch commits (there is no timer to tune). A turn at the lock takes what is queued,
loads the rows it touches, decides one envelope after the other, and stores everything in one transaction. Only then is
anybody answered. Several processes may each have a sequencer on one database: they take turns.

It does not decide anything itself (`rules` does), and it never answers before the commit. When a commit's outcome is
unknown (the connection was lost), the same batch is run again: what had been committed is found by its ids.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import asyncpg
import msgspec
import structlog
from msgspec import Struct
from prometheus_client import Histogram

from settlement.ledger import checkpoint
from settlement.ledger.api import Receipt
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.clock import ClockGuard, ClockJumpError
from settlement.ledger.envelope import Envelope, EnvelopeError, Signer, parse
from settlement.ledger.execution import Execution
from settlement.ledger.ids import new_id
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.messages import MAX_TIME, StateDigest
from settlement.ledger.note import Signer as NoteSigner
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules import Effects
from settlement.ledger.rules.context import RESERVED, Refusal
from settlement.ledger.state import Ledger, Unloaded
from settlement.ledger.store import LedgerStore
from settlement.ledger.turn import Fenced, Head, StoredEntry, Turn

MAX_BATCH: Final = 2_000
"""Envelopes in one commit: some 60 ms of work here, so that nobody waits long behind it."""
MAX_QUEUED: Final = 20_000
"""Envelopes that may wait in one process: about two seconds of work; past that callers are told to come back."""
VERIFY_AT_ONCE: Final = 16
"""Signatures verified before the event loop gets a turn: 0.5 ms, as the turn under way waits for it at every answer of
the database, and with it everybody who waits for the lock."""
MAX_KEYS: Final = 100_000
"""Public keys kept by name; a kid is its key's hash, so what is kept can never become wrong."""
STOP_S: Final = 5.0
"""How long the end of a process waits for its last commit, which may be waiting for a standby."""
RETRY_S: Final = 0.2
"""Pause before a batch whose connection was lost is run again."""


LOST: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.CannotConnectNowError,
)
"""What a connection that is gone, or a server on its way down or up, looks like: the outcome is unknown."""

BATCHES: Final = Histogram(
    "landfall_sequencer_batch_envelopes", "Envelopes in one commit", buckets=(1, 10, 50, 100, 200, 500, 1000, 2000)
)
TURNS: Final = Histogram(
    "landfall_sequencer_turn_seconds",
    "One turn: waiting for the lock, loading, deciding, storing, committing",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)

log = structlog.get_logger(__name__)


class Verified(Struct, frozen=True, gc=False):
    """An envelope whose signature fits, and whose key it is."""

    envelope: Envelope
    sender: str


class _Waiting(Struct, eq=False):
    """One caller's envelopes: `answers` fills up, then `done` is set."""

    answers: list[Receipt | Rejection | None]
    missing: int
    done: asyncio.Future[None]

    def answer(self, place: int, answer: Receipt | Rejection) -> None:
        self.answers[place] = answer
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(None)


class _Queued(NamedTuple):
    """A verified envelope, and whose it is: the place among its caller's."""

    verified: Verified
    waiting: _Waiting
    place: int


class Sequencer:
    """Order and commit for one process. See the module."""

    def __init__(self, store: LedgerStore, *, seed: bytes, origin: str) -> None:
        """`seed`: the origin's Ed25519 key, 32 octets, for checkpoints, genesis and digests."""
        self.store = store
        self.origin = origin
        self._note_signer = NoteSigner(origin, seed)
        self._signer = Signer(seed)
        self._public_keys: dict[str, tuple[str, bytes]] = {self._signer.kid: (RESERVED, self._signer.public)}
        self._queue: deque[_Queued] = deque()
        self._arrived = asyncio.Event()
        self._clock = ClockGuard()
        self._halted: str | None = None
        self._head = Head()
        self._notes: tuple[int, str] = (-1, "")
        self._committed = asyncio.Condition()
        self._verifying = asyncio.Lock()
        self._committing = asyncio.Lock()
        self._size = 0
        self._epoch = 0
        self._tasks: list[asyncio.Task[None]] = []

    # life

    async def start(self) -> None:
        """Begin to take turns and to listen for other processes' commits."""
        self._head = head = await self.store.head()
        self._size, self._epoch = head.size, head.epoch
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._listen())]

    async def stop(self) -> None:
        """Finish the batch under way and no further one; who still waits is told to send again.

        A commit is never cancelled: PostgreSQL would show it although no standby has it. One that takes longer than
        STOP_S loses its connection instead, and whether it was committed is learnt by id.
        """
        try:
            await asyncio.wait_for(self._committing.acquire(), STOP_S)
        except TimeoutError:
            self.store.pool.terminate()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        while self._queue:
            queued = self._queue.popleft()
            queued.waiting.answer(queued.place, Rejection("overloaded", "the ledger is stopping; send again"))

    def room(self) -> bool:
        """Whether more envelopes may be submitted now; otherwise callers should come back later."""
        return len(self._queue) < MAX_QUEUED and self._halted is None

    @property
    def halted(self) -> str | None:
        """Why nothing is sequenced any more, or None."""
        return self._halted

    # the callers' side

    async def submit(self, envelopes: Sequence[bytes]) -> list[Receipt | Rejection]:
        """Sequence envelopes; returns when every one is durable or rejected, in the order given."""
        waiting = _Waiting([None] * len(envelopes), len(envelopes), asyncio.get_running_loop().create_future())
        async with self._verifying:  # one caller's after the other: who came first need not wait for all
            for first in range(0, len(envelopes), VERIFY_AT_ONCE):
                await self._open(envelopes[first : first + VERIFY_AT_ONCE], waiting, first)
                await asyncio.sleep(0)
        if envelopes:
            await waiting.done
        return [answer for answer in waiting.answers if answer is not None]

    async def _open(self, envelopes: Sequence[bytes], waiting: _Waiting, first: int) -> None:
        """Take some apart, verify and queue them; `first` is the place of the first among its caller's."""
        parsed = [_parse(raw) for raw in envelopes]
        await self._learn_keys({envelope.kid for envelope in parsed if isinstance(envelope, Envelope)})
        for place, envelope in enumerate(parsed, first):
            verified = self._verify(envelope) if isinstance(envelope, Envelope) else envelope
            if isinstance(verified, Verified):
                self._queue.append(_Queued(verified, waiting, place))
            else:
                waiting.answer(place, verified)
        self._arrived.set()

    def _verify(self, envelope: Envelope) -> Verified | Rejection:
        known = self._public_keys.get(envelope.kid)
        if known is None:
            return Rejection("unknown-key", f"no operator has the key {envelope.kid}")
        sender, public = known
        try:
            envelope.verify(public)
        except EnvelopeError as error:
            return Rejection(error.code, error.detail)
        return Verified(envelope, sender)

    async def _learn_keys(self, kids: set[str]) -> None:
        unknown = [kid for kid in kids if kid not in self._public_keys]
        if not unknown:
            return
        if len(self._public_keys) > MAX_KEYS:
            self._public_keys = {self._signer.kid: self._public_keys[self._signer.kid]}
        rows = await self.store.pool.fetch(
            "SELECT kid, operator, public FROM keys WHERE kid = ANY($1) AND purpose <> 'seal'", unknown
        )
        self._public_keys.update({row["kid"]: (row["operator"], row["public"]) for row in rows})

    # reading the end of the log

    async def checkpoint(self) -> str:
        """The signed note of the committed head. It is a function of the head, so every process signs the same."""
        return self._note(await self.store.head())

    def covering_checkpoint(self) -> str:
        """The signed note of the head after the last turn here: it covers every receipt that `submit` has returned."""
        return self._note(self._head)

    def _note(self, head: Head) -> str:
        if self._notes[0] != head.size:
            note = checkpoint.sign(Checkpoint(self.origin, head.size, head.root), self._note_signer)
            self._notes = (head.size, note.decode())
        return self._notes[1]

    async def wait_beyond(self, size: int) -> int:
        """Wait until more than `size` entries are committed; returns how many."""
        async with self._committed:
            await self._committed.wait_for(lambda: self._size > size)
            return self._size

    async def _announce(self, size: int) -> None:
        async with self._committed:
            if size > self._size:
                self._size = size
                self._committed.notify_all()

    async def _listen(self) -> None:
        """Follow every process's commits; a lost connection is made anew, and the head read for what was missed."""
        while True:
            with contextlib.suppress(*LOST):
                async with self.store.listen() as sizes:
                    await self._announce((await self.store.head()).size)
                    async for size in sizes:
                        await self._announce(size)
            await asyncio.sleep(RETRY_S)

    # the sequencer's side

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                async with self._committing:
                    batch, answers = await self._sequence()
                for queued, answer in zip(batch, answers, strict=True):
                    queued.waiting.answer(queued.place, answer)

    async def _sequence(self) -> tuple[list[_Queued], list[Receipt | Rejection]]:
        """Commit what is queued once the lock is held; the same and what came since again, if the connection was lost.

        After a jump of the clock, or another's promotion, nothing is committed any more.
        """
        batch: list[_Queued] = []
        while self._halted is None:
            try:
                with TURNS.time():
                    async with self.store.turn() as turn:
                        batch += self._take(MAX_BATCH - len(batch))
                        answers, head = await self._run(turn, [queued.verified for queued in batch])
                self._head = head
                BATCHES.observe(len(batch))
                await self._announce(head.size)
            except (ClockJumpError, Fenced) as error:
                self._halted = str(error)
            except LOST:
                await asyncio.sleep(RETRY_S)
            else:
                return batch, answers
        batch += self._take(len(self._queue))
        return batch, [Rejection("overloaded", self._halted)] * len(batch)

    def _take(self, most: int) -> list[_Queued]:
        return [self._queue.popleft() for _ in range(min(most, len(self._queue)))]

    async def _run(self, turn: Turn, batch: list[Verified]) -> tuple[list[Receipt | Rejection], Head]:
        """Decide a batch inside a turn and write what it did. The commit is the turn's."""
        turn.require_epoch(self._epoch)
        head = turn.head
        now = self._clock.check(turn.clock, head.time)
        envelopes = [verified.envelope for verified in batch]
        earlier = {(entry.sender, entry.id): entry for entry in await turn.earlier(envelopes)}
        state = await turn.load(self.origin, envelopes)
        execution = Execution(self.origin, self._signer.public, state, size=head.size, chain=head.chain)
        entries: list[StoredEntry] = []
        answers: list[Receipt | Rejection] = []
        readers: list[tuple[str, int]] = []
        for verified in batch:
            envelope, sender = verified.envelope, verified.sender
            first = earlier.get((sender, envelope.id))
            if first is not None:
                answers.append(_repeat(first, envelope))
                continue
            effects = _decide(execution, envelope, now)
            if isinstance(effects, Effects):
                readers += [(operator, execution.size - 1) for operator in effects.readers]
                entry = _entry(execution.size - 1, now, sender, envelope, effects)
                entries.append(entry)
                earlier[(sender, envelope.id)] = entry
                answers.append(_receipt(entry, effects.refused))
            else:
                answers.append(effects)
        if not entries:
            return answers, head
        digested = self._state_digest(execution, head, now, entries)
        frontier, tree_rows = head.frontier.extend([entry.leaf for entry in entries])
        await turn.write(entries, tree_rows, state, readers)
        return answers, await turn.move_head(now, execution.chain, frontier, digested)

    def _state_digest(self, execution: Execution, head: Head, now: int, entries: list[StoredEntry]) -> int:
        """Append a digest leaf when one is due; returns the size at the last one."""
        ledger = execution.state.get(Ledger, self.origin)
        assert ledger is not None, "entries were accepted, so there is a genesis"
        if execution.size - head.digested < ledger.parameters.digest_interval:
            return head.digested
        message = StateDigest(
            id=new_id(now), aud=self.origin, exp=MAX_TIME, size=execution.size, state=execution.chain.hex()
        )
        envelope = parse(self._signer.sign(message))
        effects = execution.run(envelope, now)
        assert isinstance(effects, Effects), f"our own digest was rejected: {effects}"
        entries.append(_entry(execution.size - 1, now, RESERVED, envelope, effects))
        return execution.size


def _decide(execution: Execution, envelope: Envelope, now: int) -> Effects | Rejection:
    try:
        return execution.run(envelope, now)
    except Unloaded as unloaded:  # it depends on another envelope of the batch in a way that nobody foresaw
        log.warning("an envelope needs what its own batch makes", id=str(envelope.id), why=str(unloaded))
        return Rejection("overloaded", "it depends on an entry that is only now being written: send it again")


def _parse(raw: bytes) -> Envelope | Rejection:
    try:
        return parse(raw)
    except EnvelopeError as error:
        return Rejection(error.code, error.detail)


def _entry(index: int, now: int, sender: str, envelope: Envelope, effects: Effects) -> StoredEntry:
    return StoredEntry(
        number=index,
        time=now,
        sender=sender,
        id=envelope.id,
        counterparty=effects.counterparty,
        settled=effects.settled,
        refused=msgspec.json.encode(effects.refused) if effects.refused else None,
        leaf=leaf_hash(leaf_data(now, envelope.raw)),
        envelope=envelope.raw,
    )


def _receipt(entry: StoredEntry, refused: tuple[Refusal, ...]) -> Receipt:
    return Receipt(entry.id, entry.number, entry.time, entry.leaf.hex(), entry.settled, refused)


def _repeat(first: StoredEntry, envelope: Envelope) -> Receipt | Rejection:
    """The same sender and id again: the first receipt for the same octets, a conflict for others."""
    if first.envelope != envelope.raw:
        return Rejection("conflict", f"id {envelope.id} is entry {first.number} with other octets")
    return receipt_of(first)


def receipt_of(entry: StoredEntry) -> Receipt:
    """The receipt of an entry as it is stored."""
    return _receipt(entry, msgspec.json.decode(entry.refused, type=tuple[Refusal, ...]) if entry.refused else ())
