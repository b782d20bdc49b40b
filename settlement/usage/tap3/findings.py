"""What validation says: its rules with their severities and codes, and a finding of one of them."""

from typing import Final, Literal

from msgspec import Struct

Severity = Literal["fatal", "severe", "warning"]

RULES: Final[dict[str, tuple[Severity, int]]] = {
    "unreadable": ("fatal", 20),
    "missing-section": ("fatal", 10),
    "missing-field": ("fatal", 10),
    "syntax": ("fatal", 20),
    "out-of-range": ("fatal", 22),
    "decimals": ("fatal", 22),
    "repeated-code": ("fatal", 30),
    "total-charge": ("fatal", 100),
    "total-tax": ("fatal", 100),
    "total-discount": ("fatal", 100),
    "total-refund": ("fatal", 100),
    "record-count": ("fatal", 100),
    "return-value": ("fatal", 100),
    "return-count": ("fatal", 100),
    "sequence-gap": ("warning", 200),
    "sequence-reused": ("fatal", 201),
    "identical-copy": ("warning", 201),
    "no-subscriber": ("severe", 10),
    "no-start": ("severe", 10),
    "no-charge": ("severe", 10),
    "no-total-charge": ("severe", 10),
    "start-syntax": ("severe", 20),
    "imsi-syntax": ("severe", 20),
    "negative-charge": ("severe", 22),
    "duplicate-record": ("severe", 30),
    "unknown-rec-entity": ("severe", 31),
    "unknown-utc-offset": ("severe", 32),
    "unknown-exchange-rate": ("severe", 33),
    "unknown-tax": ("severe", 34),
    "unknown-discount": ("severe", 35),
    "call-times": ("warning", 100),
    "unknown-field": ("warning", 40),
}
"""Severity and number of each rule. 100, 200 and 201 are those TD.57 has; the rest follow its order (10s missing, 20s
syntax and range, 30s references), and are to be compared with the edition a partner uses before it is sent to them."""


class Finding(Struct, frozen=True):
    """One thing wrong: in `record` (0: the batch) at `offset`, in `field`; `message`: what it is
    and should be.
    """

    severity: Severity
    code: int
    rule: str
    record: int
    offset: int
    field: str
    message: str


def finding(rule: str, field: str, message: str, *, record: int = 0, offset: int = 0) -> Finding:
    """A finding with its rule's severity and code."""
    severity, code = RULES[rule]
    return Finding(severity, code, rule, record, offset, field, message)
