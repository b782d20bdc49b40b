"""What use under a deal leaves behind: traffic counted by period, and debts for what the escrow did not cover.

count = Count(context)                                  # one an entry
count.add(deal, home, record.start, service, …)         # each record, or a bundle's price
count.owe(deal, home, amount)                           # what was used on credit
rows = count.rows()
"""

from collections.abc import Iterable
from uuid import UUID

from msgspec import structs

from settlement.ledger.ids import credit_id
from settlement.ledger.rules.context import Context, Refused
from settlement.ledger.rules.deals import find_period
from settlement.ledger.rules.offers import DAY_MS
from settlement.ledger.state import Deal, DealPeriod, Obligation, Row
from settlement.money import MAX_AMOUNT
from settlement.usage.deals import Service, bounds, period_at, periods
from settlement.usage.tariff import MAX_UNITS


class Count:
    """Adds up what one entry uses under deals."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._deals: dict[UUID, Deal] = {}
        self._periods: dict[str, DealPeriod] = {}
        self._debts: dict[UUID, Obligation] = {}

    def credit_left(self, deal: Deal, home: str) -> int:
        """How much more a direction's home may owe, micro-SDRt."""
        deal = self._deals.get(deal.id, deal)
        place = deal.direction_of(home)
        return deal.directions[place].credit_limit - deal.credit[place]

    def add(self, deal: Deal, home: str, at: int, service: Service | None, units: int, charged: int) -> None:
        """Count what was used at a time, in its period; if that is settled already, in the first that is not."""
        period = self._open_period(deal, at)
        if period is None:  # all are settled: the deal is over and done
            return
        place = deal.direction_of(home)
        more = period.traffic[place].add(service, units, charged)
        if max(more.octets, more.seconds, more.messages) > MAX_UNITS or more.charged > MAX_AMOUNT:
            raise Refused("overflow", f"period {period.number} of deal {deal.id} would count more than {MAX_UNITS}")
        traffic = (*period.traffic[:place], more, *period.traffic[place + 1 :])
        self._periods[period.id] = structs.replace(period, traffic=traffic)

    def owe(self, deal: Deal, home: str, amount: int) -> None:
        """A direction's home owes for what it used beyond escrow: one obligation a period, by the entry's time."""
        if not amount:
            return
        deal = self._deals.get(deal.id, deal)
        place = deal.direction_of(home)
        credit = (*deal.credit[:place], deal.credit[place] + amount, *deal.credit[place + 1 :])
        assert credit[place] <= deal.directions[place].credit_limit, f"deal {deal.id} gives more credit than agreed"
        self._deals[deal.id] = structs.replace(deal, credit=credit)
        number = period_at(deal.calendar, self._context.time)
        key = credit_id(deal.id, place, number)
        owed = self._debts.get(key) or self._context.state.get(Obligation, key)
        if owed is None:
            owed = Obligation(
                id=key,
                debtor=home,
                creditor=deal.visited_of(place),
                amount=0,
                remaining=0,
                due=max(self._context.time, bounds(deal.calendar, number)[1]) + deal.due_days * DAY_MS,
                cause="credit",
                made=self._context.time,
                source=deal.id,
            )
        if owed.amount + amount > MAX_AMOUNT:
            raise Refused("overflow", f"obligation {owed.id} would exceed {MAX_AMOUNT}")
        self._debts[key] = structs.replace(
            owed, amount=owed.amount + amount, remaining=owed.remaining + amount, state="open"
        )

    def rows(self) -> tuple[Row, ...]:
        """What has changed."""
        return (*self._deals.values(), *self._periods.values(), *self._debts.values())

    def _open_period(self, deal: Deal, at: int) -> DealPeriod | None:
        first = period_at(deal.calendar, at)
        for number in (first, *range(periods(deal.calendar))):
            period = find_period(self._context, deal, number)
            period = self._periods.get(period.id, period)
            if period.settled is None:
                return period
        return None


def release(context: Context, lowered: Iterable[tuple[Obligation, int]]) -> tuple[Row, ...]:
    """Deals whose debts on credit became smaller, by (obligation, amount): there is as much more credit again."""
    deals: dict[UUID, Deal] = {}
    for owed, amount in lowered:
        if owed.cause != "credit":
            continue
        deal = deals.get(owed.source) if owed.source else None
        if deal is None:
            deal = context.state.get(Deal, owed.source)
        assert deal is not None, f"obligation {owed.id} has no deal"
        place = deal.direction_of(owed.debtor)
        credit = (*deal.credit[:place], deal.credit[place] - amount, *deal.credit[place + 1 :])
        assert credit[place] >= 0, f"deal {deal.id} was paid more than was owed"
        deals[deal.id] = structs.replace(deal, credit=credit)
    return tuple(deals.values())
