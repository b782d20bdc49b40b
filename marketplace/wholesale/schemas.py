"""Shapes of offers and requests on the node's own API. Amounts are micro-SDRt, times milliseconds since the epoch."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from settlement.ledger.messages import Cause, Terms, Time, Wanted

Policy = Literal["auto", "hold"]
"""What happens to a request on an offer: answered at once, or held for staff."""


class NewOffer(Struct, frozen=True, forbid_unknown_fields=True):
    """An offer to publish; `supersedes` closes an older one to new requests, `bid_for` makes it a bid."""

    terms: Terms
    policy: Policy = "auto"
    supersedes: UUID | None = None
    bid_for: UUID | None = None


class NewBidRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What this operator looks for, until when (milliseconds since the epoch) bids may be made."""

    wanted: Wanted
    until: Time


class OfferView(Struct, frozen=True):
    """An own offer. `state`: publishing, open, withdrawn, superseded or rejected (`cause`: the ledger's code).

    Under a `deal` it is proposed until both have agreed, then open for the partner alone, and cannot be withdrawn.
    """

    id: UUID
    publisher: str
    state: str
    policy: str
    terms: Terms
    cause: str | None = None
    published_ms: int | None = None
    deal: UUID | None = None


class RequestView(Struct, frozen=True):
    """A request of this operator's, in either role; `state` is the ledger's, or ordering or rejected before it."""

    id: UUID
    role: Literal["home", "visited"]
    home: str
    visited: str
    offer: UUID
    delivery_key: str
    state: str
    cause: str | None
    placed_ms: int
    accept_by_ms: int
    ends_ms: int
    report_by_ms: int
    escrow_usdr: int
    charged_usdr: int
    payload: str | None
    activated_ms: int
    next_sequence: int
    reporting: UUID | None


class WhyNot(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a request is declined, cancelled or closed: a word of small letters and hyphens."""

    cause: Cause = "unwanted"


class Registration(Struct, frozen=True):
    """An IMSI's first registration, as the network tells it."""

    imsi: str
    plmn: str
    time_ms: Annotated[int, Meta(ge=0)]


class Taken(Struct, frozen=True):
    """What was asked is stored and will be done; follow it by reading what `id` names."""

    id: UUID
    state: str
