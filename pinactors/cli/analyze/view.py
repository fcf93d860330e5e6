"""Shows packets on a terminal: one line per packet, or a live table of all components."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pinactors.cli.terminal import clean, output
from pinactors.client import Received

COMPONENTS = {
    "AUTHENTICATION_RESULT": "authenticity",
    "CHARACTER_IDENTIFICATION": "characters",
    "PRICING_ANALYSIS": "pricing",
    "DETAILED_ANALYSIS": "details",
    "HTML_DISPLAY_DATA": "display",
}
VERDICT_STYLES = {"authentic": "green", "counterfeit": "red", "undetermined": "yellow", "not_a_pin": "yellow"}
EVIDENCE_SHOWN = 12
LEGEND = "Numbers above 0 speak for genuine, below 0 against it; each 1 changes the odds tenfold."
"""The explanation of the numbers: weights are decimal logarithms of likelihood ratios."""


class ProgressView:
    """A display of an analysis: its methods are called with the upload's progress and with each packet. This
    class shows nothing, for commands that print only the answer."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...
    def uploaded(self, sent: int, total: int) -> None: ...
    def packet(self, received: Received) -> None: ...


def summary(fields: dict[str, Any]) -> str:
    """One line of text that summarises a packet's fields."""
    return clean(_SUMMARIES.get(fields.get("packetType", ""), _nothing)(fields))


def _nothing(fields: dict[str, Any]) -> str:
    return ""


def _message(fields: dict[str, Any]) -> str:
    return str(fields.get("message", ""))


def _authenticity(fields: dict[str, Any]) -> str:
    text = (
        f"{_verdict(fields)}, rating {fields.get('authenticityRating')}, "
        f"confidence {fields.get('confidence', 0):.2f}"
    )
    rows = fields.get("evidence") or []
    assessed = sum(row.get("assessed", True) for row in rows)
    text += f", {assessed} of {len(rows)} kinds of evidence assessed" if rows else ""
    return text + (f" ({fields['note']})" if fields.get("note") else "")


def _characters(fields: dict[str, Any]) -> str:
    best_candidates = (fields.get("candidates") or [])[:1]
    who = fields.get("characters")
    parts = [str(who)] if who and who not in [best.get("name") for best in best_candidates] else []
    if not fields.get("identified"):
        parts = ["not identified"]
    for best in best_candidates:
        alike = "" if fields.get("identified") else "closest: "
        parts.append(f"{alike}{best.get('name')} ({best.get('pinId')}, score {best.get('score', 0):.2f})")
    return "; ".join(parts) + _suggested(fields.get("suggestions") or [])


def _suggested(suggestions: list[dict[str, Any]]) -> str:
    """The suggestions of a second engine, marked as not verified."""
    if not suggestions:
        return ""
    texts = ", ".join(f"{one.get('text')} ({one.get('kind')})" for one in suggestions)
    return f"; suggested by {suggestions[0].get('source')}, not verified: {texts}"


def _pricing(fields: dict[str, Any]) -> str:
    estimate = fields.get("estimate")
    if not estimate:
        return f"no estimate: {fields.get('reason') or 'no reason given'}"
    return (
        f"{estimate['currency']} {estimate['low']:.2f} to {estimate['high']:.2f}, "
        f"median {estimate['median']:.2f} ({estimate['sampleSize']} sales, as of {estimate['asOf']})"
    )


def _details(fields: dict[str, Any]) -> str:
    values = fields.get("details") or {}
    sentences = [
        f"{name} {value}" for name, value in values.items() if isinstance(value, str | int | float) and value
    ]
    return "; ".join(sentences[:6]) or f"{len(values)} details"


def _display(fields: dict[str, Any]) -> str:
    views = [
        name.removesuffix("Html") for name in ("frontHtml", "backHtml", "angledHtml") if fields.get(name)
    ]
    return "display of " + ", ".join(views)


def _complete(fields: dict[str, Any]) -> str:
    text = f"record {fields.get('id')}, {fields.get('processingTime', 0) / 1000:.2f} s of work"
    for name in ("degraded", "missing"):
        if fields.get(name):
            text += f", {name}: {', '.join(fields[name])}"
    return text


def _error(fields: dict[str, Any]) -> str:
    return f"{fields.get('message')} ({fields.get('errorCode')}): {fields.get('error')}"


_SUMMARIES: dict[str, Callable[[dict[str, Any]], str]] = {
    "CONNECTION_ESTABLISHED": _message,
    "PROCESSING_STARTED": _message,
    "AUTHENTICATION_RESULT": _authenticity,
    "CHARACTER_IDENTIFICATION": _characters,
    "PRICING_ANALYSIS": _pricing,
    "DETAILED_ANALYSIS": _details,
    "HTML_DISPLAY_DATA": _display,
    "ANALYSIS_COMPLETE": _complete,
    "ERROR": _error,
}


def _verdict(fields: dict[str, Any]) -> str:
    return str(fields.get("verdict") or ("authentic" if fields.get("authentic") else "not authentic"))


class LineView(ProgressView):
    """Prints a line per packet when it arrives: for pipes, logs and the demonstration."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._quarter = 0

    def uploaded(self, sent: int, total: int) -> None:
        quarter = 4 * sent // total
        if quarter > self._quarter:
            self._quarter = quarter
            self._line(
                "upload", f"{100 * sent // total} % of {total / 1024:,.0f} kB handed to the network", "dim"
            )

    def packet(self, received: Received) -> None:
        self._line(received.kind, summary(received.fields), _style(received.fields))

    def _line(self, what: str, text: str, style: str) -> None:
        line = Text(f"{time.monotonic() - self._began:8.3f} s  ")
        line.append(f"{clean(what):<24}", style=style)
        line.append(f"  {text}")
        output.print(line)


def _style(fields: dict[str, Any]) -> str:
    match fields.get("packetType"):
        case "AUTHENTICATION_RESULT":
            return "bold " + VERDICT_STYLES.get(_verdict(fields), "white")
        case "ERROR":
            return "bold red"
        case "ANALYSIS_COMPLETE":
            return "bold"
        case _:
            return "cyan"


class LiveView(ProgressView):
    """A live table with a row per component, the upload's progress, and the verdict as a bar with its
    evidence."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._sent, self._total = 0, 0
        self._arrived: dict[str, tuple[float, dict[str, Any]]] = {}
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._picture, console=output, refresh_per_second=12)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def uploaded(self, sent: int, total: int) -> None:
        self._sent, self._total = sent, total

    def packet(self, received: Received) -> None:
        self._arrived[received.kind] = time.monotonic() - self._began, received.fields

    @property
    def _ended(self) -> bool:
        return "ANALYSIS_COMPLETE" in self._arrived or "ERROR" in self._arrived

    def _picture(self) -> RenderableType:
        table = Table(box=None, padding=(0, 1), expand=True)
        table.add_column("", width=2)
        table.add_column("component", min_width=10, style="bold", no_wrap=True)
        table.add_column("at", width=8, justify="right")
        table.add_column("result", ratio=1, overflow="fold")
        if self._total:
            share = 100 * self._sent // self._total
            table.add_row(
                self._mark(self._sent >= self._total),
                "upload",
                "",
                f"{share} % of {self._total / 1024:,.0f} kB",
            )
        for kind, name in COMPONENTS.items():
            if kind in self._arrived:
                at, fields = self._arrived[kind]
                table.add_row(
                    self._mark(True), name, f"{at:.2f} s", Text(summary(fields), style=_style(fields))
                )
            else:
                table.add_row(self._mark(False), name, "", Text("—" if self._ended else "", style="dim"))
        for kind in ("ANALYSIS_COMPLETE", "ERROR"):
            if kind in self._arrived:
                at, fields = self._arrived[kind]
                table.add_row("", "done", f"{at:.2f} s", Text(summary(fields), style=_style(fields)))
        parts: list[RenderableType] = [table]
        if "AUTHENTICATION_RESULT" in self._arrived:
            parts.append(verdict(self._arrived["AUTHENTICATION_RESULT"][1]))
        return Group(*parts)

    def _mark(self, done: bool) -> RenderableType:
        if done:
            return Text("✓", style="green")
        return Text("·", style="dim") if self._ended else self._spinner


def verdict(fields: dict[str, Any]) -> RenderableType:
    """A panel with the verdict, its rating as a bar, the evidence in descending order of weight, and
    advice."""
    style = VERDICT_STYLES.get(_verdict(fields), "white")
    rating = int(fields.get("authenticityRating", 0))
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column()
    head.add_column(justify="right")
    head.add_row(
        Text(clean(_verdict(fields)).replace("_", " "), style=f"bold {style}"),
        f"{rating} / 100, confidence {fields.get('confidence', 0):.2f}",
    )
    ends = Table.grid(expand=True)
    ends.add_column()
    ends.add_column(justify="right")
    ends.add_row(Text("counterfeit", style="dim"), Text("genuine", style="dim"))
    parts: list[RenderableType] = [head, Bar(100, 0, rating, color=style, bgcolor="grey30"), ends]
    rows = fields.get("evidence") or []
    weighed = sorted(
        (row for row in rows if row.get("assessed", True)), key=lambda row: -abs(float(row["weight"]))
    )
    if weighed:
        parts += [Text(), _weighed(weighed), Text(LEGEND, style="dim", no_wrap=False, overflow="fold")]
    if len(weighed) < len(rows):
        parts += [Text("\nCould not be assessed", style="bold"), *_open(rows)]
    if fields.get("advice"):
        parts.append(Text("\nWhat would help", style="bold"))
        parts += [_point(clean(str(line))) for line in fields["advice"]]
    return Panel(Group(*parts), border_style=style)


def _weighed(rows: list[dict[str, Any]]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=6, justify="right")
    table.add_column(ratio=1, max_width=22, style="bold", overflow="fold")
    table.add_column(ratio=2, overflow="fold")
    for row in rows[:EVIDENCE_SHOWN]:
        weight = float(row["weight"])
        tone = "green" if weight > 0 else "red" if weight < 0 else "dim"
        table.add_row(
            Text(f"{weight:+.2f}", style=tone),
            Text(clean(row["name"])),
            Text(clean(row["finding"]), style=tone),
        )
    hidden = len(rows) - EVIDENCE_SHOWN
    if hidden > 0:
        table.add_row("", Text(f"and {hidden} more", style="dim"))
    return table


def _open(rows: list[dict[str, Any]]) -> list[RenderableType]:
    """The evidence that could not be assessed, grouped by reason."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if not row.get("assessed", True):
            reasons.setdefault(clean(row["finding"]), []).append(clean(row["name"]))
    return [_point(f"{reason}: {', '.join(names)}", style="dim") for reason, names in reasons.items()]


def _point(text: str, style: str = "") -> RenderableType:
    """A list item with a hanging indent."""
    line = Table.grid(padding=(0, 1))
    line.add_column(width=1)
    line.add_column(overflow="fold")
    line.add_row("•", Text(text, style=style))
    return line
