"""Invoices from outside become obligations, the issuer nets them, and operators' nodes consent by their settings."""

import time
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from landfall.postgres import Server
from marketplace.issuer_netting import find_taken, plan, propose
from settlement.netting import Method, Terms
from tests.integration.ledger_world import DAY_MS, LedgerWorld
from tests.integration.operator_world import NodeProcess, NodeRefused, OperatorWorld, open_world
from tests.integration.test_closing import close

SDRT = 1_000_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
async def world(ledger: LedgerWorld, postgres_server: Server, tmp_path: Path) -> AsyncIterator[OperatorWorld]:
    async with open_world(ledger, postgres_server, tmp_path) as world:
        yield world


async def owe(debtor: NodeProcess, creditor: NodeProcess, amount: int) -> str:
    """The creditor uploads an invoice, the debtor reads the file and confirms it."""
    document = sha256(f"{creditor.id} {debtor.id} {amount}".encode()).hexdigest()
    new = {"debtor": debtor.id, "amount_usdr": amount, "due_ms": now_ms() + 30 * DAY_MS, "document": document}
    invoice = (await creditor.post("/invoices", new))["id"]
    again = (await creditor.post("/invoices", new))["id"]
    assert again == invoice
    await debtor.wait("/invoices", lambda rows: any(row["id"] == invoice and row["asked"] for row in rows))
    with pytest.raises(NodeRefused, match="the file's SHA-256"):
        await debtor.post(f"/invoices/{invoice}/confirm", {"document": "0" * 64})
    await debtor.post(f"/invoices/{invoice}/confirm", {"document": document})
    await creditor.wait("/invoices", lambda rows: any(row["id"] == invoice and row["state"] == "open" for row in rows))
    return str(invoice)


async def net_round(world: OperatorWorld, most: int) -> tuple[Any, list[Any]]:
    async with world.ledger.issuer_client() as issuer:
        own = {world.home.id, world.visited.id, world.provider.id}
        rows = [row for row in await issuer.obligations(state="open") if {row.debtor, row.creditor} <= own]
        found = plan(rows, Method.SETOFF, Terms(), await find_taken(issuer))
        assert found.netting.gross_before - found.netting.gross_after == most
        proposed = await propose(issuer, found, until_ms=now_ms() + DAY_MS, due_ms=now_ms() + 2 * DAY_MS)
        assert not plan(rows, Method.SETOFF, Terms(), await find_taken(issuer)).cycles  # what waits is taken
        return found, proposed


async def test_a_cycle_of_confirmed_invoices_is_netted_and_a_notice_of_it_issued(world: OperatorWorld) -> None:
    begin = now_ms()
    for debtor, creditor, amount in (
        (world.home, world.visited, 50 * SDRT),
        (world.visited, world.provider, 40 * SDRT),
        (world.provider, world.home, 30 * SDRT),
    ):
        await owe(debtor, creditor, amount)
    _, (cycle,) = await net_round(world, 90 * SDRT)
    for node in (world.home, world.visited, world.provider):
        await node.wait("/netting", lambda rows: [row["state"] for row in rows] == ["effective"], state="all")
        seen = (await node.get("/netting", state="all"))[0]
        assert (seen["payable_usdr"], seen["receivable_usdr"]) == (30 * SDRT, 30 * SDRT)
        assert seen["position_changes_usdr"] == 0
    left = {(row["debtor"], row["creditor"]): row["remaining"] for row in await world.visited.get("/obligations")}
    assert left == {
        (world.home.id, world.visited.id): 20 * SDRT,
        (world.visited.id, world.provider.id): 10 * SDRT,
    }
    end = now_ms()
    closing = await close(world.visited, begin, end)
    made = await world.visited.get(f"/closings/{closing['id']}/documents")
    assert [(one["kind"], one["counterparty"], one["amount_usdr"]) for one in made] == [
        ("statement", None, 0),
        ("netting-notice", None, 60 * SDRT),
        ("act", world.home.id, 20 * SDRT),
        ("act", world.provider.id, -10 * SDRT),
    ]
    assert str(cycle.id)

    owed = next(row for row in await world.home.get("/obligations", role="debtor"))
    paid = await world.home.post(f"/obligations/{owed['id']}/pay", {"amount_usdr": 5 * SDRT})
    await world.home.wait(f"/outbox/{paid['message']}", lambda seen: seen["state"] == "accepted")
    assert (await world.visited.get("/balance"))["available"] == 5 * SDRT


async def test_what_is_beyond_the_limit_waits_for_staff(world: OperatorWorld) -> None:
    await owe(world.home, world.visited, 600 * SDRT)
    await owe(world.visited, world.home, 600 * SDRT)
    _, (cycle,) = await net_round(world, 1200 * SDRT)
    (seen,) = await world.home.wait("/netting", lambda rows: len(rows) == 1)
    assert seen["asked"]
    assert "most_usdr" in seen["automatic"]
    await world.home.post(f"/netting/{cycle.id}/consent")
    await world.visited.post(f"/netting/{cycle.id}/refuse", {"reason": "too-much"})
    (ended,) = await world.home.wait(
        "/netting", lambda rows: [row["state"] for row in rows] == ["refused"], state="all"
    )
    assert not ended["asked"]
    assert {row["remaining"] for row in await world.home.get("/obligations")} == {600 * SDRT}
