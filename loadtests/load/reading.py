"""Readers of the API: operators that look at offers, their account, their entries and requests, and at each other."""

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from loadtests.cast import PLMN
from loadtests.load.plan import Role
from loadtests.load.session import HTTP, Turn
from loadtests.load.user import LandfallUser
from settlement.ledger.api import PAGE
from settlement.ledger.client import LedgerClient

READERS: Final = 50
"""Operators that a worker's readers are: each has a token and a connection of its own."""
PAGES: Final = 3
"""Of one's own entries, one after the other."""


class Reader(LandfallUser):
    """A program of an operator's that asks the ledger."""

    role = Role.READER
    pause_s = 0.1

    async def turn(self, turn: Turn) -> None:
        """One of the things that are read, drawn as often as they are wanted."""
        number = random.randrange(min(READERS, len(self.session.plan.traders)))
        client = self.session.reader(number)
        name, read = random.choices(READS, WEIGHTS)[0]
        begun = time.perf_counter()
        await read(self, client)
        turn.add(HTTP, name, begun)

    def other(self) -> Any:
        """Some operator of the run."""
        return random.choice(self.session.plan.traders)


async def _search_offers(user: Reader, client: LedgerClient) -> None:
    await client.offers(publisher=user.other().key.operator, plmn=PLMN, service="data")


async def _read_offer(user: Reader, client: LedgerClient) -> None:
    await client.offer(user.other().bundle)


async def _read_account(_: Reader, client: LedgerClient) -> None:
    await client.account()


async def _read_entries(user: Reader, client: LedgerClient) -> None:
    after = user.session.plan.first - 1
    for _ in range(PAGES):
        page = await client.entries(after=after, limit=PAGE)
        if len(page) < PAGE:
            return
        after = page[-1].index


async def _read_quality(user: Reader, client: LedgerClient) -> None:
    await client.quality(user.other().key.operator)


async def _read_keys(user: Reader, client: LedgerClient) -> None:
    await client.operator_keys(user.other().key.operator)


Read = Callable[[Reader, LedgerClient], Awaitable[None]]
_WANTED: Final[tuple[tuple[int, str, Read], ...]] = (
    (6, "offers of an operator", _search_offers),
    (4, "an offer", _read_offer),
    (4, "account", _read_account),
    (2, "own entries, up to three pages", _read_entries),
    (1, "quality", _read_quality),
    (1, "keys of an operator", _read_keys),
)
WEIGHTS: Final = [weight for weight, _, _ in _WANTED]
READS: Final = [(name, read) for _, name, read in _WANTED]
