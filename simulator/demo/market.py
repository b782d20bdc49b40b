"""Acts one to three: SDRt minted, offers published, found, and bundled into packages."""

from datetime import date
from typing import Any, Final

import msgspec
from msgspec import Struct

from settlement.ledger.messages import Delivery, Mint, Terms
from settlement.sdr import convert, load_rates
from settlement.usage.tariff import Bundle, Code, Metered
from simulator.demo.account import Via, expect
from simulator.demo.cast import ALFA, ALPINE, GULF, HOMES, ISSUER, SAFE, VISITED, VOLNA, House
from simulator.demo.stage import DAY_MS, Stage, now_ms
from simulator.demo.world import RATES_FILE
from simulator.together import for_all

FUNDS_USDR: Final = 400_000_000
FUNDS_PER_GUEST_USDR: Final = 60_000_000
"""Minted for each home operator: the dearest package a subscriber buys costs a third of its part."""

MB: Final = 1_000_000
BUNDLE: Final = Bundle(price=9_500_000, octets=5_000 * MB, seconds=3_600, hours=168, renewals=2)
METERED: Final = Metered(
    block=100_000,
    block_price=400,
    first_interval=60,
    first_price=120_000,
    next_interval=1,
    next_price=1_500,
    event_price=45_000,
    cap=20_000_000,
)
COVER: Final = Code(price=4_200_000)
CORPORATE: Final = Bundle(price=14_000_000, octets=20_000 * MB, hours=720)
PREVIEW: Final = Bundle(price=3_000_000, octets=1_000 * MB, hours=24)
CHARTER: Final = Bundle(price=250_000_000_000, octets=10**12, hours=8_784)
"""More than anybody here has."""
ANSWER_SOON_S: Final = 2
"""An offer whose requests nobody answers: its requests expire while one watches."""


class Wanted(Struct, frozen=True, kw_only=True):
    """An offer to publish, by the key the play knows it by."""

    key: str
    house: House
    name: str
    about: str
    tariff: Bundle | Metered | Code
    delivery: Delivery = "profile"
    policy: str = "auto"
    accept_within_s: int = 600
    fee: int = 500_000


OFFERS: Final = (
    Wanted(key="gulf", house=GULF, name="Gulf 5 GB", about="5 GB and 60 minutes for a week", tariff=BUNDLE),
    Wanted(key="alps", house=ALPINE, name="Alps as you go", about="Pay for what you use", tariff=METERED),
    Wanted(
        key="cover",
        house=SAFE,
        name="Travel cover",
        about="Travel insurance for thirty days",
        tariff=COVER,
        delivery="code",
        fee=0,
    ),
    Wanted(key="corporate", house=GULF, name="Gulf Corporate", about="Staff decide", tariff=CORPORATE, policy="hold"),
    Wanted(
        key="preview",
        house=ALPINE,
        name="Alps 5G Preview",
        about="Staff decide, soon",
        tariff=PREVIEW,
        policy="hold",
        accept_within_s=ANSWER_SOON_S,
    ),
    Wanted(key="charter", house=GULF, name="Gulf Charter", about="A terabyte for a year", tariff=CHARTER),
)

PACKAGES: Final = {
    "gulf": ("Emirates week", ("gulf",)),
    "gulf+cover": ("Emirates week, insured", ("gulf", "cover")),
    "alps": ("Alpine pocket", ("alps",)),
    "alps+cover": ("Alpine pocket, insured", ("alps", "cover")),
    "corporate": ("Emirates for business", ("corporate",)),
    "preview": ("Alpine 5G preview", ("preview",)),
    "charter": ("Emirates by the terabyte", ("charter",)),
}
"""Packages by key: what the retailer calls it, and its offers."""
RENEWALS: Final = {"gulf": 1}
MARGINS: Final = {ALFA.id: ("25", 10), VOLNA.id: ("32.5", 1000)}
"""Margin in per cent of cost, and what prices are rounded up to, in cents and kopecks."""


async def mint(stage: Stage) -> None:
    """Act one: the issuer mints against deposits, and says which."""
    issuer = stage.world.issuer
    for number, home in enumerate(HOMES, start=1):
        amount = FUNDS_USDR + FUNDS_PER_GUEST_USDR * len(stage.world.cast.guests(home))
        deposit = f"deposit 2026-{number:04d} of {home.name}"
        await issuer.submit(issuer.make(Mint, to=home.id, amount=amount, deposit=deposit))
        stage.minted += amount
        seen = await stage.balance(home)
        expect(seen == {"available": amount, "escrow": 0, "held": 0}, f"{home.id} has what was minted for it", seen)
        stage.tell(ISSUER, home.id, f"mint, {deposit}", via=Via.LEDGER, amount_usdr=amount)
    await stage.expect_conservation()


async def publish_offers(stage: Stage) -> None:
    """Act two: visited operators fill their profile pools; they and the service provider publish signed offers."""
    for house in VISITED:
        pool = stage.world.cast.pools[house.id]
        rows = [f"{line.imsi},{line.k.hex()},{line.opc.hex()},{line.msisdn}" for line in pool]
        answer = await stage.node(house).post_text("/profiles", "\n".join(["imsi,k,opc,msisdn", *rows]), "text/csv")
        expect(answer == {"imported": len(pool), "known": 0}, f"{house.id} takes its pool in", answer)
        stage.tell(house.id, house.id, f"{len(pool)} mobile profiles into its own pool", via=Via.API)
    for wanted in OFFERS:
        await _publish(stage, wanted)


async def _publish(stage: Stage, wanted: Wanted) -> None:
    node = stage.node(wanted.house)
    terms = Terms(
        name={"en": wanted.name},
        description={"en": wanted.about},
        category="insurance" if wanted.delivery == "code" else "telecom",
        countries=() if wanted.delivery == "code" else (wanted.house.country,),
        plmns=() if wanted.house.plmn is None else (wanted.house.plmn,),
        delivery=wanted.delivery,
        tariff=wanted.tariff,
        valid_until=now_ms() + 90 * DAY_MS,
        accept_within_s=wanted.accept_within_s,
        report_within_s=7 * 86_400,
        cancellation_fee=wanted.fee,
    )
    offer = await node.post("/offers", {"terms": msgspec.to_builtins(terms), "policy": wanted.policy})
    stage.offers[wanted.key] = offer["id"]

    def is_open(offers: list[Any]) -> bool:
        return any(one["id"] == offer["id"] and one["state"] == "open" for one in offers)

    await node.wait("/offers", is_open, f"the ledger has taken the offer {wanted.name!r}")
    kind = msgspec.to_builtins(wanted.tariff)["kind"]
    price = METERED.cap if isinstance(wanted.tariff, Metered) else wanted.tariff.price
    words = f"offer “{wanted.name}”, {kind}{', at most' if kind == 'metered' else ''}"
    stage.tell(wanted.house.id, "ledger", words, via=Via.LEDGER, amount_usdr=price)


async def make_packages(stage: Stage) -> None:
    """Act three: home operators search, bundle, see the margin, publish."""
    for home in HOMES:
        await _search(stage, home)
        for key, (name, offers) in PACKAGES.items():
            stage.packages[home.id, key] = await _make_package(stage, home, key, name, offers)


async def _search(stage: Stage, home: House) -> None:
    """By country, PLMN, service, category, price and validity: each finds what it must, and nothing else."""
    node = stage.node(home)
    searches: tuple[tuple[dict[str, str | int], set[str]], ...] = (
        ({"country": "AE", "category": "telecom", "service": "data", "max_price": 20_000_000}, {"gulf", "corporate"}),
        ({"plmn": ALPINE.plmn or "", "service": "voice"}, {"alps"}),
        ({"category": "insurance", "valid_at": now_ms() + 80 * DAY_MS}, {"cover"}),
        ({"valid_at": now_ms() + 100 * DAY_MS}, set()),
    )
    keys = {offer: key for key, offer in stage.offers.items()}
    for search, wanted in searches:
        found = {keys[offer["id"]] for offer in await node.get("/market/offers", **search)}
        expect(found == wanted, f"{home.id} finds {sorted(wanted)} by {search}", sorted(found))
        if wanted:
            by = ", ".join(str(value) for name, value in search.items() if name not in ("max_price", "valid_at"))
            stage.tell(home.id, "ledger", f"search {by}: {len(found)} found", via=Via.API)


async def _make_package(stage: Stage, home: House, key: str, name: str, offers: tuple[str, ...]) -> Any:
    node = stage.node(home)
    percent, round_to = MARGINS[home.id]
    draft = {
        "name": name,
        "currency": home.currency,
        "items": [{"offer": stage.offers[one], "days": 14, "renewals": RENEWALS.get(one, 0)} for one in offers],
        "margin_percent": percent,
        "round_to_minor": round_to,
    }
    preview = await node.post("/packages/preview", draft)
    package = await node.post("/packages", draft)
    quote = package["quote"]
    expect(quote == preview, f"{home.id} publishes {name!r} at the margin it was shown", (preview, quote))
    cost = convert(
        quote["cost_usdr"],
        home.currency,
        date.fromisoformat(quote["rate_date"]),
        load_rates(stage.world.folder / RATES_FILE),
    )
    expect(
        str(cost.value.rate) == quote["sdr_rate"] and quote["cost_minor"] - cost.amount_minor in (0, 1),
        f"{name!r} is valued by the SDR basket and the rates of {quote['rate_date']}",
        quote,
    )
    expect(quote["margin_minor"] == quote["retail_minor"] - quote["cost_minor"] > 0, f"{name!r} leaves a margin", quote)
    if key not in ("corporate", "preview", "charter"):
        words = (
            f"package “{name}”: cost {money(quote['cost_minor'], quote)}, sells for "
            f"{money(quote['retail_minor'], quote)}, margin {quote['margin_percent']} %"
        )
        stage.tell(home.id, home.id, words, via=Via.API, amount_usdr=quote["cost_usdr"])
    return package


def money(minor: int, quote: Any) -> str:
    """An amount in a quote's currency."""
    digits = quote["minor_digits"]
    return f"{minor // 10**digits:,}.{minor % 10**digits:0{digits}d} {quote['currency']}".replace(",", " ")


async def enter_subscribers(stage: Stage) -> None:
    """Home operators know their subscribers and the OTA keys of their cards."""

    async def enter(number: int) -> None:
        person = stage.world.cast.people[number]
        card = {"iccid": person.iccid, "kic": person.ota.kic_key.hex(), "kid": person.ota.kid_key.hex()}
        new = {"name": person.name, "msisdn": person.home_profile.msisdn, "card": card}
        stage.subscribers[person.number] = (await stage.node(person.home).post("/subscribers", new))["id"]
        phone = stage.world.phones[person.number]
        expect(phone.serving is stage.world.networks[person.home.id], f"the phone of {person.label} is on at home")

    await for_all(range(len(stage.world.cast.people)), enter)
    for home in HOMES:
        guests = len(stage.world.cast.guests(home))
        stage.tell(home.id, home.id, "subscribers with multi-account SIMs, all at home", via=Via.RADIO, people=guests)
