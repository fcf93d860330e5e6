"""`pinactors calibrate`: the evidence weights fitted to labelled photographs."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from pinactors.analysis.evidence import likelihood
from pinactors.cli import evaluate, terminal
from pinactors.evaluation import calibration, dataset
from pinactors.evaluation.answers import Answer
from pinactors.evaluation.figures import KNOWN


def calibrate(
    folder: evaluate.Folder,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("weights.json"),
    name: Annotated[
        str | None, typer.Option("--version", help="What answers will call it. [default: today's date]")
    ] = None,
    catalog: evaluate.CatalogFolder = None,
    data: evaluate.Data = Path("pinactors-data/evaluation"),
    every: Annotated[int, typer.Option(min=1, help="Take every n-th photo set only.")] = 1,
    first: Annotated[int, typer.Option(min=0, help="Leave out so many sets before the first.")] = 0,
) -> None:
    """Fit the evidence weights and the probability map to photographs of genuine and counterfeit pins.

    Writes a file a person can read. A server uses it with PINACTORS_CALIBRATION=FILE, and its answers name
    the version. Measure the result with `pinactors evaluate` on photographs that were not used here.
    """
    settings = terminal.settings()
    with terminal.explaining():
        photos = dataset.load(folder).photos[first::every]
        start = likelihood.calibration()
        known = tuple(photo for photo in photos if photo.kind in KNOWN)
        imported = evaluate.imported_catalog(catalog or folder / "catalog", data)
        found = evaluate.run(known, imported, settings, None, calibration.dump(_unit(start)))
    if found is None:
        raise typer.Exit(terminal.INTERRUPTED)
    observations = [seen for answer in found[0] if (seen := _observation(answer)) is not None]
    today = dt.datetime.now(dt.UTC).date().isoformat()
    with terminal.explaining():
        fitted = calibration.fit(observations, start, name or f"{today}.{folder.name}")
        output.write_text(calibration.dump(fitted), "utf-8")
    terminal.output.print(f"{output}: {fitted.version}, from {len(observations)} pins.", markup=False)


def _unit(start: likelihood.Calibration) -> likelihood.Calibration:
    """Every bound 1: a row's weight in the answer is then its score."""
    return dataclasses.replace(start, rows=dict.fromkeys(start.rows, likelihood.Bounds(1.0, 1.0)))


def _observation(answer: Answer) -> calibration.Observation | None:
    packet = answer.authenticity
    if packet is None or not packet.evidence:
        return None
    findings = [
        likelihood.Finding(row.name, row.finding, row.weight if row.assessed else None)
        for row in packet.evidence
    ]
    return calibration.Observation(findings, answer.photo.kind == "genuine")
