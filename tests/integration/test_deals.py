"""Two operators make a deal from their desks: proposed, consented to, used beyond its escrow, settled at its end."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from landfall.postgres import Server
from marketplace import operator_cli
from settlement.sdr import Rounding, round_whole
from settlement.usage.deals import Calendar, part_of, period_at, periods
from settlement.usage.tariff import Metered
from tests.integration.ledger_world import LedgerWorld, make_terms
from tests.integration.operator_world import VISITED_PLMN, NodeProcess, NodeRefused, OperatorWorld, open_world

MB, HOUR_MS = 1_000_000, 3_600_000
RATE = Metered(block=MB, block_price=5_000)
ESCROW, CREDIT, REVENUE = 50_000, 100_000, 2_000_000_000
ORDER_MS = 60_000
"""How long the deal runs on: time to order under it on a busy machine. Its use may be reported later."""
WITHIN_S = 120.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
async def world(ledger: LedgerWorld, postgres_server: Server, tmp_path: Path) -> AsyncIterator[OperatorWorld]:
    async with open_world(ledger, postgres_server, tmp_path) as world:
        yield world


def draft(world: OperatorWorld, *, ends: int, **fields: Any) -> dict[str, Any]:
    """Home may order of visited, commits to a revenue and may owe up to the credit limit."""
    terms = make_terms(RATE, countries=("DE",), plmns=(VISITED_PLMN,), valid_until=ends, name={"en": "By the deal"})
    direction = {"home": world.home.id, "terms": terms, "revenue": REVENUE, "credit_limit": CREDIT}
    deal = {"partner": world.visited.id, "directions": [direction], "starts": now_ms() - HOUR_MS, "ends": ends}
    return deal | fields


async def propose(world: OperatorWorld, body: dict[str, Any]) -> str:
    """Propose as home; the deal's id once visited's node has followed it."""
    asked = await world.home.post("/deals", body)
    await world.visited.wait("/deals", lambda rows: [row["id"] for row in rows if row["asked"]] == [asked["id"]])
    return str(asked["id"])


async def desk(node: NodeProcess, *arguments: str, table: bool = False) -> Any:
    """`landfall operator …` as staff type it: what it prints as JSON, or as a table."""
    token = node.api.headers["authorization"].removeprefix("Bearer ")
    environment = {"LANDFALL_OPERATOR_URL": node.url, "LANDFALL_OPERATOR_TOKEN": token, "COLUMNS": "140"}
    command = [*arguments, *([] if table else ["--json"])]
    result = await asyncio.to_thread(CliRunner().invoke, operator_cli.app, command, env=environment)
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.stdout if table else msgspec.json.decode(result.stdout)


async def await_state(world: OperatorWorld, deal: str, state: str, *, within_s: float = WITHIN_S) -> Any:
    for node in (world.home, world.visited):
        found = await node.wait(f"/deals/{deal}", lambda seen: seen["deal"]["state"] == state, within_s=within_s)
    return found


async def use(world: OperatorWorld, purchase: Any, octets: int, *, settled: int = 1) -> str:
    """The subscriber travels and uses data; the request once the ledger has settled it."""
    path = f"/purchases/{purchase['id']}"
    delivered = await world.home.wait(path, lambda seen: seen["items"][0]["state"] == "delivered", within_s=WITHIN_S)
    request = str(delivered["items"][0]["request"])
    await world.phone.travel_to("262")
    await world.visited.wait(f"/requests/{request}", lambda row: row["state"] == "active")
    profile = (await world.visited.wait("/profiles", lambda rows: len(rows) == 1, in_state="active"))[0]
    record = {"imsi": profile["imsi"], "start_ms": now_ms(), "place": VISITED_PLMN, "service": "data", "units": octets}
    await world.visited.post("/usage", {"batch": request, "records": [record]})
    await world.visited.post("/usage/send")
    await world.visited.wait(f"/usage/{request}", lambda usage: usage["settled"] == settled)
    return request


async def buy(world: OperatorWorld, offer: str) -> Any:
    items = [{"offer": offer, "escrow_usdr": ESCROW}]
    package = await world.home.post("/packages", {"name": "A", "currency": "EUR", "items": items, "retail_minor": 900})
    subscriber = (await world.home.get("/subscribers"))[0]
    return await world.home.post("/purchases", {"subscriber": subscriber["id"], "package": package["id"]})


async def test_a_deal_is_agreed_used_on_credit_and_settled_pro_rata(world: OperatorWorld, tmp_path: Path) -> None:
    ends = now_ms() + ORDER_MS
    body = draft(world, ends=ends, until=ends - 1_000)
    file = tmp_path / "deal.json"
    file.write_bytes(msgspec.json.encode(body))
    seen = await desk(world.home, "deals", "propose", str(file), "--dry-run")
    calendar = Calendar(body["starts"], ends, 1)
    least = [round_whole(REVENUE * part_of(calendar, number), Rounding.DOWN) for number in range(periods(calendar))]
    assert [one["directions"][0]["shortfall_usdr"] for one in seen["periods"]] == least

    deal = await propose(world, body)
    [asked] = await world.visited.get("/deals", state="proposed")
    assert (asked["proposer"], asked["proposed_by"]) == (world.home.id, None)
    dry = await world.visited.get(f"/deals/{deal}/forecast")
    assert dry["directions"][0]["shortfall_usdr"] == sum(least)
    assert [one["state"] for one in await world.visited.get("/offers")] == ["proposed"]
    with pytest.raises(NodeRefused, match="its partner consents"):
        await world.home.post(f"/deals/{deal}/consent", {})
    first = await desk(world.visited, "deals", "consent", deal)
    assert await world.visited.post(f"/deals/{deal}/consent", {}) == first, "asked twice, said once"
    await await_state(world, deal, "agreed")

    public = await world.sell(world.visited, tariff=RATE, countries=("DE",), plmns=(VISITED_PLMN,))
    found = await world.home.get("/market/offers", publisher=world.visited.id)
    assert [(one.get("deal"), one["id"] == public) for one in found] == [(deal, False), (None, True)]
    assert public not in [one["id"] for one in await world.provider.get("/market/offers") if one.get("deal")]
    offer = found[0]["id"]
    with pytest.raises(NodeRefused, match="both agreed on"):
        await world.visited.post(f"/offers/{offer}/withdraw")

    request = await use(world, await buy(world, offer), 20 * MB)
    now = await desk(world.home, "deals", "show", deal)
    assert now["credit"] == [{"home": world.home.id, "used_usdr": 50_000, "limit_usdr": CREDIT}]
    [owed] = await world.home.get("/obligations", role="debtor")
    assert (owed["cause"], owed["amount"], owed["source"]) == ("credit", 50_000, deal)
    statement = await world.visited.get("/statement")
    assert [(one["cause"], one["remaining"]) for one in statement["obligations"]] == [("credit", 50_000)]
    assert (statement["earned_usdr"], statement["owed_to_us_usdr"], statement["owed_by_us_usdr"]) == (ESCROW, 50_000, 0)

    await world.visited.post(f"/requests/{request}/close")
    await world.home.wait(f"/requests/{request}", lambda row: row["state"] == "closed")
    [line] = (await world.home.get("/statement"))["lines"]
    assert (line["charged_usdr"], line["returned_usdr"]) == (ESCROW, 0)

    number = period_at(calendar, now_ms())
    missing = least[number] - 100_000
    [running] = [one for one in (await world.visited.get(f"/deals/{deal}"))["periods"] if one["number"] == number]
    [direction] = running["directions"]
    assert direction["measures"][0] == {"what": "revenue", "used": 100_000, "committed": least[number]}
    assert direction["shortfall_usdr"] == missing
    drawn = await desk(world.visited, "deals", "show", deal, table=True)
    assert f"{world.home.id} uses {world.visited.id}" in drawn
    assert f"{'█' * 16}{'░' * 16} 50 %" in drawn, "half the credit is used"
    assert "credit" in await desk(world.visited, "statement", table=True)

    await world.home.wait(
        f"/deals/{deal}", lambda seen: seen["periods"][number]["state"] == "over", within_s=2 * WITHIN_S
    )
    await settle(world, deal)
    done = await world.visited.wait(f"/deals/{deal}", lambda seen: seen["periods"][number]["state"] == "settled")
    due = {one["cause"]: one["amount"] for one in done["obligations"] if one["cause"] == "credit" or number == 0}
    assert due == {"credit": 50_000, "shortfall": missing} or number
    assert missing in [one["amount"] for one in done["obligations"]]
    with pytest.raises(NodeRefused, match="they all are"):
        await world.home.post(f"/deals/{deal}/settle", {})


async def settle(world: OperatorWorld, deal: str) -> None:
    """Visited settles as soon as the ledger's clock must be past the end too."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        response = await world.visited.api.post(f"/deals/{deal}/settle", json={})
        if response.status_code == httpx.codes.ACCEPTED:
            return
        assert (response.json()["code"], time.monotonic() < deadline) == ("wrong-state", True)
        await asyncio.sleep(0.1)


async def test_a_deal_that_is_wrong_refused_withdrawn_or_unanswered_comes_to_nothing(world: OperatorWorld) -> None:
    await check_drafts(world)
    ends = now_ms() + 30 * 24 * HOUR_MS
    refused = await propose(world, draft(world, ends=ends))
    await world.visited.post(f"/deals/{refused}/refuse", {"reason": "too-dear"})
    assert (await await_state(world, refused, "dropped"))["deal"]["cause"] == "too-dear"

    withdrawn = await propose(world, draft(world, ends=ends))
    await world.home.post(f"/deals/{withdrawn}/refuse", {"reason": "changed-our-mind"})
    await await_state(world, withdrawn, "dropped")

    lapsed = await propose(world, draft(world, ends=ends, until=now_ms() + 8_000))
    assert (await await_state(world, lapsed, "dropped"))["deal"]["cause"] == "lapsed"
    with pytest.raises(NodeRefused, match="is dropped, it must be proposed"):
        await world.visited.post(f"/deals/{lapsed}/consent", {})
    assert await world.visited.get("/offers") == []
    assert await world.home.get("/obligations") == []


async def check_drafts(world: OperatorWorld) -> None:
    """What the ledger would refuse is told at once, or stands as rejected with its word on it."""
    ends = now_ms() + HOUR_MS
    for fields, told in (
        ({"partner": world.home.id}, "a deal is between two"),
        ({"balanced": [{"service": "data", "price": 1}]}, "balanced rates are for traffic both ways"),
        ({"ends": ends - 2 * HOUR_MS}, "end it later"),
        ({"ends": ends - 1}, "after the deal's end"),
        ({"partner": world.provider.id, "directions": []}, "directions"),
    ):
        with pytest.raises(NodeRefused, match=told):
            await world.home.post("/deals", draft(world, ends=ends) | fields)
    late = await world.home.post("/deals", draft(world, ends=ends, until=ends + 1))
    rejected = await world.home.wait(f"/deals/{late['id']}", lambda seen: seen["deal"]["state"] == "rejected")
    assert "invalid-terms" in rejected["deal"]["cause"]
