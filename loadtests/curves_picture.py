"""Curves as one SVG: a small chart each, throughput as a line on the left scale, p99 dashed on the right one."""

import math
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

WIDTH, HEIGHT, COLUMNS = 360, 230, 2
LEFT, RIGHT, TOP, BOTTOM = 52, 44, 34, 30
RATE_COLOUR: Final = "#1f5fa8"
LATENCY_COLOUR: Final = "#b4451f"

Points = Sequence[tuple[int, float, float]]
"""(value varied, transactions a second, p99 in seconds)."""


def draw_curves(curves: Sequence[tuple[str, Points]]) -> str:
    """An SVG document of all curves, in rows of COLUMNS."""
    rows = -(-len(curves) // COLUMNS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * COLUMNS} {HEIGHT * rows}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for place, (name, points) in enumerate(curves):
        x, y = place % COLUMNS * WIDTH, place // COLUMNS * HEIGHT
        parts.append(f'<g transform="translate({x} {y})">{_chart(name, points)}</g>')
    return "\n".join([*parts, "</svg>\n"])


def _chart(name: str, points: Points) -> str:
    logarithmic = points[-1][0] > 20 * points[0][0] > 0
    places = [math.log(at) if logarithmic else float(at) for at, _, _ in points]
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    most_rate, most_p99 = _round_up(max(r for _, r, _ in points)), _round_up(max(p for _, _, p in points))

    def across(place: float) -> float:
        span = places[-1] - places[0] or 1.0
        return LEFT + width * (place - places[0]) / span

    def line(values: Sequence[float], most: float, colour: str, dash: str) -> str:
        at = [(across(p), TOP + height * (1 - v / most)) for p, v in zip(places, values, strict=True)]
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>' for x, y in at)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>{dots}'

    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">by {escape(name)}</text>']
    for step in range(5):
        y = TOP + height * step / 4
        share = 1 - step / 4
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{RATE_COLOUR}">')
        parts.append(f"{most_rate * share:,.0f}</text>")
        parts.append(
            f'<text x="{LEFT + width + 6}" y="{y + 4:.1f}" fill="{LATENCY_COLOUR}">{most_p99 * share:.2g} s</text>'
        )
    shown = -(-len(points) // 7)
    for index, (place, (at, _, _)) in enumerate(zip(places, points, strict=True)):
        if index % shown == 0:
            label = f"{at / 1e6:.1f} M" if at >= 10**6 else f"{at // 1000} k" if at >= 10_000 else f"{at}"
            parts.append(f'<text x="{across(place):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{label}</text>')
    parts.append(line([rate for _, rate, _ in points], most_rate, RATE_COLOUR, ""))
    parts.append(line([p99 for _, _, p99 in points], most_p99, LATENCY_COLOUR, ' stroke-dasharray="4 3"'))
    return "".join(parts)


def _round_up(value: float) -> float:
    """The next 1, 2, 2.5, 5 or 10 times a power of ten: the top of a scale."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value)
