"""Amounts and rates: no text is misread, no rounding is off by a unit."""

import contextlib
from datetime import date
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from settlement.money import MAX_AMOUNT, MICRO, MoneyError, format_sdrt, parse_sdrt
from settlement.sdr import RateError, Rounding, convert, load_rates, parse_baskets, parse_rates

DAY = date(2026, 11, 20)


@given(st.integers(0, MAX_AMOUNT))
def test_an_amount_written_is_read_back(amount_usdr: int) -> None:
    assert parse_sdrt(format_sdrt(amount_usdr)) == amount_usdr


@given(st.text() | st.from_regex(r"[0-9]{0,12}\.?[0-9]{0,8}( SDRt)?"))
def test_any_text_is_an_amount_or_one_typed_error(text: str) -> None:
    with contextlib.suppress(MoneyError):
        assert 0 <= parse_sdrt(text) <= MAX_AMOUNT


@given(
    st.integers(-MAX_AMOUNT, MAX_AMOUNT),
    st.sampled_from(["USD", "EUR", "CNY", "JPY", "GBP", "RUB"]),
    st.sampled_from(list(Rounding)),
)
def test_a_conversion_is_the_stated_rate_times_the_amount_within_its_rounding(
    amount_usdr: int, currency: str, rounding: Rounding
) -> None:
    conversion = convert(amount_usdr, currency, DAY, load_rates(), rounding=rounding)
    exact = Fraction(amount_usdr, MICRO) * Fraction(conversion.value.rate) * 10**conversion.minor_digits
    difference = abs(conversion.amount_minor) - abs(exact)
    match rounding:
        case Rounding.HALF_EVEN | Rounding.HALF_UP:
            assert abs(difference) <= Fraction(1, 2)
        case Rounding.UP:
            assert 0 <= difference < 1
        case Rounding.DOWN:
            assert -1 < difference <= 0
    assert conversion.amount_minor * amount_usdr >= 0


@given(st.text())
def test_any_text_is_rates_or_baskets_or_one_typed_error(text: str) -> None:
    for parse in (lambda: parse_rates("date,currency,units_per_usd\n" + text, "any text"), lambda: parse_baskets(text)):
        with contextlib.suppress(RateError):
            parse()
