"""Disputes: homes raise on the ledger what the detector found; visited operators, shown the evidence, concede or deny.

    came = await dispute(engine, findings, folder / "ledger", log.entries, folder / "evidence" / "reported.jsonl")

A finding is in units; it is worth the share of those units in what the ledger charged for all of its service (decision
0232), by the ledger's own rating. What was inflated within an allowance that was paid for cost nothing, and is not
disputed. Who denies (a share that the scenario says) has it escalated by the home and decided by the issuer. All of it
follows from the log and the findings: said again after a crash, it gets the first receipts.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from msgspec import Struct

from marketplace.agreeing.evidence import value
from marketplace.agreeing.reported import Group
from settlement.evidence import Finding, Reported, read_reported
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.messages import Message
from settlement.ledger.settling import (
    AcceptDispute,
    DecideDispute,
    EscalateDispute,
    RaiseDispute,
    RejectDispute,
)
from settlement.ledger.tiles import ENTRIES, TILE_WIDTH, decode_bundle, tile_at
from settlement.usage.rating import MINUTE_MS, Meter, charge
from simulator.world import World

if TYPE_CHECKING:
    from simulator.engine import Engine


class Disputes(Struct, frozen=True, kw_only=True):
    """What came of the findings. `idle`: those that cost nothing. `refused`: codes of what the ledger did not take.

    `denied`: by the visited operator; `upheld`: those of them in which the issuer decided for the home all the same.
    `restored`: µSDRt that went back, or are owed, to homes.
    """

    findings: int = 0
    raised: int = 0
    conceded: int = 0
    denied: int = 0
    upheld: int = 0
    idle: int = 0
    restored: int = 0
    refused: tuple[str, ...] = ()


class _Case(Struct, frozen=True):
    """A dispute that is to be raised: of which journey, by whom, against whom, and whether it will be denied."""

    trip: int
    home: int
    visited: int
    raised: RaiseDispute
    denied: bool


async def dispute(engine: "Engine", findings: list[Finding], export: Path, size: int, reported: Path) -> Disputes:
    """Raise a dispute for each finding on an unsampled journey that cost anything, and bring it to its end.

    `export`: the log as files, of `size` entries; `reported`: its usage groups. Raises `Unreachable`.
    """
    trips = {engine.book.request_id(trip): trip for trip in range(len(engine.trips)) if engine.trips.offer[trip] >= 0}
    ours = {one.request: one for one in findings if one.request in trips}
    groups = _groups_of(ours.keys(), reported)
    cases = [
        case
        for request, finding in ours.items()
        if (case := _make_case(engine, trips[request], finding, groups[request], export, size)) is not None
    ]
    denied, fields = [case for case in cases if case.denied], engine.book.fields

    async def send(kind: str, orders: Iterable[tuple[int, Message]]) -> list[str | None]:
        return [one.code for one in await engine.send(kind, list(orders))]

    def name(step: str, case: _Case) -> dict[str, Any]:
        return {**fields(f"{step}/{case.trip}"), "dispute": case.raised.id}

    issuer = len(engine.world.operators)
    raised = await send("dispute", ((case.home, case.raised) for case in cases))
    conceded = await send(
        "concede", ((case.visited, AcceptDispute(**name("concede", case))) for case in cases if not case.denied)
    )
    rejected = await send(
        "deny", ((case.visited, RejectDispute(**name("deny", case), evidence=case.raised.leaf)) for case in denied)
    )
    escalated = await send(
        "escalate",
        ((case.home, EscalateDispute(**name("escalate", case), evidence=case.raised.evidence)) for case in denied),
    )
    decided = await send(
        "decide", ((issuer, DecideDispute(**name("decide", case), award=case.raised.amount)) for case in denied)
    )
    return Disputes(
        findings=len(ours),
        raised=raised.count(None),
        conceded=conceded.count(None),
        denied=rejected.count(None),
        upheld=decided.count(None),
        idle=len(ours) - len(cases),
        restored=sum(case.raised.amount for case in cases),
        refused=tuple(sorted({code for code in (*raised, *conceded, *rejected, *escalated, *decided) if code})),
    )


def _make_case(
    engine: "Engine", trip: int, finding: Finding, reported: list[Reported], export: Path, size: int
) -> _Case | None:
    """The dispute about a finding; None where it cost nothing."""
    priced = _price(engine, trip, reported)
    _, excess = value(finding, priced)
    if not excess:
        return None
    found = [group for group in priced if group.entry in finding.entries] or priced
    worst = max(found, key=lambda group: (sum(amount for _, amount in group.priced()), -group.entry))
    raised = RaiseDispute(
        **engine.book.fields(f"dispute/{trip}"),
        entry=worst.entry,
        leaf=_leaf_of(export, size, worst.entry),
        request=finding.request,
        amount=excess,
        cause=finding.fraud,
        evidence=sha256(msgspec.json.encode(finding)).hexdigest(),
    )
    visited = int(engine.visited[trip])
    denied = random.Random(f"deny {engine.world.seed} {trip}").random() < _denies(engine.world, visited, finding.fraud)
    return _Case(trip, int(engine.home[trip]), visited, raised, denied)


def _denies(world: World, visited: int, fraud: str) -> float:
    """The share of its disputes that a visited operator denies, where one names this fraud of its."""
    operator = world.operators[visited].id
    plans = [one for one in world.scenario.dishonest if (one.operator, one.fraud) == (operator, fraud)]
    return plans[0].denies if plans else 0.0


def _groups_of(requests: Iterable[UUID], reported: Path) -> dict[UUID, list[Reported]]:
    """What was reported of these requests, in the order of its sequence."""
    found: defaultdict[UUID, list[Reported]] = defaultdict(list)
    wanted = set(requests)
    for group in read_reported(reported) if wanted else ():
        if group.request in wanted:
            found[group.request].append(group)
    return {request: sorted(theirs, key=lambda group: group.sequence) for request, theirs in found.items()}


def _price(engine: "Engine", trip: int, groups: list[Reported]) -> list[Group]:
    """Each group with what the ledger charged for its records, from the order and the activation on."""
    trips, book = engine.trips, engine.book
    offer = engine.world.offers[int(trips.offer[trip])]
    placed = book.request(
        trip, int(engine.home[trip]), offer.number, int(trips.escrow[trip]), int(trips.renewals[trip])
    )
    activated = book.activate(trip, int(engine.journeys.on[trip]))
    meter = Meter(escrow=placed.escrow, renewals=placed.renewals).activate(offer.tariff, activated.at * MINUTE_MS)
    priced = []
    for group in groups:
        charges = [charge(meter, record, offer.tariff).settled for record in group.records]
        priced.append(
            Group(
                entry=group.entry,
                request=group.request,
                partner=engine.world.operators[int(engine.home[trip])].id,
                visited=group.visited,
                sequence=group.sequence,
                time_ms=0,
                leaf="",
                records=msgspec.json.encode(group.records).decode(),
                charges=msgspec.json.encode(charges).decode(),
                from_ms=0,
                to_ms=0,
            )
        )
    return priced


def _leaf_of(export: Path, size: int, entry: int) -> str:
    """The leaf hash of an entry of an export of `size` entries."""
    tile = tile_at(ENTRIES, entry // TILE_WIDTH, size)
    leaves = decode_bundle((export / tile.path).read_bytes(), tile.width)
    return leaf_hash(leaves[entry % TILE_WIDTH]).hex()
