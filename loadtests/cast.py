"""The cast of a load test: thousands of operators with real keys, admitted, funded and trading through the public API.

Keys are drawn from a seed, so that generator processes make the same ones again instead of being sent them.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from msgspec import Struct

from settlement.ledger.api import Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.envelope import Signer
from settlement.ledger.keys import seal_key_id, to_base64url
from settlement.ledger.messages import (
    AcceptRequest,
    ActivateRequest,
    AddKey,
    Admit,
    Mint,
    Party,
    PlaceRequest,
    PublishOffer,
    Terms,
)
from settlement.ledger.rejections import Rejection
from settlement.usage.tariff import Bundle, Metered, Tariff

DAY_MS: Final = 86_400_000
FUNDS: Final = 10**12
"""A million SDRt each: no load test runs out."""
PRICE: Final = 1_000_000
PLMN: Final = "26299"
REQUESTS_A_REPORT: Final = 20
RECORDS_A_REQUEST: Final = 30
"""600 records a report: what fills an entry of realistic records by half."""

BUNDLE: Final = Bundle(price=PRICE, octets=10**9, hours=24)
METERED: Final = Metered(block=1024, block_price=1, first_interval=60, first_price=2, next_interval=1, next_price=1)


class Actor(Struct):
    """One operator: its signing key, the id of its seal key, and its two offers, which the set-up fills in."""

    id: str
    signer: Signer
    seal_key: str
    bundle: UUID
    metered: UUID


class Pair(Struct):
    """A visited operator, a home operator, and the active metered requests between them.

    `requests`: the number of the last usage group of each.
    """

    visited: Actor
    home: Actor
    requests: dict[UUID, int]
    activated_minute: int


def draw(seed: int, name: str) -> bytes:
    """32 octets that belong to a name in a seeded run."""
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def draw_id(seed: int, name: str, time_ms: int) -> UUID:
    """A UUIDv7 that belongs to a name in a seeded run."""
    random = int.from_bytes(draw(seed, name)[:10], "big")
    return UUID(int=time_ms << 80 | 7 << 76 | (random >> 64 & 0xFFF) << 64 | 2 << 62 | random & (1 << 62) - 1)


def _seal_key(seed: int, number: int) -> bytes:
    return b"\x01" + draw(seed, f"seal/{number}")


def make_cast(seed: int, operators: int, time_ms: int) -> list[Actor]:
    """The operators of a run, the same for the same arguments."""
    return [
        Actor(
            id=f"op-{number}",
            signer=Signer(draw(seed, f"sign/{number}")),
            seal_key=seal_key_id(_seal_key(seed, number)),
            bundle=draw_id(seed, f"bundle/{number}", time_ms),
            metered=draw_id(seed, f"metered/{number}", time_ms),
        )
        for number in range(operators)
    ]


def now_ms() -> int:
    """The wall clock, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


async def admit_cast(ledger: LedgerClient, issuer: Signer, seed: int, cast: Sequence[Actor]) -> None:
    """Through the API: admit and fund every operator, register its seal key, publish its two offers."""

    async def all_send(envelope: Callable[[int, Actor], bytes]) -> None:
        await expect_receipts(ledger, [envelope(number, actor) for number, actor in enumerate(cast)])

    make = ledger.make
    await all_send(
        lambda number, actor: issuer.sign(
            make(
                Admit,
                party=Party(
                    id=actor.id,
                    name=f"Operator {number}",
                    country="DE",
                    key=to_base64url(actor.signer.public),
                    recovery_key=to_base64url(Signer(draw(seed, f"recovery/{number}")).public),
                ),
            )
        )
    )
    await all_send(
        lambda number, actor: issuer.sign(make(Mint, to=actor.id, amount=FUNDS, deposit=f"load test of {actor.id}"))
    )
    await all_send(
        lambda number, actor: actor.signer.sign(make(AddKey, purpose="seal", key=to_base64url(_seal_key(seed, number))))
    )
    for tariff, field in ((BUNDLE, "bundle"), (METERED, "metered")):
        await all_send(
            lambda _, actor, tariff=tariff, field=field: actor.signer.sign(  # type: ignore[misc]
                make(PublishOffer, id=getattr(actor, field), terms=terms(tariff))
            )
        )


def terms(tariff: Tariff) -> Terms:
    """Plain terms for a load test, valid for a month."""
    return Terms(
        name={"en": "Load"},
        description={"en": "An offer of a load test"},
        category="telecom",
        plmns=(PLMN,),
        delivery="profile",
        tariff=tariff,
        valid_until=now_ms() + 30 * DAY_MS,
        accept_within_s=7 * 86_400,
        report_within_s=7 * 86_400,
    )


async def open_pairs(ledger: LedgerClient, seed: int, cast: Sequence[Actor], pairs: int, requests: int) -> list[Pair]:
    """Make `pairs` pairs of operators with `requests` active metered requests each, through the API."""
    make, opened = ledger.make, []
    for number in range(pairs):
        visited, home = cast[number], cast[(number + 1) % len(cast)]
        placed = [
            make(
                PlaceRequest,
                offer=visited.metered,
                user_id=to_base64url(draw(seed, f"user/{number}/{place}")[:16]),
                delivery_key=home.seal_key,
                escrow=FUNDS // 10 // requests,
                ends=now_ms() + 20 * DAY_MS,
            )
            for place in range(requests)
        ]
        minute = now_ms() // 60_000
        await expect_receipts(ledger, [home.signer.sign(message) for message in placed])
        await expect_receipts(
            ledger,
            [visited.signer.sign(make(AcceptRequest, request=message.id, payload="0" * 64)) for message in placed],
        )
        await expect_receipts(
            ledger,
            [visited.signer.sign(make(ActivateRequest, request=message.id, at=minute)) for message in placed],
        )
        opened.append(Pair(visited, home, dict.fromkeys((message.id for message in placed), 0), minute))
    return opened


async def expect_receipts(ledger: LedgerClient, envelopes: Sequence[bytes]) -> list[Receipt]:
    """Send a sequence of which nothing may be rejected."""
    answers = await ledger.send_all(envelopes)
    for answer in answers:
        if isinstance(answer, Rejection):
            raise RuntimeError(f"the set-up was rejected: {answer.code}: {answer.detail}")
    return [answer for answer in answers if isinstance(answer, Receipt)]
