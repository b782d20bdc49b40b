"""The world of a scenario and a seed: operators with their networks and offers. No keys: those are drawn afresh.

    world = make_world(scenario, seed=7)
    world.offers[3].terms_tariff, world.operators[world.offers[3].operator].plmn

The same scenario and seed make the same world. Operators, countries and offers are known by their place in the tuples,
which is what a million subscribers' arrays can hold.
"""

import random
from typing import Final

from msgspec import Struct

from settlement.usage.tariff import Bundle, Metered
from simulator.countries import Country, load_countries
from simulator.scenario import OperatorPlan, Scenario

GIGABYTE: Final = 1_000_000_000
HAGGLE: Final = 0.1
"""Offers of operators with the same costs differ by up to so much."""


class Operator(Struct, frozen=True, kw_only=True):
    """An operator with its one network. `level`: what its services cost, 1 in Germany."""

    number: int
    plan: OperatorPlan
    country: Country
    plmn: str
    tadig: str
    level: float

    @property
    def id(self) -> str:
        """Its id on the ledger."""
        return self.plan.id

    @property
    def has_node(self) -> bool:
        """Whether it runs a live node."""
        return self.plan.node or self.plan.cards > 0


class SimOffer(Struct, frozen=True, kw_only=True):
    """An offer to the unsampled subscribers of others."""

    number: int
    operator: int
    name: str
    tariff: Bundle | Metered


class World(Struct, frozen=True, kw_only=True):
    """What is there before anybody travels. `countries`: those with operators, in the order of the arrays."""

    scenario: Scenario
    seed: int
    countries: tuple[Country, ...]
    operators: tuple[Operator, ...]
    offers: tuple[SimOffer, ...]

    def country_number(self, iso: str) -> int:
        """Place of a country."""
        return next(number for number, country in enumerate(self.countries) if country.iso == iso)

    def offers_in(self, country: int) -> list[SimOffer]:
        """What is sold in a country."""
        iso = self.countries[country].iso
        return [offer for offer in self.offers if self.operators[offer.operator].country.iso == iso]

    @property
    def nodes(self) -> list[Operator]:
        """Operators with a live node."""
        return [operator for operator in self.operators if operator.has_node]


def make_world(scenario: Scenario, seed: int) -> World:
    """Draw it."""
    draw = random.Random(f"world {seed}")
    known = load_countries()
    operators: list[Operator] = []
    for plan in scenario.operators:
        country = known[plan.country]
        place = sum(other.country.iso == country.iso for other in operators)
        level = country.price_level / 100 * plan.price_level * draw.uniform(1 - HAGGLE, 1 + HAGGLE)
        operators.append(
            Operator(
                number=len(operators),
                plan=plan,
                country=country,
                plmn=country.plmn(place),
                tadig=f"{_iso3(country)}{place % 36:02d}",
                level=level,
            )
        )
    offers: list[SimOffer] = []
    for operator in operators:
        for name, tariff in _tariffs(operator):
            offers.append(SimOffer(number=len(offers), operator=operator.number, name=name, tariff=tariff))
    isos = sorted({operator.country.iso for operator in operators})
    return World(
        scenario=scenario,
        seed=seed,
        countries=tuple(known[iso] for iso in isos),
        operators=tuple(operators),
        offers=tuple(offers),
    )


def _tariffs(operator: Operator) -> list[tuple[str, Bundle | Metered]]:
    """Two bundles and one by use, for what they cost in Germany times the operator's level."""

    def price(usdr: int) -> int:
        return max(1, round(usdr * operator.level / 100) * 100)

    made: list[tuple[str, Bundle | Metered]] = []
    if "bundle" in operator.plan.offers:
        small = Bundle(price=price(2_200_000), octets=GIGABYTE, seconds=1_200, messages=50, hours=96, renewals=5)
        large = Bundle(
            price=price(11_000_000), octets=10 * GIGABYTE, seconds=7_200, messages=300, hours=360, renewals=3
        )
        made += [("1 GB for four days", small), ("10 GB for a fortnight", large)]
    if "metered" in operator.plan.offers:
        by_use = Metered(
            block=100_000,
            block_price=price(25_000) // 100,
            first_interval=60,
            first_price=price(30_000),
            next_interval=1,
            next_price=price(500),
            event_price=price(12_000),
            cap=price(30_000_000),
        )
        made.append(("by use", by_use))
    return made


_ISO3: Final = {"DE": "DEU", "ES": "ESP", "CH": "CHE", "RU": "RUS", "TR": "TUR", "GB": "GBR", "AT": "AUT"}


def _iso3(country: Country) -> str:
    """Three letters for a TADIG code; where it is not listed, the two and an X: real codes of simulated networks
    would be somebody else's.
    """
    return _ISO3.get(country.iso, f"{country.iso}X")
