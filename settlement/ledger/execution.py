"""Execution: the one way entries change the state, shared by the sequencer, validators and the auditor.

    execution = Execution(origin, public, state, size=…, chain=…)
    effects = execution.run(envelope, time)      # Rejection: nothing has changed
    execution.chain                              # head of the effects chain after `size` entries

The chain is `SHA-256(head ‖ MessagePack of the rows the entry put, maps in the order of their keys)`, entry by
entry. It does not depend on how entries were gathered into batches: two executions agree on it, or the first entry at
which they differ is found.
"""

import hashlib
from typing import Final

import msgspec

from settlement.ledger import rules
from settlement.ledger.envelope import Envelope
from settlement.ledger.keys import thumbprint
from settlement.ledger.messages import StateDigest
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules import Effects
from settlement.ledger.state import State

EMPTY_CHAIN: Final = hashlib.sha256(b"landfall effects v1").digest()
"""Head of the chain before the first entry."""

_encoder = msgspec.msgpack.Encoder(order="deterministic")  # a map read back from PostgreSQL has another order


class Execution:
    """A state and its place in the log. `run` either accepts an entry whole or changes nothing."""

    __slots__ = ("_kid", "chain", "origin", "public", "size", "state")

    def __init__(self, origin: str, public: bytes, state: State, *, size: int = 0, chain: bytes = EMPTY_CHAIN) -> None:
        self.origin = origin
        self.public = public
        self.state = state
        self.size = size
        self.chain = chain
        self._kid = thumbprint(public)

    def run(self, envelope: Envelope, time: int) -> Effects | Rejection:
        """Decide on an envelope whose signature was verified, and take its effects as entry number `size`."""
        effects = self._decide(envelope, time)
        if isinstance(effects, Effects):
            for row in effects.rows:
                self.state.put(row)
            self.chain = hashlib.sha256(self.chain + _encoder.encode(effects.rows)).digest()
            self.size += 1
        return effects

    def _decide(self, envelope: Envelope, time: int) -> Effects | Rejection:
        if self.size == 0:
            return rules.found(envelope, origin=self.origin, public=self.public, time=time)
        message = envelope.message
        if type(message) is StateDigest:
            return self._check_digest(envelope, message)
        return rules.decide(envelope, origin=self.origin, time=time, state=self.state)

    def _check_digest(self, envelope: Envelope, message: StateDigest) -> Effects | Rejection:
        if message.aud != self.origin:
            return Rejection("wrong-audience", f"aud is {message.aud!r}, this log is {self.origin!r}")
        if envelope.kid != self._kid:
            return Rejection("not-permitted", "only the origin itself states the digest of the state")
        if message.size != self.size or message.state != self.chain.hex():
            return Rejection(
                "wrong-digest",
                f"entry {self.size} says that after {message.size} entries the state is {message.state}; "
                f"after {self.size} it is {self.chain.hex()}",
            )
        return Effects(())
