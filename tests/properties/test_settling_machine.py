"""Rules version 2 as a state machine: the market goes on, and operators agree, owe, net, dispute and make deals.

Beside what always holds of a market: obligations stay between nothing and their amount; a deal's credit is what is open
of its credit debts and within its limit; no more is contested than was charged; and a netting cycle that executes
leaves everybody's net position as it was.
"""

from collections import Counter
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from settlement.ledger.cycles import CycleError, cycle_of
from settlement.ledger.envelope import parse
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.messages import ReportUsage
from settlement.ledger.settling import (
    AcceptDispute,
    AttestReserves,
    Change,
    Consent,
    DecideDispute,
    Direction,
    EscalateDispute,
    ExpireDispute,
    ExpireProposal,
    Pay,
    ProposeCycle,
    ProposeDeal,
    ProposeInvoice,
    RaiseDispute,
    RecordDocument,
    RefuseProposal,
    RejectDispute,
    SettleDeal,
    WithdrawDispute,
)
from settlement.ledger.state import Contested, Deal, DealPeriod, Dispute, Obligation, Proposal
from settlement.netting import Debt, Method, Terms, net
from settlement.usage.deals import Commitment, Rate
from settlement.usage.tariff import Metered
from tests.ledger_model import DAY, MB, terms
from tests.properties.test_rules_machine import NAMES, Market, numbers, seldom, who

DIGEST = "ab" * 32
amounts = st.integers(1, 60)
two = st.permutations(NAMES).map(lambda names: names[:2])


STEPS = (
    (AcceptDispute, "visited"),
    (RejectDispute, "visited"),
    (EscalateDispute, "home"),
    (DecideDispute, "issuer"),
    (WithdrawDispute, "home"),
    (ExpireDispute, "home"),
)
REJECTED = (RejectDispute, "visited"), (EscalateDispute, "home")
COURSES = ((*REJECTED, (DecideDispute, "issuer")), (*REJECTED, (ExpireDispute, "visited")), (REJECTED[0], STEPS[-1]))
"""What a dispute may come to, step by step."""


class Settlement(Market):
    """The market, and what rules version 2 adds."""

    def one(self, row_type: Any, number: int, *states: str) -> Any:
        """One of the rows of a type, in one of these states where there is one."""
        rows = sorted(self.world.state.all(row_type), key=lambda row: str(row.key))
        fitting = [row for row in rows if row.state in states] or rows
        return fitting[number % len(fitting)] if fitting else None

    def positions(self) -> dict[str, int]:
        net_position: Counter[str] = Counter()
        for row in self.world.state.all(Obligation):
            if row.state == "open":
                net_position[row.creditor] += row.remaining
                net_position[row.debtor] -= row.remaining
        return {name: position for name, position in net_position.items() if position}

    def agree(self, leaf: str) -> None:
        """Everybody consents, as far as the rules let them."""
        proposal = self.world.state.get(Proposal, leaf)
        assert proposal is not None
        before = self.positions()
        for party in proposal.parties:
            self.say(party, Consent, proposal=leaf)
        if proposal.kind == "cycle":
            assert self.positions() == before, "netting changes nobody's position"

    # obligations

    @rule(pair=two, amount=amounts, days=st.integers(0, 3), consent=st.booleans(), wrong=seldom)
    def invoice(self, pair: list[str], amount: int, days: int, consent: bool, wrong: bool) -> None:
        creditor, debtor = pair[0], pair[0] if wrong else pair[1]
        until = self.world.time + days * DAY
        fields = {"debtor": debtor, "amount": amount, "due": until, "document": DIGEST, "until": until}
        if self.say(creditor, ProposeInvoice, **fields) and consent:
            self.agree(leaf_hash(leaf_data(*self.world.entries[-1])).hex())

    @rule(
        number=numbers,
        wrong=seldom,
        name=who,
        what=st.sampled_from(("consent", "agree", "agree", "refuse", "refuse", "expire")),
    )
    def answer_proposal(self, number: int, wrong: bool, name: str, what: str) -> None:
        proposal = self.one(Proposal, number, "open")
        if proposal is None:
            return
        parties = (proposal.proposer, *proposal.parties)
        name = name if wrong else parties[number % len(parties)]
        if what == "agree":
            self.agree(proposal.leaf)
        elif what == "consent":
            self.say(name, Consent, proposal=proposal.leaf)
        elif what == "refuse":
            self.say(name, RefuseProposal, proposal=proposal.leaf, reason="no")
        else:
            self.say(name, ExpireProposal, proposal=proposal.leaf)

    @rule(number=numbers, amount=amounts, wrong=seldom, name=who)
    def pay(self, number: int, amount: int, wrong: bool, name: str) -> None:
        owed = self.one(Obligation, number, "open")
        if owed is not None:
            amount = amount if wrong else max(1, min(amount, owed.remaining))
            self.say(name if wrong else owed.debtor, Pay, obligation=owed.id, amount=amount)

    @rule(method=st.sampled_from(Method), cap=st.none() | st.integers(0, 30), proposer=who, agree=st.booleans())
    def net(self, method: Method, cap: int | None, proposer: str, agree: bool) -> None:
        owed = [
            row
            for row in self.world.state.all(Obligation)
            if row.state == "open" and "hub" not in (row.debtor, row.creditor)
        ]
        caps = Terms(caps={} if cap is None else {("alfa", "bravo"): cap})
        netting = net((Debt(row.debtor, row.creditor, row.remaining) for row in owed), method, caps)
        try:
            fields = cycle_of(owed, netting, caps)
        except CycleError:
            return
        due = self.world.time + 3 * DAY if method is Method.NOVATION else None
        assert self.say(proposer, ProposeCycle, until=self.world.time + DAY, due=due, **fields)
        if agree:
            self.agree(leaf_hash(leaf_data(*self.world.entries[-1])).hex())

    @rule(chosen=st.lists(st.tuples(numbers, amounts), min_size=1, max_size=3), name=who)
    def net_wrongly(self, chosen: list[tuple[int, int]], name: str) -> None:
        changes = []
        for number, reduction in chosen:
            if (owed := self.one(Obligation, number, "open")) is not None and owed.remaining:
                changes.append(Change(owed.id, owed.remaining, reduction))
        if changes:
            self.say(name, ProposeCycle, method="setoff", changes=tuple(changes), until=self.world.time + DAY)

    # disputes

    @rule(
        number=numbers,
        record=st.none() | st.integers(0, 2),
        amount=amounts,
        wrong=seldom,
        name=who,
        course=st.lists(st.sampled_from(STEPS), max_size=4) | st.sampled_from(COURSES),
        award=st.integers(0, 40),
    )
    def dispute(
        self, number: int, record: int | None, amount: int, wrong: bool, name: str, course: Any, award: int
    ) -> None:
        """Dispute one of the reports there are, and go on with it in some course."""
        reports = [
            (index, message)
            for index, (_, raw) in enumerate(self.world.entries)
            if isinstance(message := parse(raw).message, ReportUsage)
        ]
        if not reports:
            return
        index, report = reports[number % len(reports)]
        request = self.world.get(report.groups[0].request)
        leaf = "00" * 32 if wrong else leaf_hash(leaf_data(*self.world.entries[index])).hex()
        amount, dispute = min(amount, max(1, request.charged)), self.world.new_id()
        fields = {"entry": index, "leaf": leaf, "request": request.id, "record": record, "amount": amount}
        if self.say(name if wrong else request.home, RaiseDispute, id=dispute, cause="not-used", **fields):
            for step in course:
                self.take_step(dispute, step, award)

    @rule(number=numbers, step=st.sampled_from(STEPS), award=st.integers(0, 40))
    def go_on_disputing(self, number: int, step: tuple[Any, str], award: int) -> None:
        if (row := self.one(Dispute, number, "raised", "rejected", "escalated")) is not None:
            self.take_step(row.id, step, award)

    def take_step(self, dispute: UUID, step: tuple[Any, str], award: int) -> None:
        """One step of a dispute, by who may take it."""
        kind, role = step
        row = self.world.state.get(Dispute, dispute)
        assert row is not None
        party = "issuer" if role == "issuer" else getattr(row, role)
        details: dict[Any, dict[str, Any]] = {RejectDispute: {"evidence": DIGEST}, DecideDispute: {"award": award}}
        if kind is ExpireDispute:
            self.world.time = max(self.world.time, row.deadline) + award % 2
        self.say(party, kind, dispute=row.id, **details.get(kind, {}))

    # deals

    @initialize(prices=st.tuples(st.integers(0, 3), st.integers(0, 3)), limit=st.integers(0, 50))
    def make_first_deal(self, prices: tuple[int, int], limit: int) -> None:
        self.world.admit("hub")
        self.make_deal(["charly", "alfa"], prices, limit, 40, True, False)

    @rule(
        pair=two,
        prices=st.tuples(st.integers(0, 3), st.integers(0, 3)),
        limit=st.integers(0, 50),
        days=st.integers(1, 100),
        agree=st.booleans(),
        wrong=seldom,
    )
    def make_deal(
        self, pair: list[str], prices: tuple[int, int], limit: int, days: int, agree: bool, wrong: bool
    ) -> None:
        start, ends = self.world.time, self.world.time + days * DAY
        directions = tuple(
            Direction(
                home=home,
                offer=self.world.new_id(),
                terms=terms(
                    Metered(block=MB, block_price=price, event_price=price),
                    valid_until=ends,
                    whitelist=() if wrong else (home,),
                ),
                revenue=20,
                volumes=(Commitment(service="message", units=9, price=2),),
                credit_limit=limit,
            )
            for home, price in zip(pair, prices, strict=True)
        )
        fields = {
            "partner": pair[1],
            "directions": directions,
            "starts": start,
            "ends": ends,
            "until": start + DAY // 2,
        }
        balanced = (Rate(service="data", block=MB, price=1),)
        if self.say(pair[0], ProposeDeal, balanced=balanced, **fields) and agree:
            self.agree(leaf_hash(leaf_data(*self.world.entries[-1])).hex())
            self.offers.extend(direction.offer for direction in directions)

    @rule(
        number=numbers,
        escrow=st.integers(1, 20),
        lines=st.lists(
            st.tuples(st.sampled_from(("data", "message")), st.sampled_from((0, 1, MB, 5 * MB)), st.just(False)),
            min_size=1,
            max_size=3,
        ),
    )
    def use_deal(self, number: int, escrow: int, lines: list[tuple[Any, ...]]) -> None:
        deal = self.one(Deal, number, "agreed")
        if deal is None or deal.state != "agreed":
            return
        direction = deal.directions[number % 2]
        place = self.offers.index(direction.offer) if direction.offer in self.offers else None
        if place is None:
            self.offers.append(direction.offer)
            place = len(self.offers) - 1
        before = len(self.requests)
        self.place(direction.home, place, 0, escrow, 10, False)
        if len(self.requests) > before:
            request = self.world.get(self.requests[-1])
            self.world.accept(self.world.members[request.visited], request.id)
            self.world.activate(self.world.members[request.visited], request.id)
            short = [(service, count % 7 if service == "message" else count, more) for service, count, more in lines]
            self.report([(0, 1, short)], 0, False, "", newest=True)

    @rule(number=numbers, period=st.integers(0, 3), name=who, wrong=seldom)
    def settle_deal(self, number: int, period: int, name: str, wrong: bool) -> None:
        deal = self.one(Deal, number, "agreed")
        if deal is not None:
            self.say(name if wrong else deal.partner, SettleDeal, deal=deal.id, period=period)

    # what is only recorded

    @rule(name=who, deposits=st.integers(0, 3_000))
    def record(self, name: str, deposits: int) -> None:
        self.say(name, RecordDocument, kind="statement", digest=DIGEST)
        self.say(name, AttestReserves, as_of=self.world.time, deposits=deposits, digest=DIGEST)

    # what always holds

    @invariant()
    def obligations_are_between_nothing_and_their_amount(self) -> None:
        for row in self.world.state.all(Obligation):
            assert 0 <= row.remaining <= row.amount
            assert (row.state == "open") <= bool(row.remaining)
            assert row.debtor != row.creditor

    @invariant()
    def a_deals_credit_is_what_is_open_of_it_and_within_the_limit(self) -> None:
        open_credit: Counter[tuple[UUID | None, str]] = Counter()
        for row in self.world.state.all(Obligation):
            if row.cause == "credit":
                open_credit[row.source, row.debtor] += row.remaining
        for deal in self.world.state.all(Deal):
            for direction, credit in zip(deal.directions, deal.credit, strict=True):
                assert credit == open_credit[deal.id, direction.home]
                assert 0 <= credit <= direction.credit_limit

    @invariant()
    def no_more_is_contested_than_was_charged(self) -> None:
        claimed: Counter[UUID] = Counter()
        for row in self.world.state.all(Dispute):
            claimed[row.request] += row.amount
            assert row.award <= row.amount
        for contested in self.world.state.all(Contested):
            assert contested.amount == claimed[contested.request] <= self.world.get(contested.request).charged

    @invariant()
    def what_a_deal_counted_was_charged(self) -> None:
        for period in self.world.state.all(DealPeriod):
            for traffic in period.traffic:
                assert traffic.charged >= traffic.charged_octets + traffic.charged_seconds + traffic.charged_messages


TestSettlement = Settlement.TestCase
TestSettlement.settings = settings(
    max_examples=120, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
