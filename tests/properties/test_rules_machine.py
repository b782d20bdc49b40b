"""The rules as a state machine: whatever operators say, in whatever order, the money adds up.

After every step: Σ(available + escrow + held) = minted − burned, Σ escrow of requests = Σ escrow of accounts, nothing
below zero; a rejection changed nothing; and the log of it all, read again from its octets, gives the same state and
the same effects chain, in whatever pieces it is read.
"""

from typing import Any
from uuid import UUID

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import UNSET

from settlement.ledger.envelope import Signer, parse
from settlement.ledger.execution import Execution
from settlement.ledger.keys import prove_possession, to_base64url
from settlement.ledger.messages import (
    AcceptRequest,
    ActivateRequest,
    AddKey,
    CancelRequest,
    CloseRequest,
    DeclineRequest,
    DeliverRequest,
    ExpireRequest,
    Message,
    Mint,
    Parameters,
    PlaceRequest,
    PublishOffer,
    Recover,
    Redeem,
    Redeemed,
    RefuseRedemption,
    ReportUsage,
    RevokeKey,
    UsageGroup,
    UsageRecord,
    WithdrawOffer,
)
from settlement.ledger.rejections import CODES, Rejection
from settlement.ledger.rules import Effects
from settlement.ledger.state import ROW_TYPES, Key, Offer, Request, State
from settlement.usage.rating import sells
from settlement.usage.tariff import Bundle, Code, Metered
from tests.ledger_model import DAY, GB, MB, MINUTE, ORIGIN, World, seed_of, terms

NAMES = ("alfa", "bravo", "charly")
who = st.sampled_from((*NAMES, "issuer"))
seldom = st.sampled_from((False,) * 9 + (True,))
"""Whether to be wrong this time: mostly not, so that requests get far enough in their life."""
numbers = st.integers(0, 30)
"""Choose one of what there is."""
tariffs = st.one_of(
    st.builds(
        Bundle,
        price=st.integers(0, 50),
        octets=st.just(MB),
        seconds=st.sampled_from((0, 60)),
        messages=st.sampled_from((0, 5)),
        hours=st.integers(1, 48),
        renewals=st.just(3),
    ),
    st.builds(
        Metered,
        block=st.sampled_from((1_000, MB)),
        block_price=st.integers(0, 20),
        first_price=st.integers(0, 5),
        next_interval=st.integers(1, 30),
        next_price=st.integers(0, 5),
        event_price=st.integers(0, 3),
        cap=st.sampled_from((0, 0, 40)),
    ),
    st.builds(Code, price=st.integers(0, 50)),
)
records = st.tuples(
    st.sampled_from(("data", "data", "voice", "message")),
    st.one_of(st.integers(0, 100), st.sampled_from((MB // 2, MB, 3 * MB, GB))),
    st.booleans(),
)


class Market(RuleBasedStateMachine):
    """A few operators, an issuer, and everything they could say."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Parameters(offer_fee_per_day=1, digest_interval=7))
        for name in NAMES:
            self.world.admit(name, funds=500)
        self.counter = 0
        self.offers: list[UUID] = []
        self.requests: list[UUID] = []
        self.redemptions: list[UUID] = []

    def say(self, name: str, kind: type[Message], /, **fields: Any) -> bool:
        """Send it; a rejection must have a known code and have changed nothing. Whether it was accepted."""
        before = self.rows()
        answer = self.world.send(self.world.members[name], kind, **fields)
        if isinstance(answer, Rejection):
            assert answer.code in CODES
            assert self.rows() == before
        return isinstance(answer, Effects)

    def rows(self) -> list[dict[Any, Any]]:
        return [{row.key: row for row in self.world.state.all(row_type)} for row_type in ROW_TYPES]

    def party(self, request: Request, role: str, wrong: bool, name: str) -> str:
        return name if wrong else str(getattr(request, role))

    def pick(self, number: int, *states: str) -> Request | None:
        """One of the requests, in one of these states where there is one."""
        rows = [self.world.get(request) for request in self.requests]
        fitting = [row for row in rows if row.state in states] or rows
        return fitting[number % len(fitting)] if fitting else None

    # money

    @rule(name=who, amount=st.integers(1, 300), wrong=seldom, repeat=seldom)
    def mint(self, name: str, amount: int, wrong: bool, repeat: bool) -> None:
        self.counter += not repeat
        self.say(name if wrong else "issuer", Mint, to=name, amount=amount, deposit=f"deposit {self.counter}")

    @rule(name=who, amount=st.integers(1, 300), number=numbers, answer=st.sampled_from(("none", "paid", "refused")))
    def redeem(self, name: str, amount: int, number: int, answer: str) -> None:
        redemption = self.world.new_id()
        if self.say(name, Redeem, id=redemption, amount=amount, payout="-"):
            self.redemptions.append(redemption)
        if self.redemptions and answer != "none":
            redemption = self.redemptions[number % len(self.redemptions)]
            if answer == "paid":
                self.say("issuer", Redeemed, redemption=redemption, payment="-")
            else:
                self.say("issuer", RefuseRedemption, redemption=redemption, cause="no")

    # offers

    @initialize(tariff=tariffs, second=tariffs)
    def open_the_market(self, tariff: Any, second: Any) -> None:
        for name, each in (("alfa", tariff), ("bravo", second)):
            self.publish(name, each, 20, 7, None, (), False, 0)

    @rule(
        name=st.sampled_from(NAMES),
        tariff=tariffs,
        days=st.integers(1, 20),
        fee=st.integers(0, 80),
        stock=st.sampled_from((None, None, 1, 2)),
        whitelist=st.sampled_from(((), (), ("alfa",))),
        supersede=seldom,
        number=numbers,
    )
    def publish(
        self,
        name: str,
        tariff: Any,
        days: int,
        fee: int,
        stock: int | None,
        whitelist: tuple[str, ...],
        supersede: bool,
        number: int,
    ) -> None:
        offer = self.world.new_id()
        details = terms(
            tariff,
            stock=stock,
            whitelist=whitelist,
            delivery="code" if isinstance(tariff, Code) else "profile",
            valid_until=self.world.time + days * DAY,
            cancellation_fee=fee,
        )
        old = self.offers[number % len(self.offers)] if supersede else None
        if self.say(name, PublishOffer, id=offer, terms=details, supersedes=old):
            self.offers.append(offer)

    @rule(number=numbers, name=who)
    def withdraw(self, number: int, name: str) -> None:
        self.say(name, WithdrawOffer, offer=self.offers[number % len(self.offers)])

    # requests

    def place(self, name: str, number: int, renewals: int, escrow: int, days: int, wrong: bool) -> None:
        request, offer = self.world.new_id(), self.offers[number % len(self.offers)]
        row = self.world.state.get(Offer, offer)
        assert row is not None
        tariff = row.terms.tariff
        fields = self.world.order(self.world.members[name], offer)
        if isinstance(tariff, Bundle):
            fields = self.world.order(self.world.members[name], offer, renewals=renewals)
        if isinstance(tariff, Metered) or wrong:
            fields["escrow"] = escrow
        fields["ends"] = self.world.time + days * DAY
        if self.say(name, PlaceRequest, id=request, **fields):
            self.requests.append(request)

    @rule(
        name=st.sampled_from(NAMES),
        number=numbers,
        renewals=st.integers(0, 3),
        escrow=st.integers(0, 40),
        days=st.integers(0, 12),
        wrong=seldom,
    )
    def order(self, **order: Any) -> None:
        self.place(**order)

    @rule(
        number=numbers,
        renewals=st.integers(0, 3),
        escrow=st.integers(1, 40),
        until=st.sampled_from(("accepted", "delivered", "active", "active", "used", "used", "closed")),
        lines=st.lists(records, min_size=1, max_size=3),
        pause=st.sampled_from((0, MINUTE, DAY, 2 * DAY)),
    )
    def order_and_serve(
        self, number: int, renewals: int, escrow: int, until: str, lines: list[tuple[Any, ...]], pause: int
    ) -> None:
        row = self.world.state.get(Offer, self.offers[number % len(self.offers)])
        assert row is not None
        placed = len(self.requests)
        self.place("charly" if row.publisher != "charly" else "alfa", number, renewals, escrow, 10, False)
        if len(self.requests) > placed:
            request = self.world.get(self.requests[-1])
            self.say(request.visited, AcceptRequest, request=request.id, payload="00" * 32)
            if until == "delivered":
                self.say(request.home, DeliverRequest, request=request.id)
            if until in ("active", "used", "closed"):
                self.say(request.visited, ActivateRequest, request=request.id, at=self.world.minute)
            if until in ("used", "closed"):
                self.world.wait(pause)
                for _ in range(2):
                    self.report([(len(self.requests) - 1, 1, lines)], 0, False, "", newest=True)
            if until == "closed":
                self.say(request.visited, CloseRequest, request=request.id)

    @rule(
        number=numbers,
        what=st.sampled_from(
            (
                (AcceptRequest, "visited", "requested"),
                (DeclineRequest, "visited", "requested"),
                (CancelRequest, "home", "requested"),
                (CancelRequest, "home", "accepted"),
                (DeliverRequest, "home", "accepted"),
                (ActivateRequest, "visited", "delivered"),
                (CloseRequest, "visited", "active"),
                (CloseRequest, "home", "active"),
                (ExpireRequest, "home", "requested"),
                (ExpireRequest, "visited", "active"),
                (ExpireRequest, "visited", "accepted"),
            )
        ),
        wrong=seldom,
        name=who,
        minutes=st.integers(-1, 16),
    )
    def go_on(self, number: int, what: tuple[type[Message], str, str], wrong: bool, name: str, minutes: int) -> None:
        kind, role, state = what
        if (row := self.pick(number, state)) is None:
            return
        if minutes > 4 and (kind is ExpireRequest or (kind, role) == (CloseRequest, "home")):
            self.world.time = max(self.world.time, row.accept_by, row.report_by) + 1
        details: dict[type[Message], dict[str, Any]] = {
            AcceptRequest: {"payload": "00" * 32},
            DeclineRequest: {"cause": "enough"},
            ActivateRequest: {"at": self.world.minute + minutes},
        }
        self.say(self.party(row, role, wrong, name), kind, request=row.id, **details.get(kind, {}))

    @rule(
        groups=st.lists(
            st.tuples(numbers, st.sampled_from((1,) * 9 + (2,)), st.lists(records, min_size=1, max_size=4)),
            min_size=1,
            max_size=3,
        ),
        back=st.integers(0, 90),
        wrong=seldom,
        name=who,
    )
    def report(self, groups: Any, back: int, wrong: bool, name: str, newest: bool = False) -> None:
        made, before = [], {}
        for number, step, lines in groups:
            row = self.world.get(self.requests[-1]) if newest else self.pick(number, "active")
            if row is None:
                return
            minute = max(self.world.minute - back, row.activated // MINUTE)
            tariff = self.world.state.get(Offer, row.offer)
            assert tariff is not None
            used = tuple(
                UsageRecord(service, minute, 0, 0, count, "DE", continues)
                for service, count, continues in lines
                if wrong or sells(tariff.terms.tariff, service)
            )
            if used and (row.id not in before or wrong):
                before[row.id] = row
                made.append(UsageGroup(row.id, row.sequence + step, used))
        if not made:
            return
        visited = self.party(before[made[0].request], "visited", wrong, name)
        if self.say(visited, ReportUsage, groups=tuple(made)):
            for request, row in before.items():
                after = self.world.get(request)
                assert after.sequence == row.sequence + 1
                lost, paid = row.escrow - after.escrow, after.charged - row.charged
                offer = self.world.state.get(Offer, row.offer)
                assert offer is not None
                assert lost == paid or (lost < paid and offer.deal is not UNSET), "what escrow lost, visited was paid"

    # keys

    @rule(name=st.sampled_from(NAMES), how=st.sampled_from(("rotate", "overlap", "revoke", "recover")), number=numbers)
    def change_keys(self, name: str, how: str, number: int) -> None:
        member, following = self.world.members[name], self.fresh_signer()
        keys = {"key": to_base64url(following.public), "proof": prove_possession(following.key, ORIGIN, name)}
        if how == "revoke":
            kids = sorted(row.kid for row in self.world.state.all(Key))
            self.say(name, RevokeKey, kid=kids[number % len(kids)])
            self.say(name, RevokeKey, kid=member.signer.kid)
        if how in ("revoke", "recover"):
            recovery = self.fresh_signer()
            self.world.must(member.recovery, Recover, **keys, recovery_key=to_base64url(recovery.public))
            member.signer, member.recovery = following, recovery
            member.seal_key = b"\x02" + seed_of(f"seal {self.counter}")
            self.world.must(member, AddKey, purpose="seal", key=to_base64url(member.seal_key))
        else:
            until = self.world.time + DAY if how == "overlap" else None
            self.world.must(member, AddKey, purpose="sign", **keys, replaces=member.signer.kid, until=until)
            member.signer = following

    def fresh_signer(self) -> Signer:
        self.counter += 1
        return Signer(seed_of(f"fresh {self.counter}"))

    # the ledger

    @rule(milliseconds=st.sampled_from((0, 1, MINUTE, 30 * MINUTE, 61 * MINUTE, DAY, 13 * DAY)))
    def wait(self, milliseconds: int) -> None:
        self.world.wait(milliseconds)

    @rule()
    def digest(self) -> None:
        assert isinstance(self.world.digest(), Effects)

    # what always holds

    @invariant()
    def the_money_adds_up(self) -> None:
        self.world.check_money()

    @invariant()
    def requests_that_have_ended_hold_nothing(self) -> None:
        for row in self.world.state.all(Request):
            if row.state in ("cancelled", "declined", "expired", "closed"):
                assert row.escrow == 0
            tariff = self.world.state.get(Offer, row.offer)
            assert tariff is not None
            if isinstance(tariff.terms.tariff, Metered) and tariff.terms.tariff.cap:
                assert row.charged <= max(tariff.terms.tariff.cap, tariff.terms.cancellation_fee)

    def teardown(self) -> None:
        """Read the log again, as whoever has it would, in two pieces with the state stored and loaded in between."""
        entries, cut = self.world.entries, len(self.world.entries) // 2
        first = Execution(ORIGIN, self.world.origin.public, State(cite=self.world.cite))
        _run(first, entries[:cut])
        stored = msgspec.msgpack.encode([row for row_type in ROW_TYPES for row in first.state.all(row_type)])
        state = State(cite=self.world.cite)
        row_type: Any = ROW_TYPES[0]
        for kind in ROW_TYPES[1:]:
            row_type |= kind
        state.load(msgspec.msgpack.decode(stored, type=tuple[row_type, ...]))
        second = Execution(ORIGIN, self.world.origin.public, state, size=first.size, chain=first.chain)
        _run(second, entries[cut:])
        assert second.chain == self.world.execution.chain
        for kind in ROW_TYPES:
            again = {row.key: row for row in second.state.all(kind)}
            assert again == {row.key: row for row in self.world.state.all(kind)}


def _run(execution: Execution, entries: list[tuple[int, bytes]]) -> None:
    for time, raw in entries:
        assert isinstance(execution.run(parse(raw), time), Effects)


TestMarket = Market.TestCase
TestMarket.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
