"""`pinactors evaluate`: runs the engine on labelled photographs and prints figures of its quality."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import prometheus_client
import typer
from rich.table import Table

from pinactors import components
from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.index import read_state
from pinactors.catalog.reader import Catalog
from pinactors.cli import interruptible, terminal
from pinactors.cli.analyze import local
from pinactors.compute.process_pool import process_pool
from pinactors.evaluation import answers, boards, dataset, figures, report
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
    Path | None,
    typer.Option(
        help="Where imported catalogues are kept, so that the next run need not import again. "
        "[default: `evaluation` in the data folder]"
    ),
]
Every = Annotated[int, typer.Option(min=1, help="Use only every n-th photo set.")]
First = Annotated[int, typer.Option(min=0, help="Skip this many photo sets at the start.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
Folds = Annotated[int, typer.Option(min=2, help="Folds of pins to cross-validate the fit with.")]
AsOf = Annotated[
    str | None, typer.Option(help="Day on which prices are estimated, such as 2025-12-31. [default: today]")
]


def evaluate(
    folder: Folder,
    catalog: CatalogFolder = None,
    data: Data = None,
    as_of: AsOf = None,
    every: Every = 1,
    first: First = 0,
    boards_only: Annotated[
        bool,
        typer.Option("--boards", help="Measure DIR/boards instead, by the boxes of their pins."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
    report_file: Annotated[
        Path | None, typer.Option("--report", help="Write a page with plots and the worst cases.")
    ] = None,
) -> None:
    """Measure the engine on labelled photographs, run as the server would run them.

    Figures have 95 % intervals (Wilson's for shares, else a bootstrap over pins) and the number of their
    photographs. Ratings of basic and timed-out answers are only counted.
    """
    day = _day(as_of)
    settings = terminal.settings()
    if boards_only:
        with terminal.explaining():
            on_boards = _boards(folder, imported_catalog(catalog or folder / "catalog", data))
        if as_json:
            typer.echo(json.dumps(on_boards, indent=2))
        else:
            terminal.output.print(_board_rows(on_boards))
        return
    with terminal.explaining():
        given = dataset.load(folder)
        chosen = given.photos[first::every]
        if not chosen:
            raise ValueError(f"--first {first} leaves none of the {len(given.photos)} photo sets")
        imported = imported_catalog(catalog or given.catalog, data)
        found = run(chosen, imported, settings, day)
    if found is None:
        raise typer.Exit(interruptible.INTERRUPTED)
    results, timings = found
    opened = Catalog.open(imported)
    _print_missing(chosen, opened)
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
        for one in tables(result):
            terminal.output.print(one)


def _boards(folder: Path, catalog: Path) -> dict[str, Any]:
    """The figures of `folder`/boards, or of the folder itself if it has boards.csv, computed on all cores."""
    place = folder if (folder / "boards.csv").is_file() else folder / "boards"
    given = boards.load(place)
    with process_pool() as pool:
        waiting = [pool.submit(boards.find_pins, catalog, board.path) for board in given]
        seen = terminal.results_of("looking", waiting)
    return boards.figures(given, seen)


def print_figures(figures: dict[str, Any]) -> None:
    """Prints a line per figure: its value and the number of cases."""
    for name, figure in figures.items():
        terminal.output.print(f"{name}: {cells(figure)[0]} of {figure['n']}")


def _board_rows(result: dict[str, Any]) -> Table:
    rows = [
        (name, *cells(result[name])) for name in ("recall", "precision") if result[name]["value"] is not None
    ]
    rows += [
        ("F1", f"{result['F1']:.3f}", ""),
        ("found without a box", str(result["found without a box"]), ""),
    ]
    return table(f"{result['boards']} boards", ("", *CELLS), rows)


def run(
    photos: tuple[dataset.LabelledPhotoSet, ...],
    catalog: Path,
    settings: Settings,
    as_of: dt.date | None,
    calibration: str = "",
) -> tuple[list[answers.Answer], dict[str, Any]] | None:
    """The answers, and the mean milliseconds of each shared step and component; None if interrupted."""
    return interruptible.run(_run, photos, catalog, settings, as_of, calibration)


async def _run(
    photos: tuple[dataset.LabelledPhotoSet, ...],
    catalog: Path,
    settings: Settings,
    as_of: dt.date | None,
    calibration: str,
) -> tuple[list[answers.Answer], dict[str, Any]]:
    unhurried = local.unhurried(settings, len(photos))
    analysis = components.declare(unhurried, catalog=catalog, as_of=as_of, calibration=calibration)
    metrics = Metrics(prometheus_client.CollectorRegistry())
    async with local.pipeline(unhurried, analysis, metrics) as running:
        workers = int(running.registry.statistics()["compute"].get("workers") or 1)
        with terminal.progress_bar("analysing") as progress:
            results = await answers.collect(
                photos, lambda photo: running.open(photo.images), workers, progress
            )
    return results, _milliseconds(metrics)


def imported_catalog(source: Path, data: Path | None) -> Path:
    """The folder of the catalogue to use: `source` itself if it is an imported catalogue; otherwise imports
    `source` into a folder below `data` (default: `evaluation` in the data folder). Each list of pins has a
    separate folder, because an import never removes pins. Raises `FileNotFoundError` if `source` is
    neither."""
    if not (source / "pins.csv").is_file():
        if read_state(source) is None:
            raise FileNotFoundError(f"{source} contains neither pins.csv nor an imported catalogue")
        return source
    identity = str(source.resolve()).encode() + (source / "pins.csv").read_bytes()
    kept = data or terminal.settings().data / "evaluation"
    target = kept / f"{source.resolve().parent.name}-{hashlib.sha256(identity).hexdigest()[:8]}"
    with terminal.progress_bar("importing") as progress:
        imported = import_catalog(source, target, progress)
    if imported.problems:
        terminal.errors.print(
            f"{len(imported.problems)} rows of the catalogue are left out; "
            f"`{terminal.command('catalog', 'import', source, catalog=target)}` names them",
        )
    return target


def _print_missing(photos: Sequence[dataset.LabelledPhotoSet], catalog: Catalog) -> None:
    wanted = {photo.pin_id for photo in photos if photo.pin_id and photo.kind in dataset.CATALOGUED_KINDS}
    missing = sorted(pin_id for pin_id in wanted if catalog.pin(pin_id) is None)
    if missing:
        some = ", ".join(missing[:5])
        terminal.errors.print(
            f"{len(missing)} labelled pins are not in the catalogue ({terminal.clean(some)}): "
            "they count as not found.",
        )


def tables(result: dict[str, Any]) -> list[Table]:
    """The figures as tables for the terminal."""
    shown = []
    for title in ("identification", "authenticity", "reads", "prices"):
        figure_rows = [(name, *cells(figure), str(figure["n"])) for name, figure in flat(result[title])]
        shown.append(table(title.capitalize(), ("", *CELLS, "photographs"), figure_rows))
    if result["by tag"]:
        columns = ("first", "claimed and right", "claimed and wrong", "called no pin")
        shown.append(
            table(
                "By tag",
                ("", "photographs", *columns),
                [
                    (tag, str(row["photographs"]), *(str(row[name]) for name in columns))
                    for tag, row in result["by tag"].items()
                ],
            )
        )
    if any(result["missed"].values()):
        rows = [(how, path) for how, paths in result["missed"].items() for path in paths]
        shown.append(table("What went wrong", ("", "photograph"), rows))
    judged = result["authenticity"]
    shown += [
        table(
            "Reliability of the rating",
            ("said", "seen genuine", "cases"),
            [
                (f"{one['said']:.2f}", f"{one['seen']:.2f}", str(one["count"]))
                for one in judged["reliability"]
            ],
        ),
        table(
            "Wrong among the surest",
            ("coverage", "risk"),
            [
                (f"{at['coverage']:.0%}", f"{at['risk']:.3f}")
                for at in _quarters(judged["risk against coverage"])
            ],
        ),
        table(
            "Answers that were rated (only full ones are probabilities)",
            ("", "cases"),
            [(way, str(count)) for way, count in judged["answers"].items()],
        ),
        table(
            "Verdicts",
            ("", "verdict", "cases"),
            [
                (kind, verdict, str(count))
                for kind, row in judged["verdicts"].items()
                for verdict, count in sorted(row.items())
            ],
        ),
        table(
            "Milliseconds",
            ("", "mean", "count"),
            [
                (stage, f"{figure['mean']:.0f}", str(figure["count"]))
                for stage, figure in result["stages"].items()
            ]
            + [(f"whole analysis, {name}", str(value), "") for name, value in result["milliseconds"].items()],
        ),
    ]
    return shown


def table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    """A table for the terminal: columns with a heading are right-aligned."""
    made = Table(title=title, title_justify="left", box=None)
    for column in columns:
        made.add_column(column, justify="left" if not column else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


CELLS = ("value", "95 % interval")


def cells(figure: dict[str, Any]) -> tuple[str, str]:
    """A figure's cells in a table, with the headings `CELLS`."""
    value = "–" if figure["value"] is None else f"{figure['value']:.3f}"
    return value, "" if figure["low"] is None else f"{figure['low']:.3f} – {figure['high']:.3f}"


def _quarters(curve: list[dict[str, float]]) -> list[dict[str, float]]:
    """The points at a tenth, a quarter, a half, three quarters and all of the cases."""
    shares = (0.1, 0.25, 0.5, 0.75, 1.0)
    return [curve[max(0, round(share * len(curve)) - 1)] for share in shares] if curve else []


def flat(figures_of: dict[str, Any], prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The figures with intervals in nested dictionaries, each with its path as name."""
    rows = []
    for name, value in figures_of.items():
        if isinstance(value, dict) and "low" in value:
            rows.append((f"{prefix}{name}", value))
        elif isinstance(value, dict):
            rows += flat(value, f"{prefix}{name}: ")
    return rows


def _milliseconds(metrics: Metrics) -> dict[str, Any]:
    stages = {}
    for histogram, kind in ((metrics.step_seconds, "step"), (metrics.component_seconds, "component")):
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
