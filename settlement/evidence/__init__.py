"""Evidence against usage reports: what a home operator knows though it sees no traffic, and what follows from it.

A subscriber with a local profile abroad leaves the home operator four kinds of evidence: the **card** reports when it
switched to the profile and back; the phone's **meter** counts octets, seconds and messages and signs the sums with the
device's key; each offer has **limits** of what is plausible; and where traffic is home-routed there are **records** of
the operator's own. `detect` compares them with what was reported and names each request that does not fit:

    findings = detect(read_evidence(path), read_reported(path))

It is a pure function of these two: no ledger, no clock, no knowledge of anybody. What it finds is a reason for a
dispute, with the numbers to argue with. As a program, `python -m settlement.evidence EVIDENCE REPORTED` reads JSON
Lines and prints findings as JSON Lines.

- `phantom-usage`: use of a profile that no card switched to, and that no meter counted
- `replay`: records that were reported before, to the last field, and that the meter counted once
- `over-report`: more than the meter counted (or the own records have), beyond tolerance
- `implausible`: without a meter or own records, more than can be within the time
- `out-of-window`: use while the card, by its own report, was on another profile
"""

from settlement.evidence.detection import TOLERANCE, TOLERANCE_PPM, detect, is_signed
from settlement.evidence.files import read_evidence, read_reported
from settlement.evidence.model import (
    SERVICES,
    Evidence,
    EvidenceError,
    Finding,
    Fraud,
    Limits,
    Metered,
    Ordered,
    OwnRecord,
    Reported,
    Service,
    Switched,
)

__all__ = [
    "SERVICES",
    "TOLERANCE",
    "TOLERANCE_PPM",
    "Evidence",
    "EvidenceError",
    "Finding",
    "Fraud",
    "Limits",
    "Metered",
    "Ordered",
    "OwnRecord",
    "Reported",
    "Service",
    "Switched",
    "detect",
    "is_signed",
    "read_evidence",
    "read_reported",
]
