"""Messages that rules version 2 brings: what operators agree on, owe each other, dispute and settle.

What several must agree on is *proposed* by an entry of one and takes effect with the last *consent* of the others, each
of which cites the leaf hash of the proposing entry and so its very octets. `docs/protocol.md` tells who may say what,
and when. The base of all messages, and the fields they share, are in `messages`.
"""

from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta

from settlement.ledger.messages import Cause, Digest, Message, OperatorId, Time, UpgradeRules, spelt
from settlement.money import MAX_AMOUNT

LEAST: Final = 1
"""Of an amount that somebody owes or pays, micro-SDRt."""

Sum = Annotated[int, Meta(ge=LEAST, le=MAX_AMOUNT, description="micro-SDRt, at least 1")]
Number = Annotated[str, spelt("[A-Za-z0-9][A-Za-z0-9/._-]{0,63}"), Meta(description="of a document, no free text")]


class Consent(Message, frozen=True, kw_only=True, tag="consent"):
    """The sender agrees to `proposal`, the leaf hash of the entry that proposed. The last needed makes it effective."""

    proposal: Digest


class RefuseProposal(Message, frozen=True, kw_only=True, tag="refuse-proposal"):
    """One of its parties does not agree, or its proposer withdraws: the proposal ends."""

    proposal: Digest
    reason: Cause


class ExpireProposal(Message, frozen=True, kw_only=True, tag="expire-proposal"):
    """Anyone: the proposal's date has passed without the last consent."""

    proposal: Digest


class ProposeInvoice(Message, frozen=True, kw_only=True, tag="invoice"):
    """The sender says that `debtor` owes it `amount` by `due` for something outside the ledger.

    `document`: SHA-256 of the invoice. With the debtor's consent, until `until`, it is an obligation of this id.
    """

    debtor: OperatorId
    amount: Sum
    due: Time
    document: Digest
    number: Number | None = None
    until: Time


class Pay(Message, frozen=True, kw_only=True, tag="pay"):
    """The debtor pays an obligation, whole or in part, from what it has available."""

    obligation: UUID
    amount: Sum


Transaction = UpgradeRules | Consent | RefuseProposal | ExpireProposal | ProposeInvoice | Pay
