"""Tariffs: what an offer costs, in micro-SDRt, as its publisher signed it.

Three kinds, one tagged union:

- `Bundle`: a fixed price buys an allowance (octets, seconds, messages) for some hours from first registration;
- `Metered`: every block, interval and event is charged, up to an optional cap;
- `Code`: a fixed price for one SP code (an insurance policy, a lounge visit …), earned when it is redeemed.

The arithmetic is in `settlement.usage.rating`; here are only shapes and bounds.
"""

from typing import Annotated

from msgspec import Meta, Struct

from settlement.money import MAX_AMOUNT

MAX_UNITS = 2**53 - 1
"""Largest count of octets, seconds or events in one field: exact in every JSON reader (RFC 7493 §2.2)."""
MAX_RENEWALS = 365
"""A bundle renews at most daily for a year; more is a mistake or an attack on the reader."""

Amount = Annotated[int, Meta(ge=0, le=MAX_AMOUNT, description="micro-SDRt")]
Units = Annotated[int, Meta(ge=0, le=MAX_UNITS)]
Interval = Annotated[int, Meta(ge=1, le=MAX_UNITS)]


class _Tariff(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    pass


class Bundle(_Tariff, frozen=True, kw_only=True, tag="bundle"):
    """An allowance for a fixed price. `octets`, `seconds`, `messages` are included; 0 means the service is not sold.

    `hours` run from first registration. A request may ask for up to `renewals` further periods, each at `price`,
    taken when the allowance or the time runs out and there is use again.
    """

    price: Amount
    octets: Units = 0
    seconds: Units = 0
    messages: Units = 0
    hours: Annotated[int, Meta(ge=1, le=24 * 366)]
    renewals: Annotated[int, Meta(ge=0, le=MAX_RENEWALS)] = 0


class Metered(_Tariff, frozen=True, kw_only=True, tag="metered"):
    """Charged as used. A started block or interval is charged whole.

    Data: `block_price` for each `block` octets of the request's cumulative volume.
    Voice: `first_price` for a call's first `first_interval` seconds, then `next_price` for each `next_interval` ones.
    Messages: `event_price` each. `cap`: the most a request is ever charged; 0 means no cap but the escrow.
    """

    block: Interval = 1024
    block_price: Amount = 0
    first_interval: Interval = 60
    first_price: Amount = 0
    next_interval: Interval = 1
    next_price: Amount = 0
    event_price: Amount = 0
    cap: Amount = 0


class Code(_Tariff, frozen=True, kw_only=True, tag="code"):
    """One redeemable SP code for a fixed price."""

    price: Amount


Tariff = Bundle | Metered | Code
