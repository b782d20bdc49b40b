"""A million subscribers as arrays: who they are, where they go, what they buy, what they use. Everything by seed.

    people = draw_population(world)
    trips = draw_trips(world, people)             # those who travel, with the offer each chose by price
    use = draw_use(world, people, trips, step)    # octets, seconds and messages of one step

Each draw has a generator of its own, named by seed, purpose and step: a step can be drawn again, or alone, and comes
out the same. Floats describe behaviour; money that anybody pays is reckoned in integers elsewhere.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from settlement.usage.tariff import Bundle, Metered
from simulator.world import SimOffer, World

Array = NDArray[Any]
CLASSIC, MULTI_ACCOUNT, ESIM = range(3)
"""Kinds of SIM. A classic one takes no profile: its owner roams as ever, which is nothing to the marketplace."""
ESIM_SHARE: Final = 0.3
"""Of those that can take a profile."""
MEGABYTE: Final = 1_000_000
BUDGET_USDR_PER_DAY: Final = 3_000_000
"""What an ordinary subscriber finds dear: at this price a day as many buy nothing as buy. Ours, no survey's."""
_PURPOSES: Final = ("population", "trips", "choice", "use", "fate", "fraud", "reports", "meters")
_HOUR_OF_DAY: Final = np.array(
    [2, 1, 1, 1, 1, 2, 4, 6, 7, 7, 7, 7, 8, 8, 7, 7, 8, 9, 10, 11, 12, 11, 8, 4], dtype=np.float64
)
"""How busy each local hour is: the evening peak of mobile networks."""
_DEPARTURES: Final = np.array(
    [1, 1, 1, 2, 4, 7, 9, 9, 8, 7, 6, 6, 6, 6, 6, 6, 6, 6, 5, 4, 3, 2, 1, 1], dtype=np.float64
)
_WEEKDAY_TRAVEL: Final = np.array([0.8, 0.7, 0.8, 1.0, 1.6, 1.5, 0.9])
"""Monday to Sunday."""
_WEEKDAY_USE: Final = np.array([0.95, 0.95, 0.95, 1.0, 1.05, 1.1, 1.1])


def generator(world: World, purpose: str, step: int = 0) -> np.random.Generator:
    """The generator of a purpose and step."""
    return np.random.default_rng([world.seed & 0xFFFF_FFFF, world.seed >> 32, _PURPOSES.index(purpose), step])


@dataclass(frozen=True)
class Population:
    """Subscribers: home operator's number, kind of SIM, and what each uses on an ordinary day.

    `octets`, `seconds`, `messages` a day; `sensitivity`: how much a price matters; `metered`: the phone has a meter.
    """

    home: Array
    sim: Array
    octets: Array
    seconds: Array
    messages: Array
    sensitivity: Array
    metered: Array

    @property
    def octets_of_memory(self) -> int:
        """What the arrays take."""
        return sum(int(array.nbytes) for array in vars(self).values())


@dataclass(frozen=True)
class Trips:
    """Journeys, in order of their subscribers: hours since the world's start, and steps.

    `offer`: number of the offer chosen, -1 where the journey is made without one. `renewals` and `escrow` (µSDRt) are
    what the request asks for.
    """

    subscriber: Array
    destination: Array
    start: Array
    end: Array
    offer: Array
    renewals: Array
    escrow: Array
    buy_step: Array
    start_step: Array
    end_step: Array

    def __len__(self) -> int:
        return len(self.subscriber)


@dataclass(frozen=True)
class Use:
    """What the trips `trip` (places in `Trips`) use in one step."""

    trip: Array
    octets: Array
    seconds: Array
    messages: Array


def draw_population(world: World) -> Population:
    """Draw the subscribers."""
    draw, behaviour, count = generator(world, "population"), world.scenario.behaviour, world.scenario.subscribers
    shares = np.array([operator.plan.share for operator in world.operators])
    if not shares.sum():
        count, shares = 0, np.ones(len(shares))
    home = draw.choice(len(shares), size=count, p=shares / shares.sum()).astype(np.uint8)
    able = draw.random(count, dtype=np.float32) < behaviour.multi_account
    esim = draw.random(count, dtype=np.float32) < ESIM_SHARE
    sim = np.where(able, np.where(esim, ESIM, MULTI_ACCOUNT), CLASSIC).astype(np.uint8)
    kind = draw.random(count, dtype=np.float32)
    factor = np.where(kind < behaviour.light, 0.2, np.where(kind > 1 - behaviour.heavy, 4.0, 1.0)).astype(np.float32)

    def spread(mean: float, sigma: float) -> Array:
        """Lognormal about `mean`, times the kind of person."""
        drawn = draw.standard_normal(count, dtype=np.float32) * np.float32(sigma) - np.float32(sigma * sigma / 2)
        spread_out: Array = np.float32(mean) * factor * np.exp(drawn)
        return spread_out

    return Population(
        home=home,
        sim=sim,
        octets=spread(behaviour.megabytes_per_day * MEGABYTE, 0.8),
        seconds=spread(behaviour.minutes_per_day * 60, 0.7),
        messages=spread(behaviour.messages_per_day, 0.6),
        sensitivity=(behaviour.price_sensitivity * np.exp(draw.standard_normal(count, dtype=np.float32) * 0.3)).astype(
            np.float32
        ),
        metered=draw.random(count, dtype=np.float32) < behaviour.meters,
    )


def draw_trips(world: World, people: Population) -> Trips:
    """Draw who travels where and when, and the offer each chooses."""
    draw, scenario = generator(world, "trips"), world.scenario
    hours, step = scenario.days * 24, scenario.step_hours
    subscriber, destination, start, end = _draw_journeys(world, people, draw, hours)
    order = np.lexsort((start, subscriber))
    subscriber, destination, start, end = (a[order] for a in (subscriber, destination, start, end))
    keep = _without_overlaps(subscriber, start, end, hours)
    subscriber, destination, start, end = (a[keep] for a in (subscriber, destination, start, end))
    offer, renewals, escrow = _choose(world, people, subscriber, destination, start, end)
    start_step = (start // step).astype(np.int16)
    lead = generator(world, "trips", 1).integers(0, 3, len(start), dtype=np.int16)
    return Trips(
        subscriber=subscriber.astype(np.int32),
        destination=destination.astype(np.uint8),
        start=start.astype(np.int32),
        end=end.astype(np.int32),
        offer=offer,
        renewals=renewals,
        escrow=escrow,
        buy_step=np.maximum(start_step - lead, 0).astype(np.int16),
        start_step=start_step,
        end_step=np.minimum((end - 1) // step, scenario.steps - 1).astype(np.int16),
    )


def _draw_journeys(
    world: World, people: Population, draw: np.random.Generator, hours: int
) -> tuple[Array, Array, Array, Array]:
    scenario, count = world.scenario, len(people.home)
    weekday = (scenario.starts.weekday() + np.arange(scenario.days)) % 7
    by_hour = np.repeat(_WEEKDAY_TRAVEL[weekday], 24) * np.tile(_DEPARTURES, scenario.days)
    expected = scenario.behaviour.trips_per_year * scenario.days / 365
    journeys = draw.poisson(expected, count).astype(np.int32)
    subscriber = np.repeat(np.arange(count, dtype=np.int32), journeys)
    start = np.searchsorted(np.cumsum(by_hour / by_hour.sum()), draw.random(len(subscriber))).astype(np.int32)
    length = np.maximum(6, draw.exponential(scenario.behaviour.mean_days * 24, len(subscriber))).astype(np.int32)
    destination = _draw_destinations(world, people.home[subscriber], draw)
    parts = [(subscriber, destination, start, start + length)]
    for event in scenario.events:
        country = world.country_number(event.country)
        homes = np.array([operator.country.iso == event.country for operator in world.operators])
        visitors = np.flatnonzero((draw.random(count) < event.visitors) & ~homes[people.home]).astype(np.int32)
        arrival = np.maximum(0, event.from_hour - draw.integers(1, 25, len(visitors))).astype(np.int32)
        leave = event.from_hour + event.hours + draw.integers(1, 25, len(visitors))
        parts.append((visitors, np.full(len(visitors), country), arrival, leave.astype(np.int32)))
    joined = [np.concatenate([part[number] for part in parts]) for number in range(4)]
    chosen = (joined[1] >= 0) & (joined[2] < hours)
    subscriber, destination, start, end = (array[chosen] for array in joined)
    return subscriber, destination, start, np.minimum(end, hours)


def _draw_destinations(world: World, home: Array, draw: np.random.Generator) -> Array:
    """Country number of each journey by its home's routes; without any, wherever something is sold; -1 for nowhere."""
    drawn, destination = draw.random(len(home)), np.full(len(home), -1, dtype=np.int16)
    sold = [number for number in range(len(world.countries)) if world.offers_in(number)]
    for operator in world.operators:
        iso = operator.country.iso
        weights = np.zeros(len(world.countries))
        for route in world.scenario.routes:
            if route.origin in ("*", iso) and route.to != iso:
                weights[world.country_number(route.to)] += route.weight
        if not weights.sum():
            weights[[number for number in sold if world.countries[number].iso != iso]] = 1.0
        of_home = home == operator.number
        if weights.sum():
            cumulated = np.cumsum(weights / weights.sum())
            destination[of_home] = np.minimum(np.searchsorted(cumulated, drawn[of_home]), len(weights) - 1)
    return destination


def _without_overlaps(subscriber: Array, start: Array, end: Array, hours: int) -> Array:
    """Which journeys begin after all earlier ones of their subscriber have ended."""
    if not len(subscriber):
        return np.zeros(0, dtype=bool)
    base = subscriber.astype(np.int64) * (hours + 1)
    latest = np.maximum.accumulate(base + end)
    return np.concatenate(([True], (base + start)[1:] >= latest[:-1]))


def _choose(
    world: World, people: Population, subscriber: Array, destination: Array, start: Array, end: Array
) -> tuple[Array, Array, Array]:
    """A choice by price (logit) among what is sold at the destination and going without."""
    draw = generator(world, "choice")
    offer = np.full(len(subscriber), -1, dtype=np.int16)
    renewals = np.zeros(len(subscriber), dtype=np.int16)
    escrow = np.zeros(len(subscriber), dtype=np.int64)
    days = np.maximum((end - start) / 24, 0.25)
    need = [people.octets[subscriber] * days, people.seconds[subscriber] * days, people.messages[subscriber] * days]
    able = people.sim[subscriber] != CLASSIC
    for number in range(len(world.countries)):
        here = np.flatnonzero(able & (destination == number))
        offers = world.offers_in(number)
        if not offers or not len(here):
            continue
        priced = [_price(one, days[here], *(part[here] for part in need)) for one in offers]
        costs = np.stack([BUDGET_USDR_PER_DAY * days[here], *(cost for cost, _, _ in priced)])
        noise = draw.gumbel(size=costs.shape)
        picked = np.argmax(noise - people.sensitivity[subscriber[here]] * np.log(costs), axis=0)
        for place, (one, (_, renew, hold)) in enumerate(zip(offers, priced, strict=True), start=1):
            mine = picked == place
            offer[here[mine]] = one.number
            renewals[here[mine]] = renew[mine]
            escrow[here[mine]] = hold[mine]
    return offer, renewals, escrow


def _price(offer: SimOffer, days: Array, octets: Array, seconds: Array, messages: Array) -> tuple[Array, Array, Array]:
    """Expected cost, renewals and escrow of journeys on one offer."""
    tariff = offer.tariff
    if isinstance(tariff, Bundle):
        parts = [days * 24 / tariff.hours, octets / tariff.octets, seconds / tariff.seconds, messages / tariff.messages]
        periods = np.ceil(np.maximum.reduce(parts)).astype(np.int64)
        renewals = np.clip(periods - 1, 0, tariff.renewals)
        return tariff.price * periods.astype(np.float64), renewals, tariff.price * (1 + renewals)
    assert isinstance(tariff, Metered)
    cost = (
        octets / tariff.block * tariff.block_price
        + seconds / 60 * (tariff.first_price / 3 + 60 * tariff.next_price)
        + messages * tariff.event_price
    )
    cost = np.clip(cost, 1, tariff.cap or None)
    # Half as much again as expected: most journeys end within it, some run out, as prepaid ones do.
    escrow = np.clip((cost * 1.5).astype(np.int64), 100_000, tariff.cap or None)
    return cost, np.zeros(len(days), dtype=np.int64), escrow


def draw_use(world: World, people: Population, trips: Trips, step: int) -> Use:
    """What everybody abroad with an offer uses in a step, whatever became of the request: the caller knows that."""
    draw, scenario = generator(world, "use", step), world.scenario
    here = np.flatnonzero((trips.offer >= 0) & (trips.start_step <= step) & (trips.end_step >= step))
    who = trips.subscriber[here]
    busy = _business(world, step)[
        np.array([offer.operator for offer in world.offers], dtype=np.int16)[trips.offer[here]]
    ]
    first, last = step * scenario.step_hours, (step + 1) * scenario.step_hours
    present = (np.minimum(trips.end[here], last) - np.maximum(trips.start[here], first)) / scenario.step_hours
    share = np.clip(present, 0, 1) * busy
    noise = np.exp(draw.standard_normal(len(here)) * 0.5 - 0.125)
    calls = draw.poisson(people.seconds[who] * share / 90)
    talked = draw.exponential(90, len(here)) * calls
    return Use(
        trip=here.astype(np.int32),
        octets=(people.octets[who] * share * noise).astype(np.int64),
        seconds=np.ceil(talked).astype(np.int64),
        messages=draw.poisson(people.messages[who] * share).astype(np.int64),
    )


def _business(world: World, step: int) -> Array:
    """Share of a day's use that falls into the step, by operator: hours, weekday, events, coverage, outages."""
    scenario = world.scenario
    hours = np.arange(step * scenario.step_hours, (step + 1) * scenario.step_hours)
    shares = np.zeros(len(world.operators))
    for operator in world.operators:
        local = hours + operator.country.offset / 60
        weekday = (scenario.starts.weekday() + np.floor(local / 24).astype(int)) % 7
        curve = _HOUR_OF_DAY[np.floor(local).astype(int) % 24] / _HOUR_OF_DAY.sum() * _WEEKDAY_USE[weekday]
        for event in scenario.events:
            if event.country == operator.country.iso:
                curve = np.where(
                    (hours >= event.from_hour) & (hours < event.from_hour + event.hours), curve * event.load, curve
                )
        for outage in scenario.outages:
            if outage.operator == operator.id:
                curve = np.where((hours >= outage.from_hour) & (hours < outage.from_hour + outage.hours), 0.0, curve)
        shares[operator.number] = curve.sum() * operator.plan.coverage
    return shares
