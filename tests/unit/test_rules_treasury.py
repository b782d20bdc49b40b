"""SDRt comes into being against deposits and ends by redemption."""

import pytest

from settlement.ledger.messages import Mint, Redeem, Redeemed, RefuseRedemption
from settlement.ledger.state import Ledger
from settlement.money import MAX_AMOUNT
from tests.ledger_model import ORIGIN, Member, World, refused


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alfa(world: World) -> Member:
    return world.admit("alfa", funds=100)


def totals(world: World) -> tuple[int, int]:
    ledger = world.state.get(Ledger, ORIGIN)
    assert ledger is not None
    return ledger.minted, ledger.burned


def test_minting_credits_an_operator_once_a_deposit(world: World, alfa: Member) -> None:
    assert world.balance(alfa) == (100, 0, 0)
    assert world.send(world.issuer, Mint, to="alfa", amount=1, deposit="deposit for alfa") == refused("already-exists")
    world.must(world.issuer, Mint, to="alfa", amount=1, deposit="another")
    assert world.balance(alfa) == (101, 0, 0)
    assert totals(world) == (101, 0)


def test_only_the_issuer_mints_and_ends_redemptions(world: World, alfa: Member) -> None:
    redemption = world.new_id()
    world.must(alfa, Redeem, id=redemption, amount=10, payout="-")
    assert world.send(alfa, Mint, to="alfa", amount=1, deposit="-") == refused("not-permitted")
    assert world.send(alfa, Redeemed, redemption=redemption, payment="-") == refused("not-permitted")
    assert world.send(alfa, RefuseRedemption, redemption=redemption, cause="no") == refused("not-permitted")


def test_nobody_unknown_is_credited(world: World) -> None:
    for name in ("nobody", "ledger"):
        assert world.send(world.issuer, Mint, to=name, amount=1, deposit="-") == refused("unknown-operator")


def test_all_sdrt_together_never_exceeds_what_an_amount_can_hold(world: World, alfa: Member) -> None:
    assert world.send(world.issuer, Mint, to="alfa", amount=MAX_AMOUNT, deposit="-") == refused("overflow")
    world.must(world.issuer, Mint, to="alfa", amount=MAX_AMOUNT - 100, deposit="-")
    assert world.send(world.issuer, Mint, to="alfa", amount=1, deposit="+") == refused("overflow")
    world.check_money()


def test_a_redemption_holds_and_payment_burns(world: World, alfa: Member) -> None:
    redemption = world.new_id()
    world.must(alfa, Redeem, id=redemption, amount=60, payout="DE02")
    assert world.balance(alfa) == (40, 0, 60)
    world.must(world.issuer, Redeemed, redemption=redemption, payment="SEPA 1")
    assert world.balance(alfa) == (40, 0, 0)
    assert totals(world) == (100, 60)
    world.check_money()


def test_a_refused_redemption_is_available_again(world: World, alfa: Member) -> None:
    redemption = world.new_id()
    world.must(alfa, Redeem, id=redemption, amount=60, payout="DE02")
    world.must(world.issuer, RefuseRedemption, redemption=redemption, cause="payout-unknown")
    assert world.balance(alfa) == (100, 0, 0)
    assert totals(world) == (100, 0)


def test_a_redemption_ends_once(world: World, alfa: Member) -> None:
    for ending, fields in ((Redeemed, {"payment": "-"}), (RefuseRedemption, {"cause": "no"})):
        redemption = world.new_id()
        world.must(alfa, Redeem, id=redemption, amount=10, payout="-")
        world.must(world.issuer, ending, redemption=redemption, **fields)
        for again, details in ((Redeemed, {"payment": "-"}), (RefuseRedemption, {"cause": "no"})):
            assert world.send(world.issuer, again, redemption=redemption, **details) == refused("wrong-state")
    world.check_money()


def test_more_than_is_available_cannot_be_redeemed(world: World, alfa: Member) -> None:
    assert world.send(alfa, Redeem, amount=101, payout="-") == refused("insufficient-funds")
    world.must(alfa, Redeem, amount=100, payout="-")
    assert world.send(alfa, Redeem, amount=1, payout="-") == refused("insufficient-funds")


def test_an_unknown_redemption_is_refused(world: World) -> None:
    answer = world.send(world.issuer, Redeemed, redemption=world.new_id(), payment="-")
    assert answer == refused("unknown-redemption")
