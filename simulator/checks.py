"""What must hold at the end of every simulation, whatever was done to it. Each check says what it saw.

A check compares two accounts that do not know of each other: what the simulator did (its truth), and what the exported
log, the offline audit, the detector and the networks' own lists say.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct

from settlement.evidence import SERVICES, Finding
from settlement.ledger.audit import AuditReport
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.state import Account
from settlement.money import format_sdrt
from settlement.reconciliation import Kind, Rules, Step, reconcile
from simulator.card_book import CardBook
from simulator.disputing import Disputes
from simulator.engine import Engine, Outcome
from simulator.frauds import HONEST, NAMES, OVER_REPORT, PHANTOM, REPLAY, WITHDRAW
from simulator.journeys import Stage
from simulator.kept_network import Registration
from simulator.log_book import LogBook
from simulator.scenario import Scenario
from simulator.usage_reports import REFUSED

TRUTH: Final = ["trip", "sequence", "position", "units", "true", "outcome", "cause"]
"""Columns of a step's truth that checks read; a million subscribers make millions of rows."""
SCORED: Final = {"over-report", "implausible", "replay", "phantom-usage"}
"""Frauds that findings name and a scenario's operators commit."""
PRECISION: Final = 0.99
RECALL: Final = 0.95
"""What a detector must reach for each named fraud."""
CLOCKS_MS: Final = 1_000
"""The network's list and the ledger are of one machine's clock; between a deed and its entry lies a little."""


class Stated(NamedTuple):
    """Why something is refused, and whether a scenario brings that about."""

    why: str
    comes: Callable[[Scenario], bool]


def _lies(fraud: str) -> Callable[[Scenario], bool]:
    return lambda scenario: any(one.fraud == fraud for one in scenario.dishonest)


KNOWN_REFUSALS: Final = {
    "request: offer-closed": Stated("the offer had been pulled", _lies("withdraw")),
    "request: conflict": Stated(
        "a home sent a second, different request under the id of its first", _lies("double-spend")
    ),
    "redeem: insufficient-funds": Stated("a home redeemed the same SDRt twice", _lies("double-spend")),
    "usage: out-of-time": Stated(
        "a network's clock ran ahead: put right, and reported again",
        lambda scenario: scenario.reporting.skewed_share > 0 and scenario.reporting.skew_minutes > 0,
    ),
    "usage-doubled: out-of-sequence": Stated(
        "a report was sent a second time under another id", lambda scenario: scenario.reporting.doubled > 0
    ),
}
"""Refusals that a scenario may bring about. Any other is a mistake of ours, and fails the run."""
REVOKED: Final = ": key-not-valid"
"""Of a message that was signed with a key just revoked: sent again with the spare one."""


class Check(Struct, frozen=True):
    """One thing that must hold."""

    name: str
    holds: bool
    saw: str


class FraudScore(Struct, frozen=True):
    """How a named fraud was found out: committed, found, rightly found."""

    fraud: str
    by: str
    committed: int
    found: int
    right: int

    @property
    def precision(self) -> float:
        """Of what was found, how much was so."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Of what was so, how much was found."""
        return self.right / self.committed if self.committed else 1.0

    @property
    def good(self) -> bool:
        """Whether that is good enough."""
        return self.precision >= PRECISION and self.recall >= RECALL


def check_money(audit: AuditReport, accounts: dict[str, Account]) -> list[Check]:
    """Conservation, by the audit's own sums and by what every operator is told of its account."""
    total = sum(row.available + row.escrow + row.held for row in audit.balances)
    escrow = sum(row.escrow for row in audit.balances)
    kept = total == audit.minted - audit.burned and escrow == audit.escrow
    proved = {row.operator: row for row in audit.balances}
    differ = [name for name, account in accounts.items() if proved.get(name) != account]
    return [
        Check(
            "money is conserved",
            kept,
            f"accounts hold {format_sdrt(total)}: {format_sdrt(audit.minted)} minted less {format_sdrt(audit.burned)} "
            f"burnt; accounts have {format_sdrt(escrow)} in escrow, requests {format_sdrt(audit.escrow)}",
        ),
        Check("balances follow from the log", not differ, f"{len(accounts)} compared, {differ or 'none'} differ"),
    ]


def check_refusals(scenario: Scenario, outcomes: Iterable[Outcome], *, revoked: bool) -> Check:
    """Nothing was refused but for a reason that this scenario gave."""
    codes = {code for outcome in outcomes for code in outcome.codes if not code.endswith(REVOKED) or not revoked}
    strange = codes - {code for code, stated in KNOWN_REFUSALS.items() if stated.comes(scenario)}
    return Check("refusals are for stated reasons", not strange, f"unexpected: {sorted(strange) or 'none'}")


def check_records(engine: Engine, truth: pl.DataFrame, log: LogBook, cards: CardBook) -> list[Check]:
    """Every simulated record is settled, refused for a stated reason, or found by reconciliation; nothing else is."""
    trips = {engine.book.request_id(trip): trip for trip in np.flatnonzero(engine.trips.offer >= 0).tolist()}
    theirs, of_cards = _log_frame(log, trips)
    place = ["trip", "sequence", "position"]
    taken = truth.filter(pl.col("outcome") != REFUSED).select(*place, "units", "true")
    refused = truth.filter(pl.col("outcome") == REFUSED).select(*place, "units", "true")
    lost = refused.join(taken, on=place, how="anti")  # not sent again
    ours = _side(pl.concat([taken, lost]))
    found = reconcile(ours, theirs, Rules(steps=(Step.KEY,)))
    kinds: dict[str, int] = {}
    for frame in (found.ours, found.theirs):
        for kind, count in frame["kind"].cast(pl.String).value_counts().iter_rows():
            kinds[kind] = kinds.get(kind, 0) + int(count)
    matched, missing = kinds.pop(Kind.MATCHED, 0), kinds.pop(Kind.MISSING_THERE, 0)
    unnamed = truth.filter((pl.col("outcome") > 0) & pl.col("cause").is_null()).height
    used = sum(int(getattr(engine.journeys, name).sum()) for name in ("used_octets", "used_seconds", "used_messages"))
    told = int(taken["true"].sum()) + int(lost["true"].sum())
    return [
        Check(
            "records reconcile with the log",
            not kinds and missing == lost.height,
            f"{matched // 2:,} on both sides, {missing:,} refused and found missing; other kinds: {kinds or 'none'}",
        ),
        Check("refused records have a cause", not unnamed, f"{unnamed} of {truth.height:,} have none"),
        Check("all use is accounted for", used == told, f"meters counted {used:,} units, records have {told:,}"),
        _check_cards(cards, of_cards),
    ]


def _log_frame(log: LogBook, trips: dict[UUID, int]) -> tuple[pl.DataFrame, dict[UUID, dict[str, int]]]:
    """The log's records of unsampled journeys as a side of a reconciliation, and the cards' sums."""
    requests = list(log.records.requests)
    trip = np.array([trips.get(request, -1) for request in requests] or [-1], dtype=np.int32)
    frame = log.records.frame()
    frame = frame.with_columns(pl.Series("trip", trip[frame["request"].to_numpy()]))
    cards: dict[UUID, dict[str, int]] = {}
    of_cards = frame.filter(pl.col("trip") < 0).group_by("request", "service").agg(pl.col("units").sum())
    for place, service, units in of_cards.iter_rows():
        sums = cards.setdefault(requests[place], dict.fromkeys(SERVICES, 0))
        sums[SERVICES[service]] = units
    return _side(frame.filter(pl.col("trip") >= 0)), cards


def _side(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        pl.format("{}/{}/{}", "trip", "sequence", "position").alias("key"),
        pl.lit("simulated").alias("party"),
        pl.lit(0, pl.Int64).alias("time"),
        pl.col("units").alias("amount"),
    )


def _check_cards(cards: CardBook, sums: dict[UUID, dict[str, int]]) -> Check:
    """What the log has of each card's request is what its meter counted."""
    wrong = []
    for traveller in cards.travellers:
        if traveller.stage != "returned":
            continue
        meter = {"data": traveller.octets, "voice": traveller.seconds, "message": traveller.messages}
        if sums.get(UUID(traveller.request), {}) != meter:
            wrong.append(f"{traveller.label}: {sums.get(UUID(traveller.request))} reported, {meter} metered")
    returned = sum(traveller.stage == "returned" for traveller in cards.travellers)
    return Check(
        "cards' use is what their meters say", not wrong, f"{returned} cards came home; {wrong or 'all agree'}"
    )


def check_travellers(scenario: Scenario, cards: CardBook) -> Check:
    """Every card came home; or never left for want of its profile, where messages get lost or things break."""
    ends = ("returned", "unserved") if scenario.smsc.loss or scenario.faults else ("returned",)
    unserved = sum(traveller.stage == "unserved" for traveller in cards.travellers)
    wrong = [
        f"{traveller.label} is {traveller.stage}: {traveller.why}"
        for traveller in cards.travellers
        if traveller.stage not in ends
    ]
    saw = f"{len(cards.travellers)} cards, {unserved} without a profile in time; {wrong or 'all others came home'}"
    return Check("cards travel and come home", not wrong, saw if cards.travellers else "this world has no cards")


def check_profiles(log: LogBook, cards: CardBook, registrations: Path, plmns: dict[str, str]) -> Check:
    """No card used a profile that was not active: whoever registered abroad did so within its request's life."""
    known = {traveller.visited_imsi: traveller for traveller in cards.travellers if traveller.visited_imsi}
    homes = {traveller.imsi for traveller in cards.travellers}
    wrong, served, refused = [], 0, 0
    lines = registrations.read_bytes().splitlines() if registrations.exists() else []
    for line in lines:
        told = msgspec.json.decode(line, type=Registration)
        refused += told.cause is not None
        if told.cause is not None or (told.imsi in homes and told.imsi.startswith(plmns[told.operator])):
            continue
        served += 1
        traveller = known.get(told.imsi)
        request = UUID(traveller.request) if traveller else None
        began = log.accepted.get(request) if request else None
        ended = log.ended.get(request, 1 << 62) if request else 0
        if began is None or not began - CLOCKS_MS <= told.time_ms <= ended + CLOCKS_MS:
            wrong.append(f"{told.operator} served an IMSI at {told.time_ms}, outside its request's life")
    saw = f"{served} registrations with a delivered profile, {refused} refusals; {wrong or 'none outside its time'}"
    return Check("no card used a profile that was not active", not wrong, saw)


def check_ends(engine: Engine, log: LogBook, cards: CardBook) -> Check:
    """Every request of this run that was accepted has come to an end, and nothing of it is in escrow any more."""
    ours = {engine.book.request_id(trip) for trip in np.flatnonzero(engine.trips.offer >= 0).tolist()}
    ours |= {UUID(traveller.request) for traveller in cards.travellers if traveller.request}
    accepted = ours & log.accepted.keys()
    open_ = len(accepted - log.ended.keys())
    return Check("every request has ended", not open_, f"{len(accepted):,} accepted, {open_} still open")


def check_leaks(log: LogBook, secrets: int) -> Check:
    """Nothing of a person is on the ledger."""
    saw = f"{secrets} secrets looked for in {log.entries:,} entries: {log.leaks[:3] or 'none found'}"
    return Check("no personal data on the ledger", not log.leaks, saw)


def score_frauds(
    engine: Engine, truth: pl.DataFrame, findings: list[Finding], log: LogBook, outcomes: list[Outcome]
) -> list[FraudScore]:
    """Each named fraud: what was done, what was found."""
    trips = {engine.book.request_id(trip): trip for trip in np.flatnonzero(engine.trips.offer >= 0).tolist()}
    settled = truth.filter(pl.col("outcome") != REFUSED)
    sums = settled.group_by("trip").agg(pl.col("units").sum(), pl.col("true").sum())
    gained = {row[0] for row in sums.filter(pl.col("units") > pl.col("true")).iter_rows()}
    kind = engine.frauds.kind
    scores = []
    for code in (OVER_REPORT, REPLAY, PHANTOM):
        committed = {trip for trip in gained if kind[trip] == code}
        names = {NAMES[code]} if code != OVER_REPORT else {"over-report", "implausible"}
        found = {trips[one.request] for one in findings if one.fraud in names and one.request in trips}
        strangers = sum(one.fraud in names and one.request not in trips for one in findings)
        if committed or found or strangers or _lies(NAMES[code])(engine.world.scenario):
            right = len(committed & found)
            scores.append(FraudScore(NAMES[code], "evidence", len(committed), len(found) + strangers, right))
    others = [one for one in findings if one.fraud not in SCORED]
    if others:  # nobody commits what has no name here: it is held against who is accused of it wrongly
        right = sum(one.request in trips and kind[trips[one.request]] != HONEST for one in others)
        scores.append(FraudScore("what has no name", "evidence", right, len(others), right))
    scores += _score_withdrawal(engine, log, trips)
    attempts = [attempt for outcome in outcomes for attempt in outcome.attempts]
    if attempts:
        stopped = sum(attempt.code is not None for attempt in attempts)
        scores.append(FraudScore("double-spend", "the ledger's rules", len(attempts), stopped, stopped))
    return scores


def _score_withdrawal(engine: Engine, log: LogBook, trips: dict[UUID, int]) -> list[FraudScore]:
    """Who does not serve what it accepted is known by its cancelled requests, which are public."""
    kind, stage = engine.frauds.kind, engine.journeys.stage
    called_off = {trips[request] for request, cause in log.causes.items() if cause == "unwanted" and request in trips}
    committed = {
        int(trip) for trip in np.flatnonzero((kind == WITHDRAW) & (stage == Stage.CANCELLED)) if trip not in called_off
    }
    found = {trips[request] for request, cause in log.causes.items() if cause == "not-served" and request in trips}
    if not committed and not found:
        return []
    return [FraudScore("withdraw", "the service record", len(committed), len(found), len(committed & found))]


def check_frauds(scores: list[FraudScore]) -> list[Check]:
    """Each named fraud is found out well enough."""
    return [
        Check(
            f"{score.fraud} is found by {score.by}",
            score.good,
            f"{score.committed} committed, {score.found} found, {score.right} rightly: "
            f"precision {score.precision:.3f}, recall {score.recall:.3f}",
        )
        for score in scores
    ]


def check_disputes(disputes: Disputes) -> list[Check]:
    """What was found and cost anything was disputed on the ledger, and conceded there or upheld by the issuer."""
    if not disputes.findings:
        return []
    saw = (
        f"{disputes.raised} raised, {disputes.conceded} conceded, {disputes.denied} denied and "
        f"{disputes.upheld} of these upheld by the issuer, {disputes.idle} cost nothing; "
        f"{format_sdrt(disputes.restored)} restored; not taken: {', '.join(disputes.refused) or 'none'}"
    )
    ended = disputes.conceded + disputes.upheld + disputes.idle
    whole = disputes.findings == ended and not disputes.refused
    return [Check("findings are disputed on the ledger", whole, saw)]


def read_truth(paths: Iterable[Path]) -> pl.DataFrame:
    """The ground truth of all steps: what checks need of it."""
    return pl.concat([pl.read_parquet(path, columns=TRUTH) for path in paths])


def check_audit(audit: AuditReport, log: LogBook, head: Checkpoint) -> Check:
    """The auditor executed the whole log by itself, and came to the same."""
    same = audit.entries == log.entries == head.size and audit.root == head.root.hex()
    saw = f"{audit.entries:,} entries, root {audit.root[:16]}…, {audit.digests} state digests compared"
    return Check("the auditor agrees", same, saw)
