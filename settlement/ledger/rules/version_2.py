"""Rules, version 2: version 1, and what it adds."""

from settlement.ledger.rules import version_1
from settlement.ledger.rules.context import Rule

RULES: dict[type, Rule] = {
    **version_1.RULES,
}
