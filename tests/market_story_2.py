"""The market's log goes on under rules version 2, with every message that version brings.

python -m tests.market_story_2 tests/data/golden-v2       # writes the golden log anew: only for a new rules version
"""

import sys
from pathlib import Path

from settlement.ledger.messages import Mint, UpgradeRules
from settlement.ledger.settling import ExpireProposal, Pay, ProposeInvoice, RefuseProposal
from tests.ledger_model import DAY, SDRT, Member, World
from tests.market_story import tell_story, write_golden


def tell_story_2() -> World:
    """Play it; the same log every time."""
    world = tell_story()
    world.must(world.issuer, UpgradeRules, version=2)
    home, visited, insurer = (world.members[name] for name in ("home", "visited", "insurer"))
    for member in (home, visited, insurer):
        world.must(world.issuer, Mint, to=member.id, amount=100 * SDRT, deposit=f"second deposit for {member.id}")
    _owe(world, home, visited)
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


if __name__ == "__main__":
    write_golden(Path(sys.argv[1]), tell_story_2())
