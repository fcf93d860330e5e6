"""`pinactors calibrate-cutouts`: fits the coefficients of cut-outs to photographs with outlined pins."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Annotated

import typer

from pinactors.analysis.segmentation import proposal_score
from pinactors.cli import terminal
from pinactors.cli.evaluate import Every, Folds, Output, print_figures
from pinactors.compute.process_pool import process_pool
from pinactors.evaluation import cutouts, dataset, minimisation


def calibrate_cutouts(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Labelled sets with truth/outlines.jsonl; one fit for all."),
    ],
    output: Output = Path("score.json"),
    folds: Folds = 5,
    every: Every = 1,
) -> None:
    """Fit how pins are separated from their background, on photographs with outlined pins.

    The file replaces pinactors/analysis/segmentation/score.json; the fit is kept close to the coefficients in
    that file. The figures are cross-validated: each is of pins that were not in the fit.
    """
    with terminal.explaining():
        minimisation.check_installed()
    with terminal.explaining(), process_pool() as pool:
        waiting: list[Future[cutouts.MeasuredPhoto | None]] = []
        for folder in folders:
            known = cutouts.outlines(folder)
            for photo in dataset.load(folder).photos[::every]:
                for view, truth in cutouts.views_of(photo, known):
                    waiting.append(pool.submit(cutouts.measure_photo, photo, view, truth))
        photos = [one for one in terminal.results_of("cutting out", waiting) if one is not None]
        start = proposal_score.shipped()
        figures = cutouts.out_of_fold(photos, start, folds)
        sets = ", ".join(folder.resolve().name for folder in folders)
        fitted_on = f"{len(photos)} photographs of {sets}; the figures are out of fold, {folds} folds by pin"
        output.write_text(cutouts.dump(cutouts.fit(photos, start), fitted_on, figures), "utf-8")
    print_figures(figures)
