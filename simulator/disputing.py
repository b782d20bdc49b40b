"""Disputes: homes raise on the ledger what the detector found, and the visited operators, shown the evidence, concede.

    came = await dispute(engine, findings, folder / "ledger", log.entries, folder / "evidence" / "reported.jsonl")

A finding is in units; it is worth the share of those units in what the ledger charged for all of its service (decision
0232), by the ledger's own rating. What was inflated within an allowance that was paid for cost nothing, and is not
disputed. All of it follows from the log and the findings: said again after a crash, it gets the first receipts.
"""

from collections import defaultdict
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from marketplace.agreeing.evidence import value
from marketplace.agreeing.reported import Group
from settlement.evidence import Finding, Reported, read_reported
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.messages import Message
from settlement.ledger.settling import AcceptDispute, RaiseDispute
from settlement.ledger.tiles import ENTRIES, TILE_WIDTH, decode_bundle, tile_at
from settlement.usage.rating import MINUTE_MS, Meter, charge

if TYPE_CHECKING:
    from simulator.engine import Engine


class Disputes(Struct, frozen=True, kw_only=True):
    """What came of the findings. `idle`: those that cost nothing. `refused`: codes of what the ledger did not take.

    `restored`: µSDRt that went back, or are owed, to homes by what was conceded.
    """

    findings: int = 0
    raised: int = 0
    conceded: int = 0
    idle: int = 0
    restored: int = 0
    refused: tuple[str, ...] = ()


async def dispute(engine: "Engine", findings: list[Finding], export: Path, size: int, reported: Path) -> Disputes:
    """Raise a dispute for each finding on an unsampled journey that cost anything, and concede it.

    `export`: the log as files, of `size` entries; `reported`: its usage groups. Raises `Unreachable`.
    """
    trips = {engine.book.request_id(trip): trip for trip in range(len(engine.trips)) if engine.trips.offer[trip] >= 0}
    ours = {one.request: one for one in findings if one.request in trips}
    groups = _groups_of(ours.keys(), reported)
    orders: list[tuple[int, Message]] = []
    answers: list[tuple[int, Message]] = []
    restored = 0
    for request, finding in ours.items():
        trip = trips[request]
        priced = _price(engine, trip, groups[request])
        _, excess = value(finding, priced)
        if not excess:
            continue
        found = [group for group in priced if group.entry in finding.entries] or priced
        worst = max(found, key=lambda group: (sum(amount for _, amount in group.priced()), -group.entry))
        raised = RaiseDispute(
            **engine.book.fields(f"dispute/{trip}"),
            entry=worst.entry,
            leaf=_leaf_of(export, size, worst.entry),
            request=request,
            amount=excess,
            cause=finding.fraud,
            evidence=sha256(msgspec.json.encode(finding)).hexdigest(),
        )
        restored += excess
        orders.append((int(engine.home[trip]), raised))
        conceded = AcceptDispute(**engine.book.fields(f"concede/{trip}"), dispute=raised.id)
        answers.append((int(engine.visited[trip]), conceded))
    taken = [one.code for one in await engine.send("dispute", orders)]
    agreed = [one.code for one in await engine.send("concede", answers)]
    return Disputes(
        findings=len(ours),
        raised=taken.count(None),
        conceded=agreed.count(None),
        idle=len(ours) - len(orders),
        restored=restored,
        refused=tuple(sorted({code for code in (*taken, *agreed) if code is not None})),
    )


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
