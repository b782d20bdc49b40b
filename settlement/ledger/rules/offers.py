"""Offers: published for a fee, superseded, withdrawn; never edited. Bids are offers to one buyer."""

from uuid import UUID

from msgspec import UNSET, structs

from settlement.ledger.messages import PublishOffer, RequestBids, Terms, WithdrawBids, WithdrawOffer
from settlement.ledger.rules.context import Context, Effects, Refused
from settlement.ledger.state import BidRequest, Offer, Row
from settlement.usage.tariff import Bundle, Code, find_fault, version_needed

DAY_MS = 86_400_000


def publish_offer(context: Context, message: PublishOffer) -> Effects:
    """A new offer, or a bid; its fee, a started day at a time, goes to the issuer."""
    sender, terms = context.sender, message.terms
    require_operator(context, "publish offers")
    if context.state.get(Offer, message.id) is not None:
        raise Refused("already-exists", f"there is an offer {message.id}")
    check_terms(terms, context.ledger.rules_version)
    buyer = None if message.bid_for is None else _check_bid(context, message.bid_for, terms)
    fee, rows = pay_fee(context, "valid_until", terms.valid_until)
    if message.supersedes is not None:
        rows.append(structs.replace(_own_open_offer(context, message.supersedes), status="superseded"))
    offer = Offer(
        id=message.id,
        publisher=sender.id,
        published=context.time,
        status="open",
        stock=terms.stock,
        terms=terms,
    )
    return Effects((offer, *rows), counterparty=buyer, settled=fee)


def withdraw_offer(context: Context, message: WithdrawOffer) -> Effects:
    """No new requests; those placed go on."""
    return Effects((structs.replace(_own_open_offer(context, message.offer), status="withdrawn"),))


def request_bids(context: Context, message: RequestBids) -> Effects:
    """A buyer tells what it looks for, for the same fee as an offer."""
    require_operator(context, "request bids")
    if context.state.get(BidRequest, message.id) is not None:
        raise Refused("already-exists", f"there is a request for bids {message.id}")
    fee, rows = pay_fee(context, "until", message.until)
    bids = BidRequest(
        id=message.id,
        buyer=context.sender.id,
        published=context.time,
        until=message.until,
        status="open",
        wanted=message.wanted,
    )
    return Effects((bids, *rows), settled=fee)


def withdraw_bids(context: Context, message: WithdrawBids) -> Effects:
    """No further bids; those made stay offers."""
    bids = context.state.get(BidRequest, message.bids)
    if bids is None or bids.buyer != context.sender.id:
        raise Refused("unknown-offer", f"{context.sender.id} has no request for bids {message.bids}")
    if bids.status != "open":
        raise Refused("offer-closed", f"request for bids {bids.id} is {bids.status} already")
    return Effects((structs.replace(bids, status="withdrawn"),))


def require_operator(context: Context, deed: str) -> None:
    """Refuse whoever takes part without trading: issuer and auditors."""
    if context.sender.role != "operator":
        raise Refused("not-permitted", f"{context.sender.id} is an {context.sender.role}: only operators {deed}")


def pay_fee(context: Context, field: str, end: int) -> tuple[int, list[Row]]:
    """The fee, µSDRt, for standing in the market until `end`, and the rows that move it to the issuer."""
    parameters = context.ledger.parameters
    days = -(-(end - context.time) // DAY_MS)
    if not 1 <= days <= parameters.offer_days_max:
        raise Refused("invalid-terms", f"{field} is {days} days away, it must be 1 to {parameters.offer_days_max}")
    fee = parameters.offer_fee_per_day * days
    if not fee:
        return 0, []
    account, issuer = context.account(context.sender.id), context.account(context.ledger.issuer)
    if account.available < fee:
        raise Refused("insufficient-funds", f"{days} days in the market cost {fee}, {account.available} available")
    return fee, [
        structs.replace(account, available=account.available - fee),
        structs.replace(issuer, available=issuer.available + fee),
    ]


def _check_bid(context: Context, bid_for: UUID, terms: Terms) -> str:
    """The buyer that a bid is for. Refuses one that is late, one's own, or for other eyes too."""
    bids = context.state.get(BidRequest, bid_for)
    if bids is None:
        raise Refused("unknown-offer", f"there is no request for bids {bid_for}")
    if bids.buyer == context.sender.id:
        raise Refused("not-permitted", "an operator cannot bid on its own request")
    if bids.status != "open" or context.time > bids.until:
        raise Refused("offer-closed", f"request for bids {bids.id} is {bids.status}, until {bids.until}")
    if terms.whitelist != (bids.buyer,):
        raise Refused("invalid-terms", f"a bid's whitelist is its buyer alone: ({bids.buyer!r},)")
    return bids.buyer


def check_terms(terms: Terms, version: int) -> None:
    """What a single field cannot say, and what rules of `version` do not know yet. Raises Refused."""
    if (needed := version_needed(terms.tariff)) > version:
        raise Refused("newer-rules", f"the tariff needs rules version {needed}, this ledger is under {version}")
    if (terms.delivery == "code") != isinstance(terms.tariff, Code):
        raise Refused("invalid-terms", "delivery 'code' goes with a tariff of kind 'code', and only with that")
    if terms.category == "telecom" and not (terms.countries or terms.plmns):
        raise Refused("invalid-terms", "a telecom offer needs coverage: countries or plmns")
    if isinstance(terms.tariff, Bundle) and not (terms.tariff.octets or terms.tariff.seconds or terms.tariff.messages):
        raise Refused("invalid-terms", "a bundle must include octets, seconds or messages")
    if (fault := find_fault(terms.tariff)) is not None:
        raise Refused("invalid-terms", fault)


def _own_open_offer(context: Context, offer_id: object) -> Offer:
    offer = context.state.get(Offer, offer_id)
    if offer is None or offer.publisher != context.sender.id:
        raise Refused("unknown-offer", f"{context.sender.id} has no offer {offer_id}")
    if offer.status != "open":
        raise Refused("offer-closed", f"offer {offer.id} is {offer.status} already")
    if offer.deal is not UNSET:
        raise Refused("not-permitted", f"offer {offer.id} is part of deal {offer.deal}, which both agreed on")
    return offer
