"""`pinactors evaluate`: the engine over labelled photographs, and what that says about it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Any

import prometheus_client
import typer
from rich.table import Table

from pinactors import components
from pinactors.catalog.importer import import_catalog
from pinactors.catalog.reader import Catalog
from pinactors.cli import local, terminal
from pinactors.cli.catalog import bar
from pinactors.evaluation import answers, dataset, figures, report
from pinactors.pipeline.metrics import Metrics
from pinactors.settings import Settings

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder with photos/, truth/ and, usually, catalog/.")
]
CatalogFolder = Annotated[
    Path | None,
    typer.Option(
        "--catalog", help="Catalogue to use: a folder to import, or an imported one. [default: DIR/catalog]"
    ),
]
Data = Annotated[
    Path,
    typer.Option(help="Where imported catalogues are kept, so that a repeat need not import again."),
]
AsOf = Annotated[
    str | None, typer.Option(help="Day prices are judged as of, such as 2025-12-31. [default: today]")
]


MARGIN = 10
"""Sessions' rates are bounded per minute for servers; an evaluation is its own only client."""


def evaluate(
    folder: Folder,
    catalog: CatalogFolder = None,
    data: Data = Path("pinactors-data/evaluation"),
    as_of: AsOf = None,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th photo set only.")] = 1,
    first: Annotated[int, typer.Option(min=0, help="Leave out so many sets before the first.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
    report_file: Annotated[
        Path | None, typer.Option("--report", help="Write a page with plots and the worst cases.")
    ] = None,
) -> None:
    """Measure the engine on labelled photographs, run as the server would run them.

    Figures come with 95 % bootstrap intervals and their number of cases. `--every 2` and
    `--every 2 --first 1` split a set in halves: fit on one, report the other.
    """
    day = _day(as_of)
    settings = terminal.settings()
    with terminal.explaining():
        given = dataset.load(folder)
        chosen = given.photos[first::every]
        imported = imported_catalog(catalog or given.catalog, data)
        found = run(chosen, imported, settings, day)
    if found is None:
        raise typer.Exit(terminal.INTERRUPTED)
    results, timings = found
    opened = Catalog.open(imported)
    result = figures.figures(given, results, opened.pin) | {
        "stages": timings,
        "catalog": {"version": opened.version, "pins": opened.size},
        "calibration": next((a.authenticity.calibration for a in results if a.authenticity), None),
        "set": str(folder),
        "as_of": day.isoformat(),
    }
    if report_file is not None:
        report_file.write_text(report.page(result, results), "utf-8")
    if as_json:
        typer.echo(json.dumps(result, indent=2, default=str))
    else:
        for table in tables(result):
            terminal.output.print(table)


def run(
    photos: tuple[dataset.PhotoSet, ...],
    catalog: Path,
    settings: Settings,
    as_of: dt.date | None,
    calibration: str = "",
) -> tuple[list[answers.Answer], dict[str, Any]] | None:
    """Answers, and milliseconds per finding and component; None when interrupted."""
    return terminal.run(_run, photos, catalog, settings, as_of, calibration)


async def _run(
    photos: tuple[dataset.PhotoSet, ...],
    catalog: Path,
    settings: Settings,
    as_of: dt.date | None,
    calibration: str,
) -> tuple[list[answers.Answer], dict[str, Any]]:
    unhurried = settings.model_copy(
        update={
            "rate_per_minute": MARGIN * len(photos) + settings.rate_per_minute,
            "max_sessions": len(photos) + settings.max_sessions,
            "max_sessions_per_key": len(photos) + settings.max_sessions_per_key,
        }
    )
    analysis = components.declare(unhurried, catalog=catalog, as_of=as_of, calibration=calibration)
    metrics = Metrics(prometheus_client.CollectorRegistry())
    async with local.pipeline(unhurried, analysis, metrics) as running:
        workers = int(running.registry.statistics()["compute"].get("workers") or 1)
        with bar("analysing") as progress:
            results = await answers.collect(
                photos, lambda photo: running.open(photo.images), workers, progress
            )
    return results, _milliseconds(metrics)


def imported_catalog(source: Path, data: Path) -> Path:
    """`source` itself when it is an imported catalogue, else where it was imported to."""
    if not (source / "pins.csv").is_file():
        return source
    target = data / source.resolve().parent.name
    with bar("importing") as progress:
        imported = import_catalog(source, target, progress)
    if imported.problems:
        terminal.errors.print(
            f"{len(imported.problems)} rows of the catalogue are left out; see `pinactors catalog import`"
        )
    return target


def tables(result: dict[str, Any]) -> list[Table]:
    """The figures for a person."""
    shown = []
    for title in ("identification", "authenticity", "reads", "prices"):
        table = Table(title=title.capitalize(), title_justify="left", box=None)
        for column in ("", "value", "95 % interval", "cases"):
            table.add_column(column, justify="left" if not column else "right")
        for name, figure in flat(result[title]):
            interval = "" if figure["low"] is None else f"{figure['low']:.3f} – {figure['high']:.3f}"
            value = "–" if figure["value"] is None else f"{figure['value']:.3f}"
            table.add_row(name, value, interval, str(figure["n"]))
        shown.append(table)
    times = Table(title="Milliseconds", title_justify="left", box=None)
    for column in ("", "mean", "count"):
        times.add_column(column, justify="left" if not column else "right")
    for stage, figure in result["stages"].items():
        times.add_row(stage, f"{figure['mean']:.0f}", str(figure["count"]))
    return [*shown, times]


def flat(figures_of: dict[str, Any], prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The figures with intervals among nested ones, by their path."""
    rows = []
    for name, value in figures_of.items():
        if isinstance(value, dict) and "low" in value:
            rows.append((f"{prefix}{name}", value))
        elif isinstance(value, dict):
            rows += flat(value, f"{prefix}{name}: ")
    return rows


def _milliseconds(metrics: Metrics) -> dict[str, Any]:
    stages = {}
    for histogram, kind in ((metrics.finding_seconds, "finding"), (metrics.component_seconds, "component")):
        for family in histogram.collect():
            sums = {tuple(s.labels.values()): s.value for s in family.samples if s.name.endswith("_sum")}
            counts = {tuple(s.labels.values()): s.value for s in family.samples if s.name.endswith("_count")}
            for labels, total in sums.items():
                if counts[labels]:
                    mean = round(1000 * total / counts[labels], 1)
                    stages[f"{kind} {labels[0]}"] = {"mean": mean, "count": int(counts[labels])}
    return stages


def _day(text: str | None) -> dt.date:
    if text is None:
        return dt.datetime.now(dt.UTC).date()
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        terminal.stop(f"--as-of {text}: expected a day such as 2025-12-31", terminal.USAGE)
