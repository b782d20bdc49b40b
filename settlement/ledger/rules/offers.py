"""Offers: published for a fee, superseded, withdrawn; never edited."""

from msgspec import structs

from settlement.ledger.messages import PublishOffer, Terms, WithdrawOffer
from settlement.ledger.rules.context import Context, Effects, Refused
from settlement.ledger.state import Offer, Row
from settlement.usage.tariff import Bundle, Code

DAY_MS = 86_400_000


def publish_offer(context: Context, message: PublishOffer) -> Effects:
    """A new offer; its fee, a started day at a time, goes to the issuer."""
    sender, terms = context.sender, message.terms
    if sender.role != "operator":
        raise Refused("not-permitted", f"{sender.id} is an {sender.role}: only operators publish offers")
    if context.state.get(Offer, message.id) is not None:
        raise Refused("already-exists", f"there is an offer {message.id}")
    check_terms(terms)
    parameters = context.ledger.parameters
    days = -(-(terms.valid_until - context.time) // DAY_MS)
    if not 1 <= days <= parameters.offer_days_max:
        raise Refused("invalid-terms", f"valid_until is {days} days away, it must be 1 to {parameters.offer_days_max}")
    offer = Offer(
        id=message.id,
        publisher=sender.id,
        published=context.time,
        status="open",
        stock=terms.stock,
        terms=terms,
    )
    rows: list[Row] = [offer]
    if message.supersedes is not None:
        rows.append(structs.replace(_own_open_offer(context, message.supersedes), status="superseded"))
    fee = parameters.offer_fee_per_day * days
    if fee:
        account, issuer = context.account(sender.id), context.account(context.ledger.issuer)
        if account.available < fee:
            raise Refused(
                "insufficient-funds", f"publishing for {days} days costs {fee}, {account.available} available"
            )
        rows.append(structs.replace(account, available=account.available - fee))
        rows.append(structs.replace(issuer, available=issuer.available + fee))
    return Effects(tuple(rows), settled=fee)


def withdraw_offer(context: Context, message: WithdrawOffer) -> Effects:
    """No new requests; those placed go on."""
    return Effects((structs.replace(_own_open_offer(context, message.offer), status="withdrawn"),))


def check_terms(terms: Terms) -> None:
    """What a single field cannot say. Raises Refused."""
    if (terms.delivery == "code") != isinstance(terms.tariff, Code):
        raise Refused("invalid-terms", "delivery 'code' goes with a tariff of kind 'code', and only with that")
    if terms.category == "telecom" and not (terms.countries or terms.plmns):
        raise Refused("invalid-terms", "a telecom offer needs coverage: countries or plmns")
    if isinstance(terms.tariff, Bundle) and not (terms.tariff.octets or terms.tariff.seconds or terms.tariff.messages):
        raise Refused("invalid-terms", "a bundle must include octets, seconds or messages")


def _own_open_offer(context: Context, offer_id: object) -> Offer:
    offer = context.state.get(Offer, offer_id)
    if offer is None or offer.publisher != context.sender.id:
        raise Refused("unknown-offer", f"{context.sender.id} has no offer {offer_id}")
    if offer.status != "open":
        raise Refused("offer-closed", f"offer {offer.id} is {offer.status} already")
    return offer
