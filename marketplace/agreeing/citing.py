"""What of the log a case is about: the usage report to cite, and how much of its charge is wrong."""

from uuid import UUID

from msgspec import Struct

from marketplace.agreeing.model import Case
from marketplace.agreeing.records import parse_key
from marketplace.agreeing.reported import ACTIVATION, Group
from marketplace.operator_problems import Refusal


class Citation(Struct, frozen=True):
    """A record of a request in the entry of this leaf hash; `record` None for the whole group."""

    request: UUID
    entry: int
    leaf: str
    record: int | None


def contested_amount(case: Case) -> int:
    """What the ledger charged beyond what was agreed, less what disputes brought back. Raises Refusal if nothing."""
    charged = (case.ours_usdr if case.basis.startswith("ledger/") else case.theirs_usdr) or 0
    amount = charged - (case.agreed_usdr or 0) - case.awarded_usdr
    if amount <= 0:
        raise Refusal(
            "invalid",
            f"case {case.id}: {charged} µSDRt was charged, {case.agreed_usdr} agreed, {case.awarded_usdr} brought "
            "back: nothing is left to dispute (what you owe beyond a charge is for an invoice)",
        )
    return amount


def cite(case: Case, groups: list[Group]) -> Citation:
    """Where the charge stands; `groups` are all of the case's request. Raises Refusal where it stands nowhere."""
    if case.request is None or not groups:
        raise Refusal("invalid", f"case {case.id} is about no usage on the ledger, so nothing there can be disputed")
    if case.source == "evidence":
        found = [group for group in groups if group.entry in case.records["finding"]["entries"]] or groups
        worst = max(found, key=lambda group: (sum(charge for _, charge in group.priced()), -group.entry))
        return Citation(worst.request, worst.entry, worst.leaf, None)
    side = case.records.get("ours" if case.basis.startswith("ledger/") else "theirs", {})
    parsed = parse_key(str(side.get("key", "")))
    if parsed is not None and parsed[1] == ACTIVATION:
        raise Refusal("invalid", f"case {case.id} is about a price at activation, which a dispute cannot cite")
    for group in groups:
        if parsed is not None and parsed[:2] == (group.request, group.sequence) and parsed[2] < len(group.priced()):
            return Citation(group.request, group.entry, group.leaf, parsed[2])
    raise Refusal("invalid", f"case {case.id}: key {side.get('key')!r} is no record of usage that the ledger settled")
