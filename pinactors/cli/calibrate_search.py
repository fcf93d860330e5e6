"""`pinactors calibrate-search`: fits the probability of a catalogue match to labelled photographs."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated

import typer

from pinactors.analysis.matching import probability
from pinactors.cli import terminal
from pinactors.cli.evaluate import Data, Folds, Output, imported_catalog, print_figures
from pinactors.compute.process_pool import process_pool
from pinactors.evaluation import dataset, matching, minimisation


def calibrate_search(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Labelled sets, as for evaluate; one fit for all.")
    ],
    output: Output = Path("probability.json"),
    data: Data = None,
    folds: Folds = 5,
) -> None:
    """Fit the probability that a catalogue match is right, on labelled photographs: by the front, and by the
    back if there are backs.

    The file replaces pinactors/analysis/matching/probability.json. The figures are cross-validated: each is
    of pins that were not in the fit.
    """
    with terminal.explaining():
        minimisation.check_installed()
    with terminal.explaining(), process_pool() as pool:
        waiting: list[Future[matching.ComparedPhoto]] = []
        for folder in folders:
            given = dataset.load(folder)
            catalog = imported_catalog(given.catalog, data)
            waiting += [pool.submit(matching.compare, catalog, photo) for photo in given.photos]
        compared = terminal.results_of("comparing", waiting)
        figures = matching.out_of_fold(compared, folds)
        sets = ", ".join(folder.resolve().name for folder in folders)
        fitted = f"{len(compared)} photo sets of {sets}; the figures are out of fold, {folds} folds by pin"
        models = probability.shipped() | {
            section: {
                "fitted": fitted,
                "figures": {name: figure["value"] for name, figure in figures.get(section, {}).items()},
                **model,
            }
            for section, model in matching.fit(compared).items()
        }
        output.write_text(json.dumps(models, indent=2) + "\n", "utf-8")
    print_figures({name: figure for part in figures.values() for name, figure in part.items()})
