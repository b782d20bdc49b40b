"""How documents write: words, dates and numbers of a language; amounts as exact decimals.

Ask for a language's words once, then for each by its key:

    words = words_of(Language.RU)
    words("pay-to", iban="DE02…", number="INV-2026-000017")
    words.minor(123456, 2)                       # '1 234,56' with no-break spaces
"""

import tomllib
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Final

from msgspec import Struct

from settlement.documents.amounts import Totals
from settlement.documents.model import Billing, Language, Rate
from settlement.money import MICRO

USDR_DIGITS: Final = 6
"""Decimals of SDRt."""
MINUS: Final = "\N{MINUS SIGN}"
_GROUPS: Final = {Language.EN: (",", "."), Language.RU: ("\N{NO-BREAK SPACE}", ",")}
_MONTHS: Final = "January February March April May June July August September October November December".split()


class Words(Struct, frozen=True):
    """The words and the writing of one language."""

    language: Language
    by_key: dict[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """The words of a key, filled in."""
        return self.by_key[key].format(**values)

    def long_date(self, day: date) -> str:
        """A day in a sentence: `31 October 2026`, `31.10.2026`."""
        if self.language is Language.RU:
            return f"{day:%d.%m.%Y}"
        return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"

    def short_date(self, day: date) -> str:
        """A day in a table: `2026-10-31`, `31.10.2026`."""
        return f"{day:%d.%m.%Y}" if self.language is Language.RU else day.isoformat()

    def time(self, moment: datetime) -> str:
        """A minute in a table, with its zone: `2026-10-31 18:05 +02:00`."""
        return f"{self.short_date(moment.date())} {moment:%H:%M} {moment.isoformat()[-6:]}"

    def number(self, number: Decimal) -> str:
        """A number with grouped thousands and as many decimals as it has."""
        group, point = _GROUPS[self.language]
        text = f"{abs(number):,f}".replace(",", "\0").replace(".", point).replace("\0", group)
        return f"{MINUS if number < 0 else ''}{text}"

    def minor(self, amount: int, digits: int) -> str:
        """An amount in units of 10^-digits."""
        return self.number(Decimal(amount).scaleb(-digits))

    def usdr(self, amount_usdr: int) -> str:
        """An amount of µSDRt in SDRt, all six decimals."""
        return self.minor(amount_usdr, USDR_DIGITS)


@cache
def words_of(language: Language) -> Words:
    """The words of a language."""
    tables = tomllib.loads((files("settlement.documents") / "words.toml").read_text(encoding="utf-8"))
    return Words(language, tables[language.value])


def decimal_of(amount: int, digits: int) -> str:
    """An amount in units of 10^-digits as machines write it: `-1234.56`."""
    return f"{Decimal(amount).scaleb(-digits):f}"


def tell_rate(rate: Rate, words: Words) -> str:
    """The conversion, in a sentence: rate, date, rounding."""
    return words(
        "conversion",
        rate=words.number(rate.rate),
        currency=rate.currency,
        rate_date=words.long_date(rate.rate_date),
        basket=words.long_date(rate.basket_since),
        rounding=words(f"rounding-{rate.rounding.value}"),
        unit=words.minor(1, rate.digits),
    )


def conversion_notes(billing: Billing, totals: Totals, words: Words) -> list[str]:
    """All it takes to repeat an invoice's conversion by hand."""
    notes = [
        tell_rate(billing.rate, words),
        words("conversion-lines", amount=f"{words.usdr(totals.net_usdr)} SDRt"),
    ]
    if totals.rounding:
        difference = words.minor(totals.rounding, billing.rate.digits)
        notes.append(words("conversion-rounding", amount=difference, currency=billing.rate.currency))
    return notes


assert 10**USDR_DIGITS == MICRO
