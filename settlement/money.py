"""SDRt amounts: whole micro-SDRt in `int`, never a float; one spelling for people.

1 SDRt = 1,000,000 µSDRt. Code names such an amount `…_usdr`; text shows all six decimals, as in `12.345678 SDRt`.
"""

import re

MICRO = 1_000_000
"""Micro-SDRt in one SDRt."""
MAX_AMOUNT = 2**53 - 1
"""Largest amount in µSDRt, some 9 billion SDRt: the largest integer every JSON reader keeps exact (RFC 7493 §2.2)."""

_SDRT = re.compile(r"(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,6}))?(?: SDRt)?", re.ASCII)


class MoneyError(ValueError):
    """Text that is not an amount of SDRt, or an amount outside 0 to `MAX_AMOUNT`."""


def check_amount(amount_usdr: int) -> int:
    """Hand back an amount in µSDRt, or raise `MoneyError` if it is below zero or above `MAX_AMOUNT`."""
    if not 0 <= amount_usdr <= MAX_AMOUNT:
        raise MoneyError(f"{amount_usdr} µSDRt is no amount: it is 0 to {MAX_AMOUNT} µSDRt")
    return amount_usdr


def format_sdrt(amount_usdr: int) -> str:
    """Write an amount, or a difference of amounts, in µSDRt: `12.345678 SDRt`, `-0.500000 SDRt`."""
    whole, micro = divmod(abs(amount_usdr), MICRO)
    return f"{'-' if amount_usdr < 0 else ''}{whole}.{micro:06d} SDRt"


def parse_sdrt(text: str) -> int:
    """Read an amount a person wrote into µSDRt: `12.345678 SDRt`, `12.5`, `12`.

    Raises `MoneyError` on anything finer than six decimals, with a sign, grouped, or above `MAX_AMOUNT`.
    """
    if (match := _SDRT.fullmatch(text.strip())) is None:
        raise MoneyError(f"{text[:80]!r} is no amount: write it as 12.345678 SDRt, a point and up to six decimals")
    whole, micro = match.groups()
    return check_amount(int(whole) * MICRO + int((micro or "").ljust(6, "0")))
