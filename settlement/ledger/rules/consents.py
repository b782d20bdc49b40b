"""What becomes of proposals: consent, refusal, lapse; and what each kind does when it takes effect."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct, structs

from settlement.ledger.rules import deals, netting, obligations
from settlement.ledger.rules.context import Context, Effects, Refused
from settlement.ledger.settling import Consent, ExpireProposal, RefuseProposal
from settlement.ledger.state import Proposal, Row

Outcome = Callable[[Context, Proposal], tuple[Row, ...]]


class Kind(Struct, frozen=True):
    """The rows that a proposal puts when it takes effect, and when it comes to nothing."""

    take_effect: Outcome
    drop: Outcome


KINDS: Final[dict[str, Kind]] = {
    "invoice": Kind(obligations.open_invoice, obligations.drop_invoice),
    "cycle": Kind(netting.execute_cycle, netting.drop_cycle),
    "deal": Kind(deals.agree_deal, deals.drop_deal),
}


def consent(context: Context, message: Consent) -> Effects:
    """A party agrees; with the last consent the proposal takes effect, whole, in this entry."""
    proposal = _open_proposal(context, message.proposal)
    sender = context.sender.id
    if context.time > proposal.until:
        raise Refused("too-late", f"proposal {proposal.leaf} lapsed at {proposal.until}")
    if sender not in proposal.parties or sender in proposal.consented:
        raise Refused("wrong-state", f"the consent of {sender} to proposal {proposal.leaf} is not waited for")
    agreed = structs.replace(proposal, consented=(*proposal.consented, sender))
    if len(agreed.consented) < len(agreed.parties):
        return Effects((agreed,), counterparty=proposal.proposer)
    done = structs.replace(agreed, state="effective")
    return _tell(context, proposal, (done, *KINDS[proposal.kind].take_effect(context, done)))


def refuse_proposal(context: Context, message: RefuseProposal) -> Effects:
    """A party, even one that has consented, does not agree; or the proposer withdraws."""
    proposal = _open_proposal(context, message.proposal)
    ended = structs.replace(proposal, state="refused", refused_by=context.sender.id, reason=message.reason)
    return _tell(context, proposal, (ended, *KINDS[proposal.kind].drop(context, ended)))


def expire_proposal(context: Context, message: ExpireProposal) -> Effects:
    """Anyone notes that the date has passed."""
    proposal = _find(context, message.proposal)
    if context.time <= proposal.until:
        raise Refused("too-early", f"proposal {proposal.leaf} may be consented to until {proposal.until}")
    lapsed = structs.replace(proposal, state="lapsed")
    return _tell(context, proposal, (lapsed, *KINDS[proposal.kind].drop(context, lapsed)))


def _tell(context: Context, proposal: Proposal, rows: tuple[Row, ...]) -> Effects:
    """Everybody concerned may read the entry that ends a proposal."""
    others = sorted({proposal.proposer, *proposal.parties} - {context.sender.id})
    return Effects(rows, counterparty=others[0], readers=tuple(others[1:]))


def _find(context: Context, leaf: str) -> Proposal:
    proposal = context.state.get(Proposal, leaf)
    if proposal is None:
        raise Refused("unknown-proposal", f"there is no proposal {leaf}")
    if proposal.state != "open":
        raise Refused("wrong-state", f"proposal {leaf} is {proposal.state} already")
    return proposal


def _open_proposal(context: Context, leaf: str) -> Proposal:
    """A proposal that the sender is a party of; nobody else learns that there is one."""
    proposal = context.state.get(Proposal, leaf)
    if proposal is None or context.sender.id not in (proposal.proposer, *proposal.parties):
        raise Refused("unknown-proposal", f"there is no proposal {leaf} that {context.sender.id} is a party of")
    return _find(context, leaf)
