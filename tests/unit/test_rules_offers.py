"""Offers: published for a fee, seen by whom they name, superseded and withdrawn, never edited."""

from typing import Any

import pytest

from settlement.ledger.messages import (
    Parameters,
    PlaceRequest,
    PublishOffer,
    RequestBids,
    Wanted,
    WithdrawBids,
    WithdrawOffer,
)
from settlement.ledger.rules import Effects
from settlement.ledger.state import Offer
from settlement.usage.tariff import Bundle, Code, Metered
from tests.ledger_model import DAY, HOUR, SDRT, START, Member, World, bundle, refused, terms

FEE = 1_000


@pytest.fixture
def world() -> World:
    return World(Parameters(offer_fee_per_day=FEE, offer_days_max=30))


@pytest.fixture
def visited(world: World) -> Member:
    return world.admit("visited", funds=100 * FEE)


@pytest.fixture
def home(world: World) -> Member:
    return world.admit("home", funds=100 * SDRT)


def publish(world: World, publisher: Member, **fields: Any) -> Any:
    return world.send(publisher, PublishOffer, terms=terms(**{"tariff": bundle(), **fields}))


@pytest.mark.parametrize(("lifetime", "days"), [(1, 1), (DAY, 1), (DAY + 1, 2), (30 * DAY, 30)])
def test_publishing_costs_a_fee_for_every_started_day(world: World, visited: Member, lifetime: int, days: int) -> None:
    effects = publish(world, visited, valid_until=START + lifetime)
    assert isinstance(effects, Effects)
    assert world.balance(visited).available == (100 - days) * FEE
    assert world.balance(world.issuer).available == days * FEE
    world.check_money()


def test_who_cannot_pay_the_fee_publishes_nothing(world: World) -> None:
    poor = world.admit("poor", funds=29 * FEE)
    assert publish(world, poor) == refused("insufficient-funds")
    assert world.balance(poor) == (29 * FEE, 0, 0)
    assert list(world.state.all(Offer)) == []


@pytest.mark.parametrize("valid_until", [0, START, START + 30 * DAY + 1])
def test_an_offer_lives_at_least_a_moment_and_at_most_what_the_ledger_allows(
    world: World, visited: Member, valid_until: int
) -> None:
    assert publish(world, visited, valid_until=valid_until) == refused("invalid-terms")


@pytest.mark.parametrize(
    "contradiction",
    [
        {"delivery": "code"},
        {"tariff": Code(price=1)},
        {"countries": (), "plmns": ()},
        {"tariff": Bundle(price=1, hours=1)},
    ],
)
def test_terms_that_contradict_themselves_are_refused(
    world: World, visited: Member, contradiction: dict[str, Any]
) -> None:
    assert publish(world, visited, **contradiction) == refused("invalid-terms")


def test_only_operators_publish(world: World) -> None:
    watchdog = world.admit("watchdog", role="auditor")
    assert publish(world, watchdog) == refused("not-permitted")
    assert publish(world, world.issuer) == refused("not-permitted")


def test_a_new_version_supersedes_and_the_old_takes_no_requests(world: World, home: Member, visited: Member) -> None:
    old = world.publish(visited, terms(bundle()))
    running = world.request(home, old)
    new = world.publish(visited, terms(Metered(block_price=1)), supersedes=old)
    assert world.send(home, PlaceRequest, **world.order(home, old)) == refused("offer-closed")
    world.request(home, new)
    world.accept(visited, running)
    assert world.send(visited, PublishOffer, terms=terms(bundle()), supersedes=old) == refused("offer-closed")


def test_only_its_publisher_supersedes_or_withdraws_an_offer(world: World, home: Member, visited: Member) -> None:
    offer = world.publish(visited, terms(bundle()))
    assert world.send(home, WithdrawOffer, offer=offer) == refused("unknown-offer")
    assert world.send(home, PublishOffer, terms=terms(bundle()), supersedes=offer) == refused("unknown-offer")
    world.must(visited, WithdrawOffer, offer=offer)
    assert world.send(visited, WithdrawOffer, offer=offer) == refused("offer-closed")


def test_an_offer_id_is_taken_once(world: World, home: Member, visited: Member) -> None:
    offer = world.publish(visited, terms(bundle()))
    assert world.send(home, PublishOffer, id=offer, terms=terms(bundle())) == refused("already-exists")


def test_whom_a_whitelist_does_not_name_learns_nothing_of_the_offer(
    world: World, home: Member, visited: Member
) -> None:
    friend = world.admit("friend", funds=100 * SDRT)
    offer = world.publish(visited, terms(bundle(), whitelist=("friend",)))
    hidden = world.send(home, PlaceRequest, **world.order(home, offer))
    missing = world.send(home, PlaceRequest, **{**world.order(home, offer), "offer": world.new_id()})
    assert hidden == refused("unknown-offer")
    assert missing == refused("unknown-offer")
    world.request(friend, offer)


def test_stock_counts_down_with_requests(world: World, home: Member, visited: Member) -> None:
    offer = world.publish(visited, terms(bundle(), stock=1))
    world.request(home, offer)
    world.wait(HOUR)
    assert world.send(home, PlaceRequest, **world.order(home, offer)) == refused("out-of-stock")


def ask_for_bids(world: World, buyer: Member, lifetime: int = 5 * DAY) -> Any:
    bids = world.new_id()
    wanted = Wanted(description={"en": "a season in Spain"}, category="telecom", countries=("ES",))
    return bids, world.send(buyer, RequestBids, id=bids, wanted=wanted, until=world.time + lifetime)


def test_a_bid_is_an_offer_that_only_the_buyer_can_order(world: World, visited: Member, home: Member) -> None:
    stranger = world.admit("stranger", funds=100 * SDRT)
    bids, asked = ask_for_bids(world, home)
    assert isinstance(asked, Effects)
    assert world.balance(world.issuer).available == 5 * FEE
    bid = world.new_id()
    made = world.send(visited, PublishOffer, id=bid, terms=terms(bundle(), whitelist=("home",)), bid_for=bids)
    assert isinstance(made, Effects)
    assert made.counterparty == "home"
    assert world.send(stranger, PlaceRequest, **world.order(stranger, bid)) == refused("unknown-offer")
    world.request(home, bid)
    world.check_money()


@pytest.mark.parametrize("whitelist", [(), ("home", "visited"), ("other",)])
def test_a_bid_is_for_its_buyers_eyes_alone(
    world: World, visited: Member, home: Member, whitelist: tuple[str, ...]
) -> None:
    bids, _ = ask_for_bids(world, home)
    assert isinstance(publish(world, visited, whitelist=whitelist), Effects), "as a plain offer it is fine"
    bid = {"terms": terms(bundle(), whitelist=whitelist), "bid_for": bids}
    assert world.send(visited, PublishOffer, **bid) == refused("invalid-terms")


def test_bids_end_in_time_by_withdrawal_and_never_come_from_the_buyer(
    world: World, visited: Member, home: Member
) -> None:
    bid = {"terms": terms(bundle(), whitelist=("home",), valid_until=START + 20 * DAY)}
    assert world.send(visited, PublishOffer, bid_for=world.new_id(), **bid) == refused("unknown-offer")
    short, _ = ask_for_bids(world, home, lifetime=HOUR)
    assert world.send(home, PublishOffer, bid_for=short, **bid) == refused("not-permitted")
    world.wait(HOUR + 1)
    assert world.send(visited, PublishOffer, bid_for=short, **bid) == refused("offer-closed")
    withdrawn, _ = ask_for_bids(world, home)
    assert world.send(visited, WithdrawBids, bids=withdrawn) == refused("unknown-offer")
    world.must(home, WithdrawBids, bids=withdrawn)
    assert world.send(home, WithdrawBids, bids=withdrawn) == refused("offer-closed")
    assert world.send(visited, PublishOffer, bid_for=withdrawn, **bid) == refused("offer-closed")


def test_a_request_for_bids_costs_its_fee_and_its_id_is_used_once(world: World, home: Member) -> None:
    poor = world.admit("poor", funds=FEE)
    assert ask_for_bids(world, poor)[1] == refused("insufficient-funds")
    assert ask_for_bids(world, home, lifetime=31 * DAY)[1] == refused("invalid-terms")
    bids, _ = ask_for_bids(world, home)
    wanted = Wanted(description={"en": "the same"}, category="telecom")
    other = world.admit("other", funds=100 * FEE)
    again = world.send(other, RequestBids, id=bids, wanted=wanted, until=world.time + DAY)
    assert again == refused("already-exists")
