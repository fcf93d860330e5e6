"""Writes a run's figures as one HTML page with tables and plots; the page loads nothing from other files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from benchmarks.plots import bar_chart, cumulative, plot

FIRST_AIM = 0.25
"""Aim for the first packet under overload, in seconds."""

LIMIT_AIM = 1.1
"""Aim for the time to the authentication result, as a multiple of the physical limit."""

Plots = list[tuple[str, Markup]]


def write(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes the page of one or several runs. Raises `OSError`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("report.html.j2")
    parts = [(result, PLOTS.get(result["benchmark"], _none)(result)) for result in results]
    path.write_text(template.render(parts=parts), "utf-8")


def _none(_: dict[str, Any]) -> Plots:
    return []


def _load_plots(result: dict[str, Any]) -> Plots:
    plots: Plots = []
    designs = result["designs"].items()
    ratios = [
        (
            design,
            cumulative(
                [
                    row["authenticated"] and row["authenticated"] / row["limit"]["authenticated"]
                    for row in figures["visits"]
                    if row["limit"]
                ]
            ),
        )
        for design, figures in designs
    ]
    title = "Share of phones by time to the authentication result ÷ physical limit"
    plots.append((title, plot(ratios, "times the limit", "share", marks=[("aim", LIMIT_AIM)])))
    for name in ("first", "authenticated", "completed"):
        lines = [
            (design, cumulative([row[name] for row in figures["visits"] if row["phone"]]))
            for design, figures in designs
        ]
        limits = [
            row["limit"][name]
            for figures in list(result["designs"].values())[:1]
            for row in figures["visits"]
            if row["limit"]
        ]
        lines.append(("physical limit", cumulative(limits)))
        plots.append((f"Share of phones by seconds from the tap: {name}", plot(lines, "seconds", "share")))
    return plots


def _overload_plots(result: dict[str, Any]) -> Plots:
    accepted = [row for row in result["visits"] if row["status"] == 200]
    lines = [("first packet", cumulative([row["first"] for row in accepted]))]
    ends = [
        (name, cumulative([row[key] for row in accepted]))
        for name, key in (("name", "named"), ("price", "priced"), ("last packet", "ended"))
    ]
    return [
        (
            "Share of accepted sessions by seconds to the first packet",
            plot(lines, "seconds", "share", marks=[("aim", FIRST_AIM)]),
        ),
        (
            "Share of accepted sessions by seconds to a name, a price, the last packet",
            plot(ends, "seconds", "share", marks=[("deadline", result["deadline_seconds"])]),
        ),
    ]


def _null_plots(result: dict[str, Any]) -> Plots:
    bars = [(name, each["sessions_per_second"]) for name, each in result["designs"].items()]
    return [("Sessions a second", bar_chart(bars))]


def _scale_plots(result: dict[str, Any]) -> Plots:
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
    resident = [("MB", [(float(size), each["resident_megabytes"]) for size, each in sizes])]
    return [
        ("Memory a session by open sessions", plot([("kB", memory)], "open sessions", "kB", log=True)),
        ("Packet delay by open sessions", plot(delays, "open sessions", "ms", log=True)),
        ("Search time by catalogue size", plot(search, "pins", "ms", log=True)),
        ("Memory of the search by catalogue size", plot(resident, "pins", "MB", log=True)),
    ]


PLOTS: dict[str, Callable[[dict[str, Any]], Plots]] = {
    "load": _load_plots,
    "overload": _overload_plots,
    "null": _null_plots,
    "scale": _scale_plots,
}
