"""Travellers with real cards, through the operators' live nodes: bought, downloaded over the air, switched, used.

    travellers = Travellers(site, open_card_book(site.folder, world), tell)
    await travellers.open()                      # phones on, offers and packages there
    await travellers.step(3)                     # every deed that is due in that step

Each deed is looked for before it is done again: a run that was broken off goes on. What the short message network
loses may keep a profile from its card in time: that traveller then has no service abroad, and the book says so.
"""

import asyncio
import secrets
import time
from typing import Any, Final

import httpx
import msgspec

from settlement.ledger.messages import Terms
from simcard.readers import MemoryLink
from simcard.uicc import CardFolder, open_card, personalise
from simulator.card_book import CARD_BUNDLE, CardBook, Traveller
from simulator.card_use import draw_card_use, make_records, tell_by_tap, to_network_record
from simulator.field import Phone
from simulator.node_api import NodeApi, Refused
from simulator.processes import NodeError
from simulator.site import Site, Tell
from simulator.together import for_all

NOT_THERE: Final = "not-delivered-in-time"
REJECTED, FAILED = "rejected", "failed"
"""What a home's node calls a request that the ledger did not take, and the purchase it was for."""
OFFER_NAME: Final = "Cards on tour"
DAY_MS: Final = 86_400_000
ORDER_WAIT_S: Final = 60.0
DELIVERY_WAIT_S: Final = 180.0
"""A profile is some ten short messages; the OTA platform waits 20 s for a proof (`ota.smpp`), several times where a
quarter is lost either way. Where nothing is lost, a profile takes two seconds."""
TRIES: Final = 6
PAUSE_S: Final = 3.0
"""Times that a node which is down is tried again, and the first pause: 45 s together, longer than a restart."""
REPORT_WAIT_S: Final = 15.0
"""A card's report is one short message; where it is lost, it is lost."""
SETTLE_WAIT_S: Final = 120.0
"""A node follows the whole of its operator's log, the unsampled many included, before it comes to this."""


class Travellers:
    """The phones, and who drives them."""

    def __init__(self, site: Site, book: CardBook, tell: Tell) -> None:
        self._site, self.book, self._tell = site, book, tell
        self._phones: dict[int, Phone] = {}

    async def open(self) -> None:
        """Cards into phones, phones on; offers, packages and subscribers into the nodes."""
        for traveller in self.book.travellers:
            await self._switch_on(traveller)
        if not self.book.travellers:
            return
        for visited, pool in self.book.pools.items():
            rows = [f"{line.imsi},{line.k.hex()},{line.opc.hex()},{line.msisdn}" for line in pool]
            api = self._site.apis[visited]
            await api.post_text("/profiles", "\n".join(["imsi,k,opc,msisdn", *rows]), "text/csv")
            self.book.offers[visited] = await self._publish(visited, api)
        for home, visited in {(one.home, one.visited) for one in self.book.travellers}:
            self.book.packages[f"{home}/{visited}"] = await self._make_package(home, visited)
        for traveller in self.book.travellers:
            await self._enter(traveller)
        self.book.save(self._site.folder)

    async def step(self, step: int) -> None:
        """Everything that is due in a step."""
        await for_all(self.book.travellers, lambda traveller: self._advance(traveller, step))

    async def _advance(self, traveller: Traveller, step: int) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                await self._do_due(traveller, step)
            except NodeError as error:
                lost = isinstance(error.__context__, httpx.TransportError)
                if lost and attempt < TRIES:  # its node is down: it will be up again
                    await asyncio.sleep(PAUSE_S * attempt)
                    continue
                traveller.stage, traveller.why = "failed", str(error)[:300]
                self._tell(f"{traveller.label}: {traveller.why}")
            break
        self.book.save(self._site.folder)

    async def _do_due(self, traveller: Traveller, step: int) -> None:
        if traveller.stage == "home" and step >= traveller.buy_step:
            await self._buy(traveller)
        if traveller.stage == "bought" and step >= traveller.start_step:
            await self._travel(traveller)
        if traveller.stage == "abroad":
            await self._use(traveller, step)
            if step >= traveller.end_step:
                await self._return(traveller)

    # made ready

    async def _switch_on(self, traveller: Traveller) -> None:
        site, home = self._site, self._site.world.operators[traveller.home]
        profile = traveller.profile(home)
        await site.networks[home.number].provision(
            profile.imsi, k=profile.k, opc=profile.opc, algorithm=profile.algorithm, msisdn=profile.msisdn
        )
        store = CardFolder(site.folder / "private" / "cards" / str(traveller.number))
        if store.exists:
            card = open_card(store)
        else:
            adm = f"{secrets.randbelow(10**8):08d}"
            card = personalise(iccid=traveller.iccid, home=profile, ota=[traveller.keys], adm=adm, store=store)
        abroad = traveller.stage == "abroad"
        place = site.world.operators[traveller.visited].plmn if abroad else home.plmn
        phone = self._phones[traveller.number] = await site.field.add_phone(MemoryLink(card), place=place)
        await phone.settle()

    async def _publish(self, visited: int, api: NodeApi) -> str:
        operator = self._site.world.operators[visited]
        for offer in await api.get("/offers"):
            if offer["terms"]["name"].get("en") == OFFER_NAME and offer["state"] in ("open", "publishing"):
                return str(offer["id"])
        terms = Terms(
            name={"en": OFFER_NAME},
            description={"en": f"For cards in {operator.country.name}"},
            category="telecom",
            countries=(operator.country.iso,),
            plmns=(operator.plmn,),
            delivery="profile",
            tariff=CARD_BUNDLE,
            valid_until=time.time_ns() // 1_000_000 + 30 * DAY_MS,
            accept_within_s=86_400,
            report_within_s=7 * 86_400,
        )
        offer = (await api.post("/offers", {"terms": msgspec.to_builtins(terms), "policy": "auto"}))["id"]

        def is_open(offers: list[Any]) -> bool:
            return any(one["id"] == offer and one["state"] == "open" for one in offers)

        await api.wait("/offers", is_open, "the ledger has taken the cards' offer", timeout_s=SETTLE_WAIT_S)
        return str(offer)

    async def _make_package(self, home: int, visited: int) -> str:
        api, world = self._site.apis[home], self._site.world
        name = f"To {world.operators[visited].country.name}"
        for package in await api.get("/packages"):
            if package["quote"]["name"] == name:
                return str(package["id"])
        draft = {
            "name": name,
            "currency": world.operators[home].country.currency,
            "items": [{"offer": self.book.offers[visited], "days": 14, "renewals": CARD_BUNDLE.renewals}],
            "margin_percent": "20",
            "round_to_minor": 10,
        }
        return str((await api.post("/packages", draft))["id"])

    async def _enter(self, traveller: Traveller) -> None:
        api = self._site.apis[traveller.home]
        if traveller.subscriber:
            return
        for known in await api.get("/subscribers"):
            if known["msisdn"] == traveller.msisdn:
                traveller.subscriber = known["id"]
                return
        card = {"iccid": traveller.iccid, "kic": traveller.kic.hex(), "kid": traveller.kid.hex()}
        new = {"name": f"Traveller {traveller.number}", "msisdn": traveller.msisdn, "card": card}
        traveller.subscriber = (await api.post("/subscribers", new))["id"]

    # the journey

    async def _buy(self, traveller: Traveller) -> None:
        api = self._site.apis[traveller.home]
        known = await api.get("/purchases", subscriber=traveller.subscriber)
        if known:
            traveller.purchase = known[0]["id"]
        else:
            package = self.book.packages[f"{traveller.home}/{traveller.visited}"]
            order = {"subscriber": traveller.subscriber, "package": package, "provider": "test"}
            traveller.purchase = (await api.post("/purchases", order))["id"]
        path = f"/purchases/{traveller.purchase}"
        ended = ("placed", FAILED)
        view = await api.wait(path, lambda seen: seen["state"] in ended, "it is ordered", timeout_s=ORDER_WAIT_S)
        if view["state"] == FAILED:
            raise NodeError(f"the purchase failed: {', '.join(str(item['cause']) for item in view['items'])}")
        traveller.request = view["items"][0]["request"]
        traveller.stage = "bought"
        began = time.monotonic()
        if await self._arrives(traveller, "delivered"):
            traveller.delivered_s = round(time.monotonic() - began, 2)

    async def _arrives(self, traveller: Traveller, *states: str) -> bool:
        """Whether the home sees the request in one of these states before its patience ends.

        Raises NodeError where the ledger has rejected it.
        """
        api = self._site.apis[traveller.home]

        def find(rows: list[Any]) -> dict[str, Any]:
            return next((row for row in rows if row["id"] == traveller.request), {})

        def there(rows: list[Any]) -> bool:
            return find(rows).get("state") in (*states, REJECTED)

        try:
            rows = await api.wait(
                "/requests", there, f"the request is {' or '.join(states)}", timeout_s=DELIVERY_WAIT_S
            )
        except Refused:
            raise
        except NodeError:
            return False
        if find(rows)["state"] == REJECTED:
            raise NodeError(f"the ledger has rejected the request: {find(rows)['cause']}")
        return True

    async def _travel(self, traveller: Traveller) -> None:
        """Abroad: refused as a stranger, then served as a local, if the profile has come in time."""
        phone = self._phones[traveller.number]
        served = await phone.travel_to(self._site.world.operators[traveller.visited].plmn)
        if not served:
            await phone.travel_to(self._site.world.operators[traveller.home].plmn)
            await self._end(
                self._site.apis[traveller.home], f"/requests/{traveller.request}/cancel", {"cause": NOT_THERE}
            )
            await self._arrives(traveller, "cancelled")
            traveller.stage, traveller.why = (
                "unserved",
                "the profile had not reached the card; the request is cancelled",
            )
            self._tell(f"{traveller.label}: no service abroad, {traveller.why}")
            return
        traveller.visited_imsi, traveller.on = phone.imsi, int(time.time()) // 60
        if not await self._arrives(traveller, "active"):
            raise NodeError("registered abroad, but the request did not become active")
        await phone.settle()
        traveller.reported = await self._reports(traveller)
        traveller.stage = "abroad"

    async def _end(self, api: NodeApi, path: str, body: Any = None) -> None:
        try:
            await api.post(path, body)
        except Refused as refused:
            if refused.code != "wrong-state":  # else it was ended before the run was broken off
                raise

    async def _reports(self, traveller: Traveller) -> bool:
        """Whether the card's own report of the switch comes to its home, by way of two networks and the centre."""
        plmn = self._site.world.operators[traveller.visited].plmn
        path = f"/subscribers/{traveller.subscriber}/card"
        try:
            await self._site.apis[traveller.home].wait(
                path, lambda card: card["plmn"] == plmn, "the card has reported", timeout_s=REPORT_WAIT_S
            )
        except Refused:
            raise
        except NodeError:
            return False
        return True

    async def _use(self, traveller: Traveller, step: int) -> None:
        """A step's use, told by the visited network's own means: a TAP file, or records to the node."""
        site, operator = self._site, self._site.world.operators[traveller.visited]
        use = draw_card_use(site.world.seed, traveller, step)
        minute = traveller.told.setdefault(step, int(time.time()) // 60)
        self.book.save(site.folder)
        records = make_records(operator, use, minute)
        batch = f"card-{traveller.number}-{step}"
        if operator.plan.usage == "tap":
            file = site.folder / "private" / "tap" / f"{batch}.tap"
            records = await asyncio.to_thread(tell_by_tap, file, operator, traveller, records, step)
        body = {"batch": batch, "records": [to_network_record(traveller.visited_imsi, one) for one in records]}
        api = self._site.apis[traveller.visited]
        await api.post("/usage", body)
        await api.post("/usage/send")
        if step >= traveller.end_step:
            path, claim = f"/usage/{traveller.request}", "every record of the card is settled"
            await api.wait(path, lambda seen: not seen["stored"] + seen["reported"], claim, timeout_s=SETTLE_WAIT_S)
        if step not in traveller.used:
            traveller.used.append(step)
            traveller.octets += use["data"]
            traveller.seconds += use["voice"]
            traveller.messages += use["message"]

    async def _return(self, traveller: Traveller) -> None:
        """Home again: the request closes, and the profile's life ends."""
        phone, api = self._phones[traveller.number], self._site.apis[traveller.visited]
        await phone.travel_to(self._site.world.operators[traveller.home].plmn)
        traveller.off = int(time.time()) // 60
        await self._end(api, f"/requests/{traveller.request}/close")
        if not await self._arrives(traveller, "closed"):
            raise NodeError("home again, but the request did not close")
        traveller.stage = "returned"
