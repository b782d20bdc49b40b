"""The pictures of a simulation's report, as inline SVG: flows of SDRt, load, latency, and where journeys stand."""

import html
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from settlement.money import MICRO, format_sdrt
from simulator.desk import Sending

Flow = tuple[str, str, int]
"""Home, visited, µSDRt."""
WIDTH: Final = 960
LETTER: Final = 6.6
"""Width of a letter of the usual size, about."""
SLANT: Final = math.radians(35)
"""Of names above columns: whole names fit, and can still be read."""
PALETTE: Final = (
    "#2f6fb3 #e08a1e #3a9a5b #c44e52 #7d5fb2 #8c6d4f #d171a6 #5f7f8c #a8a432 #2aa3a3 #4c5fd5 #b5651d".split()
)
STAGE_COLOURS: Final = {
    "planned": "#dfe4ea",
    "requested": "#f3d9a4",
    "accepted": "#f0c36d",
    "delivered": "#e08a1e",
    "active": "#2f6fb3",
    "closed": "#3a9a5b",
    "cancelled": "#8c6d4f",
    "declined": "#d171a6",
    "refused": "#c44e52",
}
GAP: Final = 14
"""Between two bars."""
LABEL: Final = 32
"""Height of a label of two lines, with room."""
_POINTS: Final = 160
"""Columns of a picture over time: more would be thinner than a line."""
_TEXT: Final = 'font-size="12" fill="#333"'


def show_sdrt(amount_usdr: int) -> str:
    """An amount as a person reads it at a glance, cut to hundredths: `55,683.32 SDRt`."""
    whole, micro = divmod(amount_usdr, MICRO)
    return f"{whole:,}.{micro // (MICRO // 100):02} SDRt"


def draw_sankey(flows: Sequence[Flow], names: Mapping[str, str]) -> str:
    """Ribbons from homes (left) to visited operators (right), as wide as what was settled."""
    total = sum(amount for _, _, amount in flows)
    if not total:
        return _nothing("nothing was settled")
    given, taken = _sums(flow[::2] for flow in flows), _sums(flow[1:] for flow in flows)
    rows, bar = max(len(given), len(taken)), 16
    scale = (120 + 30 * rows) / total
    left, right = _stack(given, scale), _stack(taken, scale)
    sides = ((left, given), (right, taken))
    height = 20 + max(y + sums[name] * scale for places, sums in sides for name, y in places.items())
    colours = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(given)}
    parts, from_, to = [], dict(left), dict(right)
    begin, end = 250, WIDTH - 250
    middle = (begin + end) / 2
    for home in given:
        for visited in taken:
            amount = sum(flow[2] for flow in flows if flow[:2] == (home, visited))
            if not amount:
                continue
            wide = max(amount * scale, 0.5)
            y, z = from_[home], to[visited]
            from_[home], to[visited] = y + wide, z + wide
            title = html.escape(f"{names[home]} to {names[visited]}: {format_sdrt(amount)}")
            parts.append(
                f'<path d="M{begin},{y:.1f} C{middle},{y:.1f} {middle},{z:.1f} {end},{z:.1f} v{wide:.1f} '
                f'C{middle},{z + wide:.1f} {middle},{y + wide:.1f} {begin},{y + wide:.1f} Z" '
                f'fill="{colours[home]}" fill-opacity="0.45"><title>{title}</title></path>'
            )
    for side, sums, x, anchor, text in ((left, given, begin - bar, "end", -8), (right, taken, end, "start", bar + 8)):
        for name, y in side.items():
            wide = max(sums[name] * scale, 1)
            fill = colours.get(name, "#444") if side is left else "#444"
            parts.append(f'<rect x="{x}" y="{y:.1f}" width="{bar}" height="{wide:.1f}" fill="{fill}"/>')
            words = html.escape(names[name])
            at = y + wide / 2
            parts.append(f'<text x="{x + text}" y="{at:.1f}" text-anchor="{anchor}" {_TEXT}>{words}</text>')
            parts.append(
                f'<text x="{x + text}" y="{at + 14:.1f}" text-anchor="{anchor}" font-size="11" fill="#777">'
                f"{show_sdrt(sums[name])}</text>"
            )
    return _svg(height, parts, "SDRt from home operators to visited operators")


def draw_flow_table(flows: Sequence[Flow], names: Mapping[str, str]) -> str:
    """A square for each pair, darker for more."""
    if not flows:
        return _nothing("nothing was settled")
    homes, visited = sorted({flow[0] for flow in flows}), sorted({flow[1] for flow in flows})
    most = max(flow[2] for flow in flows)
    longest = max(len(names[name]) for name in visited)
    wide, high, left = (WIDTH - 230) / len(visited), 34, 190
    top = 24 + longest * LETTER * math.sin(SLANT)
    parts = [
        f'<text transform="translate({left + wide * (n + 0.4):.1f} {top - 8:.1f}) rotate(-{math.degrees(SLANT):.0f})" '
        f"{_TEXT}>{html.escape(names[name])}</text>"
        for n, name in enumerate(visited)
    ]
    sums = {flow[:2]: flow[2] for flow in flows}
    for row, home in enumerate(homes):
        y = top + row * high
        parts.append(
            f'<text x="{left - 10}" y="{y + 21:.1f}" text-anchor="end" {_TEXT}>{html.escape(names[home])}</text>'
        )
        for column, name in enumerate(visited):
            amount = sums.get((home, name), 0)
            shade = math.sqrt(amount / most)
            x = left + column * wide
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide - 3:.1f}" height="{high - 3}" fill="#2f6fb3" '
                f'fill-opacity="{0.04 + 0.9 * shade:.2f}"/>'
            )
            colour = "#fff" if shade > 0.55 else "#333"
            words = f"{amount // MICRO:,}" if amount >= MICRO else "<1" if amount else "–"
            parts.append(
                f'<text x="{x + wide / 2:.1f}" y="{y + 20:.1f}" text-anchor="middle" font-size="12" fill="{colour}">'
                f"{html.escape(words)}</text>"
            )
    return _svg(top + high * len(homes) + 10, parts, "SDRt settled by pair of operators")


def draw_load(sendings: Sequence[Sending]) -> str:
    """Messages a second over the run, by what they were."""
    if not sendings:
        return _nothing("nothing was sent")
    first, slot = _time_axis(sendings)
    kinds = [kind for kind, _ in Counter(sending.kind for sending in sendings).most_common()]
    counted: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for sending in sendings:
        counted[int((sending.began - first) / slot)][sending.kind] += sending.count
    most = max(sum(column.values()) for column in counted.values()) / slot
    height, base, left = 260, 220, 60
    wide = (WIDTH - left - 150) / (max(counted) + 1)
    colours = {kind: PALETTE[number % len(PALETTE)] for number, kind in enumerate(kinds)}
    parts = _grid(most, left, WIDTH - 150, base, 190, lambda value: f"{value:,.0f}/s")
    for at, column in sorted(counted.items()):
        y = float(base)
        for kind in kinds:
            if column[kind]:
                tall = column[kind] / slot / most * 190
                y -= tall
                parts.append(
                    f'<rect x="{left + at * wide:.1f}" y="{y:.1f}" width="{max(wide - 0.5, 0.5):.1f}" '
                    f'height="{tall:.1f}" fill="{colours[kind]}"/>'
                )
    parts += _legend([(kind, colours[kind]) for kind in kinds])
    parts.append(_seconds_axis(left, WIDTH - 150, base, slot * (max(counted) + 1)))
    return _svg(height, parts, "messages a second over the run")


def draw_latency(sendings: Sequence[Sending]) -> str:
    """How long each sequence took until it was durable: a dot each, larger for longer sequences."""
    if not sendings:
        return _nothing("nothing was sent")
    first, slot = _time_axis(sendings)
    most = max(sending.seconds for sending in sendings)
    span = slot * (1 + int((max(sending.began for sending in sendings) - first) / slot))
    height, base, left, right = 260, 220, 60, WIDTH - 150
    parts = _grid(most, left, right, base, 190, lambda value: f"{value:.2f} s")
    shown = sendings if len(sendings) <= 4000 else sorted(sendings, key=lambda one: -one.seconds)[:4000]
    for sending in shown:
        x = left + (sending.began - first) / span * (right - left)
        y = base - sending.seconds / most * 190
        radius = 1.5 + 4 * math.sqrt(sending.count / 1000)
        title = html.escape(f"{sending.count} × {sending.kind}: {sending.seconds:.3f} s")
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#c44e52" fill-opacity="0.5">'
            f"<title>{title}</title></circle>"
        )
    parts.append(_seconds_axis(left, right, base, span))
    return _svg(height, parts, "latency of sequences over the run")


def draw_stages(steps: Sequence[Mapping[str, int]], step_hours: int) -> str:
    """Where journeys stood after each step, stacked."""
    shown = [name for name in STAGE_COLOURS if any(step.get(name) for step in steps)]
    total = max((sum(step.get(name, 0) for name in shown) for step in steps), default=0)
    if not total:
        return _nothing("nobody travelled")
    height, base, left, right = 260, 220, 60, WIDTH - 150
    wide = (right - left) / len(steps)
    parts = _grid(total, left, right, base, 190, lambda value: f"{value:,.0f}")
    for at, step in enumerate(steps):
        y = float(base)
        for name in reversed(shown):
            tall = step.get(name, 0) / total * 190
            y -= tall
            parts.append(
                f'<rect x="{left + at * wide:.1f}" y="{y:.1f}" width="{max(wide - 1, 1):.1f}" height="{tall:.1f}" '
                f'fill="{STAGE_COLOURS[name]}"/>'
            )
    parts += _legend([(name, STAGE_COLOURS[name]) for name in shown])
    parts.append(
        f'<text x="{right}" y="{base + 20}" text-anchor="end" {_TEXT}>day {len(steps) * step_hours / 24:g}</text>'
    )
    return _svg(height, parts, "journeys by stage over the simulated days")


def _sums(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for name, amount in pairs:
        sums[name] += amount
    return dict(sums.most_common())


def _stack(sums: Mapping[str, int], scale: float) -> dict[str, float]:
    """Where each one's bar begins: a gap below the one above, and its label, beside its middle, below that one's."""
    places: dict[str, float] = {}
    end, middle = 10.0 - GAP, 0.0
    for name, amount in sums.items():
        tall = max(amount * scale, 1.0)
        places[name] = max(end + GAP, middle + LABEL - tall / 2)
        end, middle = places[name] + tall, places[name] + tall / 2
    return places


def _time_axis(sendings: Sequence[Sending]) -> tuple[float, float]:
    """The run's beginning, and the seconds of one column."""
    first = min(sending.began for sending in sendings)
    return first, max((max(sending.began for sending in sendings) - first) / _POINTS, 0.1)


def _grid(most: float, left: int, right: int, base: int, tall: int, words: object) -> list[str]:
    assert callable(words), "words say a value"
    parts = []
    for part in (0.0, 0.5, 1.0):
        y = base - part * tall
        parts.append(f'<path d="M{left},{y:.1f} H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" {_TEXT}>{words(most * part)}</text>')
    return parts


def _legend(entries: Sequence[tuple[str, str]]) -> list[str]:
    parts = []
    for number, (name, colour) in enumerate(entries[:12]):
        y = 30 + number * 17
        parts.append(f'<rect x="{WIDTH - 138}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - 122}" y="{y}" {_TEXT}>{html.escape(name)}</text>')
    return parts


def _seconds_axis(left: int, right: int, base: int, span: float) -> str:
    return (
        f'<text x="{left}" y="{base + 20}" {_TEXT}>0 s</text>'
        f'<text x="{right}" y="{base + 20}" text-anchor="end" {_TEXT}>{span:,.0f} s</text>'
    )


def _svg(height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{html.escape(title)}" font-family="system-ui, sans-serif">{"".join(parts)}</svg>'
    )


def _nothing(why: str) -> str:
    return _svg(60, [f'<text x="20" y="35" {_TEXT}>{html.escape(why)}</text>'], why)
