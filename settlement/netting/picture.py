"""A picture of a netting: who owes whom before and after, as one SVG that needs nothing from elsewhere.

Two rings on one scale. Every operator has the same place on both; its grey track is as long as all its debts and claims
were, the colour on it as long as they are, and a ribbon joins debtor and creditor in the debtor's colour. What netting
saved is the grey that shows. The largest operators are named; the others share one place.
"""

import html
from collections.abc import Iterable, Mapping
from math import cos, pi, sin, sqrt
from pathlib import Path
from typing import Final

from settlement.money import format_sdrt
from settlement.netting.model import Debt, Netting, NettingError, Pair, merge

NAMED: Final = 14
"""Operators with a place of their own: more would not be read."""
_WIDTH, _HEIGHT, _RADIUS, _TRACK, _GAP, _LINE = 1160, 640, 190, 14, 0.03, 15
_PALETTE: Final = (
    "#2f6fb3 #e08a1e #3a9a5b #c44e52 #7d5fb2 #8c6d4f #d171a6 #5f7f8c #a8a432 #2aa3a3 "
    "#4c5fd5 #b5651d #6aa84f #a23b72 #777777 #1f2a44"
).split()
_OTHERS: Final = "others"


def draw(debts: Iterable[Debt], netting: Netting, file: Path, *, hub: str) -> None:
    """Write the picture; the ending of `file` says whether as `.svg` or as a page, `.html`.

    Raises `NettingError` on another ending and on a file that cannot be written.
    """
    if file.suffix not in (".svg", ".html"):
        raise NettingError(f"--picture {file} ends in {file.suffix!r}: name a file that ends in .svg or .html")
    svg = _svg(merge(debts), netting, hub)
    if file.suffix == ".html":
        svg = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Netting</title><body>{svg}</body></html>\n'
    try:
        file.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise NettingError(f"--picture {file} cannot be written ({error.strerror})") from None


def _svg(before: Mapping[Pair, int], netting: Netting, hub: str) -> str:
    names = _named(before)
    was, is_ = _grouped(before, names, hub), _grouped(merge(netting.remaining), names, hub)
    places = _places(was, is_, hub)
    saved = f"{netting.saved_percent:.2f} % saved by {netting.method.value}" if before else "nothing owed"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
            'font-family="system-ui, sans-serif" font-size="13" fill="#1f2a44">',
            f"<title>{saved}</title>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
            _ring(_WIDTH // 4, was, places, "before", _count(len(before), netting.gross_before)),
            _ring(_WIDTH * 3 // 4, is_, places, "after", _count(len(netting.remaining), netting.gross_after)),
            _bar(netting, saved),
            "</svg>\n",
        ]
    )


def _count(debts: int, amount: int) -> str:
    return f"{debts:,} debts, {format_sdrt(amount)}"


def _named(debts: Mapping[Pair, int]) -> set[str]:
    sizes = _sizes(debts)
    return set(sorted(sizes, key=lambda name: (-sizes[name], name))[:NAMED])


def _sizes(debts: Mapping[Pair, int]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for pair, amount in debts.items():
        for name in pair:
            sizes[name] = sizes.get(name, 0) + amount
    return sizes


def _grouped(debts: Mapping[Pair, int], names: set[str], hub: str) -> dict[Pair, int]:
    grouped: dict[Pair, int] = {}
    for (debtor, creditor), amount in debts.items():
        pair = tuple(name if name in names or name == hub else _OTHERS for name in (debtor, creditor))
        grouped[pair[0], pair[1]] = grouped.get((pair[0], pair[1]), 0) + amount
    return grouped


def _places(was: Mapping[Pair, int], is_: Mapping[Pair, int], hub: str) -> dict[str, tuple[float, float, str]]:
    """Where an operator's track begins, how long it is in radians, its colour; last, radians per µSDRt."""
    before, after = _sizes(was), _sizes(is_)
    tracks = {name: max(before.get(name, 0), after.get(name, 0)) for name in before.keys() | after.keys()}
    order = sorted(tracks, key=lambda name: (name == hub, name == _OTHERS, -tracks[name], name))
    scale = (2 * pi - _GAP * len(order)) / max(1, sum(tracks.values()))
    places, angle = {}, -pi / 2
    for name, colour in zip(order, _PALETTE, strict=False):
        places[name] = (angle, tracks[name] * scale, colour)
        angle += tracks[name] * scale + _GAP
    return places | {"": (0.0, scale, "")}


def _ring(
    x: int, debts: Mapping[Pair, int], places: Mapping[str, tuple[float, float, str]], when: str, what: str
) -> str:
    scale = places[""][1]
    inner, sizes = _RADIUS - _TRACK, _sizes(debts)
    tracks, ribbons = [], []
    at = {name: start for name, (start, _, _) in places.items()}
    for (debtor, creditor), amount in sorted(debts.items(), key=lambda item: (-item[1], item[0])):
        spans = []
        for name in (debtor, creditor):
            spans.append((at[name], at[name] + amount * scale))
            at[name] += amount * scale
        ribbons.append(_ribbon(inner - 2, spans[0], spans[1], places[debtor][2], f"{debtor} owes {creditor}", amount))
    for name, (start, length, colour) in places.items():
        if not name:
            continue
        tracks.append(_arc(start, start + length, "#e3e6ec", name))
        if size := sizes.get(name, 0):
            tracks.append(_arc(start, start + size * scale, colour, f"{name}: {format_sdrt(size)} owed and owing"))
    labels = _labels({name: start + length / 2 for name, (start, length, _) in places.items() if name})
    title = (
        f'<text y="-248" text-anchor="middle" font-size="19" font-weight="600">{when}</text>'
        f'<text y="-226" text-anchor="middle" fill="#5b6472">{what}</text>'
    )
    return f'<g transform="translate({x} 300)">{title}{"".join(labels + ribbons + tracks)}</g>'


def _labels(middles: Mapping[str, float]) -> list[str]:
    """Names beside the middles of their tracks; of short tracks one below the other, each with a line to its own."""
    away, labels = _RADIUS + 14.0, []
    for side in (1, -1):
        beside = sorted((sin(at), name) for name, at in middles.items() if (cos(at) >= 0) == (side > 0))
        heights, lowest = [], -away
        for height, _ in beside:
            heights.append(max(away * height, lowest))
            lowest = heights[-1] + _LINE
        for above in range(len(beside)):
            heights[~above] = min(heights[~above], away - above * _LINE)
        for (_, name), y in zip(beside, heights, strict=True):
            x, at = side * sqrt(max(0, away**2 - y**2)), middles[name]
            if abs(y - away * sin(at)) > _LINE / 2:
                labels.append(f'<path stroke="#b6bcc8" d="M{_point(_RADIUS + 1, at)}L{x - side * 2:.1f} {y:.1f}"/>')
            anchor = "start" if side > 0 else "end"
            labels.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{html.escape(name[:12])}</text>')
    return labels


def _point(radius: float, angle: float) -> str:
    return f"{radius * cos(angle):.2f} {radius * sin(angle):.2f}"


def _arc(start: float, end: float, colour: str, title: str) -> str:
    end, large = min(end, start + 2 * pi - 1e-4), int(end - start > pi)
    inner = _RADIUS - _TRACK
    return (
        f'<path fill="{colour}" d="M{_point(_RADIUS, start)}A{_RADIUS} {_RADIUS} 0 {large} 1 {_point(_RADIUS, end)}'
        f'L{_point(inner, end)}A{inner} {inner} 0 {large} 0 {_point(inner, start)}Z">'
        f"<title>{html.escape(title)}</title></path>"
    )


def _ribbon(
    radius: float, of: tuple[float, float], to: tuple[float, float], colour: str, title: str, amount: int
) -> str:
    large = [int(end - start > pi) for start, end in (of, to)]
    return (
        f'<path fill="{colour}" fill-opacity="0.55" d="M{_point(radius, of[0])}'
        f"A{radius} {radius} 0 {large[0]} 1 {_point(radius, of[1])}Q0 0 {_point(radius, to[0])}"
        f'A{radius} {radius} 0 {large[1]} 1 {_point(radius, to[1])}Q0 0 {_point(radius, of[0])}Z">'
        f"<title>{html.escape(title)} {format_sdrt(amount)}</title></path>"
    )


def _bar(netting: Netting, saved: str) -> str:
    share = netting.gross_after / netting.gross_before if netting.gross_before else 1
    width = 720
    return (
        f'<g transform="translate({(_WIDTH - width) / 2} 570)">'
        f'<rect width="{width}" height="22" rx="4" fill="#e3e6ec"/>'
        f'<rect width="{width * share:.1f}" height="22" rx="4" fill="#2f6fb3"/>'
        f'<text x="{width / 2}" y="46" text-anchor="middle" font-size="15">{saved}</text></g>'
    )
