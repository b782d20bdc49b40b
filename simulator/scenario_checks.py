"""What no single field of a scenario can tell: countries and operators that are not there, times after the end.

Works on the table as it was read, so that contradictions are told together with wrong fields. Where there are no
operators, what speaks of them is not told as well: it follows.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from simulator.countries import MOST_NETWORKS, load_countries
from simulator.scenario_file import Complaint, Lines, Place, tables_of

SHARES_TOLERANCE = 0.001
"""Shares written with three decimals add up to one as well as they can."""

MOST_OPERATORS: Final = 255
"""A million subscribers' arrays hold their operator in an octet (`simulator.population`)."""

PARTY_NAMES: Final = frozenset({"sdrt-issuer", "open-audit"})
"""Who is on the simulated ledger besides the operators (`simulator.founding`)."""
NODE_NAMES: Final = frozenset({"ledger", "field", "smsc", "postgres", "template0", "template1"})
"""What has a port, a folder or a database besides the operators' nodes: processes (`simulator.site_keys`), PostgreSQL's
folder, and the databases that PostgreSQL makes by itself."""
KEY_NAMES: Final = frozenset({"issuer", "auditor", "recovery"})
"""What has a key in the run's folder besides the operators without a node (`simulator.site_keys`)."""

DECLINE: Final = 0.01
CANCEL: Final = 0.01
FRAUD_SHARE: Final = 0.2
"""What a scenario has that does not say; `simulator.scenario` has them from here."""
DRAWN_FRAUDS: Final = frozenset({"over-report", "replay", "phantom-usage", "withdraw"})
"""Frauds of who sells: a journey suffers at most one, so one operator's shares of them add up (`simulator.frauds`)."""
LEDGER_FAULTS: Final = frozenset({"stop-ledger", "restart-database"})
"""Faults that strike what there is one of."""

Complain = Callable[[Place, str], None]
Tables = dict[int, dict[str, Any]]


def list_contradictions(table: dict[str, Any], lines: Lines, complaints: list[Complaint]) -> None:
    """Add what contradicts itself, or the world, to `complaints`."""

    def complain(place: Place, words: str) -> None:
        complaints.append((lines.find(place), words))

    operators = dict(tables_of(table, "operators"))
    if operators:
        _check_operators(table, operators, complain)
        _check_services(operators, complain)
    else:
        complain((), "there are no operators: write at least two tables [[operators]]")
    _check_countries(table, complain)
    _check_shares(table, operators, complain)
    _check_frauds(table, operators, complain)
    _check_faults(table, operators, complain)
    _check_times(table, complain)
    smsc = table.get("smsc")
    delay = smsc.get("delay_s") if isinstance(smsc, dict) else None
    two = isinstance(delay, list) and len(delay) == 2 and all(isinstance(one, int | float) for one in delay)
    if isinstance(delay, list) and two and delay[0] > delay[1]:
        complain(("smsc", "delay_s"), f"delay_s is {delay}: the least comes first, the most second")


def _check_operators(table: dict[str, Any], operators: Tables, complain: Complain) -> None:
    if len(operators) > MOST_OPERATORS:
        words = f"there are {len(operators)} operators, at most {MOST_OPERATORS} fit: leave out this and what follows"
        complain(("operators", MOST_OPERATORS), words)
    ids = Counter(_text(one, "id") for one in operators.values())
    for number, one in operators.items():
        name = _text(one, "id")
        if name and ids[name] > 1:
            complain(("operators", number, "id"), f"operator {name!r} stands {ids[name]} times: give each its own id")
        if name in PARTY_NAMES | (NODE_NAMES if _has_node(one) else KEY_NAMES):
            complain(("operators", number, "id"), f"{name!r} is a name of the simulator's own: write another id")
    for key in ("outages", "dishonest"):
        for number, one in tables_of(table, key):
            name = _text(one, "operator")
            if name is not None and name not in ids:
                complain((key, number, "operator"), f"{name!r} is no operator: {_known(ids)}")


def _check_countries(table: dict[str, Any], complain: Complain) -> None:
    countries = load_countries()
    places = [("operators", "country"), ("routes", "to"), ("routes", "origin"), ("events", "country")]
    for key, field in places:
        for number, one in tables_of(table, key):
            code = _text(one, field)
            if code and code != "*" and code not in countries:
                words = f"{code!r} is no country known here: {', '.join(sorted(countries))}"
                complain((key, number, field), words)
    operators = [one for _, one in tables_of(table, "operators")]
    networks = Counter(_text(one, "country") for one in operators)
    served = {_text(one, "country") for one in operators if one.get("offers", True)}
    for country, count in networks.items():
        if count > MOST_NETWORKS:
            complain(("operators",), f"{country} has {count} operators, {MOST_NETWORKS} network codes are free there")
    for key, field in (("routes", "to"), ("events", "country")):
        for number, one in tables_of(table, key):
            code = _text(one, field)
            if operators and code in countries and code not in served:
                complain((key, number, field), f"nobody sells offers in {code}: add an operator there")


def _check_shares(table: dict[str, Any], operators: Tables, complain: Complain) -> None:
    shares = [one.get("share", 0.0) for one in operators.values()]
    if operators and all(isinstance(share, int | float) for share in shares):
        total = sum(shares)
        if abs(total - 1) > SHARES_TOLERANCE and not (
            total == 0 and any(one.get("cards") for one in operators.values())
        ):
            complain(("operators", 0), f"the shares of subscribers add up to {total:g}: make them add up to 1")
    behaviour = table.get("behaviour")
    if isinstance(behaviour, dict):
        light, heavy = behaviour.get("light", 0.4), behaviour.get("heavy", 0.1)
        if isinstance(light, int | float) and isinstance(heavy, int | float) and light + heavy > 1:
            complain(("behaviour", "light"), f"light and heavy together are {light + heavy:g}: at most 1")
    decline, cancel = table.get("decline", DECLINE), table.get("cancel", CANCEL)
    if isinstance(decline, int | float) and isinstance(cancel, int | float) and decline + cancel > 1 + SHARES_TOLERANCE:
        place = "cancel" if "cancel" in table else "decline"
        complain((place,), f"decline and cancel together are {decline + cancel:g}: at most 1")


def _check_frauds(table: dict[str, Any], operators: Tables, complain: Complain) -> None:
    """Who defrauds its guests sells something, and defrauds none twice."""
    idle = {_text(one, "id") for one in operators.values() if one.get("offers") == []}
    totals: dict[str, float] = {}
    last: dict[str, int] = {}
    for number, one in tables_of(table, "dishonest"):
        name, fraud, share = _text(one, "operator"), _text(one, "fraud"), one.get("share", FRAUD_SHARE)
        if name is None or fraud not in DRAWN_FRAUDS:
            continue
        if name in idle:
            words = f"fraud is {fraud!r}, and {name!r} sells nothing: give it offers, or leave this table out"
            complain(("dishonest", number, "fraud"), words)
        if isinstance(share, int | float):
            totals[name], last[name] = totals.get(name, 0.0) + share, number
    for name, total in totals.items():
        if total > 1 + SHARES_TOLERANCE:
            words = f"shares of {name!r} for {', '.join(sorted(DRAWN_FRAUDS))} add up to {total:g}: at most 1"
            complain(("dishonest", last[name], "share"), words)


def _check_faults(table: dict[str, Any], operators: Tables, complain: Complain) -> None:
    """What is to fail is there, and can fail so."""
    with_node = {_text(one, "id") or "" for one in operators.values() if _has_node(one)}
    without = {_text(one, "id") or "" for one in operators.values()} - with_node
    nodes = {"ledger", *with_node}
    for number, one in tables_of(table, "faults"):
        kind, target = _text(one, "kind"), one.get("target", "ledger")
        place = ("faults", number, "target")
        if not isinstance(target, str):  # told already
            continue
        if kind in LEDGER_FAULTS:
            if target != "ledger":
                complain(place, f"target is {target!r}, and {kind} has none but the ledger: leave target out")
        elif kind == "revoke-key":
            if operators and target not in without:
                words = f"{target!r} is no operator without a node, whose key may be revoked: {_known(without)}"
                complain(place, words)
        elif operators and target not in nodes:
            complain(place, f"{target!r} has no node to fail: {_known(nodes)}")


def _check_services(operators: Tables, complain: Complain) -> None:
    """Somebody must sell abroad to somebody."""
    sells = {_text(one, "country") for one in operators.values() if one.get("offers", True)}
    for number, one in operators.items():
        if (one.get("share") or one.get("cards")) and not sells - {_text(one, "country")}:
            complain(("operators", number), f"subscribers of {one.get('id')!r} have nowhere to go: no offers abroad")
        if one.get("cards") and not any(
            (other.get("node") or (other.get("cards") and other.get("offers", True)))
            and other.get("country") != one.get("country")
            for other in operators.values()
        ):
            complain(
                ("operators", number, "cards"), f"cards of {one.get('id')!r} need an operator abroad with node = true"
            )


def _check_times(table: dict[str, Any], complain: Complain) -> None:
    days = table.get("days")
    if not isinstance(days, int) or days < 1:  # told already
        return
    for key, field in (("events", "from_hour"), ("outages", "from_hour"), ("faults", "at_hour")):
        for number, one in tables_of(table, key):
            hour = one.get(field)
            if isinstance(hour, int) and hour >= days * 24:
                complain((key, number, field), f"{field} is {hour}, after the world's end at hour {days * 24}")


def _text(one: dict[str, Any], key: str) -> str | None:
    """A field's text; None where it is missing or something else, which is told with the fields."""
    value = one.get(key)
    return value if isinstance(value, str) else None


def _has_node(operator: dict[str, Any]) -> bool:
    return bool(operator.get("node") or operator.get("cards"))


def _known(names: Iterable[str | None]) -> str:
    return f"known are {', '.join(sorted(name for name in names if name)) or 'none'}"
