"""Who carries a real card in a simulation, what each is to do, and how far each has come.

Names, routes and times follow from the seed; keys are drawn afresh and live in the run's folder only. The book is
written whole after each deed, so that a run which is broken off goes on where it was.
"""

import random
import secrets
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from ota.profile import MobileProfile
from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte
from settlement.usage.tariff import Bundle
from simulator.journal import write_whole
from simulator.world import Operator, World

CARD_BUNDLE: Final = Bundle(price=4_200_000, octets=2_000_000_000, seconds=3_600, messages=100, hours=360, renewals=1)
"""What a traveller with a card buys."""
CARD_ESCROW_USDR: Final = CARD_BUNDLE.price * (1 + CARD_BUNDLE.renewals)
FILE: Final = "private/cards.json"
SPARE_PROFILES: Final = 4
CardStage = Literal["home", "bought", "abroad", "returned", "unserved", "failed"]


class Traveller(Struct, kw_only=True):
    """A subscriber with a real card. Steps are the world's, `used` those whose use is told; the rest is its meter.

    `told`: by step, the minute that its use is stamped with, noted before it is told for the first time.
    """

    number: int
    home: int
    visited: int
    iccid: str
    imsi: str
    msisdn: str
    k: bytes
    opc: bytes
    kic: bytes
    kid: bytes
    device: bytes
    buy_step: int
    start_step: int
    end_step: int
    stage: CardStage = "home"
    subscriber: str = ""
    purchase: str = ""
    request: str = ""
    visited_imsi: str = ""
    reported: bool = False
    delivered_s: float | None = None
    why: str = ""
    on: int = 0
    off: int = 0
    told: dict[int, int] = {}
    used: list[int] = []
    octets: int = 0
    seconds: int = 0
    messages: int = 0

    @property
    def label(self) -> str:
        """How accounts call it."""
        return f"card {self.number}"

    @property
    def keys(self) -> KeySet:
        """The card's OTA keys."""
        return KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=self.kic, kid_key=self.kid)

    def profile(self, home: Operator) -> MobileProfile:
        """What its own operator put on the card."""
        return MobileProfile(
            imsi=self.imsi,
            k=self.k,
            opc=self.opc,
            plmn=home.plmn,
            spn=home.plan.name[:16],
            acc=1 << int(self.imsi[-1]),
            smsc=f"+{home.country.calling}000000",
            coverage=(home.country.mcc,),
            msisdn=self.msisdn,
        )

    def secrets(self) -> list[str]:
        """What must be found nowhere in public: digits, and keys in hex."""
        keys = (self.k, self.opc, self.kic, self.kid, self.device)
        return [self.iccid, self.imsi, self.msisdn.lstrip("+"), *(key.hex() for key in keys)]

    def __repr__(self) -> str:
        return f"Traveller({self.number}, {self.stage})"


class PoolLine(Struct):
    """A profile of a visited operator's pool."""

    imsi: str
    k: bytes
    opc: bytes
    msisdn: str

    def __repr__(self) -> str:
        return "PoolLine(…)"


class CardBook(Struct):
    """Everybody with a card. `pools`, `offers`: by visited operator; `packages`: by "home/visited"."""

    travellers: list[Traveller]
    pools: dict[int, list[PoolLine]]
    offers: dict[int, str] = {}
    packages: dict[str, str] = {}

    def save(self, folder: Path) -> None:
        """Write it, for its owner only: the folder `private` is."""
        write_whole(folder / FILE, msgspec.json.encode(self))

    def secrets(self) -> list[str]:
        """What must be found nowhere in public."""
        found = [text for traveller in self.travellers for text in traveller.secrets()]
        for pool in self.pools.values():
            for line in pool:
                found += [line.imsi, line.msisdn.lstrip("+"), line.k.hex(), line.opc.hex()]
        return found


def open_card_book(folder: Path, world: World) -> CardBook:
    """The run's book; drawn and written at first."""
    path = folder / FILE
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=CardBook)
    book = _draw(world)
    book.save(folder)
    return book


def _draw(world: World) -> CardBook:
    draw = random.Random(f"cards {world.seed}")
    travellers: list[Traveller] = []
    for home in world.nodes:
        abroad = [one for one in world.nodes if one.country != home.country and (one.plan.node or one.plan.offers)]
        for place in range(home.plan.cards):
            visited = abroad[(home.number + place) % len(abroad)]
            travellers.append(_draw_traveller(world, draw, len(travellers) + 1, home, visited))
    pools = {
        operator.number: [
            PoolLine(
                imsi=f"{operator.plmn}{line:0{15 - len(operator.plmn)}d}",
                k=secrets.token_bytes(16),
                opc=secrets.token_bytes(16),
                msisdn=_number(operator, 500_000 + line),
            )
            for line in range(1, 1 + SPARE_PROFILES + sum(one.visited == operator.number for one in travellers))
        ]
        for operator in world.nodes
        if any(one.visited == operator.number for one in travellers)
    }
    return CardBook(travellers, pools)


def _draw_traveller(world: World, draw: random.Random, number: int, home: Operator, visited: Operator) -> Traveller:
    steps = world.scenario.steps
    start = draw.randrange(1, max(2, steps - 1)) if steps > 1 else 0
    digits = 15 - len(home.plmn)
    return Traveller(
        number=number,
        home=home.number,
        visited=visited.number,
        iccid=close_with_luhn(f"8988{home.country.mcc}{draw.randrange(10**5):05d}{number:06d}"),
        imsi=f"{home.plmn}{draw.randrange(10 ** (digits - 4)):0{digits - 4}d}{number:04d}",
        msisdn=_number(home, number),
        k=secrets.token_bytes(16),
        opc=secrets.token_bytes(16),
        kic=secrets.token_bytes(32),
        kid=secrets.token_bytes(32),
        device=secrets.token_bytes(32),
        buy_step=max(0, start - 1),
        start_step=start,
        end_step=draw.randrange(start, steps),
    )


def _number(operator: Operator, line: int) -> str:
    """A number of the operator's that is nobody's: its network code after the calling code."""
    return f"+{operator.country.calling}{operator.plmn[3:]}{line:07d}"[:16]


def close_with_luhn(digits: str) -> str:
    """An ICCID with its check digit (ITU-T E.118)."""
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits))]
    return digits + str(-sum(value // 10 + value % 10 for value in doubled) % 10)
