"""Plots of a benchmark's figures as SVG, drawn by matplotlib: lines over axes, and bars."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOT_INCHES = (6.4, 3.0)
"""Width and height in inches of a plot of lines; each bar is `BAR_HEIGHT` inches high."""

BAR_HEIGHT = 0.3

Line = tuple[str, Sequence[tuple[float, float]]]
"""A label and its points."""


def plot(
    lines: Sequence[Line], across: str, up: str, *, log: bool = False, marks: Sequence[tuple[str, float]] = ()
) -> Markup:
    """A plot of lines with axes that begin at 0; `log` makes the horizontal axis logarithmic.

    `across` and `up` are the axes' labels; `marks` are labelled vertical lines, for example at aims. Empty if
    there is no point.
    """
    if not any(points for _, points in lines):
        return Markup("")
    figure = _figure(*PLOT_INCHES)
    axes = figure.add_subplot(xlabel=across, ylabel=up)
    for label, points in lines:
        axes.plot([x for x, _ in points], [y for _, y in points], label=label)
    for label, at in marks:
        axes.axvline(at, color="0.4", linestyle="--", linewidth=1)
        axes.annotate(label, (at, 0), xytext=(3, 3), textcoords="offset points")
    if log:
        axes.set_xscale("log")
    else:
        axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(color="0.9")
    if len(lines) > 1:
        axes.legend(frameon=False)
    return _svg(figure)


def bar_chart(bars: Sequence[tuple[str, float]]) -> Markup:
    """A horizontal bar for each pair of label and value, the first at the top."""
    figure = _figure(PLOT_INCHES[0], 0.4 + BAR_HEIGHT * len(bars))
    axes = figure.add_subplot()
    drawn = axes.barh([label for label, _ in bars], [value for _, value in bars])
    axes.bar_label(drawn, fmt="%.0f", padding=3)
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(bottom=False, labelbottom=False)
    return _svg(figure)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # takes a third of a second, which only a report should spend

    return Figure((width, height), layout="constrained")


def cumulative(values: Sequence[float | None]) -> list[tuple[float, float]]:
    """The cumulative share of the values. Values that are None count in the total, so that the curve stays
    below 1."""
    there = sorted(value for value in values if value is not None)
    return [(value, (number + 1) / len(values)) for number, value in enumerate(there)]


def _svg(figure: Figure) -> Markup:
    """Only the `<svg>` element, for an HTML page. matplotlib escapes the labels."""
    written = io.StringIO()
    figure.savefig(written, format="svg")
    text = written.getvalue()
    return Markup(text[text.index("<svg") :])
