"""Netting cycles: many obligations made smaller at once, nobody's net position changed.

`check_cycle` is the whole check, plain integers in one pass; what is the most that can be netted is for who proposes
(`settlement.netting`), not for the rules. Between proposal and execution obligations stay payable: a cycle executes as
long as each still has what it takes off (docs/decisions/0133).
"""

from collections import Counter
from collections.abc import Mapping
from uuid import UUID

from msgspec import structs

from settlement.ledger.ids import derive_id
from settlement.ledger.rules.context import Context, Effects, Refused
from settlement.ledger.rules.credit import release
from settlement.ledger.rules.obligations import lower, require_open
from settlement.ledger.rules.proposals import open_proposal, require_trader
from settlement.ledger.settling import ProposeCycle
from settlement.ledger.state import Cycle, Obligation, Proposal, Row
from settlement.money import MAX_AMOUNT


def propose_cycle(context: Context, message: ProposeCycle) -> Effects:
    """An operator or the issuer proposes; every debtor, creditor and the hub must consent."""
    sender = context.sender
    if sender.role == "auditor":
        raise Refused("not-permitted", f"{sender.id} is an auditor: operators and the issuer propose cycles")
    if context.state.get(Cycle, message.id) is not None:
        raise Refused("already-exists", f"there is a cycle {message.id}")
    obligations = _read_changes(context, message)
    check_cycle(message, obligations)
    if message.hub is not None:
        require_trader(context, message.hub)
        if message.due is None or message.due <= message.until:
            raise Refused("invalid-terms", f"what novation adds falls due after until, {message.until}")
    parties = {party for owed in obligations.values() for party in (owed.debtor, owed.creditor)}
    parties.update({message.hub} if message.hub else ())
    proposal = open_proposal(context, "cycle", message.id, parties, message.until)
    cycle = Cycle(
        id=message.id,
        proposer=sender.id,
        method=message.method,
        changes=message.changes,
        caps=message.caps,
        hub=message.hub,
        added=message.added,
        due=message.due,
    )
    return Effects((proposal, cycle), counterparty=proposal.parties[0], readers=proposal.parties[1:])


def _read_changes(context: Context, message: ProposeCycle) -> dict[UUID, Obligation]:
    found: dict[UUID, Obligation] = {}
    for change in message.changes:
        owed = context.state.get(Obligation, change.obligation)
        if owed is None:
            raise Refused("unknown-obligation", f"there is no obligation {change.obligation}")
        require_open(owed)
        if owed.remaining != change.remaining:
            raise Refused("obligation-changed", f"{owed.remaining} remains of {owed.id}, not {change.remaining}")
        found[owed.id] = owed
    return found


def check_cycle(cycle: ProposeCycle, obligations: Mapping[UUID, Obligation]) -> None:
    """Raise Refused unless the cycle leaves every net position as it is, keeps the caps, and makes no debt grow."""
    position: Counter[str] = Counter()
    taken: Counter[tuple[str, str]] = Counter()
    seen: set[UUID] = set()
    for change in cycle.changes:
        owed = obligations[change.obligation]
        if owed.id in seen:
            raise Refused("invalid-terms", f"obligation {owed.id} stands twice in the cycle")
        if change.reduction > owed.remaining:
            raise Refused(
                "too-much", f"{change.reduction} is to be taken off {owed.id}, of which {owed.remaining} remains"
            )
        seen.add(owed.id)
        position[owed.debtor] += change.reduction
        position[owed.creditor] -= change.reduction
        taken[owed.debtor, owed.creditor] += change.reduction
    _check_caps(cycle, taken)
    if cycle.method == "setoff":
        if cycle.added or cycle.hub is not None:
            raise Refused("invalid-terms", "set-off adds no debts and has no hub")
    else:
        _check_added(cycle, position)
        for debt in cycle.added:
            position[debt.debtor] -= debt.amount
            position[debt.creditor] += debt.amount
    for operator in sorted(position):
        if position[operator]:
            raise Refused("not-balanced", f"the net position of {operator} would change by {position[operator]}")


def _check_caps(cycle: ProposeCycle, taken: Mapping[tuple[str, str], int]) -> None:
    seen = set()
    for cap in cycle.caps:
        pair = (cap.debtor, cap.creditor)
        if pair in seen:
            raise Refused("invalid-terms", f"{cap.debtor} to {cap.creditor} has two caps")
        seen.add(pair)
        if taken[pair] > cap.amount:
            raise Refused(
                "beyond-cap", f"{taken[pair]} of {cap.debtor} to {cap.creditor} is netted, at most {cap.amount}"
            )


def _check_added(cycle: ProposeCycle, position: Mapping[str, int]) -> None:
    """Novation: each party comes to owe the hub, or be owed by it, once, and no more than what it is rid of."""
    hub, seen = cycle.hub, set()
    if hub is None or hub in position:
        raise Refused("invalid-terms", "novation needs a hub that is no debtor or creditor of the cycle itself")
    for debt in cycle.added:
        party = debt.creditor if debt.debtor == hub else debt.debtor
        if hub not in (debt.debtor, debt.creditor) or party not in position or party in seen:
            raise Refused(
                "invalid-terms", f"{debt.debtor} to {debt.creditor}: novation adds one debt a party, with {hub}"
            )
        if not 1 <= debt.amount <= MAX_AMOUNT:
            raise Refused(
                "invalid-terms", f"{debt.debtor} would owe {debt.creditor} {debt.amount}: a debt is at least 1"
            )
        seen.add(party)


def execute_cycle(context: Context, proposal: Proposal) -> tuple[Row, ...]:
    """All have consented: every change at once, or the last consent is refused and the cycle waits until it lapses."""
    cycle = _find(context, proposal)
    rows: list[Row] = [structs.replace(cycle, state="executed")]
    lowered: list[tuple[Obligation, int]] = []
    for change in cycle.changes:
        owed = context.state.get(Obligation, change.obligation)
        assert owed is not None, f"obligation {change.obligation} is gone"
        if owed.state != "open" or owed.remaining < change.reduction:
            raise Refused(
                "obligation-changed", f"{owed.remaining} remains of {owed.id}: {change.reduction} is too much"
            )
        rows.append(lower(owed, change.reduction))
        lowered.append((owed, change.reduction))
    rows.extend(release(context, lowered))
    for number, debt in enumerate(cycle.added):
        assert cycle.due is not None, "a novation says when what it adds is due"
        rows.append(
            Obligation(
                id=derive_id(cycle.id, str(number)),
                debtor=debt.debtor,
                creditor=debt.creditor,
                amount=debt.amount,
                remaining=debt.amount,
                due=cycle.due,
                cause="netting",
                made=context.time,
                source=cycle.id,
            )
        )
    return tuple(rows)


def drop_cycle(context: Context, proposal: Proposal) -> tuple[Row, ...]:
    """The cycle came to nothing; obligations are as they were."""
    return (structs.replace(_find(context, proposal), state="dropped"),)


def _find(context: Context, proposal: Proposal) -> Cycle:
    cycle = context.state.get(Cycle, proposal.subject)
    assert cycle is not None, f"proposal {proposal.leaf} has no cycle"
    return cycle
