"""Acts seven and eight: the profile reaches the card before the journey, and serves it abroad."""

from typing import Any

from simulator.demo.account import Via, expect
from simulator.demo.cast import GULF, HOMES, SAFE, VISITED, Person
from simulator.demo.market import BUNDLE, COVER
from simulator.demo.stage import FEATURED, Bought, Stage, of_homes
from simulator.demo.world import Attempt
from simulator.hlr import Cause
from simulator.together import for_all

MAIN = {house.id: "gulf" if house is GULF else "alps" for house in VISITED}
"""The offer a traveller goes with, by visited operator."""


async def deliver(stage: Stage) -> None:
    """Act seven: profiles into slots over the air, at home; codes into the subscribers' hands."""
    for home, people in of_homes(stage.world.cast.people):
        theirs = [bought for bought in stage.bought if bought.person.home is home]
        ids = [request for bought in theirs for request in bought.requests.values()]
        await stage.wait_requests(home, ids, "delivered")
        others = stage.tell_featured(people, lambda person: _tell_delivery(stage, person))
        stage.tell(home.id, "subscribers", "profiles into slots over the air", via=Via.AIR, people=len(others))
        for bought in theirs:
            await _read_code(stage, bought)


def _tell_delivery(stage: Stage, person: Person) -> None:
    """The node said `deliver` on the ledger only with the card's proof; that the card was reached shows here."""
    envelopes = stage.world.links[person.number].envelopes
    phone, home = stage.world.phones[person.number], stage.world.networks[person.home.id]
    expect(envelopes >= 2, f"{person.label} had its profile in concatenated short messages", envelopes)
    expect(phone.serving is home and phone.imsi == person.home_profile.imsi, f"{person.label} is still at home")
    words = f"profile into a slot: SCP80 by SMPP in {envelopes} short messages, proof of receipt checked"
    stage.tell(person.home.id, person.label, words, via=Via.AIR)
    stage.tell(person.home.id, person.destination.id, "delivered", via=Via.LEDGER)


async def _read_code(stage: Stage, bought: Bought) -> None:
    if "cover" in bought.requests:
        view = await stage.node(bought.person.home).get(f"/purchases/{bought.purchase}")
        bought.code = next(item["code"] for item in view["items"] if item["code"])
        stage.tell_featured(
            [bought.person],
            lambda person: stage.tell(person.home.id, person.label, "SP code handed over", via=Via.PAYMENT),
        )


async def arrive(stage: Stage) -> None:
    """Act eight: the home IMSI is refused, the card switches, the new one is authenticated, both sides know."""
    earned = {house.id: (await stage.balance(house))["available"] for house in VISITED}
    people = stage.world.cast.people
    for person in people:
        await _travel(stage, person)
    for home in HOMES:
        theirs = [bought for bought in stage.bought if bought.person.home is home]
        ids = [bought.requests[MAIN[bought.person.destination.id]] for bought in theirs]
        await stage.wait_requests(home, ids, "active")
    await for_all(people, lambda person: _expect_reached_abroad(stage, person))
    for home, theirs_abroad in of_homes(people):
        words = "cards report slot, number and SMSC of their own accord: from now on they are reached there"
        stage.tell("subscribers", home.id, words, via=Via.AIR, people=len(theirs_abroad))
    for person in people[:FEATURED]:
        price = BUNDLE.price if person.destination is GULF else 0
        stage.tell(person.destination.id, person.home.id, "activated", via=Via.LEDGER, amount_usdr=price)
    guests = sum(person.destination is GULF for person in people)
    now = (await stage.balance(GULF))["available"]
    expect(now - earned[GULF.id] == guests * BUNDLE.price, f"{guests} bundles are paid on first registration", now)
    if len(people) > FEATURED:
        words = "subscribers registered abroad: home IMSI refused, slot switched, authenticated"
        stage.tell("subscribers", "", words, via=Via.RADIO, people=len(people) - FEATURED)
    await _redeem_codes(stage)
    await stage.expect_conservation()


async def _travel(stage: Stage, person: Person) -> None:
    phone, network = stage.world.phones[person.number], stage.world.networks[person.destination.id]
    network.attempts.clear()
    served = await phone.travel_to(person.destination.mcc)
    home, abroad = str(person.home.plmn), str(person.destination.plmn)
    expect(served and phone.serving is network, f"{person.label} has service with {network.name}", phone.refusal)
    expect(phone.imsi.startswith(abroad), f"{person.label} registered as a subscriber of {network.name}")
    refused = Attempt(home, Cause.PLMN_NOT_ALLOWED)
    expect(
        network.attempts[0] == refused and network.attempts[-1] == Attempt(abroad, None),
        f"{network.name} refused the home IMSI of {person.label} first, and took the new one last",
        network.attempts,
    )
    if person.number > FEATURED:
        return
    label, visited = person.label, person.destination.id
    words = f"home IMSI {home}…: refused, cause {int(refused.cause or 0)}, {Cause.PLMN_NOT_ALLOWED.words}"
    stage.tell(label, visited, words, via=Via.REFUSED)
    stage.tell(label, visited, f"card switches slot, IMSI {abroad}…: Milenage answered, registered", via=Via.RADIO)


async def _expect_reached_abroad(stage: Stage, person: Person) -> None:
    """The card's own report came by way of the network abroad and the centre, and its home operator believed it."""
    phone = stage.world.phones[person.number]
    await phone.settle()
    number = "+" + stage.world.networks[person.destination.id].number_of(phone.imsi)
    card = await wait_number(stage, person, number)
    expect(card["slot"] >= 1, f"{person.label} reported its slot", card)
    expect(card["plmn"] == person.destination.plmn, f"{person.label} reported the network abroad", card)
    expect(card["smsc"] == person.destination.smsc, f"{person.label} reported the centre abroad", card)


async def wait_number(stage: Stage, person: Person, number: str) -> Any:
    """Wait until the home operator reaches a person's card under a number; its view of the card."""
    path = f"/subscribers/{stage.subscribers[person.number]}/card"
    claim = f"{person.home.id} reaches {person.label} under the number of the account in use"
    return await stage.node(person.home).wait(path, lambda card: card["number"] == number, claim)


async def _redeem_codes(stage: Stage) -> None:
    """Service providers live by the same table: a redeemed code activates its request, and closes it."""
    before = (await stage.balance(SAFE))["available"]
    insured = [bought for bought in stage.bought if bought.code]

    async def redeem(bought: Bought) -> None:
        answer = await stage.node(SAFE).post("/codes/redeem", {"code": bought.code})
        expect(answer["request"] == bought.requests["cover"], "the code is that of the request", answer)

    await for_all(insured, redeem)
    for home in HOMES:
        ids = [bought.requests["cover"] for bought in insured if bought.person.home is home]
        rows = await stage.wait_requests(home, ids, "closed")
        expect(all(row["charged_usdr"] == COVER.price for row in rows.values()), "a redeemed code is paid", rows)
    now = (await stage.balance(SAFE))["available"]
    expect(now - before == len(insured) * COVER.price, f"{SAFE.id} earned {len(insured)} codes", (before, now))
    for bought in insured:
        person = bought.person
        if stage.tell_featured([person], lambda _: None):
            continue
        stage.tell(person.label, SAFE.id, "SP code redeemed", via=Via.PAYMENT)
        stage.tell(SAFE.id, person.home.id, "activated and closed", via=Via.LEDGER, amount_usdr=COVER.price)
    others = [bought for bought in insured if bought.person.number > FEATURED]
    total = COVER.price * len(others)
    stage.tell(SAFE.id, "ledger", "codes redeemed", via=Via.LEDGER, amount_usdr=total, people=len(others))
