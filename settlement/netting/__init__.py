"""Netting: gross mutual debts replaced by smaller ones that leave every operator's net position as it was.

Collect `Debt`s (obligations of the ledger, or a file through `read_debts`), say in `Terms` what may take part, and call
`net`. Two methods:

- **set-off** only lowers debts that exist: nobody comes to owe anybody new. The most that can be set off is a min-cost
  circulation, and what is found is a true optimum;
- **novation** puts a hub between all: each operator owes the hub, or is owed by it, one net amount.

Optima are not unique, so whoever was not the solver does not solve again: `verify` checks a proposed netting against
the debts it is of, in one pass over them, with the potentials the netting carries as the proof that no more could have
been set off. This package knows no ledger: proposing, consenting and executing are entries, and live there.

    netting = net(debts, Method.SETOFF, Terms(caps={("DEUD1", "FRAF1"): 5_000_000}))
    verify(debts, netting, terms)
"""

from settlement.netting.files import MAX_DEBTS, read_caps, read_debts
from settlement.netting.model import Debt, Method, Netting, NettingError, Pair, Terms
from settlement.netting.solve import net
from settlement.netting.verify import verify

__all__ = [
    "MAX_DEBTS",
    "Debt",
    "Method",
    "Netting",
    "NettingError",
    "Pair",
    "Terms",
    "net",
    "read_caps",
    "read_debts",
    "verify",
]
