"""An operator's node that reaches its cards through a short message centre, by SMPP."""

import asyncio
from pathlib import Path

from landfall.postgres import Server
from settlement.usage.tariff import Bundle
from simulator.smsc import Faults
from tests.integration.ledger_world import LedgerWorld
from tests.integration.operator_world import ICCID, PRICE, VISITED_PLMN, open_world
from tests.integration.test_operator_cli import staff_of
from tests.integration.test_operator_journey import GERMANY, item_is

BUNDLE = Bundle(price=PRICE, octets=1_000_000, hours=24, renewals=1)


async def test_a_purchase_reaches_the_card_through_a_bad_centre_though_the_node_is_killed(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    bad = Faults(loss=0.1, duplicate=0.3, reorder=0.2, delay_s=(0.2, 0.6))
    async with open_world(ledger, postgres_server, tmp_path, smpp=bad) as world:
        offer = await world.sell(world.visited, tariff=BUNDLE, **GERMANY)
        path = f"/purchases/{(await world.buy(offer))['id']}"
        await world.home.wait(path, item_is("accepted"))
        await asyncio.sleep(0.4)  # parts are on their way
        world.home.kill()
        world.home.start()
        await world.home.await_ready()
        await world.home.wait(path, item_is("delivered"), within_s=90)

        deliveries = await staff_of(world.home)("subscribers", "deliveries", "--iccid", ICCID)
        assert deliveries[0]["state"] == "proven", deliveries
        assert deliveries[0]["words"].endswith("9000: done")
        assert deliveries == await world.home.get("/deliveries")

        await world.phone.travel_to("262")
        assert world.phone.serving is not None
        assert world.phone.serving.plmn == VISITED_PLMN
        await world.home.wait(path, item_is("active"))

        request = (await world.home.get(path))["items"][0]["request"]
        await world.visited.post(f"/requests/{request}/close")
        await world.home.wait(path, item_is("closed"))
