"""Messages that rules version 2 brings: what operators agree on, owe each other, dispute and settle.

What several must agree on is *proposed* by an entry of one and takes effect with the last *consent* of the others, each
of which cites the leaf hash of the proposing entry and so its very octets. `docs/protocol.md` tells who may say what,
and when. The base of all messages, and the fields they share, are in `messages`.
"""

from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct

from settlement.ledger.messages import MAX_RECORDS, Cause, Digest, Message, OperatorId, Terms, Time, UpgradeRules, spelt
from settlement.money import MAX_AMOUNT
from settlement.usage.deals import MAX_PERIODS, Commitment, Rate
from settlement.usage.tariff import Amount, Units

LEAST: Final = 1
"""Of an amount that somebody owes or pays, micro-SDRt."""
MAX_CHANGES: Final = 700
"""Obligations of a cycle: what fits an entry, at a million SDRt each. A larger netting is several balanced cycles."""

Sum = Annotated[int, Meta(ge=LEAST, le=MAX_AMOUNT, description="micro-SDRt, at least 1")]
Number = Annotated[str, spelt("[A-Za-z0-9][A-Za-z0-9/._-]{0,63}"), Meta(description="of a document, no free text")]

PeriodName = Annotated[
    str, spelt("[0-9]{4}-[0-9]{2}(?:-[0-9]{2}/[0-9]{4}-[0-9]{2}-[0-9]{2})?"), Meta(description="2026-10, or day/day")
]


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


class RaiseDispute(Message, frozen=True, kw_only=True, tag="dispute"):
    """The home operator disputes what a usage report of entry `entry`, with leaf hash `leaf`, charged a request.

    `record`: place of the record in the request's group there, absent for all of the group. What the visited operator
    has available, up to `amount`, is held until the dispute ends. `evidence`: SHA-256 of what speaks for it.
    """

    entry: Units
    leaf: Digest
    request: UUID
    record: Annotated[int, Meta(ge=0, lt=MAX_RECORDS)] | None = None
    amount: Sum
    cause: Cause
    evidence: Digest | None = None


class AcceptDispute(Message, frozen=True, kw_only=True, tag="accept-dispute"):
    """The visited operator concedes the whole amount."""

    dispute: UUID


class RejectDispute(Message, frozen=True, kw_only=True, tag="reject-dispute"):
    """The visited operator answers that its report is right; `evidence` is the SHA-256 of what shows it."""

    dispute: UUID
    evidence: Digest
    cause: Cause = "report-is-right"


class EscalateDispute(Message, frozen=True, kw_only=True, tag="escalate-dispute"):
    """The home operator does not agree with the rejection: the issuer decides."""

    dispute: UUID
    evidence: Digest | None = None


class DecideDispute(Message, frozen=True, kw_only=True, tag="decide-dispute"):
    """The issuer, as arbiter, awards the home operator `award` of an escalated dispute, from nothing to all of it."""

    dispute: UUID
    award: Amount


class WithdrawDispute(Message, frozen=True, kw_only=True, tag="withdraw-dispute"):
    """The home operator lets go of it."""

    dispute: UUID


class ExpireDispute(Message, frozen=True, kw_only=True, tag="expire-dispute"):
    """Anyone: the time for the next step has passed. Unanswered, it is upheld; not escalated or decided, dismissed."""

    dispute: UUID


class Direction(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one party of a deal, `home`, may order of the other, and what it commits to for each whole period.

    `terms` become the offer `offer`, for `home` alone. `revenue`: the least charge. `volumes`: the least units.
    `credit_limit`: usage beyond the escrow is owed up to so much, instead of being refused.
    """

    home: OperatorId
    offer: UUID
    terms: Terms
    revenue: Amount = 0
    volumes: Annotated[tuple[Commitment, ...], Meta(max_length=3)] = ()
    credit_limit: Amount = 0


class ProposeDeal(Message, frozen=True, kw_only=True, tag="deal"):
    """A bilateral deal from `starts` to before `ends`, settled every `months` calendar months (UTC).

    `balanced`: rates at which the traffic that both directions have is priced in the end. A period may be settled
    `settle_after_days` after its end; what is then owed is due `due_days` later.
    """

    partner: OperatorId
    directions: Annotated[tuple[Direction, ...], Meta(min_length=1, max_length=2)]
    balanced: Annotated[tuple[Rate, ...], Meta(max_length=3)] = ()
    starts: Time
    ends: Time
    months: Annotated[int, Meta(ge=1, le=12)] = 1
    settle_after_days: Annotated[int, Meta(ge=0, le=90)] = 0
    due_days: Annotated[int, Meta(ge=0, le=366)] = 30
    until: Time


class SettleDeal(Message, frozen=True, kw_only=True, tag="settle-deal"):
    """Either party: settle a period that is over, by its number from 0; shortfalls and rebates become obligations."""

    deal: UUID
    period: Annotated[int, Meta(ge=0, lt=MAX_PERIODS)]


class RecordDocument(Message, frozen=True, kw_only=True, tag="record-document"):
    """The sender puts a document's SHA-256 on the ledger: whoever has the file can find when it was recorded, by whom.

    `counterparty`: the other operator it is for, who may read the entry. `period`: a month, or first and last day.
    """

    counterparty: OperatorId | None = None
    kind: Cause
    digest: Digest
    period: PeriodName | None = None


class AttestReserves(Message, frozen=True, kw_only=True, tag="attest-reserves"):
    """The issuer, or an auditor, states that at `as_of` deposits of `deposits` micro-SDRt stood behind the SDRt.

    `digest`: SHA-256 of what shows it, such as the bank's statement. Audits compare it with what was minted and burnt.
    """

    as_of: Time
    deposits: Amount
    digest: Digest


_Agreeing = Consent | RefuseProposal | ExpireProposal | ProposeInvoice | Pay | ProposeCycle
_Disputing = (
    RaiseDispute | AcceptDispute | RejectDispute | EscalateDispute | DecideDispute | WithdrawDispute | ExpireDispute
)
Transaction = UpgradeRules | _Agreeing | _Disputing | ProposeDeal | SettleDeal | RecordDocument | AttestReserves
