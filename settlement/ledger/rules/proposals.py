"""Proposals: one party's entry proposes, the others' entries consent; with the last consent it takes effect.

What is proposed stands in a row of its own (an obligation, a cycle, a deal) that waits in state `proposed`; `KINDS` of
`consents` says what becomes of it. A proposal bears the leaf hash of its entry, which binds a consent to every octet.
"""

from collections.abc import Iterable
from uuid import UUID

from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.rules.context import Context, Refused
from settlement.ledger.rules.offers import DAY_MS
from settlement.ledger.state import Operator, Proposal, ProposalKind


def open_proposal(context: Context, kind: ProposalKind, subject: UUID, parties: Iterable[str], until: int) -> Proposal:
    """The proposal that this entry makes to `parties`, all operators but the sender. Raises Refused."""
    last = context.time + context.settlement.proposal_days_max * DAY_MS
    if not context.time < until <= last:
        raise Refused("invalid-terms", f"until is {until}, it must be after {context.time} and at most {last}")
    asked = tuple(sorted(set(parties) - {context.sender.id}))
    assert asked, "a proposal is made to somebody"
    return Proposal(
        leaf=leaf_hash(leaf_data(context.time, context.envelope.raw)).hex(),
        kind=kind,
        subject=subject,
        proposer=context.sender.id,
        parties=asked,
        proposed=context.time,
        until=until,
    )


def require_trader(context: Context, operator: str) -> None:
    """Refuse a party that is not there or does not trade."""
    found = context.state.get(Operator, operator)
    if found is None:
        raise Refused("unknown-operator", f"there is no operator {operator}")
    if found.role != "operator":
        raise Refused("not-permitted", f"{operator} is an {found.role}: it owes and is owed nothing")
