"""A folder of billing files, watched, becomes settled usage of a running node; the same content counts once."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from landfall.postgres import Server
from marketplace import operator_cli
from settlement.usage.tariff import Bundle
from tests.integration.ledger_world import LedgerWorld
from tests.integration.operator_world import PRICE, VISITED_PLMN, OperatorWorld, open_world

MAPPING = """
[imsi]
column = "imsi"
[service]
value = "data"
[start]
column = "start"
[place]
column = "place"
[units]
data = { column = "octets", unit = "octets" }
"""


@pytest.fixture
async def world(ledger: LedgerWorld, postgres_server: Server, tmp_path: Path) -> AsyncIterator[OperatorWorld]:
    async with open_world(ledger, postgres_server, tmp_path) as world:
        yield world


async def test_a_watched_folder_becomes_settled_usage_once(world: OperatorWorld, tmp_path: Path) -> None:
    tariff = Bundle(price=PRICE, octets=1_000_000, hours=24)
    offer = await world.sell(world.visited, tariff=tariff, countries=("DE",), plmns=(VISITED_PLMN,))
    purchase = await world.buy(offer)
    path = f"/purchases/{purchase['id']}"
    delivered = await world.home.wait(path, lambda row: row["items"][0]["state"] == "delivered")
    request = delivered["items"][0]["request"]
    await world.phone.travel_to("262")
    await world.visited.wait(f"/requests/{request}", lambda row: row["state"] == "active")
    (profile,) = await world.visited.wait("/profiles", lambda rows: len(rows) == 1, in_state="active")

    inbox, mapping = tmp_path / "inbox", tmp_path / "billing.toml"
    inbox.mkdir()
    mapping.write_text(MAPPING)
    now = datetime.now(UTC).isoformat()
    rows = [(profile["imsi"], VISITED_PLMN, 3000), ("001010000000001", VISITED_PLMN, 1), (profile["imsi"], "FR", 1)]
    lines = [f"{imsi},{now},{place},{octets}" for imsi, place, octets in rows]
    content = "imsi,start,place,octets\n" + "\n".join(lines) + "\n"
    (inbox / "today.csv").write_text(content)

    async def watch(**environment: str) -> list[dict[str, Any]]:
        command = ["usage", "watch", str(inbox), "-m", str(mapping), "--once", "--settle", "0", "--json"]
        settings = {**world.visited.environment, **environment}
        result = await asyncio.to_thread(CliRunner().invoke, operator_cli.app, command, env=settings)
        if isinstance(result.exception, LandfallError):
            raise result.exception
        assert result.exit_code == 0, (result.output, result.exception)
        return [json.loads(line) for line in result.stdout.splitlines()]

    with pytest.raises(LandfallError, match="does not answer"):
        await watch(LANDFALL_OPERATOR_URL="http://127.0.0.1:9")
    [report] = await watch()
    assert (report["status"], report["stored"]) == ("taken", 1)
    assert report["not_booked"] == [{"record": 2, "cause": "unknown-imsi"}, {"record": 3, "cause": "out-of-coverage"}]
    (inbox / "again.csv").write_text(content)
    assert [one["status"] for one in await watch()] == ["copy"]
    await world.visited.post("/usage/send")
    await world.visited.wait(f"/usage/{request}", lambda usage: usage["settled"] == 1)
    assert (await world.visited.get(f"/usage/{request}"))["stored"] == 0
