"""Offers: published for a fee, seen by whom they name, superseded and withdrawn, never edited."""

from typing import Any

import pytest

from settlement.ledger.messages import Parameters, PlaceRequest, PublishOffer, WithdrawOffer
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
