"""`pinactors calibrate`: fits the evidence weights to labelled photographs."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Annotated, Any

import typer

from pinactors.analysis.evidence import likelihood
from pinactors.cli import evaluate, interruptible, terminal
from pinactors.evaluation import calibration, dataset, minimisation
from pinactors.evaluation.answers import Answer
from pinactors.evaluation.dataset import CATALOGUED_KINDS, LabelledPhotoSet


def calibrate(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Folders with photos/, truth/ and, usually, catalog/."),
    ],
    output: evaluate.Output = Path("weights.json"),
    name: Annotated[
        str | None, typer.Option("--version", help="Version that answers will name. [default: today's date]")
    ] = None,
    catalog: evaluate.CatalogFolder = None,
    data: evaluate.Data = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="Weights to start from and stay near. [default: those reasoned without photographs]"
        ),
    ] = None,
    folds: Annotated[
        int,
        typer.Option(min=0, help="Number of folds of pins to cross-validate such weights with. [0: none]"),
    ] = 0,
    every: evaluate.Every = 1,
    first: evaluate.First = 0,
) -> None:
    """Fit the evidence weights and the probability map to photographs of genuine and counterfeit pins.

    Writes a file that a person can read. A server uses it with PINACTORS_CALIBRATION=FILE, and its answers
    name the version. With `--folds` the figures are cross-validated: each is of pins that were not in the
    fit. Figures of `pinactors evaluate` on the photographs used here would be too good.
    """
    settings = terminal.settings()
    with terminal.explaining():
        minimisation.check_installed()
        begin = likelihood.parse_calibration(start.read_text("utf-8")) if start else likelihood.reasoned()
        sets = {folder: _labelled(folder, first, every) for folder in folders}
        pins = {_pin(photo, folder) for folder, photos in sets.items() for photo in photos}
        calibration.check_folds(folds, len(pins))  # before hours of work
    observations: list[calibration.Observation] = []
    for folder, known in sets.items():
        with terminal.explaining():
            imported = evaluate.imported_catalog(catalog or folder / "catalog", data)
            found = evaluate.run(known, imported, settings, None, calibration.dump(_unit(begin)))
        if found is None:
            raise typer.Exit(interruptible.INTERRUPTED)
        observations += [one for answer in found[0] if (one := _observation(answer, folder)) is not None]
    today = dt.datetime.now(dt.UTC).date().isoformat()
    names = ", ".join(folder.name for folder in folders)
    with terminal.explaining():
        if folds:
            _print_figures(calibration.out_of_fold(observations, begin, folds).figures(), folds)
        fitted = calibration.fit(observations, begin, name or f"{today}.{folders[0].name}")
        seen = len({one.pin for one in observations})
        on = f"{len(observations)} photo sets of {seen} pins of {names}"
        fitted = dataclasses.replace(fitted, fitted_on=on)
        output.write_text(calibration.dump(fitted), "utf-8")
    terminal.output.print(f"{output}: {fitted.version}, from {fitted.fitted_on}.")


def _print_figures(figures: dict[str, Any], folds: int) -> None:
    """Prints the cross-validated figures, and what was not chosen inside the folds."""
    rows = [
        (label, *evaluate.cells(figure), str(figure["n"]), str(figure["pins"]))
        for label, figure in figures.items()
    ]
    columns = ("", *evaluate.CELLS, "photographs", "pins")
    terminal.output.print(evaluate.table(f"Out of fold, {folds} folds by pin", columns, rows))
    terminal.output.print(NOT_IN_FOLDS)


NOT_IN_FOLDS = (
    "Fitted inside the folds: the bounds of every row and the prior. Chosen beforehand, elsewhere: "
    "which rows there are, where a measurement counts as good or bad, the caps of groups, the spread of the "
    "fit's prior, and from which probability a verdict is given."
)


def _labelled(folder: Path, first: int, every: int) -> tuple[LabelledPhotoSet, ...]:
    """The photo sets of pins that are labelled genuine or counterfeit."""
    return tuple(
        photo for photo in dataset.load(folder).photos[first::every] if photo.kind in CATALOGUED_KINDS
    )


def _pin(photo: LabelledPhotoSet, folder: Path) -> str:
    return f"{folder.name}/{photo.pin_id or photo.photo_id}"


def _unit(start: likelihood.Calibration) -> likelihood.Calibration:
    """The calibration with every bound set to 1, so that a row's weight in the answer is its score."""
    return dataclasses.replace(start, rows=dict.fromkeys(start.rows, likelihood.Bounds(1.0, 1.0)))


def _observation(answer: Answer, folder: Path) -> calibration.Observation | None:
    packet = answer.authenticity
    if packet is None or packet.note or not packet.evidence:
        return None  # a basic or timed-out answer has only some of the measurements
    measurements = [
        likelihood.Measurement(row.name, row.finding, row.weight if row.assessed else None)
        for row in packet.evidence
    ]
    return calibration.Observation(measurements, answer.photo.kind == "genuine", _pin(answer.photo, folder))
