"""Deals with other operators, from the draft to the last period.

    seen = await deals.forecast(new)                 # what it would cost on the last period's use; nothing is sent
    asked = await deals.propose(new, by="anna")      # a ProposeDeal; the partner's node learns of it from the log
    await deals.consent(id, Consenting(), by="boris")        # cites the leaf hash of the entry this node followed
    now = await deals.show(id)                       # used against committed, credit, what it has come to
    await deals.settle(id, Settling())               # periods that are over: shortfalls and rebates become obligations

Every message goes through the outbox. The follower keeps each proposal with the leaf hash of its own octets, and a
consent is given to that, not to what the ledger tells about it. The consent opens the directions' offers: those that
this operator sells are offers of its own from then on, ordered, answered and reported like all others. A proposal that
nobody answered is noted as lapsed by its proposer's node.
"""

from collections import defaultdict
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.agreeing.records import read_period
from marketplace.agreeing.reported import ReportedUsage
from marketplace.deals import repository
from marketplace.deals.draft import ONE_MONTH, check_draft, direct, last_period
from marketplace.deals.forecast import DAY_MS, Used, forecast, measure, rate_use
from marketplace.deals.repository import DealRow
from marketplace.deals.schemas import (
    Consenting,
    Credit,
    DealProgress,
    DealView,
    DirectionForecast,
    Forecast,
    NewDeal,
    Settling,
)
from marketplace.debts.schemas import Asked, Refusing
from marketplace.ledger_link.follower import Follower
from marketplace.ledger_link.outbox import Outbox, now_ms, purpose_of
from marketplace.ledger_link.tasks import Later, Tasks
from marketplace.operator_database import Database
from marketplace.operator_problems import Refusal
from marketplace.wholesale.repository import put_offer
from settlement.ledger.api import Entry, Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.messages import Message, UsageRecord
from settlement.ledger.rejections import Rejection
from settlement.ledger.settling import (
    Consent,
    ExpireProposal,
    ProposeDeal,
    RefuseProposal,
    SettleDeal,
)
from settlement.ledger.state import Deal, DealPeriod, Request, period_key
from settlement.usage.deals import Calendar, Traffic, bounds, period_at, periods

LAPSE: Final = "lapse-deal"
LAPSE_AGAIN_S: Final = 5.0
"""How long the ledger may take to note a lapse before it is looked at again."""
MARGIN_MS: Final = 1_000
"""How far this clock may run ahead of the ledger's before a lapse or a settling comes too early."""
AGREED: Final = ("partner", "directions", "balanced", "starts", "ends", "months", "settle_after_days", "due_days")
"""Fields of the proposing message that are the deal."""


class Deals:
    """Deals of one operator."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerClient,
        outbox: Outbox,
        follower: Follower,
        tasks: Tasks,
        reported: ReportedUsage,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._outbox = outbox
        self._tasks = tasks
        self._reported = reported
        outbox.on_answer(ProposeDeal, self._see_answer)
        follower.on(ProposeDeal, self._see_proposed)
        follower.on(Consent, self._see_consent)
        follower.on(RefuseProposal, self._see_end)
        follower.on(ExpireProposal, self._see_end)
        tasks.on(LAPSE, self.lapse)

    # before signing

    async def forecast(self, new: NewDeal, period: str | None = None) -> Forecast:
        """What a draft would cost on past use: of `period`, else of the last whole one. Raises Refusal."""
        return await self._forecast(self._message(new), new.partner, period)

    async def forecast_proposed(self, deal: UUID, period: str | None = None) -> Forecast:
        """The same of a deal there is, for whoever is asked to consent. Raises Refusal."""
        async with self._database.read() as connection:
            row = await repository.get_deal(connection, deal)
        return await self._forecast(row.message(), self._other(row), period)

    async def _forecast(self, message: ProposeDeal, partner: str, period: str | None) -> Forecast:
        from_ms, to_ms = read_period(period) if period else last_period(message.months, now_ms())
        await self._reported.gather(partner)
        used = await self._past_use(partner, from_ms, to_ms)
        calendar = Calendar(message.starts, message.ends, message.months)
        own = self._ledger.operator
        homes = [direction.home for direction in message.directions]
        visited = [partner if home == own else own for home in homes]
        rated = [rate_use(one.terms, used[visited[place]]) for place, one in enumerate(message.directions)]
        costs = forecast(message.directions, message.balanced, calendar, rated)
        whole = forecast(message.directions, message.balanced, ONE_MONTH, rated)
        return Forecast(
            partner=partner,
            from_ms=from_ms,
            to_ms=to_ms,
            directions=tuple(
                DirectionForecast(
                    home=home,
                    visited=visited[place],
                    past=rated[place],
                    whole_period_usdr=whole[0].directions[place].cost_usdr,
                    cost_usdr=sum(one.directions[place].cost_usdr for one in costs),
                    shortfall_usdr=sum(one.directions[place].shortfall_usdr for one in costs),
                    rebate_usdr=sum(one.directions[place].rebate_usdr for one in costs),
                )
                for place, home in enumerate(homes)
            ),
            periods=costs,
        )

    async def _past_use(self, partner: str, from_ms: int, to_ms: int) -> dict[str, list[Used]]:
        """Use between the two in a time, by who served it, as far as this node followed it."""
        records: dict[UUID, list[UsageRecord]] = defaultdict(list)
        charged: dict[UUID, int] = defaultdict(int)
        served: dict[UUID, str] = {}
        for group in await self._reported.groups(partner, from_ms=from_ms, to_ms=to_ms):
            for record, price in group.priced():
                if from_ms <= record.start * 60_000 < to_ms:
                    served[group.request] = group.visited
                    records[group.request].append(record)
                    charged[group.request] += price
        for activation in await self._reported.activations(partner, from_ms=from_ms, to_ms=to_ms):
            served[activation.request] = activation.visited
            charged[activation.request] += activation.charged_usdr
        used: dict[str, list[Used]] = defaultdict(list)
        for request, visited in served.items():
            one = Used(request=request, records=tuple(records[request]), charged_usdr=charged[request])
            used[visited].append(one)
        return used

    # proposing and answering

    async def propose(self, new: NewDeal, *, by: str) -> Asked:
        """Propose a deal; it is `proposed` once the ledger has taken it. Raises Refusal."""
        message = self._message(new)
        async with self._database.begin() as connection:
            await repository.put_deal(
                connection,
                message,
                proposer=self._ledger.operator,
                state="proposing",
                policy=new.policy,
                proposed_by=by,
            )
            await self._outbox.enqueue(connection, message, subject=str(message.id))
        return Asked(message.id, message.id)

    def _message(self, new: NewDeal) -> ProposeDeal:
        check_draft(new, self._ledger.operator, now_ms())
        return self._ledger.make(
            ProposeDeal,
            partner=new.partner,
            directions=tuple(direct(one) for one in new.directions),
            balanced=new.balanced,
            starts=new.starts,
            ends=new.ends,
            months=new.months,
            settle_after_days=new.settle_after_days,
            due_days=new.due_days,
            until=new.until or min(now_ms() + new.answer_days * DAY_MS, new.ends - 1),
        )

    async def consent(self, deal: UUID, consenting: Consenting, *, by: str) -> Asked:
        """Agree to a partner's deal, as this node followed it from the log. Raises Refusal."""
        row = await self._find_open(deal)
        if row.proposer == self._ledger.operator:
            raise Refusal("wrong-state", f"deal {deal} was proposed by {row.proposer}: its partner consents")
        told, message = await self._ledger.deal(deal), row.message()
        if any(getattr(told, name) != getattr(message, name) for name in AGREED):
            raise Refusal("wrong-state", f"the ledger tells another deal {deal} than entry {row.leaf} proposes")
        assert row.leaf is not None, "an open one was followed"
        asked = self._ledger.make(Consent, proposal=row.leaf)
        async with self._database.begin() as connection:
            await repository.set_answer(connection, deal, by=by, policy=consenting.policy)
            return await self._send(connection, asked, row.leaf, deal)

    async def refuse(self, deal: UUID, refusing: Refusing, *, by: str) -> Asked:
        """Do not agree to a partner's deal, or withdraw one's own proposal. Raises Refusal."""
        row = await self._find_open(deal)
        assert row.leaf is not None, "an open one was followed"
        message = self._ledger.make(RefuseProposal, proposal=row.leaf, reason=refusing.reason)
        async with self._database.begin() as connection:
            await repository.set_answer(connection, deal, by=by)
            return await self._send(connection, message, row.leaf, deal)

    async def lapse(self, subject: str) -> None:
        """Task of the proposer's node: the time to answer is over; note it on the ledger, until that is followed."""
        async with self._database.begin() as connection:
            row = await repository.get_deal(connection, UUID(subject))
            if row.state != "proposed" or row.leaf is None:
                return
            if (wait := row.message().until + MARGIN_MS - now_ms()) > 0:
                raise Later(wait / 1000, "it may still be answered")
            message = self._ledger.make(ExpireProposal, proposal=row.leaf)
            await self._send(connection, message, row.leaf, row.id)
        raise Later(LAPSE_AGAIN_S, "the lapse is being noted; rejected as too early, it is sent again")

    async def settle(self, deal: UUID, settling: Settling) -> list[Asked]:
        """Settle what is over: a period, or every one that can be. Raises Refusal where nothing can."""
        await self._find(deal, "agreed")
        row = await self._ledger.deal(deal)
        settled = {one.number for one in await self._ledger.deal_periods(deal) if one.settled is not None}
        wanted = range(periods(row.calendar)) if settling.period is None else [settling.period]
        if settling.period is not None and not 0 <= settling.period < periods(row.calendar):
            raise Refusal("invalid", f"deal {deal} has periods 0 to {periods(row.calendar) - 1}")
        ripe = {number: bounds(row.calendar, number)[1] + row.settle_after_days * DAY_MS for number in wanted}
        due = [number for number, time in ripe.items() if number not in settled and time + MARGIN_MS <= now_ms()]
        if not due:
            waiting = [time for number, time in ripe.items() if number not in settled]
            when = f"the next from {min(waiting)} on" if waiting else "they all are"
            raise Refusal("wrong-state", f"no period of deal {deal} can be settled now: {when}")
        asked = []
        async with self._database.begin() as connection:
            for number in due:
                message = self._ledger.make(SettleDeal, deal=deal, period=number)
                asked.append(await self._send(connection, message, f"{deal}.{number}", deal))
        return asked

    # reading

    async def list_all(self, state: str | None, partner: str | None) -> list[DealView]:
        """Deals, the newest first."""
        async with self._database.read() as connection:
            return [self._view(row) for row in await repository.list_deals(connection, state=state, partner=partner)]

    async def show(self, deal: UUID) -> DealProgress:
        """A deal with its periods and obligations as the ledger has them now. Raises Refusal `not-found`."""
        async with self._database.read() as connection:
            view = self._view(await repository.get_deal(connection, deal))
        if view.state != "agreed":
            return DealProgress(deal=view)
        row = await self._ledger.deal(deal)
        counted = {one.number: one for one in await self._ledger.deal_periods(deal)}
        owed = [one for one in await self._ledger.obligations() if one.source == deal]
        time = now_ms()
        return DealProgress(
            deal=view,
            now=period_at(row.calendar, time),
            credit=tuple(
                Credit(home=one.home, used_usdr=used, limit_usdr=one.credit_limit)
                for one, used in zip(row.directions, row.credit, strict=True)
            ),
            periods=tuple(
                measure(row, counted.get(number) or _unused(row, number), time)
                for number in range(periods(row.calendar))
            ),
            obligations=tuple(sorted(owed, key=lambda one: (one.made, one.id))),
        )

    def _view(self, row: DealRow) -> DealView:
        message = row.message()
        fields = {name: getattr(message, name) for name in AGREED}
        told = ("id", "proposer", "state", "cause", "leaf", "policy", "proposed_by", "answered_by")
        return DealView(
            **fields,
            **{name: getattr(row, name) for name in told},
            until_ms=message.until,
            asked=row.state == "proposed" and row.proposer != self._ledger.operator,
        )

    # what the ledger says

    async def _see_answer(
        self, connection: AsyncConnection, _: str, message: Message, answer: Receipt | Rejection
    ) -> None:
        if isinstance(answer, Rejection):
            cause = f"{answer.code}: {answer.detail}"
            await repository.set_deal_state(connection, message.id, "rejected", cause=cause)

    async def _see_proposed(
        self, connection: AsyncConnection, entry: Entry, message: Message, _: Request | None
    ) -> None:
        assert isinstance(message, ProposeDeal)
        own = self._ledger.operator
        leaf = leaf_hash(leaf_data(entry.time, entry.envelope.encode())).hex()
        await repository.put_deal(connection, message, proposer=entry.sender, state="proposed", leaf=leaf)
        for direction in message.directions:
            if direction.home == own:
                continue
            await put_offer(
                connection,
                offer=direction.offer,
                publisher=own,
                terms=direction.terms,
                policy="hold",
                state="proposed",
                deal=message.id,
            )
        if entry.sender == own:
            await self._tasks.add(connection, LAPSE, str(message.id), delay_s=max(0, message.until - now_ms()) / 1000)

    async def _see_consent(
        self, connection: AsyncConnection, entry: Entry, message: Message, _: Request | None
    ) -> None:
        assert isinstance(message, Consent)
        row = await repository.find_by_leaf(connection, message.proposal)
        if row is not None:
            await repository.set_deal_state(connection, row.id, "agreed", cause=None)
            await repository.open_offers(connection, row, published_ms=entry.time)

    async def _see_end(self, connection: AsyncConnection, _: Entry, message: Message, __: Request | None) -> None:
        assert isinstance(message, RefuseProposal | ExpireProposal)
        row = await repository.find_by_leaf(connection, message.proposal)
        if row is not None:
            cause = message.reason if isinstance(message, RefuseProposal) else "lapsed"
            await repository.set_deal_state(connection, row.id, "dropped", cause=cause)
            await repository.drop_offers(connection, row.id)

    # shared

    async def _find(self, deal: UUID, state: str) -> DealRow:
        async with self._database.read() as connection:
            row = await repository.get_deal(connection, deal)
        if row.state != state:
            raise Refusal("wrong-state", f"deal {deal} is {row.state}, it must be {state}")
        return row

    async def _find_open(self, deal: UUID) -> DealRow:
        return await self._find(deal, "proposed")

    def _other(self, row: DealRow) -> str:
        return row.message().partner if row.proposer == self._ledger.operator else row.proposer

    async def _send(self, connection: AsyncConnection, message: Message, subject: str, deal: UUID) -> Asked:
        """Store a message; one of that subject which stands already is not sent again."""
        if await self._outbox.enqueue(connection, message, subject=subject):
            return Asked(deal, message.id)
        stands = await self._outbox.find(connection, purpose_of(message), subject)
        assert stands is not None, "it stands, so it is there"
        return Asked(deal, stands.id)


def _unused(deal: Deal, number: int) -> DealPeriod:
    traffic = (Traffic(),) * len(deal.directions)
    return DealPeriod(id=period_key(deal.id, number), deal=deal.id, number=number, traffic=traffic)
