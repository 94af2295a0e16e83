"""Lines over a logarithmic axis as SVG: as much as the benchmarks need."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

_WIDTH: Final = 640
_HEIGHT: Final = 400
_LEFT: Final = 70
_RIGHT: Final = 130
_TOP: Final = 50
_BOTTOM: Final = 60
_COLOURS: Final = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#6f4e7c")
_STEPS: Final = 5


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its name and its points."""

    name: str
    points: tuple[tuple[float, float], ...]


def line_plot(title: str, across: str, up: str, series: Sequence[Series]) -> str:
    """SVG with x logarithmic and y from 0."""
    xs = sorted({x for one in series for x, _ in one.points})
    low, high = math.log10(xs[0]), math.log10(xs[-1])
    top = _round_up(max(y for one in series for _, y in one.points))

    def place(x: float, y: float) -> tuple[float, float]:
        part = (math.log10(x) - low) / (high - low or 1)
        return (
            _LEFT + part * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - y / top * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 28, title, size=16),
        _text(_LEFT - 10, _TOP - 10, up, anchor="end"),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 15, across, anchor="middle"),
    ]
    for step in range(_STEPS + 1):
        value = top * step / _STEPS
        x, y = place(xs[0], value)
        parts.append(f'<path d="M{x} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(_text(x - 10, y + 4, f"{value:,.0f}", anchor="end"))
    for value in xs:
        x, y = place(value, 0)
        parts.append(_text(x, y + 20, f"{value:,.0f}", anchor="middle"))
    for number, one in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [place(x, y) for x, y in one.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        y = _TOP + 18 * number
        parts.append(_text(_WIDTH - _RIGHT + 12, y, one.name, colour=colour))
    return "\n".join([*parts, "</svg>", ""])


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power)


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, colour: str = "#333"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{escape(words)}</text>'
    )
