"""Act nine: usage in signed batches, the bundle renewed, requests closed, the profile's end, statements, redemption."""

import random
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from settlement.ledger.client import message_of
from settlement.ledger.messages import Redeem, Redeemed
from simulator.demo.account import Via, expect
from simulator.demo.cast import ALPINE, GULF, HOMES, HOUSES, ISSUER, SAFE, VISITED, House
from simulator.demo.market import BUNDLE, MB, METERED
from simulator.demo.stage import FEATURED, Bought, Stage, now_ms, of_homes
from simulator.demo.travel import MAIN, wait_number
from simulator.hlr import Cause, Hlr, HlrRefusalError

BATCHES: Final = 3
Record = dict[str, Any]


class Guest:
    """A traveller's use: what it is drawn to, and what the tariff says it costs, reckoned here on its own."""

    def __init__(self, bought: Bought, imsi: str, draw: random.Random) -> None:
        self.bought, self.imsi, self.draw = bought, imsi, draw
        self.visited = bought.person.destination
        self.request = bought.requests[MAIN[self.visited.id]]
        self.octets = self.voice_usdr = self.messages = 0

    def use(self, batch: int) -> list[Record]:
        """The records of one batch. A bundle of 5 GB lasts for two batches of three: then it renews."""
        if self.visited is GULF:
            return [self._data(self.draw.randrange(600, 620) * MB) for _ in range(4)]
        first, more = self.draw.randrange(61, 400), self.draw.randrange(1, 200)
        beyond = first + more - METERED.first_interval
        # The second record goes on with the call of the first: split or not, it is one call.
        self.voice_usdr += METERED.first_price + beyond * METERED.next_price
        self.messages += batch
        return [
            self._data(self.draw.randrange(1, 40 * MB)),
            self._record("voice", first, duration=first),
            self._record("voice", more, duration=more, continues=True),
            *([self._record("message", batch)] if batch else []),
        ]

    @property
    def due_usdr(self) -> int:
        """What the use so far costs."""
        if self.visited is GULF:
            return BUNDLE.price * (1 + (self.octets > BUNDLE.octets))
        blocks = -(-self.octets // METERED.block)
        due = blocks * METERED.block_price + self.voice_usdr + self.messages * METERED.event_price
        return min(due, METERED.cap)

    def _data(self, octets: int) -> Record:
        self.octets += octets
        return self._record("data", octets, duration=self.draw.randrange(60, 3600))

    def _record(self, service: str, units: int, **more: Any) -> Record:
        place = str(self.visited.plmn)
        return {"imsi": self.imsi, "service": service, "start_ms": now_ms(), "units": units, "place": place, **more}


async def use_and_report(stage: Stage) -> None:
    """Three batches a visited operator, each signed and settled record by record."""
    draw = random.Random(stage.world.cast.seed)
    guests = [Guest(bought, stage.world.phones[bought.person.number].imsi, draw) for bought in stage.bought]
    for batch in range(BATCHES):
        for visited in VISITED:
            theirs = [guest for guest in guests if guest.visited is visited]
            if theirs:
                await _report(stage, visited, theirs, batch)
    for guest in guests:
        row = await stage.node(guest.visited).get(f"/requests/{guest.request}/ledger")
        expect(row["charged"] == guest.due_usdr, "a request was charged what its use costs", (row, guest.due_usdr))
        expect(row["used_octets"] == guest.octets, "the ledger counted every octet", (row, guest.octets))
        if guest.visited is GULF:
            expect(row["renewals"] == 0, "the bundle has renewed once", row)
    renewed = [guest for guest in guests if guest.visited is GULF]
    stage.tell(
        GULF.id,
        "ledger",
        "5 GB used up, bundle renewed once from escrow",
        via=Via.LEDGER,
        amount_usdr=BUNDLE.price * len(renewed),
        people=len(renewed),
    )
    await stage.expect_conservation()


async def _report(stage: Stage, visited: House, guests: list[Guest], batch: int) -> None:
    node = stage.node(visited)
    before = (await stage.balance(visited))["available"]
    due = sum(guest.due_usdr for guest in guests)
    records = [record for guest in guests for record in guest.use(batch)]
    intake = await node.post("/usage", {"batch": f"{visited.id}-{batch}", "records": records})
    expect(intake["stored"] == len(records) and not intake["not_taken"], "every record is taken", intake)
    stage.usage_records += len(records)
    await node.post("/usage/send")
    for guest in guests:
        claim = "every record of a request is settled"
        seen = await node.wait(f"/usage/{guest.request}", lambda view: not view["stored"] + view["reported"], claim)
        expect(not seen["refused"], claim, seen)
    moved = (await stage.balance(visited))["available"] - before
    expect(moved == sum(guest.due_usdr for guest in guests) - due, "what the batch costs has moved", moved)
    for home in HOMES:
        of_home = [guest for guest in guests if guest.bought.person.home is home]
        count = len(records) * len(of_home) // len(guests)
        if of_home:
            words = f"usage report {batch + 1}: {count} records of {len(of_home)} requests"
            stage.tell(visited.id, home.id, words, via=Via.LEDGER)
    stage.tell(visited.id, "ledger", f"usage report {batch + 1} settled", via=Via.LEDGER, amount_usdr=moved)


async def go_home_and_close(stage: Stage) -> None:
    """Home again; requests close, the rest returns; the profile is barred, its slot deleted, its IMSI kept apart."""
    for bought in stage.bought:
        phone = stage.world.phones[bought.person.number]
        await phone.travel_to(bought.person.home.mcc)
        expect(phone.imsi == bought.person.home_profile.imsi, f"{bought.person.label} is itself again, at home")
        await phone.settle()
        await wait_number(stage, bought.person, str(bought.person.home_profile.msisdn))
    for bought in stage.bought:
        request = bought.requests[MAIN[bought.person.destination.id]]
        await stage.node(bought.person.destination).post(f"/requests/{request}/close")
    for home, _ in of_homes(stage.world.cast.people):
        theirs = [bought for bought in stage.bought if bought.person.home is home]
        ids = [bought.requests[MAIN[bought.person.destination.id]] for bought in theirs]
        rows = await stage.wait_requests(home, ids, "closed")
        for bought in theirs:
            row = rows[bought.requests[MAIN[bought.person.destination.id]]]
            if bought.person.number <= FEATURED:
                rest = row["escrow_usdr"] - row["charged_usdr"]
                words = "closed, the rest of the escrow returns"
                stage.tell(row["visited"], home.id, words, via=Via.LEDGER, amount_usdr=rest)
        balance = await stage.balance(home)
        expect(balance["escrow"] == 0, f"nothing of {home.id} is in escrow any more", balance)
    await _expect_profiles_gone(stage)
    await stage.expect_conservation()


async def _expect_profiles_gone(stage: Stage) -> None:
    for house in HOUSES:
        await stage.node(house).wait("/tasks", lambda tasks: not tasks, f"{house.id} has nothing left to do")
    for visited in VISITED:
        guests = [bought for bought in stage.bought if bought.person.destination is visited]
        quarantined = await stage.node(visited).get("/profiles", in_state="quarantined")
        hlr = stage.world.hlrs[visited.id]
        barred = [row for row in quarantined if await _is_barred(hlr, row["imsi"])]
        expect(len(quarantined) == len(barred) == len(guests), f"{visited.id} barred its guests' IMSIs", quarantined)
        stage.tell(
            visited.id, visited.id, "profile barred in the HLR, IMSI in quarantine", via=Via.API, people=len(guests)
        )
    for bought in stage.bought:
        phone, person = stage.world.phones[bought.person.number], bought.person
        served = await phone.travel_to(person.destination.mcc)
        expect(not served and phone.imsi == person.home_profile.imsi, f"the slot of {person.label} is gone")
        await phone.travel_to(person.home.mcc)
    for home, people in of_homes(stage.world.cast.people):
        words = "slot deleted over the air: abroad there is no service any more"
        stage.tell(home.id, "subscribers", words, via=Via.AIR, people=len(people))


async def _is_barred(hlr: Hlr, imsi: str) -> bool:
    """What a network hears that wants to register the subscriber."""
    try:
        await hlr.update_location(imsi)
    except HlrRefusalError as refusal:
        return refusal.cause is Cause.ROAMING_NOT_ALLOWED
    return False


async def state_accounts(stage: Stage) -> dict[str, Any]:
    """Both sides' statements, which must say the same."""
    statements = {house.id: await stage.node(house).get("/statement") for house in HOUSES}
    for home in HOMES:
        for line in statements[home.id]["lines"]:
            other = _line(statements[line["partner"]]["lines"], home.id)
            same = ("requests", "ended", "charged_usdr", "fees_usdr", "returned_usdr", "reports", "records_refused")
            differ = [name for name in same if line[name] != other[name]]
            expect(not differ, f"{home.id} and {line['partner']} state the same", (differ, line, other))
            words = f"statements agree: {line['requests']} requests, {line['reports']} usage reports"
            stage.tell(home.id, line["partner"], words, via=Via.API, amount_usdr=line["charged_usdr"])
    spent = sum(statements[home.id]["spent_usdr"] for home in HOMES)
    earned = sum(statements[house.id]["earned_usdr"] for house in (*VISITED, SAFE))
    expect(spent == earned, "what the homes spent is what the others earned", (spent, earned))
    return statements


def _line(lines: Iterable[Any], partner: str) -> Any:
    return next((line for line in lines if line["partner"] == partner and line["role"] == "visited"), {})


async def redeem(stage: Stage) -> None:
    """One operator has SDRt paid out: held, then burnt by the issuer."""
    house = GULF if any(bought.person.destination is GULF for bought in stage.bought) else ALPINE
    before = await stage.balance(house)
    amount, node, issuer = before["available"] // 2, stage.node(house), stage.world.issuer
    redemption = (await node.post("/redemptions", {"amount_usdr": amount, "payout": "account of the settlement desk"}))[
        "id"
    ]
    held = await node.wait("/balance", lambda row: row["held"] == amount, "what is to be redeemed is held")
    expect(held["available"] == before["available"] - amount, "no more than that is held", held)
    stage.tell(house.id, ISSUER, "redeem: held until the issuer has paid", via=Via.LEDGER, amount_usdr=amount)
    asked = [message_of(entry) for entry in await issuer.entries(after=-1, limit=1000)]
    expect(
        any(isinstance(message, Redeem) and message.id == UUID(redemption) for message in asked),
        "the issuer reads the redemption in the log",
    )
    await issuer.submit(issuer.make(Redeemed, redemption=UUID(redemption), payment="transfer 2026-1201"))
    stage.burned += amount
    after = await node.wait("/balance", lambda row: row["held"] == 0, "nothing is held any more")
    expect(after["available"] == before["available"] - amount, "what was redeemed is gone", after)
    stage.tell(ISSUER, house.id, "paid out and burnt", via=Via.LEDGER, amount_usdr=amount)
    await stage.expect_conservation()
