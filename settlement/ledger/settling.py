"""Messages that rules version 2 brings: what operators agree on, owe each other, dispute and settle.

What several must agree on is *proposed* by an entry of one and takes effect with the last *consent* of the others, each
of which cites the leaf hash of the proposing entry and so its very octets. `docs/protocol.md` tells who may say what,
and when. The base of all messages, and the fields they share, are in `messages`.
"""

from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct

from settlement.ledger.messages import Cause, Digest, Message, OperatorId, Time, UpgradeRules, spelt
from settlement.money import MAX_AMOUNT
from settlement.usage.tariff import Amount

LEAST: Final = 1
"""Of an amount that somebody owes or pays, micro-SDRt."""
MAX_CHANGES: Final = 700
"""Obligations of a cycle: what fits an entry, at a million SDRt each. A larger netting is several cycles, each balanced in itself."""

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


class Change(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One obligation of a cycle: `reduction` of what `remaining` of it, as at the proposal."""

    obligation: UUID
    remaining: Sum
    reduction: Sum


class Debt(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An amount from one operator to another: a new debt, or a cap on what of a pair's debts takes part."""

    debtor: OperatorId
    creditor: OperatorId
    amount: Amount


class ProposeCycle(Message, frozen=True, kw_only=True, tag="cycle"):
    """A netting cycle: with the consent of all whose obligations change, all `changes` are made, or none.

    `setoff` only lowers debts. `novation` replaces them by `added` ones from and to `hub`, due at `due`.
    `caps`: the most of a pair's debts that may be netted; zero excludes the pair.
    """

    method: Literal["setoff", "novation"]
    changes: Annotated[tuple[Change, ...], Meta(min_length=1, max_length=MAX_CHANGES)]
    caps: Annotated[tuple[Debt, ...], Meta(max_length=MAX_CHANGES)] = ()
    hub: OperatorId | None = None
    added: Annotated[tuple[Debt, ...], Meta(max_length=MAX_CHANGES)] = ()
    due: Time | None = None
    until: Time


Transaction = UpgradeRules | Consent | RefuseProposal | ExpireProposal | ProposeInvoice | Pay | ProposeCycle
