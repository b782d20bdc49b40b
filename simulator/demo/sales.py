"""Acts four to six: subscribers buy, each purchase becomes signed requests, requests are answered or come to nothing.

The purchases that are to end badly are made first: the one that nobody answers needs its time. What they cost must be
back, to the micro-unit, before the good ones are made.
"""

import asyncio
from typing import Any, Final

from msgspec import Struct

from simulator.demo.account import Via, expect
from simulator.demo.cast import ALFA, ALPINE, GULF, HOMES, VOLNA, House, Person
from simulator.demo.market import CHARTER, CORPORATE, OFFERS, PACKAGES, PREVIEW, money
from simulator.demo.stage import Bought, Stage, of_homes
from simulator.together import for_all

PAID_WORDS: Final = {"billing": "on the phone bill, confirmed by signed webhook", "test": "by the test provider"}
FEW: Final = 8
"""Requests looked at one by one on the ledger."""
ESCROW_READS: Final = 25
ESCROW_PAUSE_S: Final = 0.2
"""Five seconds for the node to hear of a request's end, which takes a fraction of one."""
ENDS: Final = ("declined", "cancelled", "expired", "closed")


class Misfortune(Struct, frozen=True, kw_only=True):
    """A purchase that ends badly: of which package, and how its request ends."""

    home: House
    visited: House
    package: str
    ends: str
    price_usdr: int


MISFORTUNES: Final = (
    Misfortune(home=ALFA, visited=ALPINE, package="preview", ends="expired", price_usdr=PREVIEW.price),
    Misfortune(home=ALFA, visited=GULF, package="corporate", ends="declined", price_usdr=CORPORATE.price),
    Misfortune(home=VOLNA, visited=GULF, package="corporate", ends="cancelled", price_usdr=CORPORATE.price),
)


async def sell(stage: Stage) -> list[Bought]:
    """Act four: subscribers buy and pay. Returns the purchases that are to end badly."""
    people = stage.world.cast.people
    unlucky = [
        await _buy(stage, stage.world.cast.guests(misfortune.home)[0], misfortune.package) for misfortune in MISFORTUNES
    ]
    for bought in unlucky:
        name = PACKAGES[bought.package][0]
        words = f"buys “{name}”, which is not to be"
        stage.tell(bought.person.label, bought.person.home.id, words, via=Via.PAYMENT)
    stage.bought = list(await for_all(people, lambda person: _buy(stage, person, _choose(person))))
    for home, theirs in of_homes(people):
        others = stage.tell_featured(theirs, lambda person: _tell_purchase(stage, person))
        words = f"packages bought and paid {PAID_WORDS[theirs[0].pays_by]}"
        stage.tell("subscribers", home.id, words, via=Via.PAYMENT, people=len(others))
    charged = len(stage.world.bill.charges)
    billed = sum(bought.person.pays_by == "billing" for bought in (*stage.bought, *unlucky))
    expect(charged == billed, f"{billed} charges are on the phone bill", charged)
    return unlucky


def _choose(person: Person) -> str:
    return ("gulf" if person.destination is GULF else "alps") + ("+cover" if person.insured else "")


def _tell_purchase(stage: Stage, person: Person) -> None:
    quote = stage.packages[person.home.id, _choose(person)]["quote"]
    words = f"buys “{quote['name']}” for {money(quote['retail_minor'], quote)} {PAID_WORDS[person.pays_by]}"
    stage.tell(person.label, person.home.id, words, via=Via.PAYMENT)


async def _buy(stage: Stage, person: Person, key: str, *, ends: str = "placed") -> Bought:
    """Buy, and wait until it is paid and ordered."""
    node = stage.node(person.home)
    order = {
        "subscriber": stage.subscribers[person.number],
        "package": stage.packages[person.home.id, key]["id"],
        "provider": person.pays_by,
    }
    purchase = (await node.post("/purchases", order))["id"]
    stage.sold[person.home.id, key] += 1
    view = await node.wait(f"/purchases/{purchase}", lambda seen: seen["state"] == ends, f"the purchase is {ends}")
    offers = PACKAGES[key][1]
    requests = {offer: item["request"] for offer, item in zip(offers, view["items"], strict=True)}
    return Bought(person=person, package=key, purchase=purchase, requests=requests)


async def _buy_beyond_means(stage: Stage) -> None:
    """Too little SDRt: the ledger says no, nothing moves, the subscriber has the money back."""
    person = stage.world.cast.guests(VOLNA)[0]
    node = stage.node(VOLNA)
    before = await _settled_balance(stage, VOLNA)
    bought = await _buy(stage, person, "charter", ends="failed")
    claim = "the subscriber of the failed purchase has the money back"
    view = await node.wait(f"/purchases/{bought.purchase}", lambda seen: seen["items"][0]["refund"] == "paid", claim)
    item = view["items"][0]
    expect((item["state"], item["cause"]) == ("rejected", "insufficient-funds"), "too little SDRt is a clear no", item)
    after = await stage.balance(VOLNA)
    expect(after == before, "a rejected request moves nothing", (before, after))
    message = await node.get(f"/outbox/{item['request']}")
    expect(message["state"] == "rejected", "the ledger took no entry of it", message)
    stage.rejections[item["cause"]] = stage.rejections.get(item["cause"], 0) + 1
    words = f"request on “{_name(bought.package)}”: {item['cause']}"
    stage.tell(VOLNA.id, "ledger", words, via=Via.REFUSED, amount_usdr=CHARTER.price)
    stage.tell(VOLNA.id, person.label, "money back, nothing moved on the ledger", via=Via.PAYMENT)


async def _settled_balance(stage: Stage, home: House) -> dict[str, int]:
    """The balance once everything ordered so far is in escrow."""
    node = stage.node(home)
    await node.wait("/operator", lambda seen: seen["pending"] == 0, "all messages are answered")
    return await stage.balance(home)


async def place_requests(stage: Stage, unlucky: list[Bought]) -> None:
    """Act five: one signed request an offer; what it costs is in escrow."""
    for bought, misfortune in zip(unlucky, MISFORTUNES, strict=True):
        words = f"request on “{_name(misfortune.package)}”, into escrow"
        stage.tell(misfortune.home.id, misfortune.visited.id, words, via=Via.LEDGER, amount_usdr=misfortune.price_usdr)
        await stage.wait_requests(misfortune.home, bought.requests.values(), "requested", "expired")
    for home in HOMES:
        theirs = [bought for bought in stage.bought if bought.person.home is home]
        ids = [request for bought in theirs for request in bought.requests.values()]
        rows = await stage.wait_requests(home, ids, "requested", "accepted", "delivered")
        users = [(await _on_ledger(stage, home, request))["user_id"] for request in ids[:FEW]]
        expect(len(set(users)) == len(users), "each request names its user by fresh random letters", users)
        for bought in theirs:
            _tell_requests(stage, bought, rows)
        _tell_other_requests(stage, home, theirs, rows)
    for home in HOMES:
        await _expect_escrow(stage, home)
    await _buy_beyond_means(stage)
    await stage.expect_conservation()


async def _on_ledger(stage: Stage, house: House, request: str) -> Any:
    return await stage.node(house).get(f"/requests/{request}/ledger")


def _tell_requests(stage: Stage, bought: Bought, rows: dict[str, Any]) -> None:
    def tell(person: Person) -> None:
        for offer, request in bought.requests.items():
            row = rows[request]
            words = f"request on “{_name(offer)}” for {person.label}, into escrow"
            stage.tell(row["home"], row["visited"], words, via=Via.LEDGER, amount_usdr=row["escrow_usdr"])

    stage.tell_featured([bought.person], tell)


def _tell_other_requests(stage: Stage, home: House, theirs: list[Bought], rows: dict[str, Any]) -> None:
    told: dict[str, list[int]] = {}
    for bought in theirs:
        if stage.tell_featured([bought.person], lambda _: None):
            for request in bought.requests.values():
                told.setdefault(rows[request]["visited"], []).append(rows[request]["escrow_usdr"])
    for visited, amounts in told.items():
        stage.tell(
            home.id, visited, "requests, into escrow", via=Via.LEDGER, amount_usdr=sum(amounts), people=len(amounts)
        )


def _name(offer: str) -> str:
    return next(one.name for one in OFFERS if one.key == offer)


async def _expect_escrow(stage: Stage, home: House) -> None:
    """What an operator has in escrow is what its open requests hold, one by one.

    The balance is the ledger's and the requests are the node's: read again where a request ended between the two.
    """
    for _ in range(ESCROW_READS):
        rows = await stage.node(home).get("/requests", role="home")
        held = sum(row["escrow_usdr"] - row["charged_usdr"] for row in rows if row["state"] not in (*ENDS, "rejected"))
        balance = await stage.balance(home)
        if balance["escrow"] == held:
            return
        await asyncio.sleep(ESCROW_PAUSE_S)
    expect(False, f"the escrow of {home.id} is what its open requests hold", (balance, held))


async def answer_requests(stage: Stage, unlucky: list[Bought]) -> None:
    """Act six: accepts with sealed payloads; a decline, a cancellation and an expiry give the escrow back."""
    for home in HOMES:
        theirs = [bought for bought in stage.bought if bought.person.home is home]
        ids = [request for bought in theirs for request in bought.requests.values()]
        await stage.wait_requests(home, ids, "accepted", "delivered")
        for bought in theirs:
            await _tell_accepts(stage, home, bought)
        others = [bought for bought in theirs if stage.tell_featured([bought.person], lambda _: None)]
        stage.tell("ledger", home.id, "accepts with sealed payloads", via=Via.LEDGER, people=len(others))
    for bought, misfortune in sorted(
        zip(unlucky, MISFORTUNES, strict=True), key=lambda pair: pair[1].ends == "expired"
    ):
        await _end_badly(stage, bought, misfortune)
    for home in HOMES:
        await _expect_escrow(stage, home)
    await stage.expect_conservation()


async def _tell_accepts(stage: Stage, home: House, bought: Bought) -> None:
    if stage.tell_featured([bought.person], lambda _: None):
        return
    for offer, request in bought.requests.items():
        row = await _on_ledger(stage, home, request)
        expect(row["payload"], "an accept names its sealed payload by digest", row)
        what = "SP code" if offer == "cover" else "mobile profile"
        words = f"accept with {what}, sealed to {home.id}"
        stage.tell(row["visited"], home.id, words, via=Via.LEDGER)


async def _end_badly(stage: Stage, bought: Bought, misfortune: Misfortune) -> None:
    """Decline, cancel, or let time pass; the whole escrow is home again and the subscriber has the money back."""
    [request] = bought.requests.values()
    home, visited, node = misfortune.home, misfortune.visited, stage.node(misfortune.home)
    if misfortune.ends == "declined":
        await stage.wait_requests(visited, [request], "requested")
        await stage.node(visited).post(f"/requests/{request}/decline", {"cause": "no-capacity"})
    elif misfortune.ends == "cancelled":
        await node.post(f"/requests/{request}/cancel", {"cause": "unwanted"})
    row = (await stage.wait_requests(home, [request], misfortune.ends))[request]
    expect(row["charged_usdr"] == 0, f"a {misfortune.ends} request costs nothing", row)
    on_ledger = await _on_ledger(stage, home, request)
    expect(on_ledger["escrow"] == 0, f"a {misfortune.ends} request holds nothing", on_ledger)
    claim = f"the subscriber of the {misfortune.ends} request has the money back"
    await node.wait(f"/purchases/{bought.purchase}", lambda seen: seen["items"][0]["refund"] == "paid", claim)
    source, target, words = {
        "declined": (visited.id, home.id, "decline, no-capacity: escrow returns"),
        "cancelled": (home.id, visited.id, "cancel, unwanted: escrow returns"),
        "expired": (home.id, visited.id, "nobody answered in time: expired, escrow returns"),
    }[misfortune.ends]
    stage.tell(source, target, words, via=Via.LEDGER, amount_usdr=misfortune.price_usdr)
