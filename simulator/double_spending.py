"""A home operator that spends its SDRt twice. The ledger must take the first of each pair, and refuse the second.

Two redemptions of all that is available, one right after the other; and a second request, of other contents, under the
id of one that was placed. The issuer then refuses the redemption that was taken, so that the operator can go on.
"""

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from settlement.ledger.messages import Redeem, RefuseRedemption
from simulator.frauds import double_spenders
from simulator.population import generator

if TYPE_CHECKING:
    from simulator.engine import Engine


class Attempt(Struct, frozen=True):
    """Something that must not succeed was tried: by whom, what, and the code it was refused with (None: it was not)."""

    operator: str
    fraud: str
    code: str | None


def _refuse(engine: "Engine", step: int, number: int) -> RefuseRedemption:
    """The issuer's refusal of the redemption that was taken."""
    fields, redemption = engine.book.fields(f"refuse/{step}/{number}"), engine.book.id(f"redeem/{step}/{number}/0")
    return RefuseRedemption(**fields, redemption=redemption, cause="test")


async def take_back(engine: "Engine", step: int) -> None:
    """A step that was broken off may have left a redemption that nobody answered: if so, it is refused now."""
    orders = [(len(engine.world.operators), _refuse(engine, step, number)) for number in double_spenders(engine.world)]
    await engine.desk.send("refuse-redemption", orders)  # past the engine's count: mostly there is none to refuse


async def spend_twice(engine: "Engine", step: int, available: dict[str, int]) -> None:
    """Try it for those who do, in the steps in which they do. `available`: µSDRt as the step began."""
    draw, book = generator(engine.world, "fraud", 1 + step), engine.book
    for number, share in double_spenders(engine.world).items():
        operator = engine.world.operators[number]
        if draw.random() >= share or not available.get(operator.id):
            continue
        # Requests of this step came first and took of it: half of what there was is still more than half of the rest.
        amount = available[operator.id] // 2 + 1
        pair = [Redeem(**book.fields(f"redeem/{step}/{number}/{n}"), amount=amount, payout="twice") for n in range(2)]
        first, *_ = await engine.send("redeem", [(number, pair[0])])
        second, *_ = await engine.send("redeem", [(number, pair[1])])
        engine.attempts.append(Attempt(operator.id, "double-spend", second.code))
        if first.code is None:
            await engine.send("refuse-redemption", [(len(engine.world.operators), _refuse(engine, step, number))])
        placed = [trip for trip in range(len(engine.trips)) if engine.home[trip] == number]
        placed = [trip for trip in placed if engine.trips.buy_step[trip] == step and engine.trips.offer[trip] >= 0]
        if placed:
            trip, trips = placed[0], engine.trips
            message = book.request(
                trip, number, int(trips.offer[trip]), int(trips.escrow[trip]), int(trips.renewals[trip])
            )
            other = msgspec.structs.replace(message, ends=message.ends - 1)
            answer, *_ = await engine.send("request", [(number, other)])
            engine.attempts.append(Attempt(operator.id, "double-spend", answer.code))
