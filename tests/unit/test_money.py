"""SDRt amounts as people read and write them."""

import pytest

from settlement.money import MAX_AMOUNT, MoneyError, check_amount, format_sdrt, parse_sdrt


@pytest.mark.parametrize(
    ("amount_usdr", "text"),
    [
        (0, "0.000000 SDRt"),
        (1, "0.000001 SDRt"),
        (12_345_678, "12.345678 SDRt"),
        (-500_000, "-0.500000 SDRt"),
        (MAX_AMOUNT, "9007199254.740991 SDRt"),
    ],
)
def test_amounts_are_written_with_six_decimals(amount_usdr: int, text: str) -> None:
    assert format_sdrt(amount_usdr) == text


@pytest.mark.parametrize(
    ("text", "amount_usdr"), [("12", 12_000_000), ("12.5", 12_500_000), (" 0.000001 SDRt ", 1), ("0 SDRt", 0)]
)
def test_a_person_may_leave_out_unit_and_zeros(text: str, amount_usdr: int) -> None:
    assert parse_sdrt(text) == amount_usdr


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SDRt",
        "-1",
        "+1",
        "1,5",
        "1 000",
        "1.",
        ".5",
        "01",
        "1e3",
        "1.0000001",
        "1 SDR",
        "٣",
        "1\n2",
        "9007199254.740992",
    ],
)
def test_what_is_not_one_amount_is_refused(text: str) -> None:
    with pytest.raises(MoneyError):
        parse_sdrt(text)


def test_amounts_outside_the_range_are_refused_by_value() -> None:
    assert check_amount(MAX_AMOUNT) == MAX_AMOUNT
    for amount_usdr in (-1, MAX_AMOUNT + 1):
        with pytest.raises(MoneyError, match=str(amount_usdr)):
            check_amount(amount_usdr)
