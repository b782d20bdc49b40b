"""A small market's whole log, with every message of the protocol and every way a request can end.

python -m tests.market_story tests/data/golden-v1       # writes the golden log anew: only for a new rules version
"""

import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from settlement.ledger.audit import audit
from settlement.ledger.envelope import Signer
from settlement.ledger.keys import prove_possession, to_base64url
from settlement.ledger.messages import (
    AcceptRequest,
    AddKey,
    CancelRequest,
    CloseRequest,
    DeclineRequest,
    DeliverRequest,
    ExpireRequest,
    Parameters,
    Recover,
    Redeem,
    Redeemed,
    RefuseRedemption,
    ReportUsage,
    RequestBids,
    RevokeKey,
    UsageGroup,
    UsageRecord,
    Wanted,
    WithdrawBids,
    WithdrawOffer,
)
from settlement.ledger.note import Signer as NoteSigner
from settlement.ledger.rules import Effects
from settlement.usage.tariff import Code, Metered
from tests.ledger_model import (
    ACCEPT_WITHIN,
    DAY,
    GB,
    HOUR,
    MB,
    MINUTE,
    ORIGIN,
    REPORT_WITHIN,
    SDRT,
    Member,
    World,
    bundle,
    data,
    export_from_entries,
    seed_of,
    terms,
    voice,
)


def tell_story() -> World:
    """Play it; the same log every time."""
    world = World(Parameters(offer_fee_per_day=10_000, digest_interval=10), version=1)
    home, visited = world.admit("home", funds=1_000 * SDRT), world.admit("visited", funds=2 * SDRT)
    insurer = world.admit("insurer", funds=SDRT)
    world.admit("watchdog", role="auditor")
    _rotate_keys(world, home, visited)
    world.digest()

    named = {"name": {"en": "Week", "de": "Woche"}, "description": {"ru": "Неделя", "en": "A week\nof data"}}
    week = world.publish(visited, terms(bundle(seconds=600, messages=10, renewals=2), cancellation_fee=SDRT, stock=9))
    week = world.publish(
        visited, terms(bundle(seconds=600, renewals=2), cancellation_fee=SDRT, **named), supersedes=week
    )
    prices: dict[str, Any] = {"block_price": 2_000, "first_price": 9_000, "next_price": 900, "event_price": 50}
    metered = world.publish(visited, terms(Metered(block=MB, next_interval=6, cap=SDRT, **prices)))
    policy = world.publish(
        insurer,
        terms(Code(price=3 * SDRT), delivery="code", category="insurance", countries=(), plmns=(), whitelist=("home",)),
    )
    _bid(world, home, visited)
    _end_in_every_way(world, home, visited, week)
    _use(world, home, visited, week, metered)
    code = world.active(home, insurer, policy)
    world.must(insurer, CloseRequest, request=code, cause="redeemed")
    world.must(visited, WithdrawOffer, offer=metered)
    world.digest()

    paid, not_paid = world.new_id(), world.new_id()
    world.must(visited, Redeem, id=paid, amount=2 * SDRT, payout="DE02 1203 0000 0000 2020 51")
    world.must(insurer, Redeem, id=not_paid, amount=SDRT, payout="unknown")
    world.must(world.issuer, Redeemed, redemption=paid, payment="SEPA 4711")
    world.must(world.issuer, RefuseRedemption, redemption=not_paid, cause="payout-unknown")
    world.digest()
    world.check_money()
    return world


def _bid(world: World, buyer: Member, bidder: Member) -> None:
    bids = world.new_id()
    wanted = Wanted(description={"en": "100 GB for a team"}, category="telecom", countries=("DE",), quantity=12)
    world.must(buyer, RequestBids, id=bids, wanted=wanted, until=world.time + 5 * DAY)
    world.publish(bidder, terms(bundle(), whitelist=(buyer.id,)), bid_for=bids)
    world.must(buyer, WithdrawBids, bids=bids)


def _rotate_keys(world: World, home: Member, visited: Member) -> None:
    following, restored = Signer(seed_of("home following")), Signer(seed_of("visited restored"))
    proof = prove_possession(following.key, ORIGIN, "home")
    world.must(
        home,
        AddKey,
        purpose="sign",
        key=to_base64url(following.public),
        proof=proof,
        replaces=home.signer.kid,
        until=world.time + DAY,
    )
    world.must(home, RevokeKey, kid=home.signer.kid)
    home.signer = following
    world.must(
        visited.recovery,
        Recover,
        key=to_base64url(restored.public),
        proof=prove_possession(restored.key, ORIGIN, "visited"),
        recovery_key=to_base64url(Signer(seed_of("visited second recovery")).public),
    )
    visited.signer = restored


def _end_in_every_way(world: World, home: Member, visited: Member, offer: UUID) -> None:
    orders = [world.request(home, offer) for _ in range(5)]
    world.must(home, CancelRequest, request=orders[0], cause="changed-plans")
    world.must(visited, DeclineRequest, request=orders[1], cause="no-capacity")
    for request in orders[2:4]:
        world.must(visited, AcceptRequest, request=request, payload="0f" * 32)
        world.must(home, DeliverRequest, request=request)
    world.must(home, CancelRequest, request=orders[2])
    world.wait(ACCEPT_WITHIN + 1)
    world.must(visited, ExpireRequest, request=orders[4])
    world.wait(10 * DAY + REPORT_WITHIN)
    world.must(home, ExpireRequest, request=orders[3])


def _use(world: World, home: Member, visited: Member, week: UUID, metered: UUID) -> None:
    bundled = world.active(home, visited, week, renewals=2)
    counted = world.active(home, visited, metered, escrow=SDRT // 2)
    for sequence in range(1, 5):
        world.wait(3 * HOUR + MINUTE)
        at = world.minute
        of_bundle = (data(at, GB // 2), voice(at, 100), data(at, GB // 4, "26201"))
        of_metered = (
            data(at, 30 * MB + sequence),
            voice(at, 61),
            voice(at, 30, continues=True),
            UsageRecord("message", at, 0, 0, 2, "DE"),
        )
        groups = (UsageGroup(bundled, sequence, of_bundle), UsageGroup(counted, sequence, of_metered))
        world.must(visited, ReportUsage, groups=groups)
    world.wait(2 * DAY)
    late = world.report(visited, bundled, 5, data(world.minute, GB), data(world.minute, 3 * GB))
    assert isinstance(late, Effects)
    assert late.refused, "the last allowance runs out"
    world.must(visited, CloseRequest, request=bundled)
    world.must(visited, CloseRequest, request=counted, cause="left-country")


def write_golden(folder: Path, world: World) -> None:
    """Write the log and, beside it, what its audit must say."""
    export_from_entries(world.entries, NoteSigner(ORIGIN, seed_of("origin")), folder / "log")
    (folder / "origin.vkey").write_text(f"{world.key}\n")
    report = msgspec.to_builtins(audit(folder / "log", world.key, workers=0))
    del report["seconds"]
    (folder / "expected.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


if __name__ == "__main__":
    write_golden(Path(sys.argv[1]), tell_story())
