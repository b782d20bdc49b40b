"""Who plays: operators that do not exist, and subscribers drawn from a seed.

The same seed makes the same names, numbers, routes and choices. Keys are drawn afresh each time: a report names its
seed, and whoever reads it must not learn a key from that.
"""

import random
import secrets
from typing import ClassVar, Final, Literal

from msgspec import Struct

from ota.profile import MobileProfile
from ota.scp80.concealed import Concealed
from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte

MOST_SUBSCRIBERS: Final = 500
"""So many names there are, and so many cards one process plays within minutes."""
FEWEST_SUBSCRIBERS: Final = 2
"""One for each home operator and each destination."""

ORIGIN: Final = "ledger.landfall.example/demo"
ISSUER: Final = "sdrt-issuer"
AUDITOR: Final = "open-audit"

Kind = Literal["home", "visited", "provider"]


class House(Struct, frozen=True, kw_only=True):
    """One company of the play. `mcc` of its network's country; `plmn` with a network code nobody uses.

    `ota`: the short code of a home operator's OTA platform. The last four are for its documents.
    """

    id: str
    name: str
    kind: Kind
    country: str
    currency: str
    tadig: str | None = None
    plmn: str | None = None
    spn: str = ""
    smsc: str = ""
    dial: str = ""
    ota: str = ""
    legal_name: str = ""
    street: str = ""
    city: str = ""
    register_id: str = ""

    @property
    def mcc(self) -> str:
        """The country its network is in."""
        assert self.plmn is not None, f"{self.id} has no network"
        return self.plmn[:3]


ALFA: Final = House(
    id="alfa-mobile",
    name="Alfa Mobile",
    kind="home",
    country="DE",
    currency="EUR",
    tadig="DEUAM",
    plmn="26298",
    spn="Alfa",
    smsc="+4915550000000",
    dial="+491555",
    ota="70262",
    legal_name="Alfa Mobile GmbH",
    street="Hafenstraße 12",
    city="Hamburg",
    register_id="HRB 000001",
)
VOLNA: Final = House(
    id="volna-telecom",
    name="Volna Telecom",
    kind="home",
    country="RU",
    currency="RUB",
    tadig="RUSVO",
    plmn="25098",
    spn="Volna",
    smsc="+79980000000",
    dial="+7998",
    ota="70250",
    legal_name="ООО «Волна Телеком»",
    street="Портовая ул., 7",
    city="Санкт-Петербург",
    register_id="ОГРН 0000000000001",
)
GULF: Final = House(
    id="gulf-connect",
    name="Gulf Connect",
    kind="visited",
    country="AE",
    currency="USD",
    tadig="AREGC",
    plmn="42498",
    spn="Gulf Connect",
    smsc="+971580000000",
    dial="+97158",
    legal_name="Gulf Connect LLC",
    street="Harbour Road 5",
    city="Abu Dhabi",
    register_id="CN-0000001",
)
ALPINE: Final = House(
    id="alpine-cell",
    name="Alpine Cell",
    kind="visited",
    country="AT",
    currency="EUR",
    tadig="AUTAC",
    plmn="23298",
    spn="Alpine Cell",
    smsc="+436980000000",
    dial="+43698",
    legal_name="Alpine Cell GmbH",
    street="Bergweg 3",
    city="Innsbruck",
    register_id="FN 000001x",
)
SAFE: Final = House(
    id="safe-journey",
    name="Safe Journey",
    kind="provider",
    country="CH",
    currency="EUR",
    legal_name="Safe Journey AG",
    street="Seestrasse 9",
    city="Zürich",
    register_id="CHE-000.000.001",
)

HOMES: Final = (ALFA, VOLNA)
VISITED: Final = (GULF, ALPINE)
HOUSES: Final = (ALFA, VOLNA, GULF, ALPINE, SAFE)

_GIVEN: Final = (
    "Annelie Bogdan Carlotta Dmitri Elfriede Fjodor Gesine Henrik Irmgard Jaromir Katarina Leopold Marlene Nikolai "
    "Ottilie Pavel Quirin Rosalie Stanislav Tatjana Ulrike Valentin Wilhelmine Xenia Yaroslav Zdenka"
).split()
_FAMILY: Final = (
    "Achterberg Brunnwieser Czerwinski Dornbusch Eberharter Fromholtz Grünwaldt Hasselbring Iljinski Jablonowski "
    "Kaltenegger Lindwurm Morgenroth Nachtigall Obolenski Pfifferling Quellmalz Rautenstrauch Sonnleitner Trubetzkoi"
).split()


class Person(Concealed, frozen=True, kw_only=True):
    """A subscriber with a multi-account SIM. `home_profile` is its own operator's, `ota` the card's key set."""

    SECRET: ClassVar[frozenset[str]] = frozenset({"name", "iccid"})

    number: int
    name: str
    home: House
    destination: House
    insured: bool
    pays_by: Literal["test", "billing"]
    iccid: str
    home_profile: MobileProfile
    ota: KeySet

    @property
    def label(self) -> str:
        """How the account calls the person: nobody's name."""
        return f"subscriber {self.number}"


class PoolProfile(Concealed, frozen=True):
    """A line of a visited operator's profile pool."""

    SECRET: ClassVar[frozenset[str]] = frozenset({"imsi", "k", "opc", "msisdn"})

    imsi: str
    k: bytes
    opc: bytes
    msisdn: str


class Cast(Struct, frozen=True):
    """Everybody, and the profile pools by operator id."""

    seed: int
    people: tuple[Person, ...]
    pools: dict[str, tuple[PoolProfile, ...]]

    def guests(self, home: House) -> list[Person]:
        """The subscribers of a home operator."""
        return [person for person in self.people if person.home is home]


def draw_cast(seed: int, subscribers: int) -> Cast:
    """Draw the people of a seed."""
    draw = random.Random(seed)
    names = draw.sample([f"{given} {family}" for given in _GIVEN for family in _FAMILY], subscribers)
    people = tuple(_draw_person(draw, number, name) for number, name in enumerate(names, start=1))
    pools = {
        house.id: tuple(_draw_pool(draw, house, sum(person.destination is house for person in people)))
        for house in VISITED
    }
    return Cast(seed, people, pools)


def _draw_person(draw: random.Random, number: int, name: str) -> Person:
    home = HOMES[(number - 1) % 2]
    # The first four show every pairing of home and destination; then chance decides.
    first_four = {1: GULF, 2: ALPINE, 3: ALPINE, 4: GULF}
    destination = first_four.get(number) or draw.choice(VISITED)
    assert home.plmn is not None
    subscription = f"{number:04d}{draw.randrange(10**6):06d}"
    return Person(
        number=number,
        name=name,
        home=home,
        destination=destination,
        insured=number % 2 == 1 if number <= 4 else draw.random() < 0.4,
        pays_by="billing" if home is ALFA else "test",
        iccid=_close_with_luhn(f"8988{home.mcc}{draw.randrange(10**5):05d}{number:06d}"),
        home_profile=MobileProfile(
            imsi=f"{home.plmn}{subscription}",
            k=secrets.token_bytes(16),
            opc=secrets.token_bytes(16),
            plmn=home.plmn,
            spn=home.spn,
            acc=1 << draw.randrange(10),
            smsc=home.smsc,
            coverage=(home.mcc,),
            msisdn=f"{home.dial}{draw.randrange(10**3):03d}{number:04d}",
        ),
        ota=KeySet(
            kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=secrets.token_bytes(32), kid_key=secrets.token_bytes(32)
        ),
    )


def _draw_pool(draw: random.Random, house: House, guests: int) -> list[PoolProfile]:
    """As many profiles as guests will come, and a few more."""
    first = draw.randrange(10**5) * 10_000
    return [
        PoolProfile(
            imsi=f"{house.plmn}{first + line:010d}",
            k=secrets.token_bytes(16),
            opc=secrets.token_bytes(16),
            msisdn=f"{house.dial}{draw.randrange(10**3):03d}{line:04d}",
        )
        for line in range(guests + 4)
    ]


def _close_with_luhn(digits: str) -> str:
    """An ICCID with its check digit (ITU-T E.118)."""
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits))]
    return digits + str(-sum(value // 10 + value % 10 for value in doubled) % 10)


class Secret(Struct, frozen=True):
    """Something that must be found nowhere in public: `value` is text, digits or hex as `kind` says."""

    kind: Literal["name", "msisdn", "imsi", "iccid", "k", "opc", "kic", "kid"]
    whose: str
    value: str


def list_secrets(cast: Cast) -> list[Secret]:
    """The ground truth that a search for leaks looks for."""
    found = []
    for person in cast.people:
        profile = person.home_profile
        found += [
            Secret("name", person.label, person.name),
            Secret("msisdn", person.label, str(profile.msisdn).lstrip("+")),
            Secret("imsi", person.label, profile.imsi),
            Secret("iccid", person.label, person.iccid),
            Secret("k", person.label, profile.k.hex()),
            Secret("opc", person.label, profile.opc.hex()),
            Secret("kic", person.label, person.ota.kic_key.hex()),
            Secret("kid", person.label, person.ota.kid_key.hex()),
        ]
    for operator, pool in cast.pools.items():
        for line in pool:
            found += [
                Secret("imsi", operator, line.imsi),
                Secret("msisdn", operator, line.msisdn.lstrip("+")),
                Secret("k", operator, line.k.hex()),
                Secret("opc", operator, line.opc.hex()),
            ]
    return found
