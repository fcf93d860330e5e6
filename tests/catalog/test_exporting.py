"""Tests of exporting a catalogue: an export can be imported again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pinactors.catalog import models
from pinactors.catalog.exporting import export
from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.importing.rows import OUTLINE_COLUMNS, PIN_COLUMNS
from pinactors.catalog.reader import Catalog
from pinactors.protocol import View
from tests import drawing
from tests.catalog import folders


def test_export_can_be_imported_again(catalog: Catalog, tmp_path: Path) -> None:
    assert export(catalog, tmp_path / "out") == 3
    report = import_catalog(tmp_path / "out", tmp_path / "again")
    assert (report.added, report.problems, report.sales, report.demonstration) == (3, [], 3, True)
    again = Catalog.open(tmp_path / "again")
    assert again.pins() == catalog.pins()
    assert again.sales("T000") == catalog.sales("T000")


def pictures_of(folder: Path) -> dict[str, tuple[Any, ...]]:
    """What the catalogue in `folder` knows about each pin's place in its front picture, by pin id."""
    picture = models.Picture
    columns = (models.Pin.pin_id, picture.outlined, picture.given, picture.mask, picture.to_picture)
    with models.connected(models.database_of(folder)) as database:
        query = picture.select(*columns).join(models.Pin).where(picture.view == str(View.FRONT))
        return {row[0]: row[1:] for row in query.tuples().execute(database)}


def test_an_export_keeps_masks_boxes_and_alpha_channels(tmp_path: Path) -> None:
    source = folders.write_folder(tmp_path / "in", range(5), back=False)
    mask = np.zeros((300, 400), np.uint8)
    cv2.circle(mask, (200, 140), 90, 255, -1)
    cv2.imwrite(str(source / "images/mask.png"), mask)
    pin = drawing.pin_front(2)
    cut_out = cv2.copyMakeBorder(
        np.dstack([pin.rgb[..., ::-1], pin.mask]), 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0)
    )
    cv2.imwrite(str(source / "images/2_front.png"), cut_out)
    changes = {0: {"mask": "mask.png"}, 1: {"box": "0.21,0.2,0.57,0.6"}, 3: {"box": "0.5,0.99,0.3,0.01"}}
    rows = [folders.pin_row(seed, back=False, **changes.get(seed, {})) for seed in range(5)]
    folders.write_csv(source / "pins.csv", [*PIN_COLUMNS, *OUTLINE_COLUMNS], rows)
    assert import_catalog(source, tmp_path / "catalog").problems == []
    catalog = Catalog.open(tmp_path / "catalog")

    export(catalog, tmp_path / "out")
    assert import_catalog(tmp_path / "out", tmp_path / "again").problems == []
    before, again = pictures_of(tmp_path / "catalog"), pictures_of(tmp_path / "again")
    given = [(before[pin_id][0], before[pin_id][1] is not None) for pin_id in sorted(before)]
    assert given == [(True, True), (False, True), (True, True), (False, True), (True, False)]
    assert again["T004"][1] is None
    del before["T004"], again["T004"]  # its outline is found again, in a picture that was compressed again
    assert again == before
    for pin_id in before:
        one, two = (
            each.reference(pin_id, View.FRONT) for each in (catalog, Catalog.open(tmp_path / "again"))
        )
        assert one is not None
        assert two is not None
        assert np.abs(one.rgb.astype(int) - two.rgb).mean() < 2, "only compressed again"
