"""`python -m benchmarks NAME`: the benchmarks, one command each."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import trio
import typer
from rich.console import Console

from benchmarks import load, null, overhead, report, scale
from benchmarks.peers.start import DESIGNS
from pinactors.client import profiles

errors = Console(stderr=True)
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Benchmarks; each says what it does while it runs.",
)

Quick = Annotated[bool, typer.Option("--quick", help="Short: proves that it works, its figures mean little.")]
Json = Annotated[
    Path | None, typer.Option("--json", help="Write the figures to this file.", show_default=False)
]
Page = Annotated[
    Path | None, typer.Option("--report", help="Write a page with plots to this file.", show_default=False)
]
Designs = Annotated[str, typer.Option(help="Which designs, separated by commas.")]
ALL = ",".join(DESIGNS)


@app.callback()
def benchmarks() -> None:
    """Figures depend on the machine and on what else runs on it: compare figures of one run."""


@app.command("overhead")
def overhead_(quick: Quick = False, json_file: Json = None) -> None:
    """What the pipeline costs when components do nothing: throughput, delay, memory, loop stalls."""
    with errors.status("starting") as status:
        result = trio.run(partial(overhead.measure, status.update, quick=quick))
    _report(result, json_file)


@app.command("load")
def load_(
    profile: Annotated[str, typer.Option(help=f"The link: {', '.join(profiles.NAMES)}.")] = "lte",
    trace: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            help="A captured link instead: two packet-delivery traces, up and down.", show_default=False
        ),
    ] = None,
    designs: Designs = ALL,
    phones: Annotated[int, typer.Option(min=1, help="Phones that arrive.")] = 12,
    desktops: Annotated[int, typer.Option(min=0, help="Desktops that arrive.")] = 2,
    seconds: Annotated[float, typer.Option(help="Time in which they arrive, for each design.")] = 20.0,
    drops: Annotated[float, typer.Option(min=0, max=1, help="Share of phones that are cut off once.")] = 0.1,
    pins: Annotated[int, typer.Option(min=1, help="Pins photographed.")] = 4,
    seed: Annotated[int, typer.Option(help="Of arrivals, links and drops.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="Keeps the drawings for the next run.", show_default=False)
    ] = None,
    quick: Quick = False,
    json_file: Json = None,
    page: Page = None,
) -> None:
    """Phones on cellular links and desktops: ours, the peers and the physical limit."""
    try:
        link = profiles.captured(*trace) if trace else profiles.profile(profile)
    except (OSError, ValueError, KeyError) as error:
        raise typer.BadParameter(f"no such link: {error}") from error
    small = {}
    if quick:
        phones, desktops, seconds, pins, small = 2, 1, 1.0, 1, {"catalogue": 2}
    with (
        errors.status("starting") as status,
        tempfile.TemporaryDirectory(prefix="pinactors-benchmark-") as own,
    ):
        run = partial(
            load.measure,
            status.update,
            link,
            _chosen(designs),
            phones_=phones,
            desktops=desktops,
            seconds=seconds,
            drops=drops,
            pins=pins,
            seed=seed,
            folder=folder or Path(own),
            **small,
        )
        result = trio.run(run)
    _report(result, json_file, page)


@app.command("null")
def null_(
    designs: Designs = ALL,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="Of each design in each round.")] = 4.0,
    quick: Quick = False,
    json_file: Json = None,
    page: Page = None,
) -> None:
    """Sessions a second with components that return at once: ours beside the peers."""
    if quick:
        rounds, seconds = 1, 0.3
    with errors.status("starting") as status:
        run = partial(null.measure, status.update, _chosen(designs), rounds=rounds, seconds=seconds)
        result = trio.run(run)
    _report(result, json_file, page)


@app.command("scale")
def scale_(quick: Quick = False, json_file: Json = None, page: Page = None) -> None:
    """Open sessions against memory and packet delay; catalogue size against search time and memory."""
    small: dict[str, Any] = {"sessions": (10, 20), "sizes": (100, 300), "seconds": 1.0} if quick else {}
    with errors.status("starting") as status:
        result = trio.run(partial(scale.measure, status.update, **small))
    _report(result, json_file, page)


def _chosen(designs: str) -> list[str]:
    chosen = designs.split(",")
    unknown = set(chosen) - set(DESIGNS)
    if unknown:
        raise typer.BadParameter(f"designs are {ALL}, not {', '.join(sorted(unknown))}")
    return chosen


def _report(result: dict[str, Any], json_file: Path | None, page: Path | None = None) -> None:
    text = json.dumps(result, indent=2)
    typer.echo(text)
    if json_file is not None:
        json_file.write_text(text + "\n", "utf-8")
    if page is not None:
        report.write(result, page)


if __name__ == "__main__":
    app()
