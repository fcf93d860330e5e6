"""`pinactors feedback`: exports people's feedback on analyses as labelled photographs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from pinactors.cli import terminal
from pinactors.cli.keys import Data, with_records
from pinactors.evaluation.export import export
from pinactors.records.feedback import Opinion
from pinactors.storage.images import ImageStore, open_image_store
from pinactors.storage.stored_image import StoredImage

app = typer.Typer(no_args_is_help=True, help="Export what people said about analyses.")


@app.callback()
def group() -> None:
    """Export what people said about analyses."""


@app.command("export")
def export_(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")], data: Data = None
) -> None:
    """Write confirmed analyses as labelled photographs for `evaluate` and `calibrate`.

    Agreement and corrected verdicts become labels in truth/photos.csv; other disagreement is listed in
    truth/disagreed.csv, for a person to label; truth/said.csv has all feedback, with the corrected verdict,
    pin and price. Agreement is not truth: people tend to agree with an answer, and figures from a set of
    agreements say how often people agreed, not how often the engine was right.
    """
    opinions = with_records(data, lambda records: records.opinions())
    settings = terminal.settings(data=data)
    with terminal.explaining():
        _fetch_photographs(opinions, open_image_store(settings), settings.images_folder)
        done = export(opinions, settings.images_folder, target)
    terminal.output.print(
        f"{done.labelled} labelled and {done.disagreed} disagreed photo sets were written to {target}.",
    )
    if done.without_photographs:
        terminal.errors.print(f"{done.without_photographs} were left out: their photographs are gone.")


def _fetch_photographs(opinions: Iterable[Opinion], store: ImageStore, folder: Path) -> None:
    """Fetches photographs that other machines received; the export leaves out those that no longer exist."""
    for opinion in opinions:
        for path in opinion.images.values():
            with suppress(FileNotFoundError):
                store.fetch(StoredImage(str(folder / path), Path(path).name, 0))
