"""Deals: bilateral terms by consent; each direction is an offer to one operator, and periods are settled in the end.

A deal's directions become offers when it is agreed, so requests, escrow and rating are those of every offer. What is
charged on them is counted by period (`Count`), and what escrow does not cover is owed up to the credit limit. The
arithmetic of shortfalls and rebates is `settlement.usage.deals`.
"""

from typing import Final
from uuid import UUID

from msgspec import UNSET, structs

from settlement.ledger.ids import settlement_ids
from settlement.ledger.rules.context import Context, Effects, Refused
from settlement.ledger.rules.offers import DAY_MS, check_terms, require_operator
from settlement.ledger.rules.proposals import open_proposal, require_trader
from settlement.ledger.settling import Direction, ProposeDeal, SettleDeal
from settlement.ledger.state import Deal, DealPeriod, Obligation, ObligationCause, Offer, Proposal, Row, period_key
from settlement.usage.deals import MAX_PERIODS, Calendar, Traffic, bounds, part_of, periods, rebates, shortfall
from settlement.usage.tariff import Metered

DEAL_DAYS_MAX: Final = 3660
"""How far from now a deal may begin or end: ten years."""


def propose_deal(context: Context, message: ProposeDeal) -> Effects:
    """One party proposes; the other's consent makes its directions offers."""
    require_operator(context, "make deals")
    if message.partner == context.sender.id:
        raise Refused("not-permitted", "a deal is between two operators")
    require_trader(context, message.partner)
    if context.state.get(Deal, message.id) is not None:
        raise Refused("already-exists", f"there is a deal {message.id}")
    _check_calendar(context, message)
    _check_directions(context, message)
    deal = Deal(
        id=message.id,
        proposer=context.sender.id,
        partner=message.partner,
        directions=message.directions,
        balanced=message.balanced,
        starts=message.starts,
        ends=message.ends,
        months=message.months,
        settle_after_days=message.settle_after_days,
        due_days=message.due_days,
        credit=(0,) * len(message.directions),
    )
    proposal = open_proposal(context, "deal", message.id, (message.partner,), message.until)
    return Effects((proposal, deal), counterparty=message.partner)


def _check_calendar(context: Context, message: ProposeDeal) -> None:
    reach = DEAL_DAYS_MAX * DAY_MS
    if not context.time - reach < message.starts < message.ends < context.time + reach:
        raise Refused(
            "invalid-terms", f"starts {message.starts} and ends {message.ends} are not within ten years of now"
        )
    if message.ends <= message.until:
        raise Refused("invalid-terms", f"the deal ends at {message.ends}, when it may still be agreed on")
    count = periods(Calendar(message.starts, message.ends, message.months))
    if count > MAX_PERIODS:
        raise Refused("invalid-terms", f"the deal has {count} periods, at most {MAX_PERIODS}: settle it less often")


def _check_directions(context: Context, message: ProposeDeal) -> None:
    directions = message.directions
    homes = [direction.home for direction in directions]
    if len(set(homes)) != len(homes) or not set(homes) <= {context.sender.id, message.partner}:
        raise Refused("invalid-terms", f"directions have homes {homes}: each of the two parties at most once")
    if len({direction.offer for direction in directions}) != len(directions):
        raise Refused("invalid-terms", "each direction needs an offer id of its own")
    if message.balanced and len(directions) != 2:
        raise Refused("invalid-terms", "balanced rates need traffic in both directions")
    _require_once("balanced", [rate.service for rate in message.balanced])
    for direction in directions:
        _check_direction(context, message, direction)


def _check_direction(context: Context, message: ProposeDeal, direction: Direction) -> None:
    terms = direction.terms
    if context.state.get(Offer, direction.offer) is not None:
        raise Refused("already-exists", f"there is an offer {direction.offer}")
    check_terms(terms, context.ledger.rules_version)
    if terms.whitelist != (direction.home,):
        raise Refused("invalid-terms", f"the whitelist of a direction is its home alone: ({direction.home!r},)")
    if terms.valid_until > message.ends:
        raise Refused("invalid-terms", f"valid_until is {terms.valid_until}, after the deal's end {message.ends}")
    if direction.credit_limit and not isinstance(terms.tariff, Metered):
        raise Refused("invalid-terms", "a credit limit goes with a metered tariff: others are paid before use")
    _require_once("volumes", [commitment.service for commitment in direction.volumes])


def _require_once(field: str, services: list[str]) -> None:
    if len(set(services)) != len(services):
        raise Refused("invalid-terms", f"{field} name services {services}: each at most once")


def agree_deal(context: Context, proposal: Proposal) -> tuple[Row, ...]:
    """The partner has consented: the directions become offers."""
    deal = _proposed(context, proposal)
    rows: list[Row] = [structs.replace(deal, state="agreed")]
    for place, direction in enumerate(deal.directions):
        if context.state.get(Offer, direction.offer) is not None:
            raise Refused(
                "already-exists", f"there is an offer {direction.offer} by now: propose the deal with another id"
            )
        rows.append(
            Offer(
                id=direction.offer,
                publisher=deal.visited_of(place),
                published=context.time,
                status="open",
                stock=direction.terms.stock,
                terms=direction.terms,
                deal=deal.id,
            )
        )
    return tuple(rows)


def drop_deal(context: Context, proposal: Proposal) -> tuple[Row, ...]:
    """The deal came to nothing."""
    return (structs.replace(_proposed(context, proposal), state="dropped"),)


def _proposed(context: Context, proposal: Proposal) -> Deal:
    deal = context.state.get(Deal, proposal.subject)
    assert deal is not None, f"proposal {proposal.leaf} has no deal"
    return deal


def deal_of(context: Context, offer: Offer) -> Deal | None:
    """The deal that an offer is a direction of."""
    if offer.deal is UNSET:
        return None
    deal = context.state.get(Deal, offer.deal)
    assert deal is not None, f"offer {offer.id} has no deal"
    return deal


def settle_deal(context: Context, message: SettleDeal) -> Effects:
    """What the period came to, direction by direction: home owes its shortfall, visited the rebate."""
    sender = context.sender.id
    deal = context.state.get(Deal, message.deal)
    if deal is None or sender not in (deal.proposer, deal.partner):
        raise Refused("unknown-deal", f"there is no deal {message.deal} of {sender}")
    if deal.state != "agreed":
        raise Refused("wrong-state", f"deal {deal.id} is {deal.state}, it must be agreed")
    count = periods(deal.calendar)
    if message.period >= count:
        raise Refused("invalid-terms", f"deal {deal.id} has periods 0 to {count - 1}")
    after = bounds(deal.calendar, message.period)[1] + deal.settle_after_days * DAY_MS
    if context.time < after:
        raise Refused("too-early", f"period {message.period} of deal {deal.id} is settled from {after} on")
    period = find_period(context, deal, message.period)
    if period.settled is not None:
        raise Refused("wrong-state", f"period {message.period} of deal {deal.id} was settled at {period.settled}")
    other = deal.partner if sender == deal.proposer else deal.proposer
    rows = (structs.replace(period, settled=context.time), *_final_debts(context, deal, period))
    return Effects(rows, counterparty=other)


def _final_debts(context: Context, deal: Deal, period: DealPeriod) -> list[Row]:
    part = part_of(deal.calendar, period.number)
    back = (0, 0)
    if deal.balanced:
        there, here = period.traffic
        back = rebates(deal.balanced, (there, here))
    rows: list[Row] = []
    ids = settlement_ids(deal.id, period.number)
    for place, direction in enumerate(deal.directions):
        missing = shortfall(direction.revenue, direction.volumes, period.traffic[place], part)
        home, visited = direction.home, deal.visited_of(place)
        if missing:
            rows.append(_debt(context, deal, ids[place][0], home, visited, missing, "shortfall"))
        if back[place]:
            rows.append(_debt(context, deal, ids[place][1], visited, home, back[place], "rebate"))
    return rows


def _debt(
    context: Context, deal: Deal, key: UUID, debtor: str, creditor: str, amount: int, cause: ObligationCause
) -> Obligation:
    return Obligation(
        id=key,
        debtor=debtor,
        creditor=creditor,
        amount=amount,
        remaining=amount,
        due=context.time + deal.due_days * DAY_MS,
        cause=cause,
        made=context.time,
        source=deal.id,
    )


def find_period(context: Context, deal: Deal, number: int) -> DealPeriod:
    """A period of a deal as it stands; nothing was used in one that has no row yet."""
    found = context.state.get(DealPeriod, period_key(deal.id, number))
    if found is not None:
        return found
    return DealPeriod(
        id=period_key(deal.id, number), deal=deal.id, number=number, traffic=(Traffic(),) * len(deal.directions)
    )
