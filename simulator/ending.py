"""The end of a simulation: the log exported, audited, read, searched for fraud, checked, and all of it reported.

Nothing here changes the world but disputes of what was found, and those are the same each time: it may be done again at
any time while the run's folder is there.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from settlement.evidence import Metered, Ordered, Switched
from settlement.ledger.audit import AuditReport, audit
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.client import LedgerClient
from settlement.ledger.export import write_export
from settlement.ledger.signatures import PrivateKey
from settlement.ledger.state import Account
from settlement.money import format_sdrt
from simulator import checks
from simulator.card_book import CardBook
from simulator.checks import Check, FraudScore
from simulator.detection import run_detector
from simulator.disputing import Disputes, dispute
from simulator.engine import Engine, Outcome
from simulator.journal import Journal
from simulator.kept_network import REGISTRATIONS
from simulator.log_book import LogBook, read_log
from simulator.plan import Plan
from simulator.site import Site, Tell

LOG_FOLDER: Final = "ledger"
EVIDENCE_FILE: Final = "evidence/all.jsonl"
REPORTED_FILE: Final = "evidence/reported.jsonl"


class Ending(Struct, frozen=True, kw_only=True):
    """What the end of a run came to, for checks and report."""

    audit: AuditReport
    outcomes: list[Outcome]
    checks: list[Check]
    scores: list[FraudScore]
    cards: CardBook
    disputes: Disputes
    per_second: dict[int, int]

    @property
    def good(self) -> bool:
        """Whether everything held."""
        return all(check.holds for check in self.checks)


async def end(plan: Plan, engine: Engine, cards: CardBook, site: Site, tell: Tell) -> Ending:
    """Export, audit, detect, check. Raises what the export and the audit raise."""
    folder = site.folder
    outcomes = engine.journal.outcomes(Outcome, plan.scenario.steps)
    secrets, plmns = cards.secrets(), [operator.plmn for operator in site.world.operators]

    async def read_whole() -> tuple[Checkpoint, LogBook]:
        head = await _export(site)
        reported = folder / REPORTED_FILE
        return head, await asyncio.to_thread(
            read_log, folder / LOG_FOLDER, secrets=secrets, plmns=plmns, reported=reported
        )

    head, log = await read_whole()
    tell(f"{head.size:,} entries exported by the auditor")
    _gather_evidence(engine.journal, cards, site, plan.scenario.steps)
    findings = await run_detector(folder, folder / EVIDENCE_FILE, folder / REPORTED_FILE)
    tell(f"the detector looked at them: {len(findings)} findings")
    disputes = await dispute(engine, findings, folder / LOG_FOLDER, log.entries, folder / REPORTED_FILE)
    if disputes.raised:  # what they came to is in the log, too
        tell(
            f"{disputes.raised} disputes raised, {disputes.conceded} conceded, {disputes.denied} denied and "
            f"{disputes.upheld} of these upheld: {format_sdrt(disputes.restored)} back"
        )
        head, log = await read_whole()
    audited = await asyncio.to_thread(audit, folder / LOG_FOLDER, site.log_key)
    tell(f"audit: every signature, rule and balance holds, {audited.rate:,.0f} entries a second")
    truth = await asyncio.to_thread(
        checks.read_truth, [engine.journal.truth(step) for step in range(plan.scenario.steps)]
    )
    scores = checks.score_frauds(engine, truth, findings, log, outcomes)
    registrations = folder / "private" / REGISTRATIONS
    found = [
        *checks.check_money(audited, await _accounts(site)),
        checks.check_audit(audited, log, head),
        checks.check_refusals(plan.scenario, outcomes, revoked=bool(engine.spares)),
        *checks.check_records(engine, truth, log, cards),
        checks.check_travellers(plan.scenario, cards),
        checks.check_profiles(log, cards, registrations, {op.id: op.plmn for op in site.world.operators}),
        checks.check_ends(engine, log, cards),
        checks.check_leaks(log, len(secrets)),
        *checks.check_frauds(scores),
        *checks.check_disputes(disputes),
    ]
    return Ending(
        audit=audited,
        outcomes=outcomes,
        checks=found,
        scores=scores,
        cards=cards,
        disputes=disputes,
        per_second=dict(log.per_second),
    )


async def _export(site: Site) -> Checkpoint:
    """The whole log, read by the auditor over HTTP."""
    folder: Path = site.folder / LOG_FOLDER
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return await write_export(folder, await site.auditor.note(), site.auditor.bundle, site.log_key)


async def _accounts(site: Site) -> dict[str, Account]:
    """What every operator is told of its own account."""
    found = {}
    for operator, signer in zip(site.world.operators, site.signers, strict=True):
        async with LedgerClient(site.ledger_url, log=site.log_key, signer=signer, operator=operator.id) as client:
            found[operator.id] = await client.account()
    return found


def _gather_evidence(journal: Journal, cards: CardBook, site: Site, steps: int) -> None:
    """All evidence in one file: of the unsampled, step by step, and of the cards."""
    encoder = msgspec.json.Encoder()
    with (site.folder / EVIDENCE_FILE).open("wb") as file:
        for step in range(steps):
            file.write(journal.evidence(step).read_bytes())
        for piece in _evidence_of_cards(cards, site):
            file.write(encoder.encode(piece) + b"\n")


def _evidence_of_cards(cards: CardBook, site: Site) -> list[Ordered | Switched | Metered]:
    told: list[Ordered | Switched | Metered] = []
    for traveller in cards.travellers:
        if traveller.stage != "returned":
            continue
        key, request = PrivateKey(traveller.device), UUID(traveller.request)
        visited = site.world.operators[traveller.visited].id
        offer = UUID(cards.offers[traveller.visited])
        told.append(Ordered(request=request, visited=visited, offer=offer, reports=True, device=key.public))
        if traveller.reported:
            told.append(Switched(request=request, on=traveller.on, off=traveller.off))
        reading = Metered(
            request=request,
            minute=traveller.off,
            octets=traveller.octets,
            seconds=traveller.seconds,
            messages=traveller.messages,
            signature=b"",
        )
        told.append(msgspec.structs.replace(reading, signature=key.sign(reading.signed_octets)))
    return told
