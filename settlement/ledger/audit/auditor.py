"""The pass over the entries, and what it reports."""

import os
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from settlement.ledger.audit.error import AuditError
from settlement.ledger.audit.files import ExportedLog
from settlement.ledger.audit.signatures import INLINE, Signatures
from settlement.ledger.envelope import Envelope, EnvelopeError, parse
from settlement.ledger.execution import Execution
from settlement.ledger.export import Progress
from settlement.ledger.ids import IdRegister
from settlement.ledger.keys import thumbprint
from settlement.ledger.log import read_leaf
from settlement.ledger.messages import MAX_TIME, Mint, Redeemed
from settlement.ledger.note import VerifierKey
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules.context import RESERVED
from settlement.ledger.settling import AttestReserves
from settlement.ledger.state import Account, Dispute, Key, Ledger, Redemption, Request, State

Watch: TypeAlias = Callable[[int, int, str, Envelope], None]
"""Told of each entry as it is executed: index, time, sender, envelope."""


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
    log = ExportedLog(folder, key, checkpoint)
    if workers is None:
        workers = (os.cpu_count() or 1) if log.head.size > INLINE else 0
    # Not fork: who calls may have threads. The processes are given octets and nothing else.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers else nullcontext()
    with pool as executor:
        signatures = Signatures(executor, at_once=2 * workers)
        auditor = _Auditor(log, key, signatures, watch)
        try:
            auditor.run(progress)
        finally:
            signatures.forget()
    return auditor.report(time.perf_counter() - began)


class _Auditor:
    """One pass over the entries."""

    def __init__(self, log: ExportedLog, key: VerifierKey, signatures: Signatures, watch: Watch | None) -> None:
        self.log = log
        self.head = log.head
        self.key = key
        self.signatures = signatures
        self.watch = watch
        self.kid = thumbprint(key.public_key)
        self.execution = Execution(key.name, key.public_key, State(cite=self._cite))
        self.ids = IdRegister()
        self.messages: Counter[str] = Counter()
        self.first_time = self.time = 0
        self.circulation: list[tuple[int, int]] = []
        self.reserves: list[Reserve] = []

    def run(self, progress: Progress | None) -> None:
        """Everything, in order. Raises AuditError for the first bad entry."""
        try:
            for leaves in self.log.read_bundles():
                for index, leaf in enumerate(leaves, self.execution.size):
                    self._execute(index, leaf)
                self.execution.state.settle()
                if progress is not None:
                    progress(self.execution.size, self.head.size)
            self.log.check_edge()
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

    def _cite(self, index: int) -> tuple[int, bytes] | None:
        """An entry before this one, from the files, the hashes of which were compared."""
        return read_leaf(self.log.read_entry(index)) if index < self.execution.size else None

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
            continues=self.log.other.size if self.log.other else None,
            seconds=round(seconds, 3),
            reserves=tuple(self.reserves),
        )
