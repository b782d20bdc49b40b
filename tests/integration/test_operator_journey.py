"""Two operators and a service provider, from the purchase to the statement, all as processes over HTTP."""

import time
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from landfall.postgres import Server
from marketplace.networks.webhooks import sign
from settlement.sdr import sample_rates
from settlement.usage.tariff import Bundle, Code
from simulator.demo.billing import PhoneBill
from tests.integration.ledger_world import LedgerWorld
from tests.integration.operator_world import BILL_SECRET, PRICE, VISITED_PLMN, OperatorWorld, open_world

BUNDLE = Bundle(price=PRICE, octets=1_000_000, hours=24, renewals=1)
GERMANY: dict[str, Any] = {"countries": ("DE",), "plmns": (VISITED_PLMN,)}


@pytest.fixture
async def world(ledger: LedgerWorld, postgres_server: Server, tmp_path: Path) -> AsyncIterator[OperatorWorld]:
    async with open_world(ledger, postgres_server, tmp_path) as world:
        yield world


def item_is(state: str) -> Any:
    return lambda purchase: purchase["items"][0]["state"] == state


async def test_a_subscriber_buys_travels_uses_and_both_sides_agree_on_the_bill(world: OperatorWorld) -> None:
    offer = await world.sell(world.visited, tariff=BUNDLE, **GERMANY)
    found = await world.home.get("/market/offers", country="DE", publisher=world.visited.id)
    assert [one["id"] for one in found] == [offer]

    purchase = await world.buy(offer)
    path = f"/purchases/{purchase['id']}"
    delivered = await world.home.wait(path, item_is("delivered"))
    request = delivered["items"][0]["request"]
    assert (await world.visited.get("/profiles", in_state="assigned"))[0]["request"] == request

    await world.phone.travel_to("262")
    assert world.phone.serving is not None
    assert world.phone.serving.plmn == VISITED_PLMN
    await world.home.wait(path, item_is("active"))

    profile = (await world.visited.wait("/profiles", lambda rows: len(rows) == 1, in_state="active"))[0]
    record = {
        "imsi": profile["imsi"],
        "service": "data",
        "start_ms": time.time_ns() // 1_000_000,
        "units": 400_000,
        "place": VISITED_PLMN,
    }
    batch = {
        "batch": "one",
        "records": [record, record, {**record, "place": "FR"}, {**record, "imsi": "001010000000001"}],
    }
    await world.visited.wait(f"/requests/{request}", lambda row: row["state"] == "active")
    intake = await world.visited.post("/usage", batch)
    assert intake["stored"] == 2
    assert [refused["cause"] for refused in intake["not_taken"]] == ["out-of-coverage", "unknown-imsi"]
    assert await world.visited.post("/usage", batch) == intake
    assert await world.visited.post("/usage/send") == {"reports": 1, "records": 2}
    await world.visited.wait(f"/usage/{request}", lambda usage: usage["settled"] == 2)

    await world.visited.post(f"/requests/{request}/close")
    await world.home.wait(path, item_is("closed"))
    await world.visited.wait("/profiles", lambda rows: len(rows) == 1, in_state="quarantined")
    await world.phone.travel_to("250")
    await world.home.wait("/tasks", lambda tasks: not tasks, within_s=30)

    spent = await world.home.get("/statement")
    earned = await world.visited.get("/statement")
    assert spent["spent_usdr"] == earned["earned_usdr"] == PRICE
    assert spent["lines"][0]["partner"] == world.visited.id
    assert (await world.visited.get("/balance"))["available"] == PRICE


async def test_a_code_is_sealed_shown_to_the_subscriber_redeemed_and_closed(world: OperatorWorld) -> None:
    offer = await world.sell(
        world.provider, tariff=Code(price=PRICE), delivery="code", category="insurance", countries=(), plmns=()
    )
    purchase = await world.buy(offer)
    path = f"/purchases/{purchase['id']}"
    delivered = await world.home.wait(path, item_is("delivered"))
    code = delivered["items"][0]["code"]
    assert len(code) == 16
    redeemed = await world.provider.post("/codes/redeem", {"code": code})
    assert redeemed == {"request": delivered["items"][0]["request"]}
    await world.home.wait(path, item_is("closed"))
    assert (await world.provider.get("/balance"))["available"] == PRICE


async def test_a_request_that_the_ledger_rejects_is_refunded_and_takes_its_siblings_along(
    world: OperatorWorld,
) -> None:
    cheap = await world.sell(world.visited, policy="hold", tariff=BUNDLE, **GERMANY)
    dear = await world.sell(
        world.provider, tariff=Code(price=900_000_000), delivery="code", category="other", countries=(), plmns=()
    )
    purchase = await world.buy(cheap, dear, retail_minor=1001)
    path = f"/purchases/{purchase['id']}"
    done = await world.home.wait(path, lambda seen: seen["payment"]["refunded_minor"] == 1001)
    assert done["state"] == "failed"
    assert [(item["state"], item["cause"]) for item in done["items"]] == [
        ("cancelled", "package-incomplete"),
        ("rejected", "insufficient-funds"),
    ]
    assert await world.home.get("/balance") == {
        "row": "account",
        "operator": world.home.id,
        "available": 50_000_000,
        "escrow": 0,
        "held": 0,
    }


async def test_declined_cancelled_and_expired_requests_give_money_back(world: OperatorWorld) -> None:
    held = await world.sell(world.visited, policy="hold", tariff=BUNDLE, **GERMANY)
    brief = await world.sell(world.visited, policy="hold", tariff=BUNDLE, accept_within_s=1, **GERMANY)
    purchases = [await world.buy(offer) for offer in (held, held, brief)]
    paths = [f"/purchases/{purchase['id']}" for purchase in purchases]
    placed = [await world.home.wait(path, item_is("requested")) for path in paths[:2]]
    declined, cancelled = (purchase["items"][0]["request"] for purchase in placed)
    await world.visited.wait("/requests", lambda rows: {declined, cancelled} <= {row["id"] for row in rows})
    await world.visited.post(f"/requests/{declined}/decline", {"cause": "no-capacity"})
    await world.home.post(f"/requests/{cancelled}/cancel", {"cause": "unwanted"})
    for path, state in zip(paths, ("declined", "cancelled", "expired"), strict=True):
        ended = await world.home.wait(path, item_is(state))
        await world.home.wait(path, lambda seen: seen["payment"]["refunded_minor"] == 1000)
        assert ended["payment"]["amount_minor"] == 1000
    assert len(await world.visited.get("/profiles", in_state="free")) == 5


async def test_a_node_that_is_killed_goes_on_where_it_was(world: OperatorWorld) -> None:
    offer = await world.sell(world.visited, tariff=BUNDLE, **GERMANY)
    purchases = []
    for _ in range(3):
        purchases.append(await world.buy(offer))
        world.home.kill()
        world.visited.kill()
        for node in (world.home, world.visited):
            node.start()
        for node in (world.home, world.visited):
            await node.await_ready()
    for purchase in purchases:
        await world.home.wait(f"/purchases/{purchase['id']}", item_is("delivered"), within_s=40)
    assert (await world.home.get("/balance"))["escrow"] == 3 * PRICE
    assert len(await world.visited.get("/profiles", in_state="assigned")) == 3


async def test_the_phone_bill_is_charged_and_given_back_by_signed_webhooks(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    bill = PhoneBill(BILL_SECRET)
    async with open_world(ledger, postgres_server, tmp_path, bill=bill) as world:
        offer = await world.sell(world.visited, policy="hold", tariff=BUNDLE, **GERMANY)
        purchase = await world.buy(offer, retail_minor=1290, provider="billing")
        path = f"/purchases/{purchase['id']}"
        paid = await world.home.wait(path, item_is("requested"))
        assert paid["payment"]["state"] == "paid"
        assert paid["payment"]["reference"] == "bill line 1"
        assert [charge.amount_minor for charge in bill.charges.values()] == [1290]
        await world.home.post(f"/requests/{paid['items'][0]['request']}/cancel", {"cause": "unwanted"})
        await world.home.wait(path, lambda seen: seen["payment"]["refunded_minor"] == 1290)
        assert [refund.amount_minor for refund in bill.refunds.values()] == [1290]
        assert bill.refused == 0
        forged = b'{"payment": "%s", "state": "refused"}' % purchase["payment"]["id"].encode()
        headers = sign(b"another secret", "forged", forged)
        response = await world.home.api.post("/webhooks/payments", content=forged, headers=headers)
        assert response.status_code == 401


async def test_strangers_are_turned_away(world: OperatorWorld) -> None:
    response = await world.home.api.get("/subscribers", headers={"authorization": "Bearer wrong"})
    assert response.status_code == 401
    assert response.json()["code"] == "unauthorized"
    body = b'{"imsi": "262010000000000", "plmn": "26201", "time_ms": 1}'
    headers = {"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
    response = await world.visited.api.post("/webhooks/registrations", content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "bad-signature")


async def test_without_rates_of_the_day_nothing_is_priced_until_the_file_has_them(world: OperatorWorld) -> None:
    offer = await world.sell(world.visited, tariff=BUNDLE, **GERMANY)
    draft = {"name": "Away", "currency": "EUR", "items": [{"offer": offer}], "retail_minor": 1000}
    rates = Path(world.home.environment["LANDFALL_DATA_DIR"]).with_name("rates.csv")
    today = rates.read_text()
    rates.write_text(sample_rates(date(2026, 11, 20)).replace("2026-11-20", "2020-01-03"))
    refused = await world.home.api.post("/packages", json=draft)
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (503, "no-rates")
    assert "the latest are of 2020-01-03" in problem["detail"]
    rates.write_text(today)
    assert (await world.home.post("/packages", draft))["state"] == "on-sale"
