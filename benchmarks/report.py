"""A run's figures as one page: tables and plots in SVG, nothing loaded from anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

WIDTH, HEIGHT, MARGIN = 640, 260, 46
COLOURS = ("#0b6e4f", "#c1440e", "#3454d1", "#8e5572", "#9a8700", "#4f4f4f", "#00798c", "#7a1fa2", "#333333")

Line = tuple[str, Sequence[tuple[float, float]]]
"""A label and its points."""


def write(result: dict[str, Any], path: Path) -> None:
    """The page of a `load`, `null` or `scale` run. Raises `OSError`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("report.html.j2")
    path.write_text(template.render(result=result, plots=PLOTS[result["benchmark"]](result)), "utf-8")


def _load_plots(result: dict[str, Any]) -> list[tuple[str, Markup]]:
    plots = []
    for name in ("first", "authenticated", "completed"):
        lines = [
            (design, _cumulative([row[name] for row in figures["visits"] if row["phone"]]))
            for design, figures in result["designs"].items()
        ]
        limits = [
            row["limit"][name]
            for figures in list(result["designs"].values())[:1]
            for row in figures["visits"]
            if row["limit"]
        ]
        lines.append(("physical limit", _cumulative(limits)))
        plots.append((f"share of phones by seconds from the tap: {name}", plot(lines, "seconds", "share")))
    return plots


def _null_plots(result: dict[str, Any]) -> list[tuple[str, Markup]]:
    bars = [(name, each["sessions_per_second"]) for name, each in result["designs"].items()]
    return [("sessions a second", bar_chart(bars))]


def _scale_plots(result: dict[str, Any]) -> list[tuple[str, Markup]]:
    sessions = result["sessions"].items()
    memory = [(float(count), each["kilobytes_per_session"]) for count, each in sessions]
    delays = [
        (label, [(float(count), 1000 * each["packet_delay_seconds"][label]) for count, each in sessions])
        for label in ("p50", "p99")
    ]
    sizes = result["catalogue"].items()
    search = [
        (label, [(float(size), 1000 * each["search_seconds"][label]) for size, each in sizes])
        for label in ("p50", "p99")
    ]
    return [
        ("memory a session by open sessions", plot([("kB", memory)], "open sessions", "kB", log=True)),
        ("packet delay by open sessions", plot(delays, "open sessions", "ms", log=True)),
        ("search time by catalogue size", plot(search, "pins", "ms", log=True)),
    ]


PLOTS = {"load": _load_plots, "null": _null_plots, "scale": _scale_plots}


def _cumulative(values: Sequence[float | None]) -> list[tuple[float, float]]:
    """Those that never came keep the curve below 1."""
    there = sorted(value for value in values if value is not None)
    return [(value, (number + 1) / len(values)) for number, value in enumerate(there)]


def plot(lines: Sequence[Line], across: str, up: str, *, log: bool = False) -> Markup:
    """Lines over linear axes from 0; `log`: across by its logarithm."""
    xs = [x for _, points in lines for x, _ in points]
    ys = [y for _, points in lines for _, y in points]
    if not xs:
        return Markup("")
    left, right, top = (min(xs) if log else 0.0), max(xs), max(ys) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        if log and right > left:
            share = math.log(x / left) / math.log(right / left)
        else:
            share = (x - left) / ((right - left) or 1.0)
        return MARGIN + share * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - y / top * (HEIGHT - 2 * MARGIN)

    drawn = []
    for number, (label, points) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
        drawn.append(
            Markup('<polyline fill="none" stroke-width="1.8" stroke="{}" points="{}"/>').format(colour, path)
        )
        drawn.append(
            Markup('<text x="{}" y="{}" fill="{}">{}</text>').format(
                WIDTH - MARGIN + 6, MARGIN + 15 * number, colour, label
            )
        )
    for share in (0.0, 0.5, 1.0):
        _, y = place(right, share * top)
        drawn.append(Markup('<text x="4" y="{:.0f}">{:.3g}</text>').format(y, share * top))
        x = left * (right / left) ** share if log else left + share * (right - left)
        drawn.append(
            Markup('<text x="{:.0f}" y="{}">{:.3g}</text>').format(place(x, 0)[0], HEIGHT - MARGIN + 16, x)
        )
    caption = Markup('<text x="{}" y="{}">{}; up: {}</text>').format(MARGIN, HEIGHT - 8, across, up)
    return _svg([*drawn, caption], WIDTH + 130, HEIGHT)


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


def _svg(parts: Sequence[Markup], width: int, height: int) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" width="{}" role="img">').format(width, height, width)
    return head + Markup("").join(parts) + Markup("</svg>")
