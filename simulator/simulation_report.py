"""The report of a simulation: `report.json` for programs, and `report.html`, which needs nothing from elsewhere."""

import resource
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import jinja2
import msgspec
import numpy as np

from landfall import __version__
from settlement.netting import Debt, Method, net
from settlement.netting.picture import draw
from simulator.charts import draw_flow_table, draw_latency, draw_load, draw_sankey, draw_stages, show_sdrt
from simulator.checks import KNOWN_REFUSALS, REVOKED
from simulator.ending import Ending
from simulator.engine import Engine
from simulator.pace import TELL_S, find_slot_s
from simulator.plan import Plan

TEMPLATE: Final = "simulation_report.html.j2"
HUB: Final = "hub"


def write_report(plan: Plan, engine: Engine, ending: Ending) -> dict[str, Any]:
    """Write both files into the run's folder; what report.json says."""
    told = summarise(plan, engine, ending)
    (plan.folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template(TEMPLATE).render(
        report=told, pictures=_draw(engine, ending, told), sdrt=show_sdrt, why=_explain
    )
    (plan.folder / "report.html").write_text(page, "utf-8")
    return told


def summarise(plan: Plan, engine: Engine, ending: Ending) -> dict[str, Any]:
    """All figures of a run. Amounts in µSDRt, times in seconds."""
    last = ending.outcomes[-1]
    sendings = [sending for outcome in ending.outcomes for sending in outcome.sendings]
    latencies = np.array([sending.seconds for sending in sendings] or [0.0])
    codes: Counter[str] = Counter()
    for outcome in ending.outcomes:
        codes.update(outcome.codes)
    names = [operator.id for operator in engine.world.operators]
    flows = [
        {"home": names[home], "visited": names[visited], "settled_usdr": amount}
        for home, row in enumerate(last.settled)
        for visited, amount in enumerate(row)
        if amount
    ]
    return {
        "landfall": __version__,
        "scenario": plan.name,
        "title": plan.scenario.title,
        "about": " ".join(plan.scenario.about.split()),
        "seed": plan.seed,
        "command": plan.command,
        "good": ending.good,
        "subscribers": len(engine.people.home),
        "journeys": len(engine.trips),
        "requests": int((engine.trips.offer >= 0).sum()),
        "stages": last.stages,
        "entries": ending.audit.entries,
        "records": sum(outcome.records for outcome in ending.outcomes),
        "octets": sum(outcome.octets for outcome in ending.outcomes),
        "messages": sum(sending.count for sending in sendings),
        "pace": _pace(plan, ending),
        "memory_mb": {
            "simulator": _read_peak_mb(resource.RUSAGE_SELF),
            "largest_child": _read_peak_mb(resource.RUSAGE_CHILDREN),
        },
        "busy_s": round(sum(outcome.seconds for outcome in ending.outcomes), 3),
        "busiest_second": max(ending.per_second.values(), default=0),
        "latency_s": {
            "p50": round(float(np.quantile(latencies, 0.5)), 4),
            "p99": round(float(np.quantile(latencies, 0.99)), 4),
            "most": round(float(latencies.max()), 4),
        },
        "settled_usdr": sum(map(sum, last.settled)),
        "flows": flows,
        "flows_top": {side: _find_top(flows, side, engine) for side in ("home", "visited")},
        "homes": len({flow["home"] for flow in flows}),
        "sellers": len({flow["visited"] for flow in flows}),
        "refusals": dict(codes),
        "netting": _net(flows),
        "cards": _cards(ending),
        "checks": [msgspec.to_builtins(check) for check in ending.checks],
        "disputes": msgspec.to_builtins(ending.disputes),
        "frauds": [
            {**msgspec.to_builtins(score), "precision": round(score.precision, 4), "recall": round(score.recall, 4)}
            for score in ending.scores
        ],
    }


def _find_top(flows: list[dict[str, Any]], side: str, engine: Engine) -> str:
    """Name of the operator with the most on that side; nobody where nothing was settled."""
    sums: Counter[str] = Counter()
    for flow in flows:
        sums[flow[side]] += flow["settled_usdr"]
    names = {operator.id: operator.plan.name for operator in engine.world.operators}
    return names[sums.most_common(1)[0][0]] if sums else "nobody"


def _explain(code: str) -> str:
    """How a refusal came about."""
    if code.endswith(REVOKED):
        return "signed with a key that had just been revoked: sent again with the spare one"
    return KNOWN_REFUSALS[code].why if code in KNOWN_REFUSALS else "a mistake of ours: the run fails"


def _read_peak_mb(whose: int) -> int:
    """Most memory that this process took, or the largest of those it waited for: detector, the auditor's workers."""
    return resource.getrusage(whose).ru_maxrss // 1024


def _pace(plan: Plan, ending: Ending) -> dict[str, Any] | None:
    """How simulated time went: None where nothing was asked for. `slot_s`: real seconds that a step was to take.

    A step was kept to where it began and ended in its own slot; `most_behind_s` is by how much the latest did not.
    """
    if plan.speed is None:
        return None
    slot_s = find_slot_s(plan.speed, plan.scenario)
    late = [max(one.behind_s, one.behind_s + one.seconds - slot_s, 0.0) for one in ending.outcomes]
    return {
        "speed": plan.speed,
        "slot_s": round(slot_s, 3),
        "steps_behind": sum(seconds >= TELL_S for seconds in late),
        "most_behind_s": round(max(late), 1),
    }


def _cards(ending: Ending) -> dict[str, Any]:
    """How profiles came over the air."""
    travellers = ending.cards.travellers
    times = sorted(one.delivered_s for one in travellers if one.delivered_s is not None)
    return {
        "cards": len(travellers),
        "delivered": sum(bool(one.visited_imsi) or one.delivered_s is not None for one in travellers),
        "reported": sum(one.reported for one in travellers),
        "returned": sum(one.stage == "returned" for one in travellers),
        "unserved": [f"{one.label}: {one.why}" for one in travellers if one.stage == "unserved"],
        "failed": [f"{one.label}: {one.why}" for one in travellers if one.stage == "failed"],
        "delivered_s": times,
    }


def _debts(flows: list[dict[str, Any]]) -> list[Debt]:
    """What homes would owe, were it not paid from escrow as it is used."""
    return [Debt(flow["home"], flow["visited"], flow["settled_usdr"]) for flow in flows]


def _net(flows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What netting would leave of it, by either method."""
    debts, found = _debts(flows), []
    for method in Method if debts else ():
        netting = net(debts, method)
        found.append(
            {
                "method": method.value,
                "gross_before_usdr": netting.gross_before,
                "gross_after_usdr": netting.gross_after,
                "saved_percent": netting.saved_percent,
            }
        )
    return found


def _draw(engine: Engine, ending: Ending, told: dict[str, Any]) -> dict[str, str]:
    """The pictures, as SVG."""
    names = {operator.id: operator.plan.name for operator in engine.world.operators}
    sendings = [sending for outcome in ending.outcomes for sending in outcome.sendings]
    flows = [(flow["home"], flow["visited"], flow["settled_usdr"]) for flow in told["flows"]]
    return {
        "sankey": draw_sankey(flows, names),
        "flows": draw_flow_table(flows, names),
        "load": draw_load(sendings),
        "latency": draw_latency(sendings),
        "stages": draw_stages([outcome.stages for outcome in ending.outcomes], engine.world.scenario.step_hours),
        "netting": _draw_netting(_debts(told["flows"])),
    }


def _draw_netting(debts: list[Debt]) -> str:
    if not debts:
        return ""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "netting.svg"
        draw(debts, net(debts, Method.NOVATION), path, hub=HUB)
        return path.read_text("utf-8")
