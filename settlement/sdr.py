"""What one SDR is worth, and what an amount of SDRt comes to in a currency.

The IMF fixes how many units of each currency one SDR holds (the basket, `data/sdr_basket.toml`, dated); daily rates say
what those units are worth (a file of yours, dated; `data/rates.csv` is a sample). One SDR in currency X is

    Σ over the basket (units of C in one SDR ÷ units of C per USD) × units of X per USD

computed exactly, then rounded half-even to `RATE_DECIMALS`: that is *the* rate, which a `Conversion` states beside the
date it is from, and the amount follows from it, so that anyone with the document in hand can repeat the sum.

    convert(12_500_000, "EUR", date(2026, 11, 22), load_rates())    # a Sunday: Friday's rates, and it says so
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path

import msgspec

from settlement.money import MICRO

RATE_DECIMALS = 10
"""Decimals of a stated rate: an error below one minor unit on a hundred million SDRt."""
MAX_RATE_AGE_DAYS = 7
"""How far back a missing day's rates may come from: longer than a run of holidays at the IMF, shorter than neglect."""
MAX_RATE_DIGITS = 20
"""Digits in a rate read from a file; no quoted rate has half as many."""

SAMPLE = "sample rates"
FILES_KEPT = 8
"""Rates files kept in memory as they were last read; a program has one."""

_HEADER = "date,currency,units_per_usd"
_RATE = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)
_MINOR_DIGITS = {
    currency: digits
    for digits, currencies in {
        0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
        3: "BHD IQD JOD KWD LYD OMR TND",
        4: "CLF UYW",
    }.items()
    for currency in currencies.split()
}
"""Decimals of the currencies that do not have two (ISO 4217, list one)."""


class RateError(ValueError):
    """Rates or a basket that are not well-formed, or that do not answer for this currency and date."""


class Rounding(StrEnum):
    """How an amount becomes whole minor units."""

    HALF_EVEN = "half-even"
    HALF_UP = "half-up"
    UP = "up"
    DOWN = "down"


class Basket(msgspec.Struct, frozen=True):
    """Units of each currency in one SDR, from a date on."""

    since: date
    units: Mapping[str, Decimal]


class Rates(msgspec.Struct, frozen=True):
    """Units of each currency per USD, by date; `source` names the file in errors."""

    source: str
    days: Mapping[date, Mapping[str, Decimal]]

    @property
    def latest(self) -> date:
        """The last day there are rates of."""
        return max(self.days)


class SdrValue(msgspec.Struct, frozen=True):
    """What one SDR was worth: `rate` units of `currency`, by the rates of `rate_date` and the basket in force then."""

    currency: str
    rate: Decimal
    rate_date: date
    basket_since: date


class Conversion(msgspec.Struct, frozen=True):
    """An amount of SDRt in a currency, with all it takes to repeat the sum.

    `amount_minor` is in units of 10^-`minor_digits` of the currency: cents of EUR, whole JPY.
    """

    amount_usdr: int
    amount_minor: int
    minor_digits: int
    value: SdrValue
    rounding: Rounding

    def __str__(self) -> str:
        sign, digits = "-" if self.amount_minor < 0 else "", str(abs(self.amount_minor)).zfill(self.minor_digits + 1)
        cut = len(digits) - self.minor_digits
        return f"{sign}{digits[:cut]}{'.' if self.minor_digits else ''}{digits[cut:]} {self.value.currency}"


def parse_baskets(text: str) -> tuple[Basket, ...]:
    """Read dated baskets, TOML tables `[[basket]]` with `since` and `units`, into order of date."""
    try:
        tables = tomllib.loads(text)["basket"]
        baskets = tuple(
            Basket(table["since"], {code: _parse_rate(units) for code, units in table["units"].items()})
            for table in tables
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise RateError(f"the SDR baskets cannot be read: {error!r}; write [[basket]] with since and units") from error
    if not baskets or any(type(basket.since) is not date or not basket.units for basket in baskets):
        raise RateError("the SDR baskets are empty or undated: give each a date `since` and its units")
    return tuple(sorted(baskets, key=lambda basket: basket.since))


def parse_rates(text: str, source: str) -> Rates:
    """Read rates: CSV `date,currency,units_per_usd`, dates as 2026-11-20, decimals with a point; # begins a comment."""
    days: dict[date, dict[str, Decimal]] = {}
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines or lines[0].strip() != _HEADER:
        raise RateError(f"{source}: the first line must be {_HEADER}")
    for line in lines[1:]:
        try:
            day_text, currency, rate_text = (field.strip() for field in line.split(","))
            day, rate = date.fromisoformat(day_text), _parse_rate(rate_text)
        except ValueError as error:
            raise RateError(f"{source}: {line[:80]!r} is no rate ({error}): write 2026-11-20,EUR,0.85") from error
        if not (currency.isascii() and currency.isalpha() and currency.isupper() and len(currency) == 3):
            raise RateError(f"{source}: {currency[:80]!r} is no currency: write its ISO 4217 code, as EUR")
        if days.setdefault(day, {"USD": Decimal(1)}).setdefault(currency, rate) != rate:
            raise RateError(f"{source}: {currency} of {day} has two rates, or USD is not 1: remove the wrong one")
    if not days:
        raise RateError(f"{source}: holds no rates")
    return Rates(source, days)


@cache
def load_baskets() -> tuple[Basket, ...]:
    """The baskets that come with this package."""
    return parse_baskets((files("settlement") / "data" / "sdr_basket.toml").read_text(encoding="utf-8"))


def load_rates(path: Path | None = None) -> Rates:
    """Rates from a file, read again when it has changed; without one, the sample rates that come with this package."""
    if path is None:
        return _load_sample()
    state = path.stat()
    return _read_rates(path, state.st_mtime_ns, state.st_size)


@cache
def _load_sample() -> Rates:
    return parse_rates((files("settlement") / "data" / "rates.csv").read_text(encoding="utf-8"), SAMPLE)


@lru_cache(maxsize=FILES_KEPT)
def _read_rates(path: Path, _changed_ns: int, _size: int) -> Rates:
    return parse_rates(path.read_text(encoding="utf-8"), str(path))


def sample_rates(on: date) -> str:
    """The newest sample rates as a file of rates of the day `on`: to try Landfall with, and for nothing else."""
    sample = _load_sample()
    lines = [f"{on},{currency},{rate}" for currency, rate in sample.days[sample.latest].items()]
    note = f"# SAMPLE FIGURES of {sample.latest}, dated anew to try Landfall with: nobody quotes them."
    return "\n".join([note, _HEADER, *lines, ""])


def value_of_sdr(currency: str, on: date, rates: Rates, baskets: Sequence[Basket] | None = None) -> SdrValue:
    """What one SDR is worth in `currency` on a date, by the latest complete rates of that date or before it.

    A day counts when it has rates of the whole basket and of `currency`. Raises `RateError` when there is none within
    `MAX_RATE_AGE_DAYS`, or no basket was in force. Without `baskets`, those of the package.
    """
    missing = ""
    for day in (on - timedelta(days=age) for age in range(MAX_RATE_AGE_DAYS + 1)):
        if day not in rates.days:
            continue
        basket, per_usd = _basket_on(day, baskets or load_baskets()), rates.days[day]
        absent = {*basket.units, currency} - per_usd.keys()
        if not absent:
            usd = sum((Fraction(units) / Fraction(per_usd[code]) for code, units in basket.units.items()), Fraction())
            return SdrValue(currency, _round_rate(usd * Fraction(per_usd[currency])), day, basket.since)
        missing = missing or f"; {day} lacks {', '.join(sorted(absent))}"
    remedy = "add rows for that date"
    if rates.source == SAMPLE:
        remedy = "give a file with your own, or, to try, what `landfall settle sample-rates` prints"
    raise RateError(
        f"{rates.source}: no rates for {currency} on {on} nor in the {MAX_RATE_AGE_DAYS} days before it{missing}: "
        f"{remedy} (the latest are of {rates.latest})"
    )


def convert(
    amount_usdr: int, currency: str, on: date, rates: Rates, *, rounding: Rounding = Rounding.HALF_EVEN
) -> Conversion:
    """What an amount in µSDRt comes to in whole minor units of `currency` on a date. Raises as `value_of_sdr` does."""
    return apply(value_of_sdr(currency, on, rates), amount_usdr, rounding=rounding)


def apply(value: SdrValue, amount_usdr: int, *, rounding: Rounding = Rounding.HALF_EVEN) -> Conversion:
    """What an amount in µSDRt comes to at a rate that was stated before, as on a document."""
    digits = minor_digits(value.currency)
    exact = Fraction(amount_usdr, MICRO) * Fraction(value.rate) * 10**digits
    return Conversion(amount_usdr, round_whole(exact, rounding), digits, value, rounding)


def minor_digits(currency: str) -> int:
    """Decimals of a currency: 2 for EUR, 0 for JPY."""
    return _MINOR_DIGITS.get(currency, 2)


def _basket_on(day: date, baskets: Sequence[Basket]) -> Basket:
    at = bisect_right(baskets, day, key=lambda basket: basket.since)
    if at == 0:
        raise RateError(f"no SDR basket is known for {day}: the first is of {baskets[0].since}")
    return baskets[at - 1]


def _parse_rate(text: object) -> Decimal:
    """An exact positive decimal. Raises `RateError`, also on a number TOML would have made a float of."""
    if not isinstance(text, str) or len(text) > MAX_RATE_DIGITS or not _RATE.fullmatch(text) or not text.strip("0."):
        raise RateError(f"{str(text)[:80]!r} is no positive decimal: write it with a point, in TOML in quotes")
    return Decimal(text)


def _round_rate(exact: Fraction) -> Decimal:
    return Decimal(f"{round_whole(exact * 10**RATE_DECIMALS, Rounding.HALF_EVEN)}E-{RATE_DECIMALS}")


def round_whole(exact: Fraction, rounding: Rounding) -> int:
    """Round to an integer; halves and directions are taken of the magnitude, so -x rounds as x does."""
    sign, magnitude = (-1 if exact < 0 else 1), abs(exact)
    whole = int(magnitude)
    rest = magnitude - whole
    match rounding:
        case Rounding.HALF_EVEN:
            whole = round(magnitude)
        case Rounding.HALF_UP:
            whole += rest >= Fraction(1, 2)
        case Rounding.UP:
            whole += rest > 0
        case Rounding.DOWN:
            pass
    return sign * whole
