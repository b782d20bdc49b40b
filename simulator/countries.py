"""Countries as networks number them (ITU-T E.212), with what simulated operators need to know of theirs.

country = load_countries()["ES"]
country.plmn(0)                     # "21498": the first simulated network of Spain
"""

import csv
from functools import cache
from importlib.resources import files
from typing import Final

from msgspec import Struct

_LAST_CODE: Final = {2: 98, 3: 998}
"""Simulated networks take network codes from here downwards: where regulators have assigned none."""
MOST_NETWORKS: Final = 20
"""Networks of one country: below, real ones begin."""


class Country(Struct, frozen=True, kw_only=True):
    """One country. `offset`: minutes from UTC. `price_level`: 100 is Germany."""

    iso: str
    name: str
    mccs: tuple[str, ...]
    mnc_digits: int
    currency: str
    calling: str
    offset: int
    price_level: int

    @property
    def mcc(self) -> str:
        """The code its simulated networks have."""
        return self.mccs[0]

    def plmn(self, number: int) -> str:
        """MCC and MNC of its simulated network `number`, counted from 0."""
        assert 0 <= number < MOST_NETWORKS, f"{self.iso} has no room for network {number}"
        return f"{self.mcc}{_LAST_CODE[self.mnc_digits] - number:0{self.mnc_digits}d}"


@cache
def load_countries() -> dict[str, Country]:
    """All countries by ISO 3166-1 alpha-2 code."""
    text = (files("simulator") / "data" / "countries.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {
        row["iso"]: Country(
            iso=row["iso"],
            name=row["name"],
            mccs=tuple(row["mccs"].split()),
            mnc_digits=int(row["mnc_digits"]),
            currency=row["currency"],
            calling=row["calling"],
            offset=int(row["offset"]),
            price_level=int(row["price_level"]),
        )
        for row in rows
    }
