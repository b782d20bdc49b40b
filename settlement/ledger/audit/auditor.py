"""The offline audit: a log proved from its files and one key, without a ledger, a database or a network.

    report = audit(folder, VerifierKey.parse(text))             # raises AuditError: the first thing that is wrong
    report = audit(folder, key, checkpoint=older_note)          # also: this log continues the one of that checkpoint

In one pass over the entries, in order, the auditor

1. verifies the checkpoint's signature, and that the folder holds the files of a log of that size and no others;
2. hashes each entry, compares the hashes with the tiles, and at the end the root with the checkpoint;
3. reads each envelope, verifies its signature with the key that the log itself gave to the sender by then;
4. checks that time never goes back and that no sender used an id twice;
5. executes the rules on it, the very functions the ledger ran, and compares the digests the ledger stated on the way;
6. adds up the money: Σ(available + escrow + held) = minted − burned, Σ escrow of requests = Σ escrow,
   Σ held = what redemptions and disputes hold, nothing below 0;
7. compares each statement of deposits with what was minted and burnt by then: the proof of reserves.

Signatures are verified by other processes while this one executes, on the assumption that they fit; an audit passes
only when all did. Memory grows with the state (operators, offers, requests), not with the log.
"""

import os
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

from landfall.errors import LandfallError
from settlement.ledger.checkpoint import Checkpoint, verify
from settlement.ledger.envelope import Envelope, EnvelopeError, parse
from settlement.ledger.execution import Execution
from settlement.ledger.export import CHECKPOINT, Progress, TileCutter, bundles_of
from settlement.ledger.ids import IdRegister
from settlement.ledger.keys import from_base64url, thumbprint
from settlement.ledger.log import read_leaf
from settlement.ledger.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash
from settlement.ledger.messages import MAX_TIME, Mint, Redeemed
from settlement.ledger.note import NoteError, VerifierKey, parse_note
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules.context import RESERVED
from settlement.ledger.settling import AttestReserves
from settlement.ledger.signatures import is_signed
from settlement.ledger.state import Account, Dispute, Key, Ledger, Redemption, Request, State
from settlement.ledger.tiles import ENTRIES, TILE_WIDTH, Tile, TileError, decode_bundle, parse_tile_path, tile_at

MAX_FILE: Final = 256 * (2 + 65_535)
"""Octets of the largest bundle there can be: no larger file is read."""
CHUNK: Final = 2_048
"""Signatures handed to another process at once: some 0.1 s of work."""
INLINE: Final = 4 * CHUNK
"""Up to so many entries it takes longer to start processes than to verify here."""

Watch: TypeAlias = Callable[[int, int, str, Envelope], None]
"""Told of each entry as it is executed: index, time, sender, envelope."""


class AuditError(LandfallError):
    """The log is not what it claims to be. `index` is the first bad entry, `sender` who signed it, where known."""

    def __init__(self, why: str, *, index: int | None = None, sender: str | None = None) -> None:
        place = "" if index is None else f"entry {index}{f' by {sender}' if sender else ''}: "
        super().__init__(f"{place}{why}")
        self.why = why
        self.index = index
        self.sender = sender


class Reserve(Struct, frozen=True):
    """One statement of deposits (entry `index`, by `attestor`) against the SDRt that were there at `as_of`.

    `circulating`: minted less burnt by the entries up to `as_of`. `covered`: whether the deposits are as much.
    Amounts are micro-SDRt.
    """

    index: int
    attestor: str
    as_of: int
    deposits: int
    circulating: int
    covered: bool


class AuditReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a log proved. Amounts are micro-SDRt, times milliseconds since the epoch, hashes lower-case hex.

    `chain`: head of the effects chain. `messages`: entries by type. `requests`: by state. `continues`: size of the
    other checkpoint that this log was shown to continue. `reserves`: every statement of deposits, for who reads it to
    judge: one that does not cover what circulates is no fault of the log.
    """

    origin: str
    entries: int
    root: str
    chain: str
    first_time: int
    last_time: int
    messages: dict[str, int]
    digests: int
    requests: dict[str, int]
    balances: tuple[Account, ...]
    minted: int
    burned: int
    escrow: int
    continues: int | None
    seconds: float
    reserves: tuple[Reserve, ...] = ()

    @property
    def rate(self) -> float:
        """Entries audited a second."""
        return self.entries / self.seconds if self.seconds else 0.0


def audit(
    folder: Path,
    key: VerifierKey,
    *,
    checkpoint: bytes | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> AuditReport:
    """Audit an export against the log's verifier key, had from elsewhere.

    `checkpoint`: a signed note had from elsewhere, which this log must continue. `workers`: processes that verify
    signatures; 0 verifies here, None takes one a processor for logs that are worth it. `watch` is called with index,
    time, sender and envelope of each entry, and may trust what it saw once this returns. Raises AuditError.
    """
    began = time.perf_counter()
    head = _read_head(folder, key)
    other = None if checkpoint is None else _read_other(checkpoint, key, head)
    _refuse_strays(folder, head.size)
    if workers is None:
        workers = (os.cpu_count() or 1) if head.size > INLINE else 0
    # Not fork: who calls may have threads. The processes are given octets and nothing else.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers else nullcontext()
    with pool as executor:
        auditor = _Auditor(folder, key, head, other, executor, 2 * workers, watch)
        try:
            auditor.run(progress)
        finally:
            auditor.signatures.forget()
    return auditor.report(time.perf_counter() - began)


def _read_head(folder: Path, key: VerifierKey) -> Checkpoint:
    note = _read_file(folder / CHECKPOINT, CHECKPOINT)
    try:
        head = verify(note, key)
        signatures = parse_note(note).signatures
    except NoteError as error:
        raise AuditError(f"{CHECKPOINT}: {error}") from None
    if len(signatures) != 1:
        raise AuditError(f"{CHECKPOINT} has {len(signatures)} signatures: an export has the log's own and no others")
    return head


def _read_other(note: bytes, key: VerifierKey, head: Checkpoint) -> Checkpoint:
    try:
        other = verify(note, key)
    except NoteError as error:
        raise AuditError(f"the other checkpoint: {error}") from None
    if other.size > head.size:
        raise AuditError(
            f"the log is cut short: it ends at {head.size} entries, the other checkpoint signs {other.size}"
        )
    return other


def _refuse_strays(folder: Path, size: int) -> None:
    """Refuse all that a log of `size` entries does not consist of. What is missing shows when it is read."""

    def visit(directory: Path, prefix: str) -> None:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        if not entries and prefix:
            raise AuditError(f"{prefix} is an empty folder: it belongs to no log")
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                visit(directory / entry.name, f"{path}/")
            elif not entry.is_file(follow_symlinks=False):
                raise AuditError(f"{path} is no plain file")
            elif path != CHECKPOINT and not _belongs(path, size):
                raise AuditError(f"{path} does not belong to a log of {size} entries")

    visit(folder, "")


def _belongs(path: str, size: int) -> bool:
    try:
        tile = parse_tile_path(path)
        return tile_at(tile.level, tile.number, size) == tile
    except TileError:
        return False


def _read_file(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_FILE + 1)
    except OSError as error:
        raise AuditError(f"{name} cannot be read ({error.strerror}): the export is not complete") from None
    if len(octets) > MAX_FILE:
        raise AuditError(f"{name} is larger than any file of a log")
    return octets


class _Auditor:
    """One pass over the entries."""

    def __init__(
        self,
        folder: Path,
        key: VerifierKey,
        head: Checkpoint,
        other: Checkpoint | None,
        executor: ProcessPoolExecutor | None,
        at_once: int,
        watch: Watch | None,
    ) -> None:
        self.folder = folder
        self.watch = watch
        self.head = head
        self.other = other
        self.key = key
        self.kid = thumbprint(key.public_key)
        self.execution = Execution(key.name, key.public_key, State(cite=self._cite))
        self.signatures = _Signatures(executor, at_once)
        self.ids = IdRegister()
        self.cutter = TileCutter()
        self.messages: Counter[str] = Counter()
        self.first_time = self.time = 0
        self.circulation: list[tuple[int, int]] = []
        self.reserves: list[Reserve] = []

    def run(self, progress: Progress | None) -> None:
        """Everything, in order. Raises AuditError for the first bad entry."""
        try:
            for bundle in bundles_of(self.head.size):
                leaves = self._read_leaves(bundle)
                for index, leaf in enumerate(leaves, self.execution.size):
                    self._execute(index, leaf)
                self.execution.state.settle()
                if progress is not None:
                    progress(self.execution.size, self.head.size)
            self._check_edge()
        except AuditError as error:
            raise (self._first(error) or error) from None
        if (earlier := self._first(None)) is not None:
            raise earlier
        self._check_money()

    def _first(self, error: AuditError | None) -> AuditError | None:
        """Of what is known to be wrong, that with the first entry: signatures and ids are known later than rules."""
        found = [error, self.signatures.finish(), self._repeated_id()]
        named = [each for each in found if each is not None]
        return min(named, key=lambda each: self.head.size if each.index is None else each.index, default=None)

    def _repeated_id(self) -> AuditError | None:
        repeated = self.ids.find_repeated()
        if repeated is None:
            return None
        return AuditError(f"its sender used its id before, in entry {repeated[0]}", index=repeated[1])

    # the tree

    def _read_leaves(self, bundle: Tile) -> list[bytes]:
        """The entries of a bundle, once their hashes are those in the tiles."""
        try:
            leaves = decode_bundle(_read_file(self.folder / bundle.path, bundle.path), bundle.width)
        except TileError as error:
            raise AuditError(f"{bundle.path}: {error}", index=self.execution.size) from None
        hashes = [leaf_hash(leaf) for leaf in leaves]
        first = self.cutter.frontier.size
        if self.other is not None and first <= self.other.size <= first + len(hashes):
            before, _ = self.cutter.frontier.extend(hashes[: self.other.size - first])
            self._check_root(before.root(), self.other, "the other checkpoint")
        self._compare(self.cutter.add(hashes))
        return leaves

    def _cite(self, index: int) -> tuple[int, bytes] | None:
        """An entry before this one, from the files, the hashes of which were compared."""
        if index >= self.execution.size:
            return None
        bundle = tile_at(ENTRIES, index // TILE_WIDTH, self.head.size)
        leaves = decode_bundle(_read_file(self.folder / bundle.path, bundle.path), bundle.width)
        return read_leaf(leaves[index % TILE_WIDTH])

    def _check_edge(self) -> None:
        self._compare(self.cutter.finish())
        self._check_root(self.cutter.frontier.root(), self.head, CHECKPOINT)
        if self.other is not None and self.other.size == 0:
            self._check_root(EMPTY_ROOT, self.other, "the other checkpoint")

    def _compare(self, tiles: Iterator[tuple[Tile, bytes]]) -> None:
        for tile, octets in tiles:
            found = _read_file(self.folder / tile.path, tile.path)
            if found == octets:
                continue
            at = next((at for at in range(tile.width) if _hash_at(found, at) != _hash_at(octets, at)), tile.width)
            if tile.level == 0 and at < tile.width:
                index = (tile.number << 8) + at
                raise AuditError(f"its octets in the entry bundle do not have the hash in {tile.path}", index=index)
            raise AuditError(f"{tile.path} does not follow from the entries (hash {at} is the first that differs)")

    def _check_root(self, root: bytes, signed: Checkpoint, name: str) -> None:
        if root != signed.root:
            raise AuditError(
                f"{name} signs {signed.size} entries under root {signed.root.hex()}, these entries have {root.hex()}: "
                "one of the two histories is forged; keep both"
            )

    # the entries

    def _execute(self, index: int, leaf: bytes) -> None:
        try:
            at, raw = read_leaf(leaf)
            envelope = parse(raw)
        except (ValueError, EnvelopeError) as error:
            raise AuditError(f"it cannot be read: {error}", index=index) from None
        sender, public = self._sender(index, envelope)
        if not self.time <= at <= MAX_TIME:
            raise AuditError(f"its time {at} is before {self.time} of the entry before it", index=index, sender=sender)
        self.first_time = at if index == 0 else self.first_time
        self.time = at
        self.signatures.add(index, sender, envelope, public)
        self.ids.add(sender, envelope.id, index)
        effects = self.execution.run(envelope, at)
        if isinstance(effects, Rejection):
            raise AuditError(f"the rules refuse it: {effects.code}, {effects.detail}", index=index, sender=sender)
        message = envelope.message
        self.messages[str(message.__struct_config__.tag)] += 1
        if isinstance(message, Mint | Redeemed):
            ledger = self._ledger()
            self.circulation.append((at, ledger.minted - ledger.burned))
        elif isinstance(message, AttestReserves):
            self._compare_reserves(index, sender, message)
        if self.watch is not None:
            self.watch(index, at, sender, envelope)

    def _compare_reserves(self, index: int, attestor: str, message: AttestReserves) -> None:
        """Deposits as they were stated, against what circulated at that time."""
        place = bisect_right(self.circulation, message.as_of, key=lambda change: change[0])
        circulating = self.circulation[place - 1][1] if place else 0
        self.reserves.append(
            Reserve(index, attestor, message.as_of, message.deposits, circulating, message.deposits >= circulating)
        )

    def _sender(self, index: int, envelope: Envelope) -> tuple[str, bytes]:
        """Whose key the envelope names, as the log stands at this entry."""
        if envelope.kid == self.kid:
            return RESERVED, self.key.public_key
        key = self.execution.state.get(Key, envelope.kid)
        if key is None or key.purpose == "seal":
            raise AuditError(f"no operator had the key {envelope.kid} when it was accepted", index=index)
        return key.operator, key.public

    # the money

    def _check_money(self) -> None:
        if self.head.size == 0:
            return
        state, ledger = self.execution.state, self._ledger()
        accounts = list(state.all(Account))
        total = sum(row.available + row.escrow + row.held for row in accounts)
        if total != ledger.minted - ledger.burned:
            raise AuditError(f"accounts hold {total}, minted less burned is {ledger.minted - ledger.burned}")
        in_accounts, in_requests = sum(row.escrow for row in accounts), sum(row.escrow for row in state.all(Request))
        if in_accounts != in_requests:
            raise AuditError(f"accounts hold {in_accounts} in escrow, requests {in_requests}")
        held = sum(row.held for row in accounts)
        owed = sum(row.amount for row in state.all(Redemption) if row.state == "asked")
        frozen = sum(row.held for row in state.all(Dispute))
        if held != owed + frozen:
            raise AuditError(f"accounts hold {held} back, redemptions {owed} and disputes {frozen}")
        for row in accounts:
            if min(row.available, row.escrow, row.held) < 0:
                raise AuditError(f"the account of {row.operator} is below zero: {row}")

    def _ledger(self) -> Ledger:
        ledger = self.execution.state.get(Ledger, self.key.name)
        assert ledger is not None, "the first entry was accepted, so it was a genesis"
        return ledger

    def report(self, seconds: float) -> AuditReport:
        """What was proved."""
        state = self.execution.state
        accounts = sorted(state.all(Account), key=lambda row: row.operator)
        ledger = self._ledger() if self.head.size else None
        return AuditReport(
            origin=self.head.origin,
            entries=self.head.size,
            root=self.head.root.hex(),
            chain=self.execution.chain.hex(),
            first_time=self.first_time,
            last_time=self.time,
            messages=dict(sorted(self.messages.items())),
            digests=self.messages["digest"],
            requests=dict(sorted(Counter(row.state for row in state.all(Request)).items())),
            balances=tuple(accounts),
            minted=ledger.minted if ledger else 0,
            burned=ledger.burned if ledger else 0,
            escrow=sum(row.escrow for row in accounts),
            continues=self.other.size if self.other else None,
            seconds=round(seconds, 3),
            reserves=tuple(self.reserves),
        )


def _hash_at(octets: bytes, at: int) -> bytes:
    return octets[at * HASH_BYTES : (at + 1) * HASH_BYTES]


class _Signatures:
    """Envelopes whose signatures are to be verified, here or in other processes, in chunks and in order."""

    def __init__(self, executor: ProcessPoolExecutor | None, at_once: int) -> None:
        self._executor = executor
        self._at_once = at_once
        self._first = 0
        self._chunk: list[tuple[bytes, bytes]] = []
        self._senders: list[str] = []
        self._running: deque[tuple[list[str], int, Future[int | None]]] = deque()

    def add(self, index: int, sender: str, envelope: Envelope, public: bytes) -> None:
        """Verify, now or later. Raises AuditError for the first that is known not to fit."""
        if self._executor is None:
            try:
                envelope.verify(public)
            except EnvelopeError as error:
                raise AuditError(str(error), index=index, sender=sender) from None
            return
        if not self._chunk:
            self._first = index
        self._chunk.append((envelope.raw, public))
        self._senders.append(sender)
        if len(self._chunk) >= CHUNK:
            self._hand_over(self._executor)
            if len(self._running) > self._at_once and (bad := self._collect()) is not None:
                raise bad

    def finish(self) -> AuditError | None:
        """The first signature of all handed in that does not fit, if any."""
        if self._executor is not None and self._chunk:
            self._hand_over(self._executor)
        while self._running:
            if (bad := self._collect()) is not None:
                return bad
        return None

    def forget(self) -> None:
        """Let go of what is still waiting."""
        for _, _, future in self._running:
            future.cancel()

    def _hand_over(self, executor: ProcessPoolExecutor) -> None:
        self._running.append((self._senders, self._first, executor.submit(find_bad_signature, self._chunk)))
        self._chunk, self._senders = [], []

    def _collect(self) -> AuditError | None:
        senders, first, future = self._running.popleft()
        bad = future.result()
        if bad is None:
            return None
        return AuditError("the signature is not by the key it names", index=first + bad, sender=senders[bad])


def find_bad_signature(envelopes: list[tuple[bytes, bytes]]) -> int | None:
    """Place of the first of (envelope, public key) whose signature does not fit; the envelopes are well-formed."""
    for place, (raw, public) in enumerate(envelopes):
        signed, _, signature = raw.rpartition(b".")
        if not is_signed(signed, from_base64url(signature), public):
            return place
    return None
