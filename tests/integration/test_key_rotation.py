"""OTA keys rotated over the air: whatever is lost and whoever dies, the card stays reachable, with one key set."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from landfall import keystore
from landfall.migrations import upgrade
from landfall.postgres import Server
from marketplace.campaigns.endings import Again, End
from marketplace.campaigns.repository import claim_jobs, end_job, insert_campaign, insert_jobs
from marketplace.campaigns.rotating import Rotator
from marketplace.campaigns.schemas import CampaignRow
from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import Database
from marketplace.operator_node import MIGRATIONS
from ota.delivery import AbsentCard, Attempt, Outcome, Verdict, deliver, prepare
from ota.key_rotation import FORMER, NEW, KeyRotation
from ota.keysets import CardKeys
from ota.outbox import KeyCipher, PostgresOutbox
from ota.profile import MobileProfile, list_slots
from ota.scp80 import KeyByte, KeySet
from ota.scp80.sms import build_envelope
from settlement.ledger.ids import new_id
from simcard.uicc import Card, personalise
from simulator.smsc import Faults
from tests.integration.ledger_world import LedgerWorld
from tests.integration.ota_world import open_ota

ICCID = "8949000000000000001"
AES = KeyByte(1, 2)
KEYS = KeySet(kic=AES, kid=AES, kic_key=bytes(range(16)), kid_key=bytes(range(16, 32)))
CIPHER = KeyCipher(partial(keystore.seal, bytes(32)), partial(keystore.unseal, bytes(32)))
HOME = MobileProfile(
    imsi="262010000000001", k=b"h" * 16, opc=b"o" * 16, plmn="26201", spn="Home", acc=1, smsc="+491710000", coverage=()
)


class Died(Exception):  # noqa: N818 - what happened
    """The process, at this point."""


class Air:
    """A carrier straight into the card. `faults` says, message by message: "" goes well, "lost" on the way there,
    "silent" on the way back, "dead" kills the sender when the card has acted, "absent" is a phone that is off.
    """

    may_double = False

    def __init__(self, card: Card) -> None:
        self.card = card
        self.faults: Iterator[str] = iter(())

    async def send(self, iccid: str, tpdus: Sequence[bytes], attempt: Attempt) -> list[bytes]:
        fault = next(self.faults, "")
        if fault == "absent":
            raise AbsentCard("the phone is off or out of reach")
        if fault == "lost":
            return []
        answers = [self._exchange(build_envelope(tpdu, smsc="+491710000")) for tpdu in tpdus]
        if fault == "dead":
            raise Died
        return [] if fault == "silent" else answers

    def _exchange(self, envelope: bytes) -> bytes:
        answer = self.card.transmit(bytes([0x80, 0xC2, 0, 0, len(envelope)]) + envelope)
        if answer[-2] == 0x61:
            answer = self.card.transmit(bytes([0, 0xC0, 0, 0, answer[-1]]))
        return answer[:-2]


class World:
    """A database, a card, and a job to rotate its keys."""

    def __init__(self, database: Database, card: Card) -> None:
        self.database, self.card, self.air = database, card, Air(card)
        self.store = PostgresOutbox(database.engine, CIPHER)
        self.rotation = KeyRotation(self.store)

    async def add_job(self) -> CampaignRow:
        now = now_ms()
        row = CampaignRow(
            id=new_id(), name="r", kind="rotation", single=True, state="running", template=None, version=None,
            commands="[]", parameters="{}", given="{}", question=None, words="", per_minute=None,
            expires_ms=now + 10**7, created_ms=now, ended_ms=None,
        )  # fmt: skip
        async with self.database.begin() as connection:
            await insert_campaign(connection, row)
            await insert_jobs(connection, row.id, [(ICCID, "{}")])
        return row

    async def attempt(self, campaign: CampaignRow, rotation: KeyRotation | None = None) -> End | None:
        """One attempt of a sender that has just begun: its end, or None where it is tried again or died."""
        async with self.database.begin() as connection:
            (job,) = await claim_jobs(connection, campaign.id, running=[], begin=True, limit=1)
        try:
            await Rotator(self.database, rotation or self.rotation, self.send).advance(job)
        except End as end:
            async with self.database.begin() as connection:
                await end_job(connection, job.id, end.state, str(end))
            return end
        except (Again, Died):
            return None
        raise AssertionError("an attempt ends, is tried again or dies")

    async def finish(self, campaign: CampaignRow) -> End:
        for _ in range(20):
            if (end := await self.attempt(campaign)) is not None:
                return end
        raise AssertionError("no end in 20 attempts")

    async def send(self, packet: Any) -> Outcome:
        try:
            return await deliver(self.store, packet, self.air)
        except AbsentCard as error:
            raise Again(str(error), absent=True) from None

    async def check_reached(self) -> None:
        """The platform reaches the card by the only key set it has, and keeps no other."""
        standing = await self.store.card(ICCID)
        assert {index: one.keys for index, one in self.card._state.ota.items()} == {standing.key_index: standing.keys}
        assert standing.keys != KEYS
        for state in (NEW, FORMER):
            assert await self.rotation.find(ICCID, state) is None
        packet = await prepare(self.store, ICCID, [list_slots()])
        assert (await self.send(packet.id)).verdict is Verdict.DONE


@pytest_asyncio.fixture
async def world(database: str) -> AsyncIterator[World]:
    await asyncio.to_thread(upgrade, database, MIGRATIONS)
    own = Database(database)
    made = World(own, personalise(iccid=ICCID, home=HOME, ota=[KEYS], adm="12345678"))
    await made.store.add_card(CardKeys(iccid=ICCID, keys=KEYS), counter=0)
    yield made
    await own.close()


async def test_a_rotation_leaves_one_new_key_set_on_both_sides(world: World) -> None:
    end = await world.finish(await world.add_job())
    assert (end.state, str(end)) == ("proven", "the new key set is in use, the former one is deleted")
    await world.check_reached()
    assert (await world.store.card(ICCID)).key_index == 15
    assert world.card._state.ota[15].counter == 3, "proof, DELETE and the check: the new counter is its own"
    await world.finish(await world.add_job())
    assert (await world.store.card(ICCID)).key_index == 14
    await world.check_reached()


async def test_whatever_is_lost_the_card_is_never(world: World) -> None:
    """One card, rotated 125 times: key indices are used again, and their counters go on where they stood."""
    for faults in itertools.product(("", "lost", "silent", "dead", "absent"), repeat=3):
        world.air.faults = iter(faults)
        assert (await world.finish(await world.add_job())).state == "proven", faults
        world.air.faults = iter(())
        await world.check_reached()


STEPS = ("begin", "prepare_put", "prepare_proof", "switch", "prepare_delete", "forget")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_a_sender_that_dies_at_any_step_is_taken_up(world: World, step: str, after: bool) -> None:
    class Dying(KeyRotation):
        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            return partial(_die, found) if name == step else found

    async def _die(work: Any, *given: Any) -> None:
        if after:
            await work(*given)
        raise Died

    campaign = await world.add_job()
    assert await world.attempt(campaign, Dying(world.store)) is None
    packet = await prepare(world.store, ICCID, [list_slots()])
    with suppress(Again):
        assert (await world.send(packet.id)).verdict is Verdict.DONE, "the card is reached meanwhile too"
    assert (await world.finish(campaign)).state == "proven"
    await world.check_reached()


async def test_a_rotation_given_up_half_way_is_gone_on_with_by_the_next(world: World) -> None:
    world.air.faults = iter(("silent", "silent"))
    assert await world.attempt(await world.add_job()) is None  # expires; nobody takes it up again
    async with world.database.begin() as connection:
        await connection.exec_driver_sql("UPDATE ota_jobs SET state = 'unknown'")
    begun = await world.rotation.find(ICCID, NEW)
    assert begun is not None
    assert (await world.finish(await world.add_job())).state == "proven"
    assert (await world.store.card(ICCID)).keys == begun.card.keys
    await world.check_reached()


async def test_a_campaign_of_rotations_survives_doubled_messages_and_a_killed_node(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    bad = Faults(duplicate=0.2, reorder=0.2, delay_s=(0.1, 0.4))
    async with open_ota(ledger, postgres_server, tmp_path, cards=12, smpp=bad) as world:
        cards = [{"iccid": iccid} for iccid in world.iccids]
        order = {"name": "new keys", "commands": [{"do": "rotate-keys"}], "cards": cards}
        campaign = (await world.node.post("/ota/campaigns", order))["id"]
        path = f"/ota/campaigns/{campaign}"
        for _ in range(2):
            await world.node.wait(path, lambda seen: seen["counts"]["sent"] + seen["counts"]["delivered"] > 3)
            await asyncio.sleep(1.0)  # PUT KEYs and proofs are on their way
            world.node.kill()
            world.node.start()
            await world.node.await_ready()
        counts = (await world.finish(campaign, within_s=200))["counts"]
        assert counts["proven"] == 12, await world.node.get(f"{path}/jobs")
        assert all(set(card._state.ota) == {15} for card in world.cards)
        former = {keys.kic_key for keys in world.keys}
        assert all(card._state.ota[15].keys.kic_key not in former for card in world.cards)
