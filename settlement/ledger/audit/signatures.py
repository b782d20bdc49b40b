"""Signatures of a log's entries, verified by other processes while this one goes on.

signatures = Signatures(executor, at_once=4)
signatures.add(index, sender, envelope, public)      # raises AuditError for the first known not to fit
signatures.finish()                                  # the first of all that does not fit, if any
"""

from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final

from settlement.ledger.audit.error import AuditError
from settlement.ledger.envelope import Envelope, EnvelopeError
from settlement.ledger.keys import from_base64url
from settlement.ledger.signatures import is_signed

CHUNK: Final = 2_048
"""Signatures handed to another process at once: some 0.1 s of work."""
INLINE: Final = 4 * CHUNK
"""Up to so many entries it takes longer to start processes than to verify here."""


class Signatures:
    """Envelopes whose signatures are to be verified, here or in other processes, in chunks and in order.

    Without an `executor` each is verified as it comes. `at_once`: how many chunks may wait for their verdict.
    """

    def __init__(self, executor: ProcessPoolExecutor | None, *, at_once: int) -> None:
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
