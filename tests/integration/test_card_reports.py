"""A card says where it is reached, and is reached there: by way of a centre to the home operator's node."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import insert

from landfall.migrations import upgrade
from landfall.postgres import Server
from marketplace.operator_database import Database
from marketplace.operator_node import MIGRATIONS
from marketplace.subscribers.reports import CardReports
from marketplace.subscribers.service import NewCard, NewSubscriber, Subscribers, free_slot, reserve_slot, update_slot
from ota.delivery import AbsentCard, Outcome, Verdict, deliver, prepare
from ota.keysets import CardKeys
from ota.outbox import KeyCipher, PostgresOutbox, other_keys
from ota.profile import MobileProfile, delete_slot, fingerprint, list_slots, parse_slot_list, store_slot
from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte
from ota.scp80.report import decode_report, encode_report
from ota.scp80.sms import parse_submit
from ota.smpp.carrier import SmppCarrier
from ota.smpp.esme import Centre
from settlement.usage.tariff import Bundle
from simcard.readers import MemoryLink
from simcard.uicc import personalise
from simulator.field import Field, Network, Phone
from simulator.hlr import EmbeddedHlr
from simulator.smsc import Faults, Smsc
from tests.integration.ledger_world import LedgerWorld
from tests.integration.operator_world import ICCID, MSISDN, OTA, PRICE, VISITED_PLMN, open_world
from tests.integration.test_operator_cli import staff_of
from tests.integration.test_operator_journey import GERMANY, item_is

SENDER = "70250"
REQUEST: UUID = uuid4()
HOME = MobileProfile(
    imsi="250990000000001",
    k=b"h" * 16,
    opc=b"o" * 16,
    plmn="25099",
    spn="Home",
    acc=1,
    smsc="+79990000000",
    coverage=("250",),
    msisdn=MSISDN,
)
ABROAD = MobileProfile(
    imsi="262011234567890",
    k=b"v" * 16,
    opc=b"p" * 16,
    plmn="26201",
    spn="Abroad",
    acc=2,
    smsc="+491710760000",
    coverage=("262",),
    msisdn="+491710000001",
)
WAIT_S = 20.0


class Postbag:
    """The way from a network's phones to its centre, and what went along it."""

    def __init__(self, smsc: Smsc) -> None:
        self.smsc = smsc
        self.seen: list[tuple[str, bytes]] = []

    def take(self, sender: str, tpdu: bytes) -> None:
        self.seen.append((sender, tpdu))
        self.smsc.take(sender, tpdu)


@dataclass
class Home:
    """The home operator's side, on a real database and bound to a real centre."""

    database: Database
    cards: PostgresOutbox
    reports: CardReports
    carrier: SmppCarrier
    smsc: Smsc
    phone: Phone
    bag: Postbag

    async def run(self, *commands: bytes) -> Outcome:
        return await deliver(self.cards, (await prepare(self.cards, ICCID, commands)).id, self.carrier)

    async def travel(self, place: str) -> None:
        await self.phone.travel_to(place)
        await self.phone.settle()

    async def wait_slot(self, slot: int) -> None:
        await wait_for(lambda: self._is_in(slot))

    async def _is_in(self, slot: int) -> bool:
        return (await self.reports.find(ICCID)).slot == slot


async def wait_for(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await holds():  # noqa: ASYNC110 - asks the database, not us
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def home(database: str) -> AsyncIterator[Home]:
    async with open_home(database, Faults()) as opened:
        yield opened


@asynccontextmanager
async def open_home(dsn: str, faults: Faults) -> AsyncIterator[Home]:
    """A card at home, its subscriber entered, ABROAD in slot 1 over the air; then the faults begin."""
    await asyncio.to_thread(upgrade, dsn, MIGRATIONS)
    database = Database(dsn)
    cards = PostgresOutbox(database.engine, KeyCipher(lambda clear, _: clear, lambda sealed, _: sealed))
    subscribers = Subscribers(database, cards)
    reports = CardReports(database, cards, subscribers.find_number)
    card = NewCard(iccid=ICCID, kic=OTA.kic_key.hex(), kid=OTA.kid_key.hex())
    subscriber = await subscribers.add(NewSubscriber(name="Anna Example", msisdn=MSISDN, card=card))
    field = Field()
    for name, profile in (("Home", HOME), ("Abroad", ABROAD)):
        network = field.add_network(Network(profile.plmn, name, EmbeddedHlr()))
        await network.provision(
            profile.imsi, k=profile.k, opc=profile.opc, algorithm=profile.algorithm, msisdn=profile.msisdn
        )
    uicc = personalise(iccid=ICCID, home=HOME, ota=[OTA], adm="12345678")
    phone = await field.add_phone(MemoryLink(uicc), place="250")
    smsc = Smsc(field, {"ota": "secret"}, seed=3)
    smsc.addresses[SENDER] = "ota"
    bag = Postbag(smsc)
    for network in field.networks.values():
        network.centre = bag
    async with smsc.serve("127.0.0.1", 0) as port:
        where = Centre(host="127.0.0.1", port=port, system_id="ota", password="secret")
        carrier = SmppCarrier(where, reports.find_number, take=reports.take, sender=SENDER, validity_s=3, proof_s=3)
        running = asyncio.create_task(carrier.run())
        home = Home(database, cards, reports, carrier, smsc, phone, bag)
        try:
            async with database.begin() as connection:
                await reserve_slot(connection, subscriber, REQUEST)
                mark = fingerprint(ABROAD.to_slot_tlv())
                await update_slot(connection, REQUEST, state="stored", packet=None, fingerprint=mark)
            assert (await home.run(*store_slot(1, ABROAD))).verdict is Verdict.DONE
            smsc.faults = faults
            yield home
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await database.close()


async def test_a_card_abroad_is_reached_under_its_new_number_and_at_home_under_its_own(home: Home) -> None:
    assert await home.reports.find_number(ICCID) == MSISDN
    await home.travel("262")
    await home.wait_slot(1)
    reach = await home.reports.find(ICCID)
    assert (reach.number, reach.smsc, reach.plmn) == (ABROAD.msisdn, ABROAD.smsc, ABROAD.plmn)
    assert reach.reported_ms
    assert home.smsc.find_phone(MSISDN.removeprefix("+")) is None, "nobody is registered under the home number"

    deleted = await home.run(delete_slot(1), list_slots())
    assert deleted.verdict is Verdict.DONE
    assert [entry.slot for entry in parse_slot_list(deleted.data)] == [0]
    async with home.database.begin() as connection:
        await free_slot(connection, REQUEST)
    assert (await home.reports.find(ICCID)).number == MSISDN

    await home.travel("250")
    await home.wait_slot(0)
    assert (await home.run(list_slots())).verdict is Verdict.DONE


async def test_home_again_the_card_says_so_and_has_its_own_number(home: Home) -> None:
    await home.travel("262")
    await home.wait_slot(1)
    await home.travel("250")
    await home.wait_slot(0)
    assert await home.reports.find_number(ICCID) == MSISDN
    assert (await home.run(list_slots())).verdict is Verdict.DONE


async def test_doubled_late_and_overtaken_reports_leave_the_last_one_standing(database: str) -> None:
    bad = Faults(duplicate=1.0, reorder=0.6, delay_s=(0.0, 0.2))
    async with open_home(database, bad) as home:
        for _ in range(3):
            await home.travel("262")
            await home.travel("250")
        await home.travel("262")
        assert len(home.bag.seen) == 7
        await wait_for(lambda: _counter_is(home, 7))
        home.smsc.faults = Faults()
        for sender, tpdu in home.bag.seen:  # all of them again, the oldest first
            await home.reports.take(sender, parse_submit(tpdu).user_data)
        reach = await home.reports.find(ICCID)
        assert (reach.slot, reach.number) == (1, ABROAD.msisdn)
        async with home.database.read() as connection:
            sql = "SELECT slot, request FROM card_switches ORDER BY counter"
            switches: list[Any] = list((await connection.exec_driver_sql(sql)).all())
        assert 1 <= len(switches) <= 7, "each report counts once, however often it comes"
        assert switches[-1][0] == 1
        assert all((row[0] == 1) == (row[1] is not None) for row in switches), "on whose profile it was"


async def _counter_is(home: Home, wanted: int) -> bool:
    async with home.database.read() as connection:
        row = (await connection.exec_driver_sql("SELECT counter FROM card_reports")).first()
    return row is not None and row[0] == wanted


async def test_a_forged_report_changes_nothing(home: Home) -> None:
    await home.travel("262")
    await home.wait_slot(1)
    before = await home.reports.find(ICCID)
    sender, tpdu = home.bag.seen[-1]
    genuine = parse_submit(tpdu).user_data
    for place in range(len(genuine)):
        forged = bytearray(genuine)
        forged[place] ^= 1
        await home.reports.take("+99999999999", bytes(forged))
    await home.reports.take("+99999999999", genuine)  # played again from elsewhere
    await home.reports.take(sender, b"")
    report = msgspec.structs.replace(decode_report(genuine, OTA), counter=99, msisdn="+99999999999")
    other = msgspec.structs.replace(OTA, kid_key=bytes(16))
    await home.reports.take(sender, encode_report(report, other))
    stranger = msgspec.structs.replace(report, iccid="8970199000000000025")
    await home.reports.take(sender, encode_report(stranger, OTA))
    assert await home.reports.find(ICCID) == before


async def test_a_report_under_the_key_set_that_was_just_replaced_counts(home: Home) -> None:
    fresh = KeySet(kic=KeyByte(2, 2), kid=KeyByte(2, 2), kic_key=bytes(16), kid_key=bytes(range(16)))
    former = home.cards._cipher.seal_card(await home.cards.card(ICCID))
    await home.cards.add_card(CardKeys(iccid=ICCID, keys=fresh))
    await home.travel("262")
    (sender, tpdu) = home.bag.seen[-1]
    await home.reports.take(sender, parse_submit(tpdu).user_data)
    assert (await home.reports.find(ICCID)).slot is None, "a key set that the card no longer has"
    row = {"iccid": ICCID, "key_index": 1, "sealed_keys": former, "counter": 9, "state": "former", "label": "test"}
    async with home.database.begin() as connection:
        await connection.execute(insert(other_keys).values(row))
    await home.reports.take(sender, parse_submit(tpdu).user_data)
    assert (await home.reports.find(ICCID)).slot == 1


async def test_where_the_report_was_lost_the_next_attempt_tries_the_other_number(home: Home) -> None:
    await home.travel("262")
    await home.wait_slot(1)
    home.smsc.addresses.clear()  # what the card says next reaches nobody
    await home.travel("250")
    packet = await prepare(home.cards, ICCID, [list_slots()])
    with pytest.raises(AbsentCard):
        await deliver(home.cards, packet.id, home.carrier)
    assert (await deliver(home.cards, packet.id, home.carrier)).verdict is Verdict.DONE


async def test_a_centre_sends_a_report_again_until_it_is_stored(home: Home) -> None:
    failures = 2

    async def fail_first(sender: str, user_data: bytes) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise ConnectionError("the database is gone")
        await home.reports.take(sender, user_data)

    home.carrier._take = fail_first
    await home.travel("262")
    await home.wait_slot(1)
    assert failures == 0


async def test_staff_see_where_a_traveller_is_reached(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    async with open_world(ledger, postgres_server, tmp_path, smpp=Faults()) as world:
        offer = await world.sell(world.visited, tariff=Bundle(price=PRICE, octets=1_000_000, hours=24), **GERMANY)
        path = f"/purchases/{(await world.buy(offer))['id']}"
        await world.home.wait(path, item_is("delivered"))
        subscriber = (await world.home.get("/subscribers"))[0]["id"]
        at_home = await world.home.get(f"/subscribers/{subscriber}/card")
        assert (at_home["number"], at_home["slot"], len(at_home["slots"])) == (MSISDN, None, 1)

        await world.phone.travel_to("262")
        await world.phone.settle()
        card = await world.home.wait(f"/subscribers/{subscriber}/card", lambda seen: seen["slot"] == 1)
        assert card["number"].startswith("+4917100000")
        assert (card["plmn"], card["smsc"], card["home_number"]) == (VISITED_PLMN, "+491710760000", MSISDN)
        assert await staff_of(world.home)("subscribers", "card", subscriber) == card

        await world.phone.travel_to("250")
        await world.phone.settle()
        card = await world.home.wait(f"/subscribers/{subscriber}/card", lambda seen: seen["slot"] == 0)
        assert card["number"] == MSISDN
