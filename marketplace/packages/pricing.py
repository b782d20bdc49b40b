"""What a package costs wholesale, sells for and leaves: pure, exact, dated.

    quote = price(draft, offers, on=date.today(), rates=rates)

Wholesale cost is what the requests will put into escrow, at most: a bundle's price with its renewals, a code's price,
a metered offer's cap or the escrow chosen. It is valued by the SDR rate of the day, rounded up to a whole minor unit.
The retail price is given, or follows from a margin in per cent of cost or a fixed sum; rounded up to `round_to_minor`.
"""

from collections.abc import Mapping
from datetime import date
from decimal import ROUND_CEILING, Decimal
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from marketplace.operator_problems import Refusal
from settlement.ledger.messages import Terms
from settlement.money import MAX_AMOUNT
from settlement.sdr import Rates, Rounding, convert
from settlement.usage.tariff import Amount, Bundle, Metered

Percent = Annotated[str, Meta(pattern=r"^[0-9]{1,4}(\.[0-9]{1,2})?$", description="as 12.5")]


class PackageItem(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One offer in a package. `days`: how long its request lasts. `renewals`: further bundle periods wanted.

    `escrow_usdr`: for a metered offer without a cap, or less than the cap.
    """

    offer: UUID
    days: Annotated[int, Meta(ge=1, le=366)] = 30
    renewals: Annotated[int, Meta(ge=0, le=365)] = 0
    escrow_usdr: Amount | None = None


class PackageDraft(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A package to be priced: exactly one of `margin_percent`, `margin_minor` and `retail_minor`.

    Amounts in `_minor` are in the currency's smallest unit: cents, kopecks.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    items: Annotated[tuple[PackageItem, ...], Meta(min_length=1, max_length=20)]
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    description: Annotated[str, Meta(max_length=2000)] = ""
    margin_percent: Percent | None = None
    margin_minor: Annotated[int, Meta(ge=0)] | None = None
    retail_minor: Annotated[int, Meta(ge=0)] | None = None
    round_to_minor: Annotated[int, Meta(ge=1)] = 1


class QuotedItem(Struct, frozen=True, kw_only=True):
    """An item with its wholesale cost and its share of the retail price, which is what a refund of it returns."""

    offer: UUID
    name: str
    publisher: str
    days: int
    renewals: int
    escrow_usdr: int
    share_minor: int


class Quote(Struct, frozen=True, kw_only=True):
    """A package's price and how it came about: 1 SDR was `sdr_rate` of the currency on `rate_date`."""

    name: str
    description: str
    currency: str
    items: tuple[QuotedItem, ...]
    cost_usdr: int
    sdr_rate: str
    rate_date: date
    basket_since: date
    cost_minor: int
    retail_minor: int
    margin_minor: int
    margin_percent: str
    minor_digits: int


def price(draft: PackageDraft, offers: Mapping[UUID, tuple[str, Terms]], *, on: date, rates: Rates) -> Quote:
    """Price a draft; `offers` gives publisher and terms of each item's offer. Raises Refusal, RateError."""
    given = [value for value in (draft.margin_percent, draft.margin_minor, draft.retail_minor) if value is not None]
    if len(given) != 1:
        raise Refusal("invalid", "give exactly one of margin_percent, margin_minor and retail_minor")
    escrows = [escrow_of(item, offers[item.offer][1]) for item in draft.items]
    cost = sum(escrows)
    conversion = convert(cost, draft.currency, on, rates, rounding=Rounding.UP)
    retail = _retail(draft, conversion.amount_minor)
    shares = split(retail, escrows)
    margin = retail - conversion.amount_minor
    percent = Decimal(margin) * 100 / conversion.amount_minor if conversion.amount_minor else Decimal(0)
    items = tuple(
        QuotedItem(
            offer=item.offer,
            name=_name(offers[item.offer][1]),
            publisher=offers[item.offer][0],
            days=item.days,
            renewals=item.renewals,
            escrow_usdr=escrow,
            share_minor=share,
        )
        for item, escrow, share in zip(draft.items, escrows, shares, strict=True)
    )
    return Quote(
        name=draft.name,
        description=draft.description,
        currency=draft.currency,
        items=items,
        cost_usdr=cost,
        sdr_rate=str(conversion.value.rate),
        rate_date=conversion.value.rate_date,
        basket_since=conversion.value.basket_since,
        cost_minor=conversion.amount_minor,
        retail_minor=retail,
        margin_minor=margin,
        margin_percent=f"{percent:.2f}",
        minor_digits=conversion.minor_digits,
    )


def escrow_of(item: PackageItem, terms: Terms) -> int:
    """What a request for the item must put into escrow, by the ledger's own rule. Raises Refusal `invalid`."""
    tariff = terms.tariff
    if isinstance(tariff, Metered):
        escrow = item.escrow_usdr or tariff.cap
        if item.renewals or not escrow or (tariff.cap and escrow > tariff.cap):
            raise Refusal(
                "invalid",
                f"offer {item.offer} is metered: no renewals, and escrow_usdr of 1 to {tariff.cap or MAX_AMOUNT}",
            )
        return escrow
    allowed = tariff.renewals if isinstance(tariff, Bundle) else 0
    if item.renewals > allowed:
        raise Refusal("invalid", f"offer {item.offer} allows {allowed} renewals, not {item.renewals}")
    due = tariff.price * (1 + item.renewals)
    if item.escrow_usdr not in (None, due):
        raise Refusal("invalid", f"offer {item.offer} costs {due} µSDRt with its renewals: leave escrow_usdr out")
    return due


def split(amount_minor: int, weights: list[int]) -> list[int]:
    """Divide an amount by weight into whole units that add up to it again; even where all weights are 0."""
    weights = weights if sum(weights) else [1] * len(weights)
    total, shares, before, weight_before = sum(weights), [], 0, 0
    for weight in weights:
        weight_before += weight
        upto = amount_minor * weight_before // total
        shares.append(upto - before)
        before = upto
    return shares


def _retail(draft: PackageDraft, cost_minor: int) -> int:
    if draft.retail_minor is not None:
        return draft.retail_minor
    if draft.margin_minor is not None:
        wanted = cost_minor + draft.margin_minor
    else:
        factor = 1 + Decimal(draft.margin_percent or "0") / 100
        wanted = int((cost_minor * factor).to_integral_value(ROUND_CEILING))
    return -(-wanted // draft.round_to_minor) * draft.round_to_minor


def _name(terms: Terms) -> str:
    return terms.name.get("en") or next(iter(terms.name.values()))
