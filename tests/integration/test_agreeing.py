"""An operator's wholesale desk: runs, cases, two pairs of eyes, disputes and evidence, against running nodes."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from landfall.errors import LandfallError
from landfall.postgres import Server
from settlement.ledger.settling import DecideDispute
from settlement.usage.tariff import Metered
from tests.integration.ledger_world import LedgerWorld
from tests.integration.operator_world import VISITED_PLMN, NodeProcess, NodeRefused, OperatorWorld, open_world
from tests.integration.test_operator_cli import staff_of

BLOCK, BLOCK_PRICE = 100_000, 1_000
METERED = Metered(block=BLOCK, block_price=BLOCK_PRICE, cap=10_000_000)
GERMANY = {"countries": ("DE",), "plmns": (VISITED_PLMN,)}
PERIOD = "/".join(f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}" for days in (-1, 1))  # tests run at midnight


@pytest.fixture
async def world(ledger: LedgerWorld, postgres_server: Server, tmp_path: Path) -> AsyncIterator[OperatorWorld]:
    async with open_world(ledger, postgres_server, tmp_path) as world:
        yield world


async def travel(world: OperatorWorld, **terms: Any) -> str:
    """The subscriber buys a metered package and goes abroad; the active request."""
    offer = await world.sell(world.visited, tariff=METERED, **{**GERMANY, **terms})
    items = [{"offer": offer, "escrow_usdr": 5_000_000}]
    draft = {"name": "Away", "currency": "EUR", "items": items, "retail_minor": 1000}
    package = await world.home.post("/packages", draft)
    subscriber = (await world.home.get("/subscribers"))[0]
    bought = await world.home.post("/purchases", {"subscriber": subscriber["id"], "package": package["id"]})
    path = f"/purchases/{bought['id']}"
    seen = await world.home.wait(path, lambda row: row["items"][0]["state"] == "delivered")
    await world.phone.travel_to("262")
    await world.home.wait(path, lambda row: row["items"][0]["state"] == "active")
    request = str(seen["items"][0]["request"])
    await world.visited.wait(f"/requests/{request}", lambda row: row["state"] == "active")
    return request


async def report(world: OperatorWorld, request: str, *units: int, batch: str = "one", duration: int = 600) -> None:
    """The visited operator reports data records, all of this minute, and the ledger settles them."""
    (profile,) = await world.visited.get("/profiles", in_state="active")
    fields = {"service": "data", "start_ms": time.time_ns() // 1_000_000, "place": VISITED_PLMN, "duration": duration}
    records = [{"imsi": profile["imsi"], "units": number, **fields} for number in units]
    before = (await world.visited.get(f"/usage/{request}"))["settled"]
    await world.visited.post("/usage", {"batch": batch, "records": records})
    await world.visited.post("/usage/send")
    await world.visited.wait(f"/usage/{request}", lambda usage: usage["settled"] == before + len(units))
    charged = (await world.visited.get(f"/requests/{request}/ledger"))["charged"]
    await world.home.wait("/statement", lambda statement: statement["spent_usdr"] == charged)


async def hire(node: NodeProcess, *names: str) -> list[NodeProcess]:
    """Members of staff: the node as each of them uses it."""
    members = []
    for name in names:
        token = (await node.post("/staff", {"name": name}))["token"]
        api = httpx.AsyncClient(base_url=node.url, headers={"authorization": f"Bearer {token}"}, timeout=30)
        environment = {**node.environment, "LANDFALL_OPERATOR_TOKEN": token}
        members.append(NodeProcess(node.id, environment, node.port, api))
    return members


def write_csv(path: Path, *rows: str) -> Path:
    path.write_text("key,party,time,amount_usdr,request,volume,duration\n" + "\n".join(rows) + "\n")
    return path


async def test_breaks_become_cases_that_two_people_end(world: OperatorWorld, tmp_path: Path) -> None:
    request = await travel(world)
    await report(world, request, 250_000, 100_000, 400_000)
    anna, ben = (staff_of(member) for member in await hire(world.home, "anna", "ben"))
    node, partner = staff_of(world.home), world.visited.id

    settled, same = tmp_path / "settled.csv", tmp_path / "same.csv"
    assert (await node("records", "export", partner, "--period", PERIOD, "--out", str(settled)))["records"] == 3
    await staff_of(world.visited)("records", "export", world.home.id, "--period", PERIOD, "--out", str(same))
    assert settled.read_text() == same.read_text(), "both sides write the same records alike"
    header, *rows = settled.read_text().splitlines()
    charged = [int(row.split(",")[header.split(",").index("amount_usdr")]) for row in rows]
    assert charged == [3_000, 1_000, 4_000], "each record by the ledger's own rating, blocks counted over all"

    first, second, third = rows
    dearer = second.replace(",1000,", ",1500,")
    own = tmp_path / "own.csv"
    own.write_text("\n".join([header, first, dearer, f"K-9,{partner}," + first.split(",", 2)[2].replace(request, "")]))
    taken = await node("records", "import", str(own))
    assert taken == await node("records", "import", str(own)), "the same file again is the same"
    page = tmp_path / "page.html"
    run = await node("reconcile", partner, "--period", PERIOD, "--html", str(page))
    kinds = {tally["kind"]: (tally["ours"], tally["theirs"]) for tally in run["report"]["kinds"]}
    told = {kind: counts for kind, counts in kinds.items() if counts != (0, 0)}
    assert told == {"matched": (1, 1), "amount": (1, 1), "missing here": (0, 1), "missing there": (1, 0)}
    for side in ("ours", "theirs"):
        tallies = run["report"]["kinds"]
        assert sum(tally[side] for tally in tallies) == run["report"][side]["records"] == run[side]["records"] == 3
        assert sum(tally[f"{side}_amount"] for tally in tallies) == run["report"][side]["amount"]
    assert (run["cases"], run["opened"]) == (3, 3)
    assert next((line["days"], line["cases"]) for line in run["ageing"]) == ("0–30", 3)

    again = await node("reconcile", partner, "--period", PERIOD)
    assert (again["cases"], again["opened"], again["cleared"]) == (3, 0, 0), "breaks are recognised"
    listed = await node("cases", "list", "--run", run["id"])
    case = next(one["id"] for one in listed if one["kind"] == "amount")
    with pytest.raises(LandfallError, match="not-permitted"):
        await node("cases", "propose", case, "accept-ours", "--reason", "rating")
    (proposed,) = [await anna("cases", "propose", case, "split", "--reason", "rating", "--amount", "0.0012")]
    assert (proposed["agreed_usdr"], proposed["proposed_by"]) == (1200, "anna")
    with pytest.raises(LandfallError, match="four-eyes"):
        await anna("cases", "confirm", case)
    confirmed = await ben("cases", "confirm", case, "--text", "as in our mail")
    assert (confirmed["state"], confirmed["confirmed_by"]) == ("confirmed", "ben")
    shown = await node("cases", "show", case)
    assert [(event["by"], event["what"]) for event in shown["history"]] == [
        (f"run {run['id']}", "found"),
        ("anna", "proposed"),
        ("ben", "confirmed"),
    ]
    assert (await node("reconcile", partner, "--period", PERIOD))["cases"] == 3
    assert (await node("cases", "show", case))["case"]["state"] == "confirmed", "a later run keeps what was agreed"

    whole = write_csv(tmp_path / "whole.csv", third)
    await node("records", "import", str(whole))
    later = await node("reconcile", partner, "--period", PERIOD)
    assert later["cleared"] == 1, "what was missing here has come"
    book = tmp_path / "cases.xlsx"
    await node("cases", "export", str(book), "--partner", partner)
    assert book.read_bytes()[:2] == b"PK"
    assert "What is to be ended, by age" in page.read_text()
    assert case in page.read_text()
    assert "2 records" not in await node("cases", "list", table=True)
    with (
        psycopg.connect(world.home.environment["LANDFALL_DATABASE_URL"]) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="only ever added"),
    ):
        connection.execute("DELETE FROM agreement_events")


async def test_the_ledger_is_compared_with_a_partners_file_and_faults_are_named(
    world: OperatorWorld, tmp_path: Path
) -> None:
    request = await travel(world)
    await report(world, request, 250_000)
    node, partner = staff_of(world.home), world.visited.id
    with pytest.raises(LandfallError, match="no own records"):
        await node("reconcile", partner, "--period", PERIOD)
    with pytest.raises(LandfallError, match="no period"):
        await node("reconcile", partner, "--period", "October")
    bad = write_csv(tmp_path / "bad.csv", f"K,{partner},2026-10-03T09:12:00Z,1,5,,0,0")
    with pytest.raises(LandfallError, match=r"bad.csv .*record 1 has 8 fields"):
        await node("reconcile", partner, "--period", PERIOD, "--theirs", str(bad))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:00Z")
    theirs = write_csv(
        tmp_path / "theirs.csv",
        f"{request}/1/0,{partner},{now},3000,{request},250000,600",
        f"{request}/1/1,{partner},{now},7000,{request},700000,600",
        f"K-0,{partner},2020-01-01T00:00:00Z,7000,,0,0",
    )
    run = await node("reconcile", partner, "--period", PERIOD, "--theirs", str(theirs))
    assert run["theirs"]["outside"] == 1
    (case,) = await node("cases", "list", "--run", run["id"])
    assert (case["kind"], case["at_stake_usdr"], case["request"]) == ("missing here", 7000, request)
    assert (await node("runs"))[0]["id"] == run["id"]
    with pytest.raises(NodeRefused, match="not-found"):
        await world.home.get("/reconciliations/00000000-0000-0000-0000-000000000000")
    (member,) = await hire(world.home, "anna")
    with pytest.raises(NodeRefused, match="not-permitted"):
        await member.post("/staff", {"name": "ben"})
    await world.home.post("/staff/anna/remove")
    with pytest.raises(NodeRefused, match="unauthorized"):
        await member.get("/cases")


async def confirm_claim(node: Any, anna: Any, ben: Any, run: str) -> dict[str, Any]:
    """The run's one case, claimed whole by Anna and confirmed by Ben."""
    (case,) = await node("cases", "list", "--run", run)
    await anna("cases", "propose", case["id"], "accept-ours", "--reason", "lost-record")
    confirmed: dict[str, Any] = await ben("cases", "confirm", case["id"])
    return confirmed


async def test_a_confirmed_case_is_disputed_and_what_follows_comes_back_into_it(
    world: OperatorWorld, tmp_path: Path
) -> None:
    request = await travel(world)
    await report(world, request, 250_000, 700_000)
    node, partner = staff_of(world.home), world.visited.id
    anna, ben = (staff_of(member) for member in await hire(world.home, "anna", "ben"))
    (carla,) = (staff_of(member) for member in await hire(world.visited, "carla"))
    settled = tmp_path / "settled.csv"
    await node("records", "export", partner, "--period", PERIOD, "--out", str(settled))
    header, first, _ = settled.read_text().splitlines()
    own = tmp_path / "own.csv"
    own.write_text(f"{header}\n{first}\n")
    await node("records", "import", str(own))
    run = await node("reconcile", partner, "--period", PERIOD)
    case = await confirm_claim(node, anna, ben, run["id"])
    with pytest.raises(LandfallError, match="not-permitted"):
        await node("disputes", "raise", case["id"])
    raised = await anna("disputes", "raise", case["id"], "--amount", "0.004")
    dispute = raised["dispute"]
    assert (raised["state"], raised["dispute_state"]) == ("disputed", "raising")
    (asked,) = await world.visited.wait("/disputes", bool, role="visited", state="raised")
    assert (asked["dispute"]["id"], asked["dispute"]["amount"], asked["ours"]) == (dispute, 4000, True)
    assert 0 < asked["left_ms"] <= 366 * 86_400_000
    assert asked["dispute"]["record"] == 1
    table = await carla("disputes", "list", table=True)
    assert "accept or reject, else it is upheld" in table
    assert asked["dispute"]["held"] == 4000 == (await world.visited.get("/balance"))["held"]

    handed = tmp_path / "case.json"
    await node("disputes", "dossier", asked["dispute"]["evidence"], "--out", str(handed))
    assert (await carla("disputes", "verify", dispute, str(handed)))["is"] == "evidence"
    handed.write_bytes(handed.read_bytes() + b" ")
    with pytest.raises(LandfallError, match="does not name"):
        await carla("disputes", "verify", dispute, str(handed))
    with pytest.raises(LandfallError, match="not-permitted"):
        await ben("disputes", "accept", dispute)

    before = (await world.home.get("/balance"))["available"]
    await carla("disputes", "accept", dispute)
    ended = await world.home.wait(f"/cases/{case['id']}", lambda seen: seen["case"]["state"] == "ended")
    assert (ended["case"]["dispute_state"], ended["case"]["award_usdr"]) == ("upheld", 4000)
    assert [event["what"] for event in ended["history"]][-3:] == ["disputed", "ledger", "ledger"]
    assert (await world.home.get("/balance"))["available"] == before + 4000, "the money is back"
    assert (await world.visited.get("/balance"))["held"] == 0
    with pytest.raises(LandfallError, match="wrong-state"):
        await carla("disputes", "accept", dispute)

    await anna("cases", "reopen", case["id"], "--text", "the rest of it too")
    await anna("cases", "propose", case["id"], "accept-ours", "--reason", "lost-record")
    await ben("cases", "confirm", case["id"])
    await anna("disputes", "raise", case["id"], "--amount", "5")
    refused = await world.home.wait(f"/cases/{case['id']}", lambda seen: seen["case"]["state"] == "confirmed")
    assert refused["history"][-1]["sets"]["dispute_state"] == "refused:too-much", "more than was ever charged"

    again = await anna("disputes", "raise", case["id"], "--amount", "0.003")
    await world.visited.wait("/disputes", bool, role="visited", state="raised")
    await carla("disputes", "reject", again["dispute"])
    await world.home.wait("/disputes", bool, role="home", state="rejected")
    await ben("disputes", "escalate", again["dispute"], "--evidence", str(own))
    await world.home.wait("/disputes", bool, role="home", state="escalated")
    async with world.ledger.issuer_client() as issuer:
        await issuer.submit(issuer.make(DecideDispute, dispute=UUID(again["dispute"]), award=1000))
    decided = await world.home.wait(f"/cases/{case['id']}", lambda seen: seen["case"]["state"] == "ended")
    assert (decided["case"]["dispute_state"], decided["case"]["award_usdr"]) == ("upheld", 1000)
    shown = await node("disputes", "show", again["dispute"])
    assert [(step["by"], step["step"]) for step in shown["steps"]] == [("anna", "raise"), ("ben", "escalate")]
    shown = await carla("disputes", "show", again["dispute"])
    assert [(step["by"], step["step"]) for step in shown["steps"]] == [("carla", "reject")]
    assert (await world.home.get("/balance"))["available"] == before + 5000
    assert not [task for task in await world.home.get("/tasks") if task["kind"] == "follow-dispute"]


async def test_over_reported_usage_is_found_by_evidence_disputed_and_paid_back(
    world: OperatorWorld, tmp_path: Path
) -> None:
    node, partner = staff_of(world.home), world.visited.id
    anna, ben = (staff_of(member) for member in await hire(world.home, "anna", "ben"))
    (carla,) = (staff_of(member) for member in await hire(world.visited, "carla"))
    (subscriber,) = await world.home.get("/subscribers")
    key = tmp_path / "device.key"
    public = (await node("meter", "keygen", str(key)))["key"]
    await node("meter", "enrol", subscriber["id"], "--key", public)
    request = await travel(world)
    minute = time.time_ns() // 60_000_000_000 + 10
    await report(world, request, 1_000_000)
    meter = ("meter", "report", request, "--key-file", str(key))
    await node(*meter, "--octets", "980000", "--minute", str(minute))
    honest = await node("evidence", "check", partner, "--period", PERIOD)
    assert (honest["requests"], honest["with_meter"], honest["findings"]) == (1, 1, [])

    await report(world, request, 1_100_000, batch="two")
    checked = await node("evidence", "check", partner, "--period", PERIOD)
    (found,) = checked["findings"]
    assert found["finding"]["fraud"] == "over-report"
    assert found["finding"]["excess"] == {"data": 1_120_000}
    assert (found["charged_usdr"], found["excess_usdr"]) == (21_000, 11_200)
    again = await node("evidence", "check", partner, "--period", PERIOD)
    assert (again["findings"][0]["case"], again["opened"]) == (found["case"], 0)

    await anna("cases", "propose", found["case"], "accept-ours", "--reason", "evidence")
    with pytest.raises(LandfallError, match="four-eyes"):
        await anna("cases", "confirm", found["case"])
    await ben("cases", "confirm", found["case"])
    before = (await world.home.get("/balance"))["available"]
    raised = await ben("disputes", "raise", found["case"])
    await world.visited.wait("/disputes", bool, role="visited", state="raised")
    dossier = tmp_path / "case.json"
    asked = (await carla("disputes", "list"))[0]["dispute"]
    assert asked["cause"] == "over-report"
    await node("disputes", "dossier", asked["evidence"], "--out", str(dossier))
    assert '"signature"' in dossier.read_text(), "what the device signed is shown"
    await carla("disputes", "accept", raised["dispute"])
    case = f"/cases/{found['case']}"
    ended = await world.home.wait(case, lambda seen: seen["case"]["state"] == "ended")
    assert ended["case"]["award_usdr"] == 11_200
    assert (await world.home.get("/balance"))["available"] == before + 11_200, "the money is back"

    await report(world, request, 500_000, batch="three")
    await node("evidence", "check", partner, "--period", PERIOD)
    grown = (await world.home.get(case))["case"]
    assert (grown["state"], grown["at_stake_usdr"], grown["awarded_usdr"]) == ("open", 16_200, 11_200)
    await ben("cases", "propose", found["case"], "accept-ours", "--reason", "evidence")
    await anna("cases", "confirm", found["case"])
    raised = await anna("disputes", "raise", found["case"])
    await world.visited.wait("/disputes", bool, role="visited", state="raised")
    await carla("disputes", "reject", raised["dispute"])
    await world.home.wait("/disputes", bool, role="home", state="rejected")
    await anna("disputes", "escalate", raised["dispute"], "--evidence", str(dossier))
    await world.home.wait("/disputes", bool, role="home", state="escalated")
    async with world.ledger.issuer_client() as issuer:
        (waiting,) = [row for row in await issuer.disputes(state="escalated") if row.home == world.home.id]
        assert waiting.amount == 5_000, "what was not paid back yet"
        await issuer.submit(issuer.make(DecideDispute, dispute=waiting.id, award=2_000))
    decided = await world.home.wait(case, lambda seen: seen["case"]["state"] == "ended")
    assert (decided["case"]["dispute_state"], decided["case"]["awarded_usdr"]) == ("upheld", 13_200)
    assert (await world.home.get("/balance"))["available"] == before + 13_200

    with pytest.raises(LandfallError, match="only go up"):
        await node(*meter, "--octets", "1000", "--minute", str(minute + 1))
    stranger = tmp_path / "other.key"
    await node("meter", "keygen", str(stranger))
    with pytest.raises(LandfallError, match="bad-signature"):
        await node("meter", "report", request, "--key-file", str(stranger), "--octets", "9999999")
    body = {"request": request, "minute": 1, "octets": 1, "seconds": 0, "messages": 0, "signature": "AAAA"}
    async with httpx.AsyncClient(base_url=world.home.url) as anybody:
        assert (await anybody.post("/meters/readings", json=body)).status_code == 400
        assert (await anybody.get(f"/meters/{request}")).status_code == 401
