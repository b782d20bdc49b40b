"""`landfall operator` and `landfall issuer` against running nodes, as staff type them."""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from landfall.postgres import Server
from marketplace import issuer_cli, operator_cli
from settlement.usage.tariff import Bundle
from tests.integration.ledger_world import LedgerWorld, make_terms, now_ms
from tests.integration.operator_world import ICCID, PRICE, VISITED_PLMN, NodeProcess, OperatorWorld, open_world

Run = Callable[..., Any]


@pytest.fixture
async def world(ledger: LedgerWorld, postgres_server: Server, tmp_path: Path) -> AsyncIterator[OperatorWorld]:
    async with open_world(ledger, postgres_server, tmp_path) as world:
        yield world


def staff_of(node: NodeProcess) -> Run:
    """Run a command as the node's staff: its JSON, or with `table=True` what a person sees."""

    async def run(*arguments: str, table: bool = False) -> Any:
        environment = {**node.environment, "COLUMNS": "240"}
        command = [*arguments, *([] if table else ["--json"])]
        result = await asyncio.to_thread(CliRunner().invoke, operator_cli.app, command, env=environment)
        if isinstance(result.exception, LandfallError):
            raise result.exception
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.stdout if table else json.loads(result.stdout)

    return run


async def test_staff_sell_bundle_buy_and_settle_by_command(world: OperatorWorld, tmp_path: Path) -> None:
    visited, home = staff_of(world.visited), staff_of(world.home)
    terms = make_terms(
        Bundle(price=PRICE, octets=1_000_000, hours=24), countries=("DE",), plmns=(VISITED_PLMN,), report_within_s=60
    )
    offer_file, package_file = tmp_path / "offer.json", tmp_path / "package.toml"
    offer_file.write_bytes(_encode({"terms": terms}))
    (offer,) = await visited("offers", "publish", str(offer_file))
    await world.visited.wait("/offers", lambda rows: rows[0]["state"] == "open")
    (found,) = await home("offers", "search", "--country", "DE", "--publisher", world.visited.id, "--max-price", "2")
    assert found["id"] == offer["id"]

    package_file.write_text(
        f'name = "Germany"\ncurrency = "EUR"\nmargin_percent = "25"\n[[items]]\noffer = "{offer["id"]}"\n'
    )
    quote = await home("packages", "preview", str(package_file))
    assert quote["cost_usdr"] == PRICE
    assert quote["margin_minor"] == quote["retail_minor"] - quote["cost_minor"] > 0
    seen = await home("packages", "preview", str(package_file), table=True)
    assert quote["rate_date"] in seen
    assert "2.000000 SDRt" in seen
    (package,) = await home("packages", "publish", str(package_file))
    (subscriber,) = await home("subscribers", "list")
    assert subscriber["iccid"] == ICCID
    await home("buy", subscriber["id"], package["id"])
    purchases = await world.home.wait("/purchases", lambda rows: rows[0]["items"][0]["state"] == "delivered")
    request = purchases[0]["items"][0]["request"]
    for table in (await home("purchases", table=True), await visited("requests", "list", table=True)):
        assert "delivered" in table

    await world.phone.travel_to("262")
    await world.visited.wait(f"/requests/{request}", lambda row: row["state"] == "active")
    (profile,) = await visited("profiles", "list", "--state", "active")
    usage_file = tmp_path / "usage.json"
    record = {"service": "data", "start_ms": now_ms(), "units": 1000, "place": VISITED_PLMN}
    usage_file.write_bytes(_encode({"batch": "1", "records": [{"imsi": profile["imsi"], **record}]}))
    assert (await visited("usage", "send", str(usage_file)))["sent"] == {"reports": 1, "records": 1}
    await visited("requests", "close", request)
    await world.home.wait("/requests", lambda rows: rows[0]["state"] == "closed", role="home")
    assert (await home("requests", "show", request))["used_octets"] == 1000
    assert (
        (await visited("statement"))["earned_usdr"]
        == (await home("statement", "--from", "2026-01-01"))["spent_usdr"]
        == PRICE
    )
    assert world.visited.id in await home("statement", table=True)
    assert (await visited("balance"))["available"] == PRICE
    assert (await home("show"))["pending"] == 0


async def test_the_issuer_admits_mints_and_pays_out_by_command(
    world: OperatorWorld, ledger: LedgerWorld, tmp_path: Path
) -> None:
    environment = {
        "LANDFALL_DATA_DIR": str(tmp_path / "issuer"),
        "LANDFALL_KEK": base64.b64encode(secrets.token_bytes(32)).decode(),
        "LANDFALL_LEDGER_URL": ledger.url,
        "LANDFALL_LEDGER_KEY": str(ledger.log),
    }

    async def issuer(*arguments: str) -> Any:
        command = [*arguments, "--json"]
        result = await asyncio.to_thread(CliRunner().invoke, issuer_cli.app, command, env=environment)
        if isinstance(result.exception, LandfallError):
            raise result.exception
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return json.loads(result.stdout)

    recovery = tmp_path / "stick.json"
    party = await issuer("init", "issuer", "--name", "SDRt Issuer", "--country", "CH", "--recovery-file", str(recovery))
    assert party["role"] == "issuer"
    assert json.loads(recovery.read_text())["public"] == party["recovery_key"]
    # This ledger was founded with another issuer's key; the folder is given that.
    issuer_cli_keys(environment, ledger)

    deposit = f"deposit {time.time_ns()}"
    await issuer("mint", world.visited.id, "3.5", "--deposit", deposit)
    with pytest.raises(LandfallError, match="already-exists"):
        await issuer("mint", world.visited.id, "3.5", "--deposit", deposit)
    visited = staff_of(world.visited)
    redemption = await visited("redeem", "1.25", "--payout", "DE89 3704 0044 0532 0130 00")
    await world.visited.wait("/balance", lambda account: account["held"] == 1_250_000)
    (waiting,) = [one for one in await issuer("redemptions") if one["operator"] == world.visited.id]
    assert waiting["id"] == redemption["id"]
    await issuer("redeemed", redemption["id"], "--payment", "SEPA 1")
    assert await visited("balance") == {
        "row": "account",
        "operator": world.visited.id,
        "available": 2_250_000,
        "escrow": 0,
        "held": 0,
    }
    await world.visited.wait("/statement", lambda seen: seen["treasury"]["redeemed_usdr"] == 1_250_000)


async def test_a_mistake_is_told_with_its_remedy(world: OperatorWorld) -> None:
    home = staff_of(world.home)
    unknown = "01980000-0000-7000-8000-000000000000"
    with pytest.raises(LandfallError, match=f"not-found: there is no request {unknown}"):
        await home("requests", "cancel", unknown)
    with pytest.raises(LandfallError, match="is no amount"):
        await home("redeem", "a lot", "--payout", "x")


async def test_the_api_page_describes_every_route_from_files_of_ours(world: OperatorWorld) -> None:
    described = await world.home.get("/docs/openapi.json")
    assert {"/purchases", "/usage", "/statement", "/packages/preview"} <= described["paths"].keys()
    page = (await world.home.api.get("/docs")).text
    assert "https://" not in page
    assert (await world.home.api.get("/metrics")).status_code == 200


def _encode(value: Any) -> bytes:
    import msgspec

    return msgspec.json.encode(value)


def issuer_cli_keys(environment: dict[str, str], ledger: LedgerWorld) -> None:
    from landfall.keystore import Keystore, derive_kek

    store = Keystore.open(Path(environment["LANDFALL_DATA_DIR"]) / "keys", derive_kek(environment["LANDFALL_KEK"]))
    store.put("sign", ledger.issuer.signer.key.seed, purpose="ledger signature")
