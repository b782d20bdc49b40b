"""What staff ask about debts, and what they see. Amounts are micro-SDRt, times milliseconds since the epoch."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from settlement.ledger.messages import Cause, Digest, OperatorId, Time
from settlement.ledger.settling import Number, Sum
from settlement.ledger.state import Proposal


class NewUploadedInvoice(Struct, frozen=True, forbid_unknown_fields=True):
    """An invoice for something outside the ledger: `document` is the SHA-256 of its file, which goes to the debtor."""

    debtor: OperatorId
    amount_usdr: Sum
    due_ms: Time
    document: Digest
    number: Number | None = None
    answer_days: Annotated[int, Meta(ge=1, le=30)] = 14


class Confirmation(Struct, frozen=True, forbid_unknown_fields=True):
    """`document`: the SHA-256 of the file that the debtor has; a confirmation of another one is refused."""

    document: Digest | None = None


class Refusing(Struct, frozen=True, forbid_unknown_fields=True):
    """Why not, in a word."""

    reason: Cause = "not-agreed"


class Payment(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of an obligation to pay; absent: all that remains."""

    amount_usdr: Sum | None = None


class Asked(Struct, frozen=True):
    """A message is on its way; `GET /outbox/{message}` has the ledger's answer."""

    id: UUID
    message: UUID
    state: Literal["sent"] = "sent"


class CycleView(Struct, frozen=True):
    """A netting cycle as it is for this operator, in sums over its own debts and claims.

    `payable_usdr`, `receivable_usdr`: by how much they become smaller. `new_payable_usdr`, `new_receivable_usdr`: with
    the hub of a novation. `position_changes_usdr` is 0, or there is something wrong. `automatic`: why it was, or was
    not, consented to without asking staff.
    """

    id: UUID
    leaf: str
    proposer: str
    method: str
    state: str
    until_ms: int
    payable_usdr: int
    receivable_usdr: int
    new_payable_usdr: int
    new_receivable_usdr: int
    position_changes_usdr: int
    asked: bool
    automatic: str


class InvoiceView(Struct, frozen=True):
    """An uploaded invoice: `proposed` until its debtor has confirmed it, then `open`, then `settled`; or `dropped`."""

    id: UUID
    debtor: str
    creditor: str
    amount_usdr: int
    remaining_usdr: int
    due_ms: int
    document: str
    number: str | None
    state: str
    asked: bool


def is_asked(proposal: Proposal, operator: str) -> bool:
    """Whether an open proposal waits for the operator's answer."""
    return proposal.state == "open" and operator in proposal.parties and operator not in proposal.consented
