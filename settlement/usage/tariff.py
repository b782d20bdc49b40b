"""Tariffs: what an offer costs, in micro-SDRt, as its publisher signed it.

Three kinds, one tagged union:

- `Bundle`: a fixed price buys an allowance (octets, seconds, messages) for some hours from first registration;
- `Metered`: every block, interval and event is charged, up to an optional cap; with a `Grading` (rules version 2) in
  tiers, by peak zones of the local week, with a least charge, taxes and named rounding;
- `Code`: a fixed price for one SP code (an insurance policy, a lounge visit …), earned when it is redeemed.

The arithmetic is in `settlement.usage.rating` and `grading`; here are only shapes and bounds. The ledger's rules ask
`version_needed(tariff)` and, from version 2 on, `find_fault(tariff)`.
"""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from settlement.money import MAX_AMOUNT
from settlement.sdr import Rounding

MAX_UNITS = 2**53 - 1
"""Largest count of octets, seconds or events in one field: exact in every JSON reader (RFC 7493 §2.2)."""
MAX_RENEWALS = 365
"""A bundle renews at most daily for a year; more is a mistake or an attack on the reader."""

MAX_TIERS: Final = 16
"""Tiers of one scale: agreements have two to six."""
MAX_ZONES: Final = 3
"""Peak zones beside the rest of the week: peak, off-peak and weekend are what price lists know."""
MAX_TAXES: Final = 4
"""Taxes of one tariff: a country's and a region's, and as much again."""
MAX_DIVISOR: Final = 1_000_000_000
"""Finest part of a µSDRt that a price may be in."""
PPM: Final = 1_000_000
"""A tax of 100 % in parts per million."""
WEEK: Final = 7 * 24 * 60
"""Minutes of a week."""
DAY: Final = 24 * 60

Amount = Annotated[int, Meta(ge=0, le=MAX_AMOUNT, description="micro-SDRt")]
Units = Annotated[int, Meta(ge=0, le=MAX_UNITS)]
Interval = Annotated[int, Meta(ge=1, le=MAX_UNITS)]


class _Tariff(Struct, frozen=True, gc=False, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
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


class Tier(Struct, frozen=True, forbid_unknown_fields=True):
    """From `above` units on (octets, chargeable seconds, messages; the first tier has 0), up to the next tier's."""

    above: Units
    price: Amount


class Scale(Struct, frozen=True, forbid_unknown_fields=True):
    """Tiers over what a request has used in one zone, in place of the service's price.

    `linear`: each block, interval or event costs what its own tier says. `fixed`: a tier's price is for the whole
    tier, charged once when it is entered. `back-to-first`: all units cost what the tier that was reached says; nothing
    is given back, so past a threshold to a lower price nothing is charged until the new price has caught up.
    """

    method: Literal["linear", "fixed", "back-to-first"]
    tiers: Annotated[tuple[Tier, ...], Meta(min_length=1, max_length=MAX_TIERS)]


class Window(Struct, frozen=True, forbid_unknown_fields=True):
    """Minutes of local days (1 Monday … 7 Sunday), from `starts` to before `ends`; past midnight if it ends earlier."""

    days: Annotated[tuple[Annotated[int, Meta(ge=1, le=7)], ...], Meta(min_length=1, max_length=7)]
    starts: Annotated[int, Meta(ge=0, lt=DAY)]
    ends: Annotated[int, Meta(ge=1, le=DAY)]


class Zone(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the week with prices of its own, read as those of `Metered`; blocks and intervals are the tariff's.

    A record is in the first zone a window of which holds its start, by the record's own offset from UTC; a call is in
    the zone it began in. Units, blocks and tiers count in each zone for themselves.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$(?!\n)")]
    windows: Annotated[tuple[Window, ...], Meta(min_length=1, max_length=8)]
    block_price: Amount = 0
    first_price: Amount = 0
    next_price: Amount = 0
    event_price: Amount = 0
    data: Scale | None = None
    voice: Scale | None = None
    messages: Scale | None = None


class Tax(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tax on the net amount, `rate` in parts per million: 200000 is 20 %.

    An exclusive tax is added; an inclusive one is in the prices already, and the derivation tells how much it is.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 .-]{0,31}$(?!\n)")]
    rate: Annotated[int, Meta(ge=0, le=PPM)]
    rounding: Rounding = Rounding.HALF_UP
    inclusive: bool = False


class Grading(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a metered tariff may have beyond version 1.

    `data`, `voice`, `messages`: scales outside the zones. `divisor`: every price of blocks, intervals, events and tiers
    is in 1/divisor µSDRt. `rounding`: how their sum becomes µSDRt, once, over all that was used. `minimum`: the
    least, µSDRt before taxes, that a request is charged once anything is used.
    """

    data: Scale | None = None
    voice: Scale | None = None
    messages: Scale | None = None
    zones: Annotated[tuple[Zone, ...], Meta(max_length=MAX_ZONES)] = ()
    divisor: Annotated[int, Meta(ge=1, le=MAX_DIVISOR)] = 1
    rounding: Rounding = Rounding.HALF_UP
    minimum: Amount = 0
    taxes: Annotated[tuple[Tax, ...], Meta(max_length=MAX_TAXES)] = ()


class Metered(_Tariff, frozen=True, kw_only=True, tag="metered"):
    """Charged as used. A started block or interval is charged whole.

    Data: `block_price` for each `block` octets of the request's cumulative volume.
    Voice: `first_price` for a call's first `first_interval` seconds, then `next_price` for each `next_interval` ones.
    Messages: `event_price` each. `cap`: the most a request is ever charged; 0 means no cap but the escrow.
    `grading`: what only rules version 2 knows; left out, all is as in version 1, and so are its octets.
    """

    block: Interval = 1024
    block_price: Amount = 0
    first_interval: Interval = 60
    first_price: Amount = 0
    next_interval: Interval = 1
    next_price: Amount = 0
    event_price: Amount = 0
    cap: Amount = 0
    grading: Grading | UnsetType = UNSET


class Code(_Tariff, frozen=True, kw_only=True, tag="code"):
    """One redeemable SP code for a fixed price."""

    price: Amount


Tariff = Bundle | Metered | Code


def version_needed(tariff: Tariff) -> int:
    """Return the first rules version that understands the tariff: 2 if it has a grading, else 1."""
    return 2 if isinstance(tariff, Metered) and tariff.grading is not UNSET else 1


def find_fault(tariff: Tariff) -> str | None:
    """Say what is wrong with a tariff that no single field shows, or None. Fields' bounds were checked in decoding."""
    if not isinstance(tariff, Metered) or tariff.grading is UNSET:
        return None
    grading = tariff.grading
    names = [zone.name for zone in grading.zones]
    if len({"base", *names}) != len(names) + 1:
        return f"zones {', '.join(names)}: each needs a name of its own, and none is 'base'"
    if len({tax.name for tax in grading.taxes}) != len(grading.taxes):
        return f"taxes {', '.join(tax.name for tax in grading.taxes)}: each needs a name of its own"
    if tariff.cap and grading.minimum > tariff.cap:
        return f"minimum is {grading.minimum}, more than the cap of {tariff.cap}"
    for zone in grading.zones:
        for window in zone.windows:
            if window.starts == window.ends % DAY and window.starts:
                return f"zone {zone.name}: a window from {window.starts} to {window.ends} is empty; 0 to {DAY} is a day"
        if (fault := _find_scale_fault(tariff, zone, zone)) is not None:
            return f"zone {zone.name}, {fault}"
    return _find_scale_fault(tariff, tariff, grading)


def _find_scale_fault(tariff: Metered, rates: Metered | Zone, scales: Grading | Zone) -> str | None:
    for service, scale, price, size in (
        ("data", scales.data, rates.block_price, tariff.block),
        ("voice", scales.voice, rates.first_price or rates.next_price, tariff.next_interval),
        ("messages", scales.messages, rates.event_price, 1),
    ):
        if scale is None:
            continue
        if price:
            return f"{service}: has a price of {price} and tiers; it can have one of them"
        if service == "voice" and tariff.first_interval % size:
            return f"voice: with tiers, first_interval {tariff.first_interval} must be a multiple of {size}"
        bounds = [tier.above for tier in scale.tiers]
        if bounds[0] or sorted(set(bounds)) != bounds:
            return f"{service}: tiers begin above {bounds}; they must begin at 0 and rise"
        if uneven := [bound for bound in bounds if bound % size]:
            return f"{service}: a tier begins above {uneven[0]}, which is no multiple of {size}"
    return None
