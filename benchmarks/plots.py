"""Plots as SVG, from nothing but their points: lines over axes, and bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 640, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 30, 40
COLOURS = ("#0b6e4f", "#c1440e", "#3454d1", "#8e5572", "#9a8700", "#4f4f4f", "#00798c", "#7a1fa2", "#333333")
TICKS = 5
LEGEND_LETTER, LEGEND_MARK = 6.3, 30
"""Pixels of a letter, on the whole, and of what else belongs to an entry."""

Line = tuple[str, Sequence[tuple[float, float]]]
"""A label and its points."""


def plot(
    lines: Sequence[Line], across: str, up: str, *, log: bool = False, marks: Sequence[tuple[str, float]] = ()
) -> Markup:
    """Lines over linear axes from 0; `log`: across by its logarithm. `marks`: upright lines at aims."""
    xs = [x for _, points in lines for x, _ in points] + [x for _, x in marks]
    ys = [y for _, points in lines for _, y in points]
    if not ys:
        return Markup("")
    across_ticks = _powers(min(xs), max(xs)) if log else _ticks(max(xs))
    up_ticks = _ticks(max(ys))
    left, right, top = (across_ticks[0] if log else 0.0), across_ticks[-1], up_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        if log:
            share = math.log(x / left) / (math.log(right / left) or 1.0)
        else:
            share = x / right
        return LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    drawn = []
    for tick in up_ticks:
        _, y = place(right, tick)
        drawn.append(
            Markup(
                '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
                '<text text-anchor="end" x="{3}" y="{4:.1f}">{5:g}</text>'
            ).format(LEFT, WIDTH - RIGHT, y, LEFT - 6, y + 4, tick)
        )
    for tick in across_ticks:
        x, _ = place(tick, 0)
        drawn.append(
            Markup(
                '<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
                '<text text-anchor="middle" x="{0:.1f}" y="{3}">{4}</text>'
            ).format(
                x, TOP, HEIGHT - BOTTOM, HEIGHT - BOTTOM + 15, f"{tick:,g}" if tick < 1e6 else f"{tick:g}"
            )
        )
    for label, at in marks:
        x, _ = place(at, 0)
        drawn.append(
            Markup(
                '<line class="aim" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>'
                '<text x="{3:.1f}" y="{4}">{5}</text>'
            ).format(x, TOP, HEIGHT - BOTTOM, x + 4, HEIGHT - BOTTOM - 6, label)
        )
    legend = float(LEFT)
    for number, (label, points) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
        drawn.append(
            Markup(
                '<polyline class="line" stroke="{0}" points="{1}"/>'
                '<line class="line" stroke="{0}" x1="{2:.0f}" x2="{3:.0f}" y1="12" y2="12"/>'
                '<text x="{4:.0f}" y="16">{5}</text>'
            ).format(colour, path, legend, legend + 16, legend + 20, label)
        )
        legend += LEGEND_MARK + LEGEND_LETTER * len(label)
    drawn.append(Markup('<text x="{}" y="{}">{}, up: {}</text>').format(LEFT, HEIGHT - 6, across, up))
    return _svg(drawn, WIDTH, HEIGHT)


def bar_chart(bars: Sequence[tuple[str, float]]) -> Markup:
    most = max((value for _, value in bars), default=1.0)
    drawn = []
    for number, (label, value) in enumerate(bars):
        y, width = 8 + 24 * number, 360 * value / most
        drawn.append(
            Markup(
                '<text x="0" y="{}">{}</text><rect x="170" y="{}" width="{:.1f}" height="16" fill="{}"/>'
                '<text x="{:.1f}" y="{}">{:.0f}</text>'
            ).format(y + 13, label, y, width, COLOURS[number % len(COLOURS)], 176 + width, y + 13, value)
        )
    return _svg(drawn, WIDTH, 16 + 24 * len(bars))


def cumulative(values: Sequence[float | None]) -> list[tuple[float, float]]:
    """The share of values up to each. Those that never came keep the curve below 1."""
    there = sorted(value for value in values if value is not None)
    return [(value, (number + 1) / len(values)) for number, value in enumerate(there)]


def _ticks(most: float) -> list[float]:
    """From 0 to `most` or a little more, by round steps."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * 0.999)
    return [round(step * number, 10) for number in range(math.ceil(most / step * 0.999) + 1)]


def _powers(least: float, most: float) -> list[float]:
    """Powers of ten around what is positive."""
    first, last = math.floor(math.log10(least) + 1e-9), math.ceil(math.log10(most) - 1e-9)
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _svg(parts: Sequence[Markup], width: int, height: int) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" width="{}" role="img">').format(width, height, width)
    return head + Markup("").join(parts) + Markup("</svg>")
