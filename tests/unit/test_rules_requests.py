"""A request's life: each row of the table in docs/protocol.md, and each wrong signer, state and time."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from settlement.ledger.messages import (
    AcceptRequest,
    ActivateRequest,
    CancelRequest,
    CloseRequest,
    DeclineRequest,
    DeliverRequest,
    ExpireRequest,
    Message,
    PlaceRequest,
    ReportUsage,
    RevokeKey,
    UsageGroup,
    WithdrawOffer,
)
from settlement.ledger.rules import Effects
from settlement.ledger.state import Offer
from settlement.usage.rating import Meter
from settlement.usage.tariff import Code, Metered, Tariff
from tests.ledger_model import (
    ACCEPT_WITHIN,
    DAY,
    GB,
    HOUR,
    MINUTE,
    REPORT_WITHIN,
    SDRT,
    Balance,
    Member,
    World,
    bundle,
    data,
    refused,
    terms,
)

PRICE, FEE, FUNDS = 5 * SDRT, 1 * SDRT, 100 * SDRT
STATES = ("requested", "accepted", "delivered", "active", "cancelled", "declined", "expired", "closed")
ENDED = STATES[4:]


class Scene:
    """A home and a visited operator, a stranger, an offer, and a request in the state a test wants."""

    def __init__(self) -> None:
        self.world = World()
        self.home = self.world.admit("home", funds=FUNDS)
        self.visited = self.world.admit("visited")
        self.stranger = self.world.admit("stranger")
        self.offer = self.world.publish(self.visited, terms(bundle(PRICE, renewals=3), cancellation_fee=FEE, stock=5))
        self.request = self.world.request(self.home, self.offer)

    def bring_to(self, state: str) -> None:
        world, request = self.world, {"request": self.request}
        if state in ("accepted", "delivered", "active", "closed"):
            world.accept(self.visited, self.request)
        if state in ("delivered", "active", "closed"):
            world.must(self.home, DeliverRequest, **request)
        if state in ("active", "closed"):
            world.activate(self.visited, self.request)
        if state == "closed":
            world.must(self.visited, CloseRequest, **request)
        if state == "cancelled":
            world.must(self.home, CancelRequest, **request)
        if state == "declined":
            world.must(self.visited, DeclineRequest, **request, cause="no-capacity")
        if state == "expired":
            world.wait(ACCEPT_WITHIN + 1)
            world.must(self.stranger, ExpireRequest, **request)
        assert self.state == state

    def say(self, sender: Member, kind: type[Message]) -> Any:
        fields: dict[type[Message], dict[str, Any]] = {
            DeclineRequest: {"cause": "no-capacity"},
            AcceptRequest: {"payload": "cd" * 32},
            ActivateRequest: {"at": self.world.minute},
        }
        if kind is ReportUsage:
            groups = (UsageGroup(self.request, 1, (data(self.world.minute, GB),)),)
            return self.world.send(sender, ReportUsage, groups=groups)
        return self.world.send(sender, kind, request=self.request, **fields.get(kind, {}))

    @property
    def state(self) -> str:
        return self.world.get(self.request).state

    @property
    def money(self) -> tuple[Balance, Balance]:
        return self.world.balance(self.home), self.world.balance(self.visited)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def balances(home: int, escrow: int, visited: int) -> tuple[Balance, Balance]:
    return Balance(home, escrow, 0), Balance(visited, 0, 0)


IN_ESCROW = balances(FUNDS - PRICE, PRICE, 0)
RETURNED = balances(FUNDS, 0, 0)
FEE_PAID = balances(FUNDS - FEE, 0, FEE)
PAID = balances(FUNDS - PRICE, 0, PRICE)

ROWS = [
    ("requested", CancelRequest, "home", "cancelled", RETURNED),
    ("requested", DeclineRequest, "visited", "declined", RETURNED),
    ("requested", AcceptRequest, "visited", "accepted", IN_ESCROW),
    ("accepted", DeliverRequest, "home", "delivered", IN_ESCROW),
    ("delivered", DeliverRequest, "home", "delivered", IN_ESCROW),
    ("accepted", CancelRequest, "home", "cancelled", FEE_PAID),
    ("delivered", CancelRequest, "home", "cancelled", FEE_PAID),
    ("accepted", ActivateRequest, "visited", "active", PAID),
    ("delivered", ActivateRequest, "visited", "active", PAID),
    ("active", ReportUsage, "visited", "active", PAID),
    ("active", CloseRequest, "visited", "closed", PAID),
]
"""(from, message, by, to, balances of home and visited after): rows that need no waiting."""
AFTER_WAITING = [
    ("requested", ExpireRequest, "anyone", "expired", ACCEPT_WITHIN, RETURNED),
    ("accepted", ExpireRequest, "anyone", "closed", 10 * DAY + REPORT_WITHIN, RETURNED),
    ("delivered", ExpireRequest, "anyone", "closed", 10 * DAY + REPORT_WITHIN, RETURNED),
    ("active", ExpireRequest, "anyone", "closed", 10 * DAY + REPORT_WITHIN, PAID),
    ("active", CloseRequest, "home", "closed", 10 * DAY + REPORT_WITHIN, PAID),
]
"""Rows that hold only once this time has passed since the request."""


def test_a_request_moves_its_price_into_escrow(scene: Scene) -> None:
    assert scene.state == "requested"
    assert scene.money == IN_ESCROW


@pytest.mark.parametrize(("state", "kind", "by", "to", "money"), ROWS)
def test_a_row_of_the_table(
    scene: Scene, state: str, kind: type[Message], by: str, to: str, money: tuple[Balance, Balance]
) -> None:
    scene.bring_to(state)
    assert isinstance(scene.say(getattr(scene, by), kind), Effects)
    assert scene.state == to
    assert scene.money == money
    scene.world.check_money()


@pytest.mark.parametrize("by", ["home", "visited", "stranger"])
@pytest.mark.parametrize(("state", "kind", "who", "to", "wait", "money"), AFTER_WAITING)
def test_a_row_of_the_table_that_waits_for_a_deadline(
    scene: Scene,
    by: str,
    state: str,
    kind: type[Message],
    who: str,
    to: str,
    wait: int,
    money: tuple[Balance, Balance],
) -> None:
    if who not in ("anyone", by):
        return
    placed = scene.world.time
    scene.bring_to(state)
    scene.world.time = placed + wait
    assert scene.say(getattr(scene, by), kind) == refused("too-early"), "at the deadline itself"
    scene.world.wait(1)
    assert isinstance(scene.say(getattr(scene, by), kind), Effects)
    assert scene.state == to
    assert scene.money == money
    scene.world.check_money()


ALLOWED = {(state, kind, by) for state, kind, by, _, _ in ROWS} | {
    (state, kind, by)
    for state, kind, who, _, _, _ in AFTER_WAITING
    for by in (("home", "visited", "stranger") if who == "anyone" else (who,))
}
KINDS = (
    CancelRequest,
    DeclineRequest,
    AcceptRequest,
    DeliverRequest,
    ActivateRequest,
    ReportUsage,
    CloseRequest,
    ExpireRequest,
)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_not_in_the_table_is_refused_and_moves_nothing(state: str, kind: type[Message]) -> None:
    for by in ("home", "visited", "stranger"):
        if (state, kind, by) in ALLOWED:
            continue
        scene = Scene()
        scene.bring_to(state)
        money = scene.money
        answer = scene.say(getattr(scene, by), kind)
        assert answer == refused(_expected_code(kind, by)), (by, answer)
        assert (scene.state, scene.money) == (state, money)


def _expected_code(kind: type[Message], by: str) -> str:
    """A wrong signer comes first: who is no party learns nothing of the state."""
    signers = {
        CancelRequest: ("home",),
        DeliverRequest: ("home",),
        CloseRequest: ("home", "visited"),
        ExpireRequest: ("home", "visited", "stranger"),
    }.get(kind, ("visited",))
    if by in signers:
        return "wrong-state"
    return "unknown-request" if by == "stranger" or kind is ReportUsage else "not-permitted"


def test_an_unknown_request_is_refused_by_every_message(scene: Scene) -> None:
    scene.request = scene.world.new_id()
    for kind in KINDS:
        assert scene.say(scene.home, kind) == refused("unknown-request")


# time


def test_an_accept_is_in_time_until_its_deadline_and_no_longer(scene: Scene) -> None:
    scene.world.wait(ACCEPT_WITHIN + 1)
    assert scene.say(scene.visited, AcceptRequest) == refused("too-late")
    scene.world.wait(-1)
    assert isinstance(scene.say(scene.visited, AcceptRequest), Effects)


def test_an_accept_after_the_request_has_ended_is_too_late() -> None:
    scene = Scene()
    request = scene.world.request(scene.home, scene.offer, ends=scene.world.time + MINUTE)
    scene.world.wait(MINUTE + 1)
    assert scene.world.send(scene.visited, AcceptRequest, request=request, payload="ab" * 32) == refused("too-late")


def test_an_activation_is_refused_after_the_time_to_report(scene: Scene) -> None:
    scene.bring_to("accepted")
    scene.world.wait(10 * DAY + REPORT_WITHIN + 1)
    assert scene.say(scene.visited, ActivateRequest) == refused("too-late")


@pytest.mark.parametrize("minutes", [-2, 16, 20 * 24 * 60])
def test_an_activation_lies_within_the_requests_time_and_not_in_the_future(scene: Scene, minutes: int) -> None:
    scene.bring_to("accepted")
    at = scene.world.minute + minutes
    assert scene.world.send(scene.visited, ActivateRequest, request=scene.request, at=at) == refused("out-of-time")


def test_an_accept_fixes_until_when_usage_may_be_reported(scene: Scene) -> None:
    scene.bring_to("accepted")
    request = scene.world.get(scene.request)
    assert request.report_by == request.ends + REPORT_WITHIN
    assert request.payload == "ab" * 32


def test_the_cancellation_fee_never_exceeds_the_escrow() -> None:
    world = World()
    home, visited = world.admit("home", funds=FUNDS), world.admit("visited")
    offer = world.publish(visited, terms(bundle(PRICE), cancellation_fee=2 * PRICE))
    request = world.request(home, offer)
    world.accept(visited, request)
    world.must(home, CancelRequest, request=request)
    assert world.balance(home) == (FUNDS - PRICE, 0, 0)
    assert world.balance(visited) == (PRICE, 0, 0)


# placing


def place(world: World, home: Member, offer: UUID, **fields: Any) -> Any:
    return world.send(home, PlaceRequest, **world.order(home, offer, **fields))


def test_too_little_sdrt_is_a_clear_rejection_and_nothing_moves() -> None:
    world = World()
    home, visited = world.admit("home", funds=PRICE - 1), world.admit("visited")
    offer = world.publish(visited, terms(bundle(PRICE)))
    answer = place(world, home, offer)
    assert answer == refused("insufficient-funds")
    assert str(PRICE - 1) in answer.detail
    assert world.balance(home) == (PRICE - 1, 0, 0)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("wrong-escrow", lambda world: {"escrow": PRICE - 1}),
        ("wrong-escrow", lambda world: {"escrow": PRICE + 1}),
        ("wrong-escrow", lambda world: {"escrow": PRICE, "renewals": 1}),
        ("invalid-terms", lambda world: {"renewals": 4}),
        ("invalid-terms", lambda world: {"ends": world.time}),
        ("invalid-terms", lambda world: {"ends": world.time + 366 * DAY + 1}),
        ("unknown-offer", lambda world: {"offer": world.new_id()}),
        ("unknown-key", lambda world: {"delivery_key": "A" * 43}),
        ("unknown-key", lambda world: {"delivery_key": world.members["stranger"].delivery_key}),
        ("unknown-key", lambda world: {"delivery_key": world.members["home"].signer.kid}),
    ],
)
def test_an_order_that_does_not_fit_is_refused(
    scene: Scene, code: str, change: Callable[[World], dict[str, Any]]
) -> None:
    order = {**scene.world.order(scene.home, scene.offer), **change(scene.world)}
    assert scene.world.send(scene.home, PlaceRequest, **order) == refused(code)


def test_a_revoked_delivery_key_is_refused(scene: Scene) -> None:
    scene.world.must(scene.home, RevokeKey, kid=scene.home.delivery_key)
    assert place(scene.world, scene.home, scene.offer) == refused("unknown-key")


def test_an_operator_cannot_order_its_own_offer(scene: Scene) -> None:
    assert place(scene.world, scene.visited, scene.offer) == refused("not-permitted")


@pytest.mark.parametrize("role", ["issuer", "auditor"])
def test_only_operators_order(scene: Scene, role: str) -> None:
    member = scene.world.issuer if role == "issuer" else scene.world.admit("watcher", role="auditor")
    assert place(scene.world, member, scene.offer) == refused("not-permitted")


def test_an_id_of_another_operators_request_cannot_be_taken(scene: Scene) -> None:
    other = scene.world.admit("other", funds=FUNDS)
    order = scene.world.order(other, scene.offer)
    assert scene.world.send(other, PlaceRequest, id=scene.request, **order) == refused("already-exists")


def test_an_offer_past_its_validity_or_withdrawn_takes_no_requests(scene: Scene) -> None:
    scene.world.wait(30 * DAY - 1)
    assert isinstance(place(scene.world, scene.home, scene.offer), Effects)
    scene.world.wait(1)
    assert place(scene.world, scene.home, scene.offer) == refused("offer-closed")
    scene.world.wait(-HOUR)
    scene.world.must(scene.visited, WithdrawOffer, offer=scene.offer)
    assert place(scene.world, scene.home, scene.offer) == refused("offer-closed")


def test_stock_runs_out_and_comes_back_with_what_was_never_served(scene: Scene) -> None:
    for _ in range(4):
        scene.world.request(scene.home, scene.offer)
    assert place(scene.world, scene.home, scene.offer) == refused("out-of-stock")
    scene.say(scene.visited, DeclineRequest)
    scene.request = scene.world.request(scene.home, scene.offer)
    scene.bring_to("accepted")
    scene.say(scene.home, CancelRequest)
    assert place(scene.world, scene.home, scene.offer) == refused("out-of-stock"), "a profile was used up"
    offer = scene.world.state.get(Offer, scene.offer)
    assert offer is not None
    assert offer.stock == 0


def test_a_metered_request_chooses_its_escrow_up_to_the_cap(scene: Scene) -> None:
    metered = scene.world.publish(scene.visited, terms(Metered(block_price=1, cap=8 * SDRT)))
    assert place(scene.world, scene.home, metered, escrow=8 * SDRT + 1) == refused("wrong-escrow")
    assert place(scene.world, scene.home, metered, escrow=0) == refused("wrong-escrow")
    assert place(scene.world, scene.home, metered, escrow=1, renewals=1) == refused("wrong-escrow")
    assert isinstance(place(scene.world, scene.home, metered, escrow=8 * SDRT), Effects)


@pytest.mark.parametrize("tariff", [bundle(PRICE, seconds=60, messages=9, renewals=3), Metered(block_price=1)])
def test_a_meter_is_activated_as_a_request_is(scene: Scene, tariff: Tariff) -> None:
    world = scene.world
    request = world.request(scene.home, world.publish(scene.visited, terms(tariff)))
    world.accept(scene.visited, request)
    meter = Meter.read(world.get(request))
    world.activate(scene.visited, request)
    assert meter.activate(tariff, world.minute * MINUTE) == Meter.read(world.get(request))


def test_an_sp_code_is_paid_when_it_is_redeemed(scene: Scene) -> None:
    offer = scene.world.publish(
        scene.visited, terms(Code(price=3 * SDRT), delivery="code", category="insurance", countries=(), plmns=())
    )
    request = scene.world.active(scene.home, scene.visited, offer)
    assert scene.world.get(request).charged == 3 * SDRT
    assert scene.world.report(scene.visited, request, 1, data(scene.world.minute, 1)) == refused("not-sold")
    scene.world.must(scene.visited, CloseRequest, request=request, cause="redeemed")
    scene.world.check_money()
