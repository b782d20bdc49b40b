"""The market's log goes on under rules version 2, with every message that version brings.

python -m tests.market_story_2 tests/data/golden-v2       # writes the golden log anew: only for a new rules version
"""

import sys
from pathlib import Path

from settlement.ledger.cycles import cycle_of
from settlement.ledger.ids import credit_id
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.messages import Mint, Redeem, UpgradeRules, UsageRecord
from settlement.ledger.settling import (
    AcceptDispute,
    AttestReserves,
    DecideDispute,
    Direction,
    EscalateDispute,
    ExpireDispute,
    ExpireProposal,
    Pay,
    ProposeCycle,
    ProposeDeal,
    ProposeInvoice,
    RaiseDispute,
    RecordDocument,
    RefuseProposal,
    RejectDispute,
    SettleDeal,
    WithdrawDispute,
)
from settlement.ledger.state import Obligation, Proposal
from settlement.netting import Debt, Method, Terms, net
from settlement.usage.deals import Commitment, Rate
from settlement.usage.tariff import Grading, Metered, Scale, Tax, Tier, Window, Zone
from tests.ledger_model import DAY, HOUR, MB, SDRT, Member, World, data, terms
from tests.market_story import tell_story, write_golden


def tell_story_2() -> World:
    """Play it; the same log every time."""
    world = tell_story()
    world.must(world.issuer, UpgradeRules, version=2)
    home, visited, insurer = (world.members[name] for name in ("home", "visited", "insurer"))
    for member in (home, visited, insurer):
        world.must(world.issuer, Mint, to=member.id, amount=100 * SDRT, deposit=f"second deposit for {member.id}")
    _owe(world, home, visited)
    _net(world, home, visited, insurer)
    _dispute(world, home, visited)
    _deal(world, home, visited)
    world.must(
        home, RecordDocument, counterparty=visited.id, kind="reconciliation-act", digest="dd" * 32, period="2025-03"
    )
    bank = {"as_of": world.time, "digest": "ba" * 32}
    world.must(world.issuer, AttestReserves, deposits=2_000 * SDRT, **bank)
    world.must(world.members["watchdog"], AttestReserves, deposits=1_000 * SDRT, **bank)
    world.digest()
    world.check_money()
    return world


def _owe(world: World, home: Member, visited: Member) -> None:
    obligation = world.owe(home, visited, 7 * SDRT)
    world.must(home, Pay, obligation=obligation, amount=3 * SDRT)
    fields = {"debtor": home.id, "amount": SDRT, "due": world.time + DAY, "document": "ef" * 32, "number": "R-1/2025"}
    refused = world.propose(visited, ProposeInvoice, **fields)
    world.must(home, RefuseProposal, proposal=refused, reason="unknown-service")
    late = world.propose(visited, ProposeInvoice, **fields)
    world.wait(2 * DAY)
    world.must(visited, ExpireProposal, proposal=late)


def _net(world: World, *members: Member) -> None:
    """A ring set off; then all that is left replaced by debts with a hub."""
    first, second, third = members
    hub = world.admit("hub")
    ring = [world.owe(first, second, 9), world.owe(second, third, 8), world.owe(third, first, 7)]
    for method, refuses in ((Method.SETOFF, True), (Method.SETOFF, False), (Method.NOVATION, False)):
        rows = [row for row in world.state.all(Obligation) if row.id in ring and row.state == "open"]
        terms = Terms(caps={(first.id, second.id): 8}, hub=hub.id)
        netting = net((Debt(row.debtor, row.creditor, row.remaining) for row in rows), method, terms)
        due = world.time + 9 * DAY if method is Method.NOVATION else None
        leaf = world.propose(world.issuer, ProposeCycle, due=due, **cycle_of(rows, netting, terms))
        proposal = world.state.get(Proposal, leaf)
        assert proposal is not None
        world.agree(leaf, *(world.members[name] for name in proposal.parties[1:]))
        if refuses:
            world.must(world.members[proposal.parties[0]], RefuseProposal, proposal=leaf, reason="not-now")
        else:
            world.agree(leaf, world.members[proposal.parties[0]])


def _dispute(world: World, home: Member, visited: Member) -> None:
    """Conceded, decided, withdrawn, and one that runs out."""
    offer = world.publish(visited, terms(Metered(block=MB, block_price=100_000), valid_until=world.time + 20 * DAY))
    request = world.active(home, visited, offer, escrow=5 * SDRT)
    world.report(visited, request, 1, data(world.minute, 40 * MB))
    entry = len(world.entries) - 1
    fields = {"entry": entry, "leaf": leaf_hash(leaf_data(*world.entries[entry])).hex(), "request": request}
    made = [world.new_id() for _ in range(4)]
    world.must(visited, Redeem, amount=world.balance(visited).available - SDRT, payout="almost all")
    for number, dispute in enumerate(made):
        record = None if number % 2 else 0
        world.must(home, RaiseDispute, id=dispute, record=record, amount=SDRT // 2 + 1, cause="not-used", **fields)
    world.must(visited, AcceptDispute, dispute=made[0])
    world.must(visited, RejectDispute, dispute=made[1], evidence="aa" * 32)
    world.must(home, EscalateDispute, dispute=made[1], evidence="bb" * 32)
    world.must(world.issuer, DecideDispute, dispute=made[1], award=SDRT // 3)
    world.must(home, WithdrawDispute, dispute=made[2])
    world.wait(15 * DAY)
    world.must(visited, ExpireDispute, dispute=made[3])


def _deal(world: World, home: Member, visited: Member) -> None:
    """Two graded directions with commitments and credit, used and settled over two months."""
    deal, there, back = (world.new_id() for _ in range(3))
    evening = Zone(name="evening", windows=(Window((1, 2, 3, 4, 5, 6, 7), 18 * 60, 6 * 60),), block_price=500)
    tiers = Scale("linear", (Tier(0, 2_000), Tier(20 * MB, 1_500)))
    taxes = (Tax(name="vat", rate=190_000),)
    tariffs = (
        Metered(block=MB, grading=Grading(data=tiers, zones=(evening,), taxes=taxes)),
        Metered(block=MB, block_price=1_000, event_price=70),
    )
    ends = world.time + 60 * DAY
    directions = tuple(
        Direction(
            home=each.id,
            offer=offer,
            terms=terms(tariff, valid_until=ends, whitelist=(each.id,)),
            revenue=SDRT,
            volumes=(Commitment(service="message", units=100, price=50),),
            credit_limit=30_000,
        )
        for each, offer, tariff in zip((home, visited), (there, back), tariffs, strict=True)
    )
    fields = {"partner": visited.id, "directions": directions, "starts": world.time, "ends": ends}
    balanced = (Rate(service="data", block=MB, price=100),)
    world.agree(world.propose(home, ProposeDeal, id=deal, balanced=balanced, **fields), visited)
    for month in range(2):
        for order, server, offer in ((home, visited, there), (visited, home, back)):
            request = world.active(order, server, offer, escrow=20_000)
            for sequence in (1, 2):
                message = UsageRecord("message", world.minute, 60, 0, 3, "DE")
                world.report(server, request, sequence, data(world.minute, 11 * MB), message)
                world.wait(9 * HOUR)
        world.wait(32 * DAY)
        world.must(visited, SettleDeal, deal=deal, period=month)
    credit = credit_id(deal, 0, 0)
    world.must(home, Pay, obligation=credit, amount=world.remaining(credit))


if __name__ == "__main__":
    write_golden(Path(sys.argv[1]), tell_story_2())
