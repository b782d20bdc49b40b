"""The life of a request: the table of docs/protocol.md, one function a message."""

from typing import NoReturn
from uuid import UUID

from msgspec import structs

from settlement.ledger.messages import (
    AcceptRequest,
    ActivateRequest,
    CancelRequest,
    CloseRequest,
    DeclineRequest,
    DeliverRequest,
    ExpireRequest,
    PlaceRequest,
)
from settlement.ledger.rules.context import Context, Effects, Refused
from settlement.ledger.rules.credit import Count
from settlement.ledger.rules.deals import deal_of
from settlement.ledger.rules.offers import DAY_MS, require_operator
from settlement.ledger.state import Key, Offer, Request, RequestState, Row
from settlement.usage.rating import MINUTE_MS, Meter
from settlement.usage.tariff import Bundle, Metered

SECOND_MS = 1_000
CLOCK_SKEW_MS = 15 * MINUTE_MS
"""How far a network's clock may run ahead of the ledger's in what it reports."""


def place_request(context: Context, message: PlaceRequest) -> Effects:
    """The home operator orders one offer; its price or cap moves from available to escrow."""
    sender, time = context.sender, context.time
    require_operator(context, "place requests")
    if context.state.get(Request, message.id) is not None:
        raise Refused("already-exists", f"there is a request {message.id}")
    offer = context.offer(message.offer)
    _check_order(context, message, offer)
    account = context.account(sender.id)
    if account.available < message.escrow:
        raise Refused("insufficient-funds", f"{account.available} is available, the request needs {message.escrow}")
    request = Request(
        id=message.id,
        home=sender.id,
        visited=offer.publisher,
        offer=offer.id,
        user_id=message.user_id,
        delivery_key=message.delivery_key,
        state="requested",
        placed=time,
        accept_by=time + offer.terms.accept_within_s * SECOND_MS,
        ends=message.ends,
        escrow=message.escrow,
        renewals=message.renewals,
    )
    moved = structs.replace(
        account, available=account.available - message.escrow, escrow=account.escrow + message.escrow
    )
    rows: tuple[Row, ...] = (moved, request)
    if offer.stock is not None:
        rows = (*rows, structs.replace(offer, stock=offer.stock - 1))
    return Effects(rows, counterparty=offer.publisher)


def _check_order(context: Context, message: PlaceRequest, offer: Offer) -> None:
    sender, time, terms = context.sender.id, context.time, offer.terms
    if offer.publisher == sender:
        raise Refused("not-permitted", "an operator cannot place a request on its own offer")
    if offer.status != "open" or time >= terms.valid_until:
        raise Refused("offer-closed", f"offer {offer.id} is {offer.status}, valid until {terms.valid_until}")
    if offer.stock == 0:
        raise Refused("out-of-stock", f"all {terms.stock} of offer {offer.id} are taken")
    key = context.state.get(Key, message.delivery_key)
    if key is None or key.operator != sender or key.purpose != "seal" or (key.until is not None and time >= key.until):
        raise Refused("unknown-key", f"{message.delivery_key} is no valid seal key of {sender}")
    last = time + context.ledger.parameters.request_days_max * DAY_MS
    if not time < message.ends <= last:
        raise Refused("invalid-terms", f"ends is {message.ends}, it must be after {time} and at most {last}")
    tariff = terms.tariff
    if isinstance(tariff, Metered):
        most = tariff.cap or message.escrow
        if message.renewals or not 1 <= message.escrow <= most:
            raise Refused("wrong-escrow", f"a metered request has no renewals and an escrow of 1 to {most}")
        return
    allowed = tariff.renewals if isinstance(tariff, Bundle) else 0
    if message.renewals > allowed:
        raise Refused("invalid-terms", f"{message.renewals} renewals are asked, the offer allows {allowed}")
    due = tariff.price * (1 + message.renewals)
    if message.escrow != due:
        raise Refused("wrong-escrow", f"escrow is {message.escrow}, the offer's price with renewals is {due}")


def accept_request(context: Context, message: AcceptRequest) -> Effects:
    """The visited operator serves the request; from now on it lasts until `ends`, and reports until `report_by`."""
    request = _as_visited(context, message.request, "requested")
    last = min(request.accept_by, request.ends)
    if context.time > last:
        raise Refused("too-late", f"request {request.id} could be accepted until {last}, it is {context.time}")
    report_by = request.ends + context.terms_of(request).terms.report_within_s * SECOND_MS
    accepted = structs.replace(request, state="accepted", payload=message.payload, report_by=report_by)
    return Effects((accepted,), counterparty=request.home)


def decline_request(context: Context, message: DeclineRequest) -> Effects:
    """The visited operator does not serve the request: escrow → home."""
    request = _as_visited(context, message.request, "requested")
    return end(context, request, "declined", counterparty=request.home, cause=message.cause, restock=True)


def cancel_request(context: Context, message: CancelRequest) -> Effects:
    """The home operator cancels: free before the accept, for the fee before activation."""
    request = _as_home(context, message.request, "requested", "accepted", "delivered")
    free = request.state == "requested"
    fee = 0 if free else min(context.terms_of(request).terms.cancellation_fee, request.escrow)
    return end(context, request, "cancelled", counterparty=request.visited, cause=message.cause, fee=fee, restock=free)


def expire_request(context: Context, message: ExpireRequest) -> Effects:
    """Anyone says that time has passed: an unanswered request expires, an unfinished one closes."""
    request = context.request(message.request)
    _require_state(request, "requested", "accepted", "delivered", "active")
    unanswered = request.state == "requested"
    deadline = request.accept_by if unanswered else request.report_by
    if context.time <= deadline:
        raise Refused("too-early", f"request {request.id} expires after {deadline}, it is {context.time}")
    other = request.visited if context.sender.id == request.home else request.home
    ended: RequestState = "expired" if unanswered else "closed"
    return end(context, request, ended, counterparty=other, restock=unanswered)


def deliver_request(context: Context, message: DeliverRequest) -> Effects:
    """The home operator has the card's proof of receipt, or has handed the code over; again, for a new card."""
    request = _as_home(context, message.request, "accepted", "delivered")
    return Effects((structs.replace(request, state="delivered"),), counterparty=request.visited)


def activate_request(context: Context, message: ActivateRequest) -> Effects:
    """First registration (or redemption): a bundle's or code's price → visited, and a bundle's period begins."""
    request = _as_visited(context, message.request, "accepted", "delivered")
    _require_open(context, request)
    at = message.at * MINUTE_MS
    if not request.placed - MINUTE_MS < at <= min(request.ends, context.time + CLOCK_SKEW_MS):
        raise Refused("out-of-time", f"at is {at}, outside the request's time or in the future")
    tariff = context.terms_of(request).terms.tariff
    metered = Meter.read(request).activate(tariff, at).put_back(request)
    active = structs.replace(metered, state="active", activated=at)
    if isinstance(tariff, Metered):
        return Effects((active,), counterparty=request.home)
    counted = _count_price(context, request, tariff.price, at)
    rows = (active, *pay(context, request, tariff.price), *counted)
    return Effects(rows, counterparty=request.home, settled=tariff.price)


def _count_price(context: Context, request: Request, price: int, at: int) -> tuple[Row, ...]:
    """Under a deal a bundle's or code's price counts in the period of its activation."""
    deal = deal_of(context, context.terms_of(request))
    if deal is None:
        return ()
    count = Count(context)
    count.add(deal, request.home, at, None, 0, price)
    return count.rows()


def close_request(context: Context, message: CloseRequest) -> Effects:
    """The visited operator reports no more, or the home operator after `report_by`: the rest → home."""
    request = context.request(message.request)
    if context.sender.id not in (request.home, request.visited):
        _refuse_stranger(context, request)
    _require_state(request, "active")
    by_home = context.sender.id == request.home
    if by_home and context.time <= request.report_by:
        raise Refused("too-early", f"home may close request {request.id} after {request.report_by}")
    other = request.visited if by_home else request.home
    return end(context, request, "closed", counterparty=other, cause=message.cause)


def pay(context: Context, request: Request, amount: int) -> tuple[Row, ...]:
    """The account rows that move `amount` from the home's escrow to the visited operator's available."""
    home, visited = context.account(request.home), context.account(request.visited)
    assert home.escrow >= amount >= 0, f"request {request.id} pays {amount} of an escrow of {home.escrow}"
    return (
        structs.replace(home, escrow=home.escrow - amount),
        structs.replace(visited, available=visited.available + amount),
    )


def end(
    context: Context,
    request: Request,
    state: RequestState,
    *,
    counterparty: str,
    cause: str | None = None,
    fee: int = 0,
    restock: bool = False,
) -> Effects:
    """End a request: `fee` → visited, the rest of its escrow → home; `restock` gives the offer its piece back."""
    back = request.escrow - fee
    home = context.account(request.home)
    assert home.escrow >= request.escrow, f"request {request.id} holds more than {home.operator}'s escrow"
    rows: list[Row] = [
        structs.replace(request, state=state, cause=cause, escrow=0, charged=request.charged + fee),
        structs.replace(home, escrow=home.escrow - request.escrow, available=home.available + back),
    ]
    if fee:
        visited = context.account(request.visited)
        rows.append(structs.replace(visited, available=visited.available + fee))
    if restock:
        offer = context.terms_of(request)
        if offer.stock is not None:
            rows.append(structs.replace(offer, stock=offer.stock + 1))
    return Effects(tuple(rows), counterparty=counterparty, settled=fee)


def _as_home(context: Context, request_id: UUID, *states: RequestState) -> Request:
    request = context.request(request_id)
    if request.home != context.sender.id:
        _refuse_stranger(context, request)
    _require_state(request, *states)
    return request


def _as_visited(context: Context, request_id: UUID, *states: RequestState) -> Request:
    request = context.request(request_id)
    if request.visited != context.sender.id:
        _refuse_stranger(context, request)
    _require_state(request, *states)
    return request


def _require_state(request: Request, *states: RequestState) -> None:
    if request.state not in states:
        wanted = " or ".join(states)
        raise Refused("wrong-state", f"request {request.id} is {request.state}, it must be {wanted}")


def _require_open(context: Context, request: Request) -> None:
    if context.time > request.report_by:
        raise Refused("too-late", f"request {request.id} could be reported on until {request.report_by}")


def _refuse_stranger(context: Context, request: Request) -> NoReturn:
    if context.sender.id in (request.home, request.visited):
        role = "home" if context.sender.id == request.home else "visited"
        raise Refused("not-permitted", f"{context.sender.id} is the {role} operator of request {request.id}")
    raise Refused("unknown-request", f"there is no request {request.id} of {context.sender.id}")
