"""One home operator's node as a process of its own, and as many phones with its cards as a test likes.

async with open_ota(ledger, postgres_server, tmp_path, cards=20, smpp=Faults(loss=0.1)) as world:
    job = await world.node.post("/ota/jobs", {"iccid": world.iccids[0], "commands": [{"do": "list-slots"}]})
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landfall.postgres import Server
from ota.profile import MobileProfile
from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte
from simcard.readers import MemoryLink
from simcard.uicc import Card, personalise
from simulator.field import Field, Network, Phone
from simulator.field_app import create_field_app, serve_field
from simulator.hlr import EmbeddedHlr
from simulator.processes import find_free_port
from simulator.smsc import Faults, Smsc
from tests.integration.ledger_world import LedgerWorld
from tests.integration.operator_world import SMPP_PASSWORD, NodeProcess, found_node

PLMN = "25099"
EF_ACM = "7fff6f39"
COUNT_UP = {"do": "apdu", "tar": "b00010", "apdu": f"00a4080c04{EF_ACM}" + "00320000" + "03000001"}
"""INCREASE by one: what must never be done twice, and tells if it was."""
HAS_COUNTED = {"commands": [{"do": "read-record", "path": EF_ACM, "record": 1, "length": 3}], "expect": "000001"}


@dataclass
class OtaWorld:
    """The node, its cards and the phones they are in."""

    node: NodeProcess
    field: Field
    iccids: list[str]
    phones: list[Phone]
    cards: list[Card]
    keys: list[KeySet]
    smsc: Smsc | None

    def counted(self) -> list[int]:
        """How often each card was told to count up."""
        return [int.from_bytes(card._files.usim.efs[0x6F39].content[:3], "big") for card in self.cards]

    async def finish(self, campaign: str, *, within_s: float = 60) -> Any:
        """Wait until a campaign is at its end."""
        path = f"/ota/campaigns/{campaign}"
        return await self.node.wait(
            path, lambda seen: seen["state"] in ("done", "cancelled") and not seen["counts"]["open"], within_s=within_s
        )


@asynccontextmanager
async def open_ota(
    ledger: LedgerWorld,
    server: Server,
    folder: Path,
    *,
    cards: int,
    smpp: Faults | None = None,
    subscribers: bool = True,
) -> AsyncIterator[OtaWorld]:
    """Found the operator, make its cards, switch their phones on, start its node."""
    secret, field, hlr = secrets.token_hex(16), Field(), EmbeddedHlr()
    field.add_network(Network(PLMN, "Home", hlr))
    port = find_free_port()
    carrier = f'[carrier]\nurl = "http://127.0.0.1:{port}"\n'
    iccids = [f"89701990000000{number:05d}" for number in range(cards)]
    keys = [
        KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=secrets.token_bytes(16), kid_key=secrets.token_bytes(16))
        for _ in iccids
    ]
    made, phones = [], []
    for number, iccid in enumerate(iccids):
        profile = MobileProfile(
            imsi=f"{PLMN}{number:010d}",
            k=secrets.token_bytes(16),
            opc=secrets.token_bytes(16),
            plmn=PLMN,
            spn="Home",
            acc=1,
            smsc="+79990000000",
            coverage=(PLMN,),
            msisdn=f"+7999{number:07d}",
        )
        await hlr.create_subscriber(
            profile.imsi, k=profile.k, opc=profile.opc, algorithm="milenage", msisdn=profile.msisdn
        )
        made.append(personalise(iccid=iccid, home=profile, ota=[keys[number]], adm="12345678"))
        phones.append(await field.add_phone(MemoryLink(made[-1]), place=PLMN))
    async with AsyncExitStack() as stack:
        smsc = None
        if smpp is not None:
            smsc = Smsc(field, {"ota": secret[:SMPP_PASSWORD]}, faults=smpp)
            smsc.numbers.update({f"7999{number:07d}": iccid for number, iccid in enumerate(iccids)})
            smpp_port = await stack.enter_async_context(smsc.serve("127.0.0.1", 0))
            carrier = f'[carrier]\nurl = "smpp://ota@127.0.0.1:{smpp_port}?validity-seconds=10&proof-seconds=5"\n'
        app = create_field_app(field, carrier_secret=secret[:SMPP_PASSWORD], access={})
        await stack.enter_async_context(serve_field(app, "127.0.0.1", port))
        node = await found_node(
            ledger, server, folder, f"home-{secrets.token_hex(3)}", carrier, secret, find_free_port()
        )
        stack.push_async_callback(node.api.aclose)
        # The field and its message centre run in this loop: they answer a node that starts or takes its leave.
        stack.push_async_callback(asyncio.to_thread, node.stop)
        node.start()
        await node.await_ready()
        if subscribers:
            for number, iccid in enumerate(iccids):
                card = {"iccid": iccid, "kic": keys[number].kic_key.hex(), "kid": keys[number].kid_key.hex()}
                await node.post("/subscribers", {"name": "Anna", "msisdn": f"+7999{number:07d}", "card": card})
        yield OtaWorld(node, field, iccids, phones, made, keys, smsc)
