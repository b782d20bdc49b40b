"""What no single field of a scenario can tell: countries and operators that are not there, times after the end.

Works on the table as it was read, so that contradictions are told together with wrong fields.
"""

from collections import Counter
from typing import Any

from simulator.countries import MOST_NETWORKS, load_countries
from simulator.scenario_file import Complaint, Lines, Place, tables_of

SHARES_TOLERANCE = 0.001
"""Shares written with three decimals add up to one as well as they can."""


def list_contradictions(table: dict[str, Any], lines: Lines, complaints: list[Complaint]) -> None:
    """Add what contradicts itself, or the world, to `complaints`."""

    def complain(place: Place, words: str) -> None:
        complaints.append((lines.find(place), words))

    operators = dict(tables_of(table, "operators"))
    if not operators:
        complain((), "there are no operators: write at least two tables [[operators]]")
        return
    ids = Counter(str(one.get("id")) for one in operators.values())
    for number, one in operators.items():
        if ids[str(one.get("id"))] > 1:
            complain(("operators", number, "id"), f"operator {one.get('id')!r} stands {ids[str(one['id'])]} times")
    _check_countries(table, complain)
    _check_shares(table, operators, complain)
    _check_services(operators, complain)
    for key in ("outages", "dishonest"):
        for number, one in tables_of(table, key):
            if one.get("operator") not in ids:
                complain((key, number, "operator"), f"{one.get('operator')!r} is no operator: {_known(ids)}")
    for number, one in tables_of(table, "faults"):
        target = one.get("target", "ledger")
        nodes = ["ledger", *(str(op.get("id")) for op in operators.values() if op.get("node") or op.get("cards"))]
        if one.get("kind") == "revoke-key":
            without = sorted(set(ids) - set(nodes))
            if target not in without:
                words = f"{target!r} is no operator without a node, whose key may be revoked: {_known(without)}"
                complain(("faults", number, "target"), words)
        elif target not in nodes:
            complain(("faults", number, "target"), f"{target!r} has no node to fail: {_known(nodes)}")
    _check_times(table, complain)
    smsc = table.get("smsc")
    delay = smsc.get("delay_s") if isinstance(smsc, dict) else None
    two = isinstance(delay, list) and len(delay) == 2 and all(isinstance(one, int | float) for one in delay)
    if isinstance(delay, list) and two and delay[0] > delay[1]:
        complain(("smsc", "delay_s"), f"delay_s is {delay}: the least comes first, the most second")


def _check_countries(table: dict[str, Any], complain: Any) -> None:
    countries = load_countries()
    places = [("operators", "country"), ("routes", "to"), ("routes", "origin"), ("events", "country")]
    for key, field in places:
        for number, one in tables_of(table, key):
            code = one.get(field)
            if isinstance(code, str) and code != "*" and code not in countries:
                words = f"{code!r} is no country known here: {', '.join(sorted(countries))}"
                complain((key, number, field), words)
    networks = Counter(one.get("country") for _, one in tables_of(table, "operators"))
    served = {one.get("country") for _, one in tables_of(table, "operators") if one.get("offers", True)}
    for code, count in networks.items():
        if count > MOST_NETWORKS:
            complain(("operators",), f"{code} has {count} operators, {MOST_NETWORKS} network codes are free there")
    for key, field in (("routes", "to"), ("events", "country")):
        for number, one in tables_of(table, key):
            code = one.get(field)
            if code in countries and code not in served:
                complain((key, number, field), f"nobody sells offers in {code}: add an operator there")


def _check_shares(table: dict[str, Any], operators: dict[int, dict[str, Any]], complain: Any) -> None:
    shares = [one.get("share", 0.0) for one in operators.values()]
    if all(isinstance(share, int | float) for share in shares):
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


def _check_services(operators: dict[int, dict[str, Any]], complain: Any) -> None:
    """Somebody must sell abroad to somebody."""
    sells = {one.get("country") for one in operators.values() if one.get("offers", True)}
    for number, one in operators.items():
        if (one.get("share") or one.get("cards")) and not sells - {one.get("country")}:
            complain(("operators", number), f"subscribers of {one.get('id')!r} have nowhere to go: no offers abroad")
        if one.get("cards") and not any(
            (other.get("node") or (other.get("cards") and other.get("offers", True)))
            and other.get("country") != one.get("country")
            for other in operators.values()
        ):
            complain(
                ("operators", number, "cards"), f"cards of {one.get('id')!r} need an operator abroad with node = true"
            )


def _check_times(table: dict[str, Any], complain: Any) -> None:
    days = table.get("days")
    if not isinstance(days, int) or days < 1:  # told already
        return
    for key, field in (("events", "from_hour"), ("outages", "from_hour"), ("faults", "at_hour")):
        for number, one in tables_of(table, key):
            hour = one.get(field)
            if isinstance(hour, int) and hour >= days * 24:
                complain((key, number, field), f"{field} is {hour}, after the world's end at hour {days * 24}")


def _known(names: Any) -> str:
    return f"known are {', '.join(sorted(names))}"
