"""Jobs and campaigns of a real node: to software cards over HTTP and through a short message centre."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from landfall.errors import LandfallError
from landfall.postgres import Server
from simulator.field import Phone, SmsAnswer
from simulator.smsc import Faults
from tests.integration.ledger_world import LedgerWorld
from tests.integration.operator_world import NodeRefused
from tests.integration.ota_world import COUNT_UP, HAS_COUNTED, OtaWorld, open_ota
from tests.integration.test_operator_cli import staff_of

SPN = {
    "name": "show-spn",
    "about": "What the phone shows as its operator.",
    "commands": [{"do": "set-service-provider-name", "spn": "{spn}"}],
    "parameters": {"spn": {"kind": "text", "sample": "Alpenfunk"}},
}


def by_card(world: OtaWorld, **values: str) -> list[dict[str, Any]]:
    return [{"iccid": iccid, "values": values} for iccid in world.iccids]


async def test_jobs_and_campaigns_from_template_to_proof(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    async with open_ota(ledger, postgres_server, tmp_path, cards=6) as world:
        node = world.node
        job = await node.post("/ota/jobs", {"iccid": world.iccids[0], "commands": [{"do": "list-slots"}]})
        assert (job["state"], job["final"]) == ("queued", False)
        job = await node.wait(f"/ota/jobs/{job['id']}", lambda seen: seen["final"])
        assert (job["state"], job["words"]) == ("proven", "the card ran 1 of 1 commands, the last with 9000: done")

        refused = {"iccid": world.iccids[0], "commands": [{"do": "enable-slot", "slot": 3}]}
        job = await node.post("/ota/jobs", refused)
        job = await node.wait(f"/ota/jobs/{job['id']}", lambda seen: seen["final"])
        assert job["state"] == "failed"
        assert "6A83" in job["words"]

        for version in (1, 2):
            edition = {**SPN, "about": f"edition {version}"}
            assert (await node.post("/ota/templates", edition))["version"] == version
            assert (await node.post("/ota/templates", edition))["version"] == version  # the same again is the same
        assert len(await node.get("/ota/templates/show-spn")) == 2

        draft: dict[str, Any] = {"name": "New name", "template": "show-spn", "values": {"spn": "Home"}, "start": False}
        campaign = (await node.post("/ota/campaigns", draft))["id"]
        rows = [f"{iccid};Card {number}" for number, iccid in enumerate(world.iccids)]
        added = await node.post_text(f"/ota/campaigns/{campaign}/cards", "ICCID;spn\n" + "\n".join([*rows, rows[0]]))
        assert added == {"added": 6, "known": 1, "without_keys": 0}
        events = asyncio.create_task(_follow(world, campaign))
        await node.post(f"/ota/campaigns/{campaign}/start")
        shown = await world.finish(campaign)
        assert (shown["state"], shown["counts"]["proven"]) == ("done", 6)
        names = [card._files.usim.efs[0x6F46].content[1:7] for card in world.cards]
        assert names == [f"Card {number}".encode() for number in range(6)]

        told = await asyncio.wait_for(events, 20)
        assert told[-1]["counts"]["proven"] == 6
        finals = {event["iccid"] for event in told if event.get("final")}
        assert finals == set(world.iccids)
        assert [row["name"] for row in await node.get("/ota/campaigns")] == ["New name"]
        assert len(await node.get("/ota/jobs", iccid=world.iccids[0])) == 3


async def _follow(world: OtaWorld, campaign: str) -> list[dict[str, Any]]:
    async with world.node.api.stream("GET", f"/ota/campaigns/{campaign}/events", params={"after": 0}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        return [json.loads(line[5:]) async for line in stream.aiter_lines() if line.startswith("data:")]


async def test_a_campaign_has_one_effect_on_each_card_though_the_node_is_killed(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    bad = Faults(loss=0.05, duplicate=0.3, reorder=0.2, delay_s=(0.1, 0.5))
    async with open_ota(ledger, postgres_server, tmp_path, cards=40, smpp=bad) as world:
        order = {"name": "count", "commands": [COUNT_UP], "question": HAS_COUNTED, "cards": by_card(world)}
        campaign = (await world.node.post("/ota/campaigns", order))["id"]
        path = f"/ota/campaigns/{campaign}"
        for _ in range(2):
            await world.node.wait(path, lambda seen: seen["counts"]["sent"] + seen["counts"]["delivered"] > 3)
            await asyncio.sleep(0.3)  # parts and proofs are on their way
            world.node.kill()
            world.node.start()
            await world.node.await_ready()
        shown = await world.finish(campaign, within_s=150)
        assert world.counted() == [1] * 40
        assert shown["counts"]["proven"] == 40, [
            job for job in await world.node.get(f"{path}/jobs", limit=100) if job["state"] != "proven"
        ]


async def test_phones_that_come_back_while_the_node_is_dead_are_served_once(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    async with open_ota(ledger, postgres_server, tmp_path, cards=12) as world:
        order = {"name": "count", "commands": [COUNT_UP], "cards": by_card(world)}
        await asyncio.gather(*(phone.switch_off() for phone in world.phones))
        campaign = (await world.node.post("/ota/campaigns", order))["id"]
        path = f"/ota/campaigns/{campaign}"
        await world.node.wait(path, lambda seen: seen["counts"]["sent"] + seen["counts"]["queued"] == 12)
        world.node.kill()
        await asyncio.gather(*(phone.switch_on() for phone in world.phones))
        world.node.start()
        await world.node.await_ready()
        shown = await world.finish(campaign)
        assert world.counted() == [1] * 12
        assert shown["counts"]["proven"] == 12


async def test_a_lost_proof_is_asked_for_or_done_again_and_else_stays_unknown(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    async with open_ota(ledger, postgres_server, tmp_path, cards=3) as world:
        for phone in world.phones:
            _lose_first_answer(phone)
        orders: list[dict[str, Any]] = [
            {"commands": [COUNT_UP], "question": HAS_COUNTED},
            {"commands": [{"do": "set-service-provider-name", "spn": "Twice"}]},
            {"commands": [COUNT_UP]},
        ]
        jobs = [
            await world.node.post("/ota/jobs", {"iccid": iccid, **order})
            for iccid, order in zip(world.iccids, orders, strict=True)
        ]
        asked, again, unknown = [
            await world.node.wait(f"/ota/jobs/{job['id']}", lambda seen: seen["final"], within_s=40) for job in jobs
        ]
        assert (asked["state"], asked["words"]) == ("proven", "its proof was lost; asked, the card answers 000001")
        assert again["state"] == "proven"
        assert (unknown["state"], world.counted()) == ("unknown", [1, 0, 1])
        assert "an earlier attempt may have acted" in unknown["words"]


def _lose_first_answer(phone: Phone) -> None:
    receive, lost = phone.receive_sms, False

    async def receive_sms(tpdus: Sequence[bytes]) -> SmsAnswer:
        nonlocal lost
        answer = await receive(tpdus)
        if lost:
            return answer
        lost = True
        return SmsAnswer((), ())

    phone.receive_sms = receive_sms  # type: ignore[method-assign,assignment]


async def test_a_campaign_is_throttled_paused_resumed_and_cancelled(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    async with open_ota(ledger, postgres_server, tmp_path, cards=20) as world:
        node = world.node
        order = {"name": "slow", "commands": [COUNT_UP], "cards": by_card(world), "per_minute": 120}
        path = f"/ota/campaigns/{(await node.post('/ota/campaigns', order))['id']}"
        await node.wait(path, lambda seen: seen["counts"]["proven"] >= 3)
        paused = await node.post(f"{path}/pause")
        assert paused["counts"]["proven"] < 12
        with pytest.raises(NodeRefused, match="wrong-state"):
            await node.post(f"{path}/pause")
        await node.wait(path, lambda seen: seen["counts"]["sent"] == 0)
        stood = sum(world.counted())
        await asyncio.sleep(1.5)
        assert sum(world.counted()) == stood

        # A job for a card of the paused campaign does not wait for it.
        job = await node.post("/ota/jobs", {"iccid": world.iccids[-1], "commands": [{"do": "list-slots"}]})
        await node.wait(f"/ota/jobs/{job['id']}", lambda seen: seen["state"] == "proven")

        # Neither does a card wait that is cancelled by itself.
        (last,) = await node.get(f"{path}/jobs", after=job["id"] - 2, limit=1)
        assert (await node.post(f"/ota/jobs/{last['id']}/cancel"))["state"] == "cancelled"
        with pytest.raises(NodeRefused, match="only one that was not yet sent"):
            await node.post(f"/ota/jobs/{last['id']}/cancel")

        await node.post(f"{path}/resume")
        await node.wait(path, lambda seen: seen["counts"]["proven"] > stood)
        await node.post(f"{path}/cancel")
        shown = await world.finish(path.rsplit("/", 1)[1])
        counts = shown["counts"]
        assert shown["state"] == "cancelled"
        assert counts["cancelled"] > 0
        assert counts["cancelled"] + counts["proven"] == 20
        assert sum(world.counted()) == counts["proven"]


async def test_a_card_that_stays_away_expires_and_one_that_comes_back_is_served(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    async with open_ota(ledger, postgres_server, tmp_path, cards=2) as world:
        node = world.node
        await asyncio.gather(*(phone.switch_off() for phone in world.phones))
        order = {"commands": [COUNT_UP], "valid_hours": 8 / 3600}
        jobs = [await node.post("/ota/jobs", {"iccid": iccid, **order}) for iccid in world.iccids]
        await node.wait(f"/ota/jobs/{jobs[0]['id']}", lambda seen: seen["attempts"] >= 1)
        await world.phones[0].switch_on()
        back = await node.wait(f"/ota/jobs/{jobs[0]['id']}", lambda seen: seen["final"], within_s=40)
        away = await node.wait(f"/ota/jobs/{jobs[1]['id']}", lambda seen: seen["final"], within_s=60)
        assert (back["state"], away["state"]) == ("proven", "expired")
        assert "out of reach" in away["words"]
        assert world.counted() == [1, 0]


async def test_what_cannot_be_done_is_refused_with_the_place_named(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    async with open_ota(ledger, postgres_server, tmp_path, cards=1) as world:
        node, iccid = world.node, world.iccids[0]
        for path, body, words in (
            ("/ota/jobs", {"iccid": iccid}, "one of commands, template and rotate_keys"),
            ("/ota/jobs", {"iccid": iccid, "commands": [{"do": "enable-slot", "slot": 99}]}, "command 1"),
            ("/ota/jobs", {"iccid": iccid, "template": "nowhere"}, "no template nowhere"),
            ("/ota/templates", {**SPN, "commands": [{"do": "list-slots"}]}, "stands in no command"),
            ("/ota/templates", {**SPN, "parameters": {}}, "is no parameter"),
            ("/ota/campaigns", {"name": "x", "commands": [{"do": "list-slots"}]}, "has cards"),
        ):
            with pytest.raises(NodeRefused, match=words):
                await node.post(path, body)
        draft = await node.post("/ota/campaigns", {"name": "x", "commands": [{"do": "list-slots"}], "start": False})
        cards = f"/ota/campaigns/{draft['id']}/cards"
        with pytest.raises(NodeRefused, match="row 2: iccid 'x'"):
            await node.post_text(cards, f"{iccid}\nx\n")
        assert (await node.get(f"/ota/campaigns/{draft['id']}"))["counts"]["cards"] == 0
        many = "\n".join(f"8970198{number:012d}" for number in range(20_000))
        assert await node.post_text(cards, f"iccid\n{iccid}\n{many}\n") == {
            "added": 20_001,
            "known": 0,
            "without_keys": 20_000,
        }
        counts = (await node.post(f"/ota/campaigns/{draft['id']}/cancel"))["counts"]
        assert counts["cancelled"] == 20_001


async def begin_slowly(world: OtaWorld) -> str:
    """A campaign of one card a second."""
    order = {"name": "slow", "commands": [{"do": "list-slots"}], "per_minute": 60}
    campaign = await world.node.post("/ota/campaigns", {**order, "cards": by_card(world)})
    return str(campaign["id"])


async def test_an_engineer_runs_a_campaign_by_command(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    async with open_ota(ledger, postgres_server, tmp_path, cards=4) as world:
        staff = staff_of(world.node)
        template, cards = tmp_path / "template.toml", tmp_path / "cards.csv"
        template.write_text(await staff("example", "template", table=True))
        (added,) = await staff("ota", "templates", "add", str(template))
        assert (added["version"], added["words"]) == (1, "show 'Alfa Mobile' as the service provider")
        cards.write_text("\n".join(world.iccids))
        create = ("ota", "campaigns", "create", "New name", "--cards", str(cards), "-t", "show-spn")
        told = await staff(*create, "-s", "spn=Bravo", "--follow", table=True)
        assert "proven 4" in told
        assert "New name: done 100 %" in told
        (shown,) = await staff("ota", "campaigns", "list")
        assert shown["counts"]["proven"] == 4
        assert len(await staff("ota", "jobs", "list", "--campaign", shown["id"], "--state", "proven")) == 4
        (job,) = await staff("ota", "send", world.iccids[0], "-c", "list-slots")
        assert (await world.node.wait(f"/ota/jobs/{job['id']}", lambda seen: seen["final"]))["state"] == "proven"
        lines = (await staff("ota", "campaigns", "follow", shown["id"], "--after", "0", "--json", table=True)).split()
        assert lines
        with pytest.raises(LandfallError, match="not name=value"):
            await staff("ota", "send", world.iccids[0], "-c", "enable-slot 2")
        slow = await begin_slowly(world)
        following = asyncio.create_task(staff("ota", "campaigns", "follow", slow, "--after", "0", "--json", table=True))
        await world.node.wait(f"/ota/campaigns/{slow}", lambda seen: seen["counts"]["proven"] >= 1)
        world.node.stop()
        await asyncio.to_thread(world.node.start)
        told = [json.loads(line) for line in (await asyncio.wait_for(following, 60)).splitlines()]
        assert told[-1]["counts"]["proven"] == 4, "a follower outlives the node's restart"
        assert {row["iccid"] for row in told if row["event"] == "job" and row["final"]} == set(world.iccids)
        (draft,) = await staff(*create, "-s", "spn=Bravo", "--per-minute", "1", "--draft")
        for change, state in (("start", "running"), ("cancel", "cancelled")):
            (row,) = await staff("ota", "campaigns", change, draft["id"])
            assert row["state"] == state
