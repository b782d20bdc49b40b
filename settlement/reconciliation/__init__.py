"""Reconciliation: our records against theirs, and a name for every difference.

Read both sides with `read_records` (CSV or Parquet), take `Rules` (or `read_rules` from TOML), call `reconcile`, and
`summarise` what it found:

    found = reconcile(read_records(ours), read_records(theirs), rules)
    report = summarise(found, as_of=None)

Records meet by key first, then, what is left, by rules: equal or near in a window of time, then one record against
several that add up to it exactly, in either direction. Every record of both sides ends in exactly one `Kind`, none is
dropped and none overwritten, so counts and sums of the kinds add up to the input. Amounts are whole micro-SDRt.
Nothing is changed and nothing is sent: what to do about a difference is a dispute's business.
"""

from settlement.reconciliation.files import read_records, read_rules
from settlement.reconciliation.matching import Reconciliation, reconcile
from settlement.reconciliation.model import BREAKS, Break, Kind, Report, Rules, Step, Tally, Via
from settlement.reconciliation.page import AgedCases, CaseLine, render_page
from settlement.reconciliation.report import list_breaks, summarise

__all__ = [
    "BREAKS",
    "AgedCases",
    "Break",
    "CaseLine",
    "Kind",
    "Reconciliation",
    "Report",
    "Rules",
    "Step",
    "Tally",
    "Via",
    "list_breaks",
    "read_records",
    "read_rules",
    "reconcile",
    "render_page",
    "summarise",
]
