"""The issuer proposes netting: what nobody else can see whole, all open obligations, becomes cycles to consent to.

    proposal = plan(await issuer.obligations(state="open"), method, terms, taken)      # pure
    proposed = await propose(issuer, proposal, until_ms=…, due_ms=…)

Obligations that stand in a cycle which still waits take no part in another: their sums would be promised twice. A
proposal is safe to repeat: what was proposed is `taken`, and the rest is netted.
"""

from collections.abc import Iterable
from uuid import UUID

from msgspec import Struct

from settlement.ledger.client import LedgerClient
from settlement.ledger.cycles import CycleError, cycles_of
from settlement.ledger.settling import ProposeCycle
from settlement.ledger.state import Obligation
from settlement.netting import Debt, Method, Netting, Terms, net, verify


class NettingPlan(Struct, frozen=True):
    """A netting of open obligations and the cycles that execute it, as fields of `ProposeCycle`."""

    debts: tuple[Debt, ...]
    netting: Netting
    cycles: tuple[dict[str, object], ...]


class ProposedCycle(Struct, frozen=True):
    """A cycle that was proposed: `leaf` is what its `parties` consent to."""

    id: UUID
    leaf: str
    obligations: int
    parties: tuple[str, ...]


async def find_taken(issuer: LedgerClient) -> set[UUID]:
    """Obligations of the issuer's cycles that wait for consents."""
    taken: set[UUID] = set()
    for proposal in await issuer.proposals(state="open", kind="cycle"):
        cycle = await issuer.cycle(proposal.subject)
        taken.update(change.obligation for change in cycle.changes)
    return taken


def plan(obligations: Iterable[Obligation], method: Method, terms: Terms, taken: set[UUID]) -> NettingPlan:
    """Net what is open and not taken, and check it as anybody would. No cycles where nothing can be netted."""
    owed = [row for row in obligations if row.state == "open" and row.id not in taken]
    owed = [row for row in owed if terms.part((row.debtor, row.creditor), row.remaining) or method is Method.SETOFF]
    if method is Method.NOVATION:
        owed = [row for row in owed if terms.hub not in (row.debtor, row.creditor)]
    debts = tuple(Debt(row.debtor, row.creditor, row.remaining) for row in owed)
    netting = net(debts, method, terms)
    verify(debts, netting, terms)
    try:
        cycles = tuple(cycles_of(owed, netting, terms)) if debts else ()
    except CycleError:
        cycles = ()
    return NettingPlan(debts, netting, cycles)


async def propose(issuer: LedgerClient, plan: NettingPlan, *, until_ms: int, due_ms: int) -> list[ProposedCycle]:
    """Propose each cycle; its parties have until `until_ms`. What novation adds is due at `due_ms`. Raises Rejected."""
    proposed = []
    for fields in plan.cycles:
        due = due_ms if fields["method"] == "novation" else None
        message = issuer.make(ProposeCycle, until=until_ms, due=due, **fields)
        receipt = await issuer.submit(message)
        proposal = await issuer.proposal(receipt.leaf)
        proposed.append(ProposedCycle(message.id, receipt.leaf, len(message.changes), proposal.parties))
    return proposed
