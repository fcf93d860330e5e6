"""`pinactors feedback`: what people said about analyses, as photographs to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinactors.cli import terminal
from pinactors.cli.keys import Data, with_records
from pinactors.evaluation.export import export

app = typer.Typer(no_args_is_help=True, help="Export what people said about analyses.")


@app.callback()
def group() -> None:
    """Export what people said about analyses."""


@app.command("export")
def export_(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")], data: Data = None
) -> None:
    """Write confirmed analyses as labelled photographs for `evaluate` and `calibrate`.

    Agreement is a label. Disagreement is listed in truth/disagreed.csv, for a person to label.
    """
    opinions = with_records(data, lambda records: records.opinions())
    with terminal.explaining():
        done = export(opinions, terminal.settings(data=data).images_folder, target)
    terminal.output.print(
        f"{done.labelled} labelled and {done.disagreed} disagreed photo sets are in {target}.", markup=False
    )
    if done.without_photographs:
        terminal.errors.print(f"{done.without_photographs} were left out: their photographs are gone.")
