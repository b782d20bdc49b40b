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

from settlement.ledger.audit.auditor import AuditReport, Reserve, Watch, audit
from settlement.ledger.audit.error import AuditError

__all__ = ["AuditError", "AuditReport", "Reserve", "Watch", "audit"]
