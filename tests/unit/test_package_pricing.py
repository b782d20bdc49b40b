"""A package's price is exact, dated, and adds up."""

from datetime import date
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.operator_problems import Refusal
from marketplace.packages.pricing import PackageDraft, PackageItem, Quote, price, split
from settlement.ledger.messages import Terms
from settlement.sdr import load_rates, value_of_sdr
from settlement.usage.tariff import Bundle, Code, Metered, Tariff

FRIDAY, SUNDAY = date(2026, 11, 20), date(2026, 11, 22)
BUNDLE, METERED, CODE, CAPPED = (UUID(int=number) for number in range(1, 5))


def make_terms(name: str, tariff: Tariff) -> Terms:
    return Terms(
        name={"en": name},
        description={"en": name},
        category="telecom",
        countries=("DE",),
        delivery="profile",
        tariff=tariff,
        valid_until=0,
        accept_within_s=60,
        report_within_s=60,
    )


OFFERS = {
    BUNDLE: ("bravo", make_terms("5 GB", Bundle(price=6_500_000, octets=5, hours=24, renewals=3))),
    METERED: ("bravo", make_terms("as you go", Metered(block_price=1))),
    CAPPED: ("bravo", make_terms("as you go, capped", Metered(block_price=1, cap=4_000_000))),
    CODE: ("cover", make_terms("insurance", Code(price=3_250_000))),
}


def quote(*items: PackageItem, on: date = FRIDAY, currency: str = "EUR", **wanted: Any) -> Quote:
    draft = PackageDraft(name="Away", items=items, currency=currency, **wanted)
    return price(draft, OFFERS, on=on, rates=load_rates())


def test_cost_is_the_escrow_at_the_days_rate_rounded_up() -> None:
    found = quote(PackageItem(offer=BUNDLE, renewals=1), PackageItem(offer=CODE), margin_percent="0")
    assert found.cost_usdr == 2 * 6_500_000 + 3_250_000
    rate = value_of_sdr("EUR", FRIDAY, load_rates()).rate
    assert found.sdr_rate == str(rate)
    assert found.cost_minor - 1 < found.cost_usdr * rate / 10_000 <= found.cost_minor
    assert found.retail_minor == found.cost_minor


def test_a_weekends_quote_says_that_its_rate_is_of_friday() -> None:
    assert quote(PackageItem(offer=CODE), on=SUNDAY, margin_percent="10").rate_date == FRIDAY


def test_margin_in_per_cent_is_of_cost_and_the_price_is_rounded_up() -> None:
    found = quote(PackageItem(offer=CODE), margin_percent="25", round_to_minor=50)
    assert found.retail_minor % 50 == 0
    assert found.retail_minor >= found.cost_minor * 1.25 > found.retail_minor - 50
    assert found.margin_minor == found.retail_minor - found.cost_minor


def test_a_fixed_margin_is_added_and_a_given_price_may_lose() -> None:
    fixed = quote(PackageItem(offer=CODE), margin_minor=200)
    assert fixed.margin_minor == 200
    below_cost = quote(PackageItem(offer=CODE), retail_minor=100)
    assert below_cost.margin_minor < 0
    assert below_cost.margin_percent.startswith("-")


def test_prices_are_in_the_currencys_own_minor_units() -> None:
    assert quote(PackageItem(offer=CODE), currency="RUB", margin_percent="0").minor_digits == 2
    assert quote(PackageItem(offer=CODE), currency="JPY", margin_percent="0").minor_digits == 0


def test_a_metered_offer_costs_its_cap_or_the_escrow_chosen() -> None:
    assert quote(PackageItem(offer=CAPPED), margin_minor=0).cost_usdr == 4_000_000
    assert quote(PackageItem(offer=CAPPED, escrow_usdr=1_000_000), margin_minor=0).cost_usdr == 1_000_000
    assert quote(PackageItem(offer=METERED, escrow_usdr=7), margin_minor=0).cost_usdr == 7


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (PackageItem(offer=METERED), "escrow_usdr of 1 to"),
        (PackageItem(offer=CAPPED, escrow_usdr=4_000_001), "escrow_usdr of 1 to 4000000"),
        (PackageItem(offer=BUNDLE, renewals=4), "allows 3 renewals, not 4"),
        (PackageItem(offer=CODE, escrow_usdr=1), "costs 3250000"),
    ],
)
def test_what_the_ledger_would_reject_is_refused_before_it_is_sold(item: PackageItem, said: str) -> None:
    with pytest.raises(Refusal, match=said):
        quote(item, margin_minor=0)


def test_exactly_one_way_to_a_price_is_given() -> None:
    wrong: list[dict[str, Any]] = [{}, {"margin_percent": "1", "retail_minor": 1}]
    for wanted in wrong:
        with pytest.raises(Refusal, match="exactly one"):
            quote(PackageItem(offer=CODE), **wanted)


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**12), min_size=1, max_size=20))
def test_shares_add_up_to_the_price_whatever_the_weights(amount: int, weights: list[int]) -> None:
    shares = split(amount, weights)
    assert sum(shares) == amount
    assert min(shares) >= 0
