"""The field over HTTP, as operator nodes in other processes use it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, post

from ota.profile import MULTI_ACCOUNT_TAR, MobileProfile, list_slots, store_slot
from ota.scp80.packet import KeySet, decode_response, encode_command
from ota.scp80.parameters import KeyByte, ResponseStatus, Spi
from ota.scp80.remote import join_commands
from ota.scp80.sms import build_delivers, unwrap_response
from simcard.readers import MemoryLink
from simcard.uicc import personalise
from simulator.field import Field, Network, Phone
from simulator.field_app import NetworkAccess, create_field_app, serve_field
from simulator.hlr import EmbeddedHlr
from simulator.processes import find_free_port

ICCID = "8970199000000000017"
KEYS = KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=bytes(range(16)), kid_key=bytes(range(16, 32)))
CARRIER = {"authorization": "Bearer carrier-secret"}
OWNER = {"authorization": "Bearer owner-secret"}
SUBSCRIBER = {"k": bytes(16).hex(), "opc": bytes(16).hex(), "msisdn": "+491701234567", "algorithm": "milenage"}


def make_profile(imsi: str, plmn: str) -> MobileProfile:
    return MobileProfile(
        imsi=imsi,
        k=bytes(16),
        opc=bytes(16),
        plmn=plmn,
        spn="Network of tests",
        acc=1,
        smsc="+491700000000",
        coverage=(plmn, plmn[:3], "26202", "26203"),
        msisdn="+491701234567",
    )


HOME, ABROAD = make_profile("250990000000001", "25099"), make_profile("262011234567890", "26201")


class Node:
    """An operator node's webhook receiver, which is busy the first time it is called."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []

    def app(self) -> Litestar:
        @post("/activations")
        async def take(request: Request[Any, Any, Any]) -> dict[str, str]:
            self.received.append((dict(request.headers), await request.body()))
            if len(self.received) == 1:
                raise RuntimeError("busy")
            return {}

        return Litestar([take], openapi_config=None)


@asynccontextmanager
async def running(node: Node) -> AsyncIterator[tuple[httpx.AsyncClient, Phone]]:
    field = Field()
    home = field.add_network(Network("25099", "Home", EmbeddedHlr()))
    field.add_network(Network("26201", "Abroad", EmbeddedHlr()))
    await home.hlr.create_subscriber(HOME.imsi, k=HOME.k, opc=HOME.opc, algorithm="milenage", msisdn=None)
    card = personalise(iccid=ICCID, home=HOME, ota=[KEYS], adm="12345678")
    phone = await field.add_phone(MemoryLink(card), place="25099")
    async with serve_field(node.app(), "127.0.0.1", find_free_port()) as node_url:
        access = {"26201": NetworkAccess("owner-secret", f"{node_url}/activations", "hook-secret")}
        app = create_field_app(field, carrier_secret="carrier-secret", access=access)
        async with serve_field(app, "127.0.0.1", find_free_port()) as url, httpx.AsyncClient(base_url=url) as client:
            yield client, phone


def make_packet(commands: list[bytes], counter: int) -> list[str]:
    packet = encode_command(join_commands(commands), keys=KEYS, spi=Spi(), tar=MULTI_ACCOUNT_TAR, counter=counter)
    return [tpdu.hex() for tpdu in build_delivers(packet, originator="+79990000001", timestamp=bytes(7))]


async def test_a_node_provisions_carries_a_profile_and_is_told_of_the_first_registration() -> None:
    node = Node()
    async with running(node) as (client, phone):
        subscriber = f"/networks/26201/subscribers/{ABROAD.imsi}"
        for _ in range(2):
            assert (await client.put(subscriber, json=SUBSCRIBER, headers=OWNER)).status_code == 204
        conflict = await client.put(subscriber, json={**SUBSCRIBER, "k": "11" * 16}, headers=OWNER)
        assert (conflict.status_code, conflict.json()["code"]) == (409, "imsi-in-use")

        tpdus = make_packet([*store_slot(1, ABROAD), list_slots()], 1)
        assert len(tpdus) > 1
        answer = await client.post(f"/sms/{ICCID}", json={"tpdus": tpdus}, headers=CARRIER)
        assert answer.status_code == 200, answer.text
        responses = answer.json()["responses"]
        assert responses[:-1] == [""] * (len(tpdus) - 1)
        proof = decode_response(unwrap_response(bytes.fromhex(responses[-1])), keys=KEYS, spi=Spi())
        assert proof.status is ResponseStatus.POR_OK

        assert await phone.travel_to("262")
        for _ in range(100):
            if len(node.received) == 2:
                break
            await asyncio.sleep(0.05)
        (first, _), (second, body) = node.received
        assert first["webhook-id"] == second["webhook-id"]
        signed = f"{second['webhook-id']}.{second['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(b"hook-secret", signed, hashlib.sha256)).decode()
        assert second["webhook-signature"] == f"v1,{expected}"
        assert f'"imsi":"{ABROAD.imsi}"'.encode() in body

        assert (await client.post(f"{subscriber}/bar", headers=OWNER)).status_code == 204
        absent = await client.post(f"/sms/{ICCID}", json={"tpdus": tpdus}, headers=CARRIER)
        assert (absent.status_code, absent.json()["code"]) == (409, "absent-subscriber")
        assert (await client.delete(subscriber, headers=OWNER)).status_code == 204
        assert (await client.post(f"{subscriber}/bar", headers=OWNER)).json()["code"] == "unknown-imsi"
        assert len(node.received) == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("POST", f"/sms/{ICCID}", {"tpdus": []}, OWNER, 401, "unauthorized"),
        ("POST", f"/sms/{ICCID}", {"tpdus": []}, {}, 401, "unauthorized"),
        ("POST", "/sms/8900000000000000000", {"tpdus": []}, CARRIER, 404, "unknown-iccid"),
        ("POST", f"/sms/{ICCID}", {"tpdus": ["xy"]}, CARRIER, 422, "invalid-request"),
        ("POST", f"/sms/{ICCID}", {"tpdu": []}, CARRIER, 422, "invalid-request"),
        ("POST", f"/sms/{ICCID}", {"tpdus": ["00"]}, CARRIER, 502, "card-refused"),
        ("PUT", "/networks/26201/subscribers/262010000000001", SUBSCRIBER, CARRIER, 401, "unauthorized"),
        ("PUT", "/networks/25099/subscribers/250990000000001", SUBSCRIBER, OWNER, 401, "unauthorized"),
        (
            "PUT",
            "/networks/26201/subscribers/262010000000001",
            {**SUBSCRIBER, "k": "00"},
            OWNER,
            422,
            "invalid-subscriber",
        ),
        ("PUT", "/networks/26201/subscribers/26201x", SUBSCRIBER, OWNER, 422, "invalid-subscriber"),
        ("DELETE", "/networks/26201/subscribers/262019999999999", None, OWNER, 204, None),
        ("GET", "/nowhere", None, {}, 404, "not-found"),
    ],
)
async def test_what_is_wrong_is_named_by_its_code(
    method: str, path: str, body: object, headers: dict[str, str], status: int, code: str | None
) -> None:
    async with running(Node()) as (client, _):
        answer = await client.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        if code:
            assert answer.json()["code"] == code
            assert answer.headers["content-type"].startswith("application/problem+json")
            assert SUBSCRIBER["k"] not in answer.text
