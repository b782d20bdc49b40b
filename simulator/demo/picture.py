"""The sequence picture: lifelines from left to right, what passed between them from top to bottom, as inline SVG.

The ledger stands in the middle, where nearly every signed entry crosses it; each leaves a mark there. What does not go
through the ledger (a phone and a network, a packet to a card) leaves none.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from settlement.money import format_sdrt
from simulator.demo.account import Line, StepTaken, Via

SUBSCRIBERS: Final = "subscribers"
LEDGER: Final = "ledger"

_LEFT, _SPACING, _RIGHT = 118, 146, 76
_HEAD, _ROW, _STEP = 64, 36, 46
_MARGIN, _CHARACTER = 60, 6.0
_COLOURS: Final = {
    Via.LEDGER: "#1d4ed8",
    Via.API: "#64748b",
    Via.AIR: "#9333ea",
    Via.RADIO: "#0e7490",
    Via.PAYMENT: "#047857",
    Via.REFUSED: "#dc2626",
}
_DASHES: Final = {Via.RADIO: "6 4", Via.AIR: "2 3", Via.API: "1 0"}
WORDS: Final = {
    Via.LEDGER: "signed entry in the ledger",
    Via.API: "call of the own node",
    Via.AIR: "secured packets to the card",
    Via.RADIO: "phone and network",
    Via.PAYMENT: "money outside the ledger",
    Via.REFUSED: "refused, nothing moved",
}


def legend() -> list[tuple[str, str]]:
    """(colour, meaning) of each kind of line."""
    return [(_COLOURS[via], words) for via, words in WORDS.items()]


def draw_sequence(lines: Sequence[Line], steps: Sequence[StepTaken], lifelines: Sequence[str]) -> str:
    """The picture of `lines`, whose sources and targets are lifelines or subscribers."""
    places = {name: _LEFT + number * _SPACING for number, name in enumerate(lifelines)}
    width = _LEFT + (len(lifelines) - 1) * _SPACING + _RIGHT
    body: list[str] = []
    y = _HEAD
    for step in steps:
        of_step = [line for line in lines if line.step == step.step and _drawn(line, places)]
        if not of_step:
            continue
        body.append(_draw_step(step, y, width))
        y += _STEP
        for line in of_step:
            body.extend(_draw_line(line, y, places, width))
            y += _ROW
    height = y + 20
    columns = "".join(_draw_lifeline(name, x, height) for name, x in places.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="Sequence of the demonstration">{_draw_markers()}{columns}{"".join(body)}</svg>'
    )


def _draw_markers() -> str:
    return (
        "<defs>"
        + "".join(
            f'<marker id="to-{via}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
            f' orient="auto"><path d="M0 0 10 5 0 10z" fill="{colour}"/></marker>'
            for via, colour in _COLOURS.items()
        )
        + "</defs>"
    )


def _draw_lifeline(name: str, x: int, height: int) -> str:
    middle = name == LEDGER
    fill, text = ("#1e293b", "#ffffff") if middle else ("#e2e8f0", "#0f172a")
    return (
        f'<line x1="{x}" y1="44" x2="{x}" y2="{height - 8}" stroke="{"#475569" if middle else "#cbd5e1"}"'
        f' stroke-width="{3 if middle else 1.5}"/>'
        f'<rect x="{x - 66}" y="10" width="132" height="32" rx="6" fill="{fill}"/>'
        f'<text x="{x}" y="31" text-anchor="middle" class="name" fill="{text}">{escape(name)}</text>'
    )


def _draw_step(step: StepTaken, y: int, width: int) -> str:
    return (
        f'<rect x="6" y="{y + 4}" width="{width - 12}" height="28" rx="5" fill="#ecfdf5" stroke="#a7f3d0"/>'
        f'<text x="18" y="{y + 23}" class="step">{step.step or "·"}&#160;&#160;{escape(step.title)}</text>'
    )


def _draw_line(line: Line, y: int, places: dict[str, int], width: int) -> Iterable[str]:
    source, target = (places[_lifeline(party)] for party in (line.source, line.target or line.source))
    colour, dash, base = _COLOURS[line.via], _DASHES.get(line.via, ""), y + 26
    yield f'<text x="14" y="{base + 4}" class="at">{line.at_ms / 1000:.1f}s</text>'
    stroke = f'stroke="{colour}" stroke-width="1.8" fill="none" marker-end="url(#to-{line.via})"'
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    if source == target:
        yield f'<path d="M{source} {base - 8} h26 v10 h-22" {stroke}{dashes}/>'
        yield _draw_label(line, source + 36 + _label_width(line) // 2, base + 1, width)
        return
    end = target - 4 if target > source else target + 4
    yield f'<line x1="{source}" y1="{base}" x2="{end}" y2="{base}" {stroke}{dashes}/>'
    if line.via is Via.LEDGER:
        yield f'<circle cx="{places[LEDGER]}" cy="{base}" r="5" fill="{colour}" stroke="#ffffff" stroke-width="1.5"/>'
    yield _draw_label(line, (source + target) // 2, base - 7, width)


def _drawn(line: Line, places: dict[str, int]) -> bool:
    return all(_lifeline(party) in places for party in (line.source, line.target or line.source))


def _draw_label(line: Line, x: int, y: int, width: int) -> str:
    """Text around x, moved where it would leave the picture."""
    half = _label_width(line) // 2
    x = max(_MARGIN + half, min(x, width - half - 8))
    amount = "" if line.amount_usdr is None else f'<tspan class="amount">  {format_sdrt(line.amount_usdr)}</tspan>'
    return f'<text x="{x}" y="{y}" text-anchor="middle" class="what">{escape(_words(line))}{amount}</text>'


def _words(line: Line) -> str:
    return line.what if line.people == 1 else f"{line.what} ×{line.people}"


def _label_width(line: Line) -> int:
    """Pixels of a label, near enough: fonts differ."""
    amount = 0 if line.amount_usdr is None else 2 + len(format_sdrt(line.amount_usdr))
    return round((len(_words(line)) + 1.1 * amount) * _CHARACTER)


def _lifeline(party: str) -> str:
    return SUBSCRIBERS if party.startswith("subscriber") else party
