"""What the acts of the play hand on to each other, and the questions that they all ask."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

from settlement.money import format_sdrt
from simulator.demo.account import Account, Via, expect
from simulator.demo.cast import HOMES, HOUSES, House, Person
from simulator.demo.world import World
from simulator.node_api import NodeApi

FEATURED: Final = 4
"""Subscribers whose every step is told; the others are told in sums."""
DAY_MS: Final = 86_400_000


class Bought(Struct, kw_only=True):
    """One purchase. `requests`: by key of the offer. `code`: the SP code, once it is there."""

    person: Person
    package: str
    purchase: str
    requests: dict[str, str] = {}
    code: str | None = None


class Stage:
    """The state of the play. Offers, packages and subscribers are known by the keys the acts give them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.offers: dict[str, str] = {}
        self.packages: dict[tuple[str, str], Any] = {}
        self.subscribers: dict[int, str] = {}
        self.bought: list[Bought] = []
        self.sold: Counter[tuple[str, str]] = Counter()
        self.minted = self.burned = self.usage_records = 0
        self.rejections: dict[str, int] = {}

    @property
    def account(self) -> Account:
        """Where it is told."""
        return self.world.account

    def node(self, house: House) -> NodeApi:
        """A house's node."""
        return self.world.node(house)

    async def balance(self, house: House) -> dict[str, int]:
        """available, escrow and held micro-SDRt of a house."""
        row = await self.node(house).get("/balance")
        return {name: row[name] for name in ("available", "escrow", "held")}

    async def wait_requests(self, house: House, requests: Iterable[str], *states: str) -> dict[str, Any]:
        """Wait until a house sees all these requests in one of the states; their rows by id."""
        wanted = set(requests)
        if not wanted:
            return {}

        def arrived(rows: list[Any]) -> bool:
            return sum(row["state"] in states for row in rows if row["id"] in wanted) == len(wanted)

        claim = f"{len(wanted)} requests are {' or '.join(states)}"
        rows = await self.node(house).wait("/requests", arrived, claim, timeout_s=30 + len(wanted) / 2)
        return {row["id"]: row for row in rows if row["id"] in wanted}

    async def expect_conservation(self) -> None:
        """Σ(available + escrow + held) over all houses = minted − burned."""
        rows = [await self.balance(house) for house in HOUSES]
        total = sum(sum(row.values()) for row in rows)
        expect(
            total == self.minted - self.burned,
            f"all balances together are minted {format_sdrt(self.minted)} less burned {format_sdrt(self.burned)}",
            format_sdrt(total),
        )

    def tell_featured(self, people: Sequence[Person], tell: Callable[[Person], None]) -> list[Person]:
        """Tell of those in the light, and hand back the others."""
        for person in people:
            if person.number <= FEATURED:
                tell(person)
        return [person for person in people if person.number > FEATURED]

    def tell(
        self, source: str, target: str, what: str, *, via: Via, amount_usdr: int | None = None, people: int = 1
    ) -> None:
        """One line of the account; none where it would stand for nobody."""
        if people:
            self.account.tell(source, target, what, via=via, amount_usdr=amount_usdr or None, people=people)


def now_ms() -> int:
    """The wall clock, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def of_homes(people: Sequence[Person]) -> list[tuple[House, list[Person]]]:
    """Home operators that have subscribers among these people, with them."""
    grouped = [(home, [person for person in people if person.home is home]) for home in HOMES]
    return [(home, theirs) for home, theirs in grouped if theirs]
