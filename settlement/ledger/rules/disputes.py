"""Disputes: the home operator wants a charge back; what there is of it is held until the two, or the issuer, decide.

The state has no row a record, so a dispute *cites* the usage report: the rule reads that entry from the log, compares
its leaf hash, and finds the request's group and the record in it. The amount is bound by what the request was charged
and nobody has disputed before: a charge is disputed once (docs/decisions/0134).
"""

from typing import Final

from msgspec import structs

from settlement.ledger.envelope import parse
from settlement.ledger.ids import REST, derive_id
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.messages import ReportUsage
from settlement.ledger.rules.context import Context, Effects, Refused
from settlement.ledger.rules.offers import DAY_MS
from settlement.ledger.settling import (
    AcceptDispute,
    DecideDispute,
    EscalateDispute,
    ExpireDispute,
    RaiseDispute,
    RejectDispute,
    WithdrawDispute,
)
from settlement.ledger.state import Contested, Dispute, DisputeState, Obligation, Row

OPEN: Final[tuple[DisputeState, ...]] = ("raised", "rejected", "escalated")


def raise_dispute(context: Context, message: RaiseDispute) -> Effects:
    """Home disputes a charge: min(the visited operator's available, amount) → held."""
    request = context.request(message.request)
    if request.home != context.sender.id:
        if context.sender.id == request.visited:
            raise Refused("not-permitted", f"{request.home} disputes the charges of request {request.id}")
        raise Refused("unknown-request", f"there is no request {request.id} of {context.sender.id}")
    if context.state.get(Dispute, message.id) is not None:
        raise Refused("already-exists", f"there is a dispute {message.id}")
    _check_citation(context, message)
    contested = context.state.get(Contested, request.id) or Contested(request=request.id, amount=0)
    left = request.charged - contested.amount
    if message.amount > left:
        raise Refused("too-much", f"{left} of the charge of request {request.id} was never disputed")
    visited = context.account(request.visited)
    held = min(visited.available, message.amount)
    dispute = Dispute(
        id=message.id,
        request=request.id,
        home=request.home,
        visited=request.visited,
        entry=message.entry,
        record=message.record,
        amount=message.amount,
        held=held,
        cause=message.cause,
        evidence=message.evidence,
        raised=context.time,
        deadline=_next_deadline(context),
    )
    return Effects(
        (
            dispute,
            structs.replace(contested, amount=contested.amount + message.amount),
            structs.replace(visited, available=visited.available - held, held=visited.held + held),
        ),
        counterparty=request.visited,
    )


def _check_citation(context: Context, message: RaiseDispute) -> None:
    """The cited entry is what the sender says it is, and not too old."""
    cited = context.state.cite(message.entry)
    if cited is None or leaf_hash(leaf_data(*cited)).hex() != message.leaf:
        raise Refused("unknown-entry", f"entry {message.entry} does not have the leaf hash {message.leaf}")
    time, raw = cited
    report = parse(raw).message
    groups = report.groups if isinstance(report, ReportUsage) else ()
    group = next((group for group in groups if group.request == message.request), None)
    if group is None or (message.record is not None and message.record >= len(group.records)):
        what = "" if message.record is None else f"record {message.record} of "
        raise Refused("unknown-entry", f"entry {message.entry} does not report {what}request {message.request}")
    last = time + context.settlement.dispute_days * DAY_MS
    if context.time > last:
        raise Refused("too-late", f"entry {message.entry} could be disputed until {last}")


def accept_dispute(context: Context, message: AcceptDispute) -> Effects:
    """Visited concedes, at any time before the end."""
    dispute = _find(context, message.dispute, "visited", *OPEN)
    return _end(context, dispute, dispute.amount, counterparty=dispute.home)


def reject_dispute(context: Context, message: RejectDispute) -> Effects:
    """Visited stands by its report, with evidence; home may escalate."""
    dispute = _find(context, message.dispute, "visited", "raised")
    _require_in_time(context, dispute)
    rejected = structs.replace(dispute, state="rejected", answer=message.evidence, deadline=_next_deadline(context))
    return Effects((rejected,), counterparty=dispute.home)


def escalate_dispute(context: Context, message: EscalateDispute) -> Effects:
    """Home does not agree: the issuer is to decide."""
    dispute = _find(context, message.dispute, "home", "rejected")
    _require_in_time(context, dispute)
    escalated = structs.replace(
        dispute,
        state="escalated",
        evidence=message.evidence or dispute.evidence,
        deadline=_next_deadline(context),
    )
    return Effects((escalated,), counterparty=dispute.visited, readers=(context.ledger.issuer,))


def decide_dispute(context: Context, message: DecideDispute) -> Effects:
    """The issuer, as arbiter, gives home all of it, a part, or nothing."""
    if context.sender.id != context.ledger.issuer:
        raise Refused("not-permitted", f"only the issuer {context.ledger.issuer} decides, not {context.sender.id}")
    dispute = _get(context, message.dispute)
    _require_state(dispute, "escalated")
    if message.award > dispute.amount:
        raise Refused("too-much", f"{dispute.amount} is disputed, {message.award} is more")
    effects = _end(context, dispute, message.award, counterparty=dispute.home)
    return structs.replace(effects, readers=(dispute.visited,))


def withdraw_dispute(context: Context, message: WithdrawDispute) -> Effects:
    """Home lets go: what was held is the visited operator's again."""
    dispute = _find(context, message.dispute, "home", *OPEN)
    return _end(context, dispute, 0, counterparty=dispute.visited, state="withdrawn")


def expire_dispute(context: Context, message: ExpireDispute) -> Effects:
    """Anyone: who does not answer a dispute concedes it; who does not go on with it lets go."""
    dispute = _get(context, message.dispute)
    _require_state(dispute, *OPEN)
    if context.time <= dispute.deadline:
        raise Refused("too-early", f"dispute {dispute.id} waits for its next step until {dispute.deadline}")
    award = dispute.amount if dispute.state == "raised" else 0
    others = [party for party in (dispute.home, dispute.visited) if party != context.sender.id]
    effects = _end(context, dispute, award, counterparty=others[0])
    return structs.replace(effects, readers=tuple(others[1:]))


def _end(
    context: Context, dispute: Dispute, award: int, *, counterparty: str, state: DisputeState | None = None
) -> Effects:
    """The award → home, from what is held and then as an obligation; the rest of what is held → visited."""
    paid = min(award, dispute.held)
    home, visited = context.account(dispute.home), context.account(dispute.visited)
    assert visited.held >= dispute.held, f"dispute {dispute.id} holds more than {visited.operator}'s held"
    rows: list[Row] = [
        structs.replace(dispute, state=state or ("upheld" if award else "dismissed"), held=0, award=award),
        structs.replace(visited, held=visited.held - dispute.held, available=visited.available + dispute.held - paid),
    ]
    if paid:
        rows.append(structs.replace(home, available=home.available + paid))
    if award > paid:
        rows.append(
            Obligation(
                id=derive_id(dispute.id, REST),
                debtor=dispute.visited,
                creditor=dispute.home,
                amount=award - paid,
                remaining=award - paid,
                due=_next_deadline(context),
                cause="dispute",
                made=context.time,
                source=dispute.id,
            )
        )
    return Effects(tuple(rows), counterparty=counterparty, settled=paid)


def _next_deadline(context: Context) -> int:
    return context.time + context.settlement.answer_days * DAY_MS


def _get(context: Context, dispute_id: object) -> Dispute:
    dispute = context.state.get(Dispute, dispute_id)
    if dispute is None:
        raise Refused("unknown-dispute", f"there is no dispute {dispute_id}")
    return dispute


def _find(context: Context, dispute_id: object, role: str, *states: DisputeState) -> Dispute:
    """A dispute in one of these states, of which the sender is the party that may act."""
    dispute = context.state.get(Dispute, dispute_id)
    if dispute is None or context.sender.id not in (dispute.home, dispute.visited):
        raise Refused("unknown-dispute", f"there is no dispute {dispute_id} of {context.sender.id}")
    party = getattr(dispute, role)
    if party != context.sender.id:
        raise Refused("not-permitted", f"this is for {party}, the {role} operator of dispute {dispute.id}")
    _require_state(dispute, *states)
    return dispute


def _require_state(dispute: Dispute, *states: DisputeState) -> None:
    if dispute.state not in states:
        raise Refused("wrong-state", f"dispute {dispute.id} is {dispute.state}, it must be {' or '.join(states)}")


def _require_in_time(context: Context, dispute: Dispute) -> None:
    if context.time > dispute.deadline:
        raise Refused("too-late", f"the next step of dispute {dispute.id} was to come until {dispute.deadline}")
