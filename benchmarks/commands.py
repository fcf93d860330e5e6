"""Functions and options that the commands of all benchmarks share: progress, links, and writing figures."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import trio
import typer
from rich.console import Console

from benchmarks import Say, report
from benchmarks.peers.start import DESIGNS
from pinactors.simulation import profiles
from pinactors.simulation.profiles import Profile

errors = Console(stderr=True)

Quick = Annotated[
    bool, typer.Option("--quick", help="A short run: proves that it works, but its figures mean little.")
]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write the figures to this file.", show_default=False)
]
Page = Annotated[
    Path | None, typer.Option("--report", help="Write a page with plots to this file.", show_default=False)
]
Designs = Annotated[str, typer.Option(help="Which designs, separated by commas.")]
Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Folder that keeps the drawings for the next run.", show_default=False),
]
Trace = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        help="A captured link instead: two packet-delivery traces, for sending and receiving.",
        show_default=False,
    ),
]
TraceDir = Annotated[
    Path | None,
    typer.Option(
        "--trace-dir",
        help="Captured links: every NAME.up with NAME.down, or gzipped; phones are spread over them.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of arrivals, links and drops.")]

ALL = ",".join(DESIGNS)
SAME_ANALYSIS = ",".join(design for design in DESIGNS if design != "fastapi-h11")
"""The designs for real analysis: there the parser of the HTTP server makes no difference, so that one of the
two FastAPI peers is enough."""

LOG_SECONDS = 5.0

Measure = Callable[[Say], Awaitable[dict[str, Any]]]


def run(measure: Measure, prefix: str = "") -> dict[str, Any]:
    """Runs a benchmark and shows its progress: on a terminal in one line, else as log lines at the begin of
    each step and every `LOG_SECONDS`."""
    last_step, printed_at = "", 0.0
    with errors.status(f"{prefix}starting") as status:

        def say(text: str) -> None:
            nonlocal last_step, printed_at
            step, now = text.partition(":")[0], time.monotonic()
            if errors.is_terminal:
                status.update(prefix + text)
            elif step != last_step or now > printed_at + LOG_SECONDS:
                errors.print(prefix + text, markup=False, highlight=False, soft_wrap=True)
                last_step, printed_at = step, now

        try:
            return trio.run(measure, say)
        except (RuntimeError, OSError) as error:
            errors.print(f"{prefix}{error}", markup=False, style="red")
            raise typer.Exit(1) from error


@contextmanager
def folder_or_own(given: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pinactors-benchmark-") as own:
        folder = given or Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def links_of(profile: str, trace: tuple[Path, Path] | None, trace_dir: Path | None) -> list[Profile]:
    try:
        if trace_dir is not None:
            return profiles.captures(trace_dir)
        return [profiles.captured(*trace) if trace else profiles.profile(profile)]
    except (OSError, ValueError, KeyError) as error:
        raise typer.BadParameter(f"no such link: {error}") from error


def chosen_designs(designs: str) -> Sequence[str]:
    chosen = designs.split(",")
    unknown = set(chosen) - set(DESIGNS)
    if unknown:
        raise typer.BadParameter(f"unknown designs: {', '.join(sorted(unknown))}; known are {ALL}")
    return chosen


def write(result: dict[str, Any], json_file: Path | None, page: Path | None = None) -> None:
    text = json.dumps(result, indent=2)
    typer.echo(text)
    if json_file is not None:
        json_file.write_text(text + "\n", "utf-8")
    if page is not None:
        report.write([result], page)
