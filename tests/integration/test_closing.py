"""A period is closed: documents of what was settled, once, with their digests on the ledger."""

import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from landfall.postgres import Server
from settlement.documents.verify import find_on_ledger
from settlement.usage.tariff import Metered
from tests.integration.ledger_world import LedgerWorld
from tests.integration.operator_world import VISITED_PLMN, NodeProcess, NodeRefused, OperatorWorld, open_world

GERMANY: dict[str, Any] = {"countries": ("DE",), "plmns": (VISITED_PLMN,)}
METERED = Metered(
    block=1_000_000,
    block_price=5_000,
    first_interval=60,
    first_price=30_000,
    next_interval=60,
    next_price=20_000,
    event_price=10_000,
    cap=9_000_000,
)
WITHIN_S = 60.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
async def world(ledger: LedgerWorld, postgres_server: Server, tmp_path: Path) -> AsyncIterator[OperatorWorld]:
    async with open_world(ledger, postgres_server, tmp_path) as world:
        yield world


async def use(world: OperatorWorld) -> str:
    """One subscriber buys, travels and uses 2.5 MB, 90 seconds and a message: 15,000 + 50,000 + 10,000 µSDRt."""
    offer = await world.sell(world.visited, tariff=METERED, **GERMANY)
    purchase = await world.buy(offer)
    path = f"/purchases/{purchase['id']}"
    delivered = await world.home.wait(path, lambda seen: seen["items"][0]["state"] == "delivered")
    request = str(delivered["items"][0]["request"])
    await world.phone.travel_to("262")
    await world.visited.wait(f"/requests/{request}", lambda row: row["state"] == "active")
    profile = (await world.visited.wait("/profiles", lambda rows: len(rows) == 1, in_state="active"))[0]
    record = {"imsi": profile["imsi"], "start_ms": now_ms(), "place": VISITED_PLMN}
    records = [
        {**record, "service": "data", "units": 2_500_000},
        {**record, "service": "voice", "units": 90, "duration": 90},
        {**record, "service": "message", "units": 1},
    ]
    await world.visited.post("/usage", {"batch": "one", "records": records})
    await world.visited.post("/usage/send")
    await world.visited.wait(f"/usage/{request}", lambda usage: usage["settled"] == 3)
    await world.visited.post(f"/requests/{request}/close")
    await world.home.wait(path, lambda seen: seen["items"][0]["state"] == "closed")
    return request


COST = 3 * 5_000 + 30_000 + 20_000 + 10_000


async def close(node: Any, begin: int, end: int) -> Any:
    asked = await node.post("/closings", {"from_ms": begin, "to_ms": end})
    done = await node.wait(f"/closings/{asked['id']}", lambda seen: seen["state"] != "running", within_s=WITHIN_S)
    assert done["state"] == "done", done
    assert done["progress"] == 100
    return done


async def test_a_period_is_closed_with_documents_that_anybody_can_verify(world: OperatorWorld) -> None:
    begin = now_ms()
    await use(world)
    end = now_ms()
    draft = await world.visited.post("/closings/draft", {"from_ms": begin, "to_ms": end})
    assert [one["kind"] for one in draft["documents"]] == ["statement", "invoice", "usage", "act"]
    assert await world.visited.get("/documents") == []

    closing = await close(world.visited, begin, end)
    documents = await world.visited.get(f"/closings/{closing['id']}/documents")
    assert [(one["kind"], one["amount_usdr"]) for one in documents] == [
        ("statement", COST),
        ("invoice", COST),
        ("usage", COST),
        ("act", 0),
    ]
    assert {one["counterparty"] for one in documents} == {None, world.home.id}
    for document in documents:
        for file in document["files"]:
            assert file["recorded"]
            octets = (await world.visited.api.get(f"/documents/files/{file['name']}")).content
            assert hashlib.sha256(octets).hexdigest() == file["digest"]
            found = await find_on_ledger(world.ledger.url, file["digest"])
            assert [one.sender for one in found] == [world.visited.id]

    again = await close(world.visited, begin, end)
    assert again == closing
    assert await world.visited.get(f"/closings/{closing['id']}/documents") == documents

    of_home = await close(world.home, begin, end)
    made = await world.home.get(f"/closings/{of_home['id']}/documents")
    assert [(one["kind"], one["amount_usdr"]) for one in made] == [("statement", 50_000_000 - COST), ("act", 0)]
    balance = await world.home.get("/balance")
    assert balance["available"] == 50_000_000 - COST


async def test_a_period_that_is_not_over_or_overlaps_is_refused(world: OperatorWorld) -> None:
    begin = now_ms()
    with pytest.raises(NodeRefused, match="is not over before"):
        await world.home.post("/closings", {"from_ms": begin, "to_ms": begin + 3_600_000})
    await close(world.home, begin - 2000, begin - 1000)
    with pytest.raises(NodeRefused, match="name the rest"):
        await world.home.post("/closings", {"from_ms": begin - 1500, "to_ms": begin})
    with pytest.raises(NodeRefused, match="is no period"):
        await world.home.post("/closings", {"period": "2026-13"})
    assert (await world.home.api.get("/documents/files/INV-2026-000001.en.pdf")).status_code == httpx.codes.NOT_FOUND


async def run_cli(node: NodeProcess, *arguments: str) -> tuple[int, str, str]:
    """A command as staff type it, elsewhere than on the node's machine."""
    token = node.api.headers["authorization"].removeprefix("Bearer ")
    environment = {**os.environ, "LANDFALL_OPERATOR_URL": node.url, "LANDFALL_OPERATOR_TOKEN": token}
    command = [sys.executable, "-c", "from landfall.cli import main; main()", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_the_command_closes_drafts_and_downloads(world: OperatorWorld, tmp_path: Path) -> None:
    begin = now_ms()
    await use(world)
    span = [
        *("--from", datetime.fromtimestamp(begin / 1000, UTC).isoformat()),
        *("--to", datetime.fromtimestamp(now_ms() / 1000, UTC).isoformat()),
    ]
    status, output, errors = await run_cli(world.visited, "settle", "close", *span, "--draft")
    assert status == 0, errors
    assert "Draft of" in output
    status, output, errors = await run_cli(world.visited, "settle", "close", *span, "--json")
    assert status == 0, errors
    closed = json.loads(output)
    assert (closed["state"], closed["progress"]) == ("done", 100)
    number = next(one["number"] for one in closed["documents"] if one["kind"] == "invoice")
    status, output, errors = await run_cli(world.visited, "settle", "close", *span)
    assert status == 0, errors
    assert number in output
    status, output, errors = await run_cli(
        world.visited, "operator", "documents", "get", number, "--to", str(tmp_path / "out"), "--json"
    )
    assert status == 0, errors
    files = [Path(row["file"]) for row in json.loads(output)]
    assert sorted(file.suffix for file in files) == [".pdf", ".xml"]
    for file in files:
        status, output, _ = await run_cli(world.home, "document", "verify", str(file), "--url", world.ledger.url)
        assert (status, world.visited.id in output) == (0, True)
    status, _, errors = await run_cli(world.visited, "settle", "close", "--period", "2999-01")
    assert status == 1
    assert "is not over before" in errors
