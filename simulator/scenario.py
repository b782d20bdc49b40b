"""A scenario: what world is simulated, as a TOML file tells it, read strictly.

    scenario = find_scenario("smoke")            # one that comes along, or the path of one's own
    scenario = read_scenario(text, "mine.toml")  # raises ScenarioError, which tells every fault by line

The file's form is these structs: a table each, their fields the keys. Nothing is guessed and nothing is passed over: an
unknown key, a country nobody knows, a negative duration, a fault in a node that is not there are all told at once, each
with its line, the value, and what to write instead.
"""

from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, structs

from landfall.errors import LandfallError
from simulator.scenario_checks import CANCEL, DECLINE, FRAUD_SHARE, list_contradictions
from simulator.scenario_file import Complaint, check_table, parse_table

MOST_SUBSCRIBERS: Final = 1_000_000
"""What was measured to fit; see docs/simulator.md."""
MOST_CARDS: Final = 100
"""Real cards at one operator: one process plays them, and each download takes a second or so of two cores."""

MOST_ID: Final = 32
"""Characters of an operator's id on the ledger."""

LEAST_FACTOR: Final = 1.15
"""Who lies lies by more than meters differ."""

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0, le=1_000_000)]
Hours = Annotated[int, Meta(ge=0, le=24 * 366)]
Id = Annotated[
    str,
    Meta(
        pattern="^[a-z][a-z0-9-]{1,28}[a-z0-9]$",
        description="3 to 30 lower-case letters, digits and hyphens, a letter first",
    ),
]
Iso = Annotated[str, Meta(pattern="^[A-Z]{2}$", description="two capital letters, as ISO 3166-1 has them")]

Fraud = Literal["over-report", "replay", "phantom-usage", "double-spend", "withdraw"]
FaultKind = Literal["kill-node", "stop-ledger", "restart-database", "revoke-key"]


class OperatorPlan(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One operator. `share` of the world's subscribers are its own; 0 for one that only serves guests.

    `price_level` multiplies what its country's costs make of an offer; `coverage` is the share of time its guests have
    service. `usage`: how its network tells use, as signed reports or as TAP files that become them. `cards` of its
    subscribers carry real software cards; it then runs a live node, as do those its cards may travel to (`node`). With
    a node and no `offers` it serves cards alone: a node follows every entry of its operator, so not a million's.
    """

    id: Id
    name: Annotated[str, Meta(min_length=1, max_length=60)]
    country: Iso
    share: Share = 0.0
    price_level: Annotated[float, Meta(gt=0, le=20)] = 1.0
    coverage: Share = 0.97
    offers: Annotated[tuple[Literal["bundle", "metered"], ...], Meta(max_length=2)] = ("bundle", "metered")
    usage: Literal["reports", "tap"] = "reports"
    node: bool = False
    cards: Annotated[int, Meta(ge=0, le=MOST_CARDS)] = 0


class Behaviour(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What subscribers do on average. `meters`: share of phones with a meter that signs its counters.

    `light` and `heavy`: shares of subscribers that use a fifth and four times of the ordinary. `multi_account`: share
    that have a SIM which can take an offer; the others stay at home or pay what roaming costs.
    """

    trips_per_year: Positive = 4.0
    mean_days: Positive = 4.0
    megabytes_per_day: Positive = 500.0
    minutes_per_day: Positive = 8.0
    messages_per_day: Positive = 3.0
    light: Share = 0.4
    heavy: Share = 0.1
    multi_account: Share = 0.7
    price_sensitivity: Positive = 1.5
    meters: Share = 1.0


class Route(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much the people of a country (`"*"`: of every country) are drawn to another, relative to the other routes."""

    origin: Annotated[str, Meta(pattern=r"^([A-Z]{2}|\*)$")] = "*"
    to: Iso
    weight: Positive = 1.0


class Event(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something many go to. `visitors`: that share of all subscribers travels there; `load`: how much more they use."""

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    country: Iso
    from_hour: Hours
    hours: Annotated[int, Meta(ge=1, le=24 * 31)]
    visitors: Share
    load: Positive = 1.0


class Outage(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An operator's radio network is down."""

    operator: Id
    from_hour: Hours
    hours: Annotated[int, Meta(ge=1, le=24 * 31)]


class SmscPlan(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How bad the short message network is: probabilities, and delay in seconds (least, most)."""

    loss: Share = 0.0
    duplicate: Share = 0.0
    reorder: Share = 0.0
    delay_s: tuple[Annotated[float, Meta(ge=0, le=60)], Annotated[float, Meta(ge=0, le=60)]] = (0.0, 0.0)


class Reporting(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How honest networks report: shares of reports that come a step late or twice; clocks run ahead by so much."""

    late: Share = 0.0
    doubled: Share = 0.0
    skew_minutes: Annotated[int, Meta(ge=0, le=24 * 60)] = 0
    skewed_share: Share = 0.0


class Dishonesty(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator does that it should not: to which share of its requests (or steps), and by which factor.

    `denies`: the share of the disputes about it that the operator rejects; the issuer then decides.
    """

    operator: Id
    fraud: Fraud
    share: Share = FRAUD_SHARE
    factor: Annotated[float, Meta(ge=LEAST_FACTOR, le=100)] = 1.6
    denies: Share = 0.0


class FaultPlan(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What breaks, when, and for how many real seconds.

    `target`: an operator's id, or `ledger`; the ledger and the database have no other.
    """

    kind: FaultKind
    target: Id = "ledger"
    at_hour: Hours
    seconds: Annotated[float, Meta(ge=0, le=60)] = 1.0


class Scenario(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A world to simulate. `decline`, `cancel`: shares of requests refused for want of profiles, and called off."""

    title: Annotated[str, Meta(min_length=1, max_length=60)]
    about: Annotated[str, Meta(min_length=1, max_length=2000)]
    starts: date
    days: Annotated[int, Meta(ge=1, le=366)]
    step_hours: Literal[1, 2, 3, 4, 6, 8, 12, 24] = 6
    subscribers: Annotated[int, Meta(ge=1, le=MOST_SUBSCRIBERS)]
    decline: Share = DECLINE
    cancel: Share = CANCEL
    operators: tuple[OperatorPlan, ...] = ()
    routes: tuple[Route, ...] = ()
    events: tuple[Event, ...] = ()
    outages: tuple[Outage, ...] = ()
    dishonest: tuple[Dishonesty, ...] = ()
    faults: tuple[FaultPlan, ...] = ()
    behaviour: Behaviour = Behaviour()
    smsc: SmscPlan = SmscPlan()
    reporting: Reporting = Reporting()

    @property
    def steps(self) -> int:
        """How many steps the world takes."""
        return -(-self.days * 24 // self.step_hours)


def without_nodes(scenario: Scenario, suffix: str) -> tuple[Scenario, list[str]]:
    """The scenario with operators that only sign, renamed by `suffix`, and what is left out of it."""

    def name(operator: str) -> str:
        return operator[: MOST_ID - len(suffix)] + suffix

    left_out = [f"{fault.kind} {fault.target}" for fault in scenario.faults if fault.kind != "revoke-key"]
    if cards := sum(plan.cards for plan in scenario.operators):
        left_out.append(f"{cards} real cards")
    changed = structs.replace(
        scenario,
        operators=tuple(
            structs.replace(plan, id=name(plan.id), node=False, cards=0, usage="reports") for plan in scenario.operators
        ),
        outages=tuple(structs.replace(one, operator=name(one.operator)) for one in scenario.outages),
        dishonest=tuple(structs.replace(one, operator=name(one.operator)) for one in scenario.dishonest),
        faults=tuple(
            structs.replace(one, target=name(one.target)) for one in scenario.faults if one.kind == "revoke-key"
        ),
    )
    return changed, left_out


class ScenarioError(LandfallError):
    """A scenario that cannot be. `complaints` are in the order of their lines."""

    def __init__(self, source: str, complaints: list[Complaint]) -> None:
        self.complaints = sorted(complaints)
        count = f"{len(complaints)} fault{'s' * (len(complaints) != 1)}"
        told = "\n".join(f"  line {line}: {words}" for line, words in self.complaints)
        super().__init__(f"{source} is no scenario, it has {count}:\n{told}")


def read_scenario(text: str, source: str) -> Scenario:
    """Read a scenario's TOML. Raises `ScenarioError` with everything that is wrong with it."""
    table, lines, complaints = parse_table(text)
    scenario = None
    if not complaints:
        scenario = check_table(table, Scenario, lines, complaints)
        list_contradictions(table, lines, complaints)
    if complaints or scenario is None:
        raise ScenarioError(source, complaints)
    return scenario


def list_scenarios() -> dict[str, Scenario]:
    """The scenarios that come along, by name."""
    folder = files("simulator") / "scenarios"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {name.removesuffix(".toml"): read_scenario((folder / name).read_text("utf-8"), name) for name in names}


def find_scenario(name: str) -> tuple[str, str, Scenario]:
    """A scenario by name or path: its short name, its text, and what it says. Raises `LandfallError`."""
    packaged = files("simulator") / "scenarios" / f"{name}.toml"
    if "/" not in name and packaged.is_file():
        text = packaged.read_text("utf-8")
        return name, text, read_scenario(text, f"{name}.toml")
    path = Path(name)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(list_scenarios())
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise LandfallError(f"there is no scenario {name!r} ({why}): name a TOML file, or one of {known}") from None
    return path.stem, text, read_scenario(text, name)
