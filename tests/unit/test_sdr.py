"""The value of one SDR, and conversions that state how they were made."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from settlement.sdr import (
    RateError,
    Rounding,
    convert,
    load_baskets,
    load_rates,
    parse_baskets,
    parse_rates,
    sample_rates,
    value_of_sdr,
)

DAY = date(2026, 11, 20)
ROUND_FIGURES = """# one USD is worth
date,currency,units_per_usd
2026-11-20,EUR,0.5
2026-11-20,CNY,10
2026-11-20,JPY,100
2026-11-20,GBP,0.5
2026-11-20,RUB,80
"""
# 0.57813 + 0.37379/0.5 + 1.0993/10 + 13.452/100 + 0.080870/0.5, by hand
USD_BY_HAND = Decimal("1.73190")


def test_one_sdr_is_the_sum_of_its_basket() -> None:
    rates = parse_rates(ROUND_FIGURES, "round figures")
    assert value_of_sdr("USD", DAY, rates).rate == USD_BY_HAND
    assert value_of_sdr("RUB", DAY, rates).rate == USD_BY_HAND * 80
    assert value_of_sdr("EUR", DAY, rates).basket_since == date(2022, 8, 1)


def test_a_conversion_states_rate_date_and_rounding_and_its_sum_can_be_repeated() -> None:
    conversion = convert(10_000_000, "EUR", DAY, parse_rates(ROUND_FIGURES, "round figures"))
    assert (conversion.amount_minor, conversion.minor_digits, str(conversion)) == (866, 2, "8.66 EUR")
    assert (conversion.value.rate, conversion.value.rate_date) == (Decimal("0.86595"), DAY)
    assert conversion.rounding is Rounding.HALF_EVEN


@pytest.mark.parametrize(
    ("rounding", "cents"),
    [(Rounding.HALF_EVEN, 25_978), (Rounding.HALF_UP, 25_979), (Rounding.UP, 25_979), (Rounding.DOWN, 25_978)],
)
def test_half_a_cent_goes_the_way_that_was_asked_in_either_sign(rounding: Rounding, cents: int) -> None:
    rates = parse_rates(ROUND_FIGURES, "round figures")  # 150 SDRt are 259.785 USD exactly
    assert convert(150_000_000, "USD", DAY, rates, rounding=rounding).amount_minor == cents
    assert convert(-150_000_000, "USD", DAY, rates, rounding=rounding).amount_minor == -cents


def test_yen_have_no_minor_unit_and_dinars_have_three_decimals() -> None:
    rates = parse_rates(ROUND_FIGURES + "2026-11-20,KWD,0.25\n", "round figures")
    assert str(convert(1_000_000, "JPY", DAY, rates)) == "173 JPY"
    assert str(convert(1_000_000, "KWD", DAY, rates)) == "0.433 KWD"
    assert str(convert(-100_000, "KWD", DAY, rates)) == "-0.043 KWD"


def test_a_sunday_is_valued_by_fridays_rates_and_says_so() -> None:
    assert value_of_sdr("EUR", date(2026, 11, 22), load_rates()).rate_date == DAY


def test_a_day_that_lacks_a_currency_is_passed_over() -> None:
    rates = parse_rates(ROUND_FIGURES + "2026-11-21,EUR,0.6\n", "half a day")
    assert value_of_sdr("EUR", date(2026, 11, 21), rates).rate_date == DAY


def test_rates_too_old_are_refused_with_what_to_do() -> None:
    with pytest.raises(RateError, match=r"`landfall settle sample-rates` prints \(the latest are of 2026-11-20"):
        value_of_sdr("EUR", date(2026, 11, 28), load_rates())
    mine = parse_rates(ROUND_FIGURES, "mine.csv")
    with pytest.raises(RateError, match=r"mine.csv: .* add rows for that date \(the latest are of 2026-11-20"):
        value_of_sdr("EUR", date(2026, 11, 28), mine)


def test_sample_rates_can_be_had_for_any_day() -> None:
    day = date(2031, 5, 1)
    rates = parse_rates(sample_rates(day), "to try")
    assert value_of_sdr("EUR", day, rates).rate == value_of_sdr("EUR", DAY, load_rates()).rate


def test_a_file_of_rates_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    file, day = tmp_path / "rates.csv", date(2031, 5, 1)
    file.write_text(sample_rates(day))
    assert load_rates(file) is load_rates(file)
    assert load_rates(file).latest == day
    file.write_text(sample_rates(day) + sample_rates(date(2031, 5, 20)).partition("units_per_usd\n")[2])
    assert load_rates(file).latest == date(2031, 5, 20)


def test_an_unknown_currency_is_refused_by_name() -> None:
    with pytest.raises(RateError, match="lacks CHF"):
        convert(1, "CHF", DAY, load_rates())


def test_a_date_before_the_first_basket_is_refused() -> None:
    with pytest.raises(RateError, match="no SDR basket"):
        value_of_sdr("USD", date(2020, 1, 1), parse_rates(ROUND_FIGURES.replace("2026-11-20", "2020-01-01"), "old"))


def test_the_rates_that_come_with_landfall_are_complete_and_reach_20_november_2026() -> None:
    rates = load_rates()
    assert rates.latest == DAY
    assert len(rates.days) == 12
    assert all(set(row) == {"USD", "EUR", "CNY", "JPY", "GBP", "RUB"} for row in rates.days.values())
    assert set(load_baskets()[0].units) == {"USD", "EUR", "CNY", "JPY", "GBP"}


@pytest.mark.parametrize(
    "row",
    [
        "2026-11-20,EUR",
        "2026-13-01,EUR,1",
        "2026-11-20,eur,1",
        "2026-11-20,EUR,0.6",
        "2026-11-20,USD,2",
        "2026-11-20,CHF,1e3",
        "2026-11-20,CHF,-1",
        "2026-11-20,CHF,0.0",
        "2026-11-20,CHF,NaN",
        "2026-11-20,CHF," + "9" * 30,
    ],
)
def test_a_bad_row_is_refused_with_the_files_name(row: str) -> None:
    with pytest.raises(RateError, match="my rates"):
        parse_rates(ROUND_FIGURES + row + "\n", "my rates")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "basket = 1",
        "[[basket]]\nunits = { USD = '1' }",
        "[[basket]]\nsince = 2022-08-01\nunits = {}",
        "[[basket]]\nsince = 2022-08-01\nunits = { USD = 0.5 }",
        "[[basket]]\nsince = '2022'\nunits = { USD = '1' }",
    ],
)
def test_a_bad_basket_is_refused(text: str) -> None:
    with pytest.raises(RateError):
        parse_baskets(text)
