"""Tests of reading and exporting a catalogue, of the index file, and of the odds that a stamp gives a pin."""

from __future__ import annotations

import dataclasses
import os
import shutil
import weakref
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pinactors.analysis.matching.keypoints import AXES, DIMENSIONS, Features
from pinactors.catalog import index, models, reader
from pinactors.catalog.exporting import export
from pinactors.catalog.importing.importer import exclusive, import_catalog
from pinactors.catalog.importing.rows import OUTLINE_COLUMNS, PIN_COLUMNS
from pinactors.catalog.reader import Catalog
from pinactors.protocol import View
from tests import drawing
from tests.catalog import folders


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("pins")
    rows = [folders.sale(0), folders.sale(0, sold_at="2025-07-01", currency="EUR"), folders.sale(2)]
    changes = {1: {"brand": "", "year": "", "name": 'Quote " and, comma', "factory_code": ""}}
    source = folders.write_folder(folder / "in", range(3), back=False, sales=rows, changes=changes)
    (source / "DEMONSTRATION").touch()
    import_catalog(source, folder / "catalog")
    return Catalog.open(folder / "catalog")


def test_list_and_search(catalog: Catalog) -> None:
    assert [pin.pin_id for pin in catalog.pins()] == ["T000", "T001", "T002"]
    assert [pin.pin_id for pin in catalog.pins(limit=1, offset=1)] == ["T001"]
    assert [pin.pin_id for pin in catalog.pins("otter 2")] == ["T002"]
    assert [pin.pin_id for pin in catalog.pins("comma")] == ["T001"]
    assert catalog.pins("%") == []
    assert catalog.pins("nothing like it") == []


def test_stats(catalog: Catalog) -> None:
    stats = catalog.stats()
    assert (stats.pins, stats.backs, stats.sales, stats.demonstration) == (3, 0, 3, True)
    assert stats.currencies == {"EUR": 1, "USD": 2}
    assert stats.brands == {"ACME": 2}
    assert stats.years == {2015: 2}
    assert (str(stats.sales_from), str(stats.sales_to)) == ("2025-06-01", "2025-07-01")
    assert stats.bytes > 10_000


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


def test_only_the_catalogues_opened_last_stay_mapped(catalog: Catalog, tmp_path: Path) -> None:
    """Each published version has its own folder: mapped files of old ones would use disk space for ever."""
    mapped = []
    for number in range(reader.KEPT_OPEN + 1):
        shutil.copytree(catalog.folder, tmp_path / str(number))
        opened = Catalog.open(tmp_path / str(number)).index
        assert opened is not None
        mapped.append(weakref.ref(opened.pins))
        first = Catalog.open(tmp_path / "0")  # in use all the time
    del opened
    assert [array() is not None for array in mapped] == [True, *[False] * (reader.KEPT_OPEN - 1), True]
    assert Catalog.open(tmp_path / "0") is first
    assert Catalog.open(tmp_path / "1").size == catalog.size, "it is opened again"


def test_an_absent_catalogue_is_empty(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "absent")
    assert (catalog.size, catalog.version, catalog.demonstration) == (0, "", False)
    assert catalog.pins() == []
    assert catalog.pin("T000") is None
    assert catalog.sales("T000") == ()
    assert catalog.stats().pins == 0
    assert not (tmp_path / "absent").exists(), "looking does not make it"


def test_a_catalogue_that_cannot_be_written_is_read(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(catalog.folder, tmp_path / "a catalogue #1?")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    opened = Catalog.open(folder)
    with opened.connected:
        assert opened.pins() == catalog.pins()
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with pytest.raises(OSError, match="cannot be written"), exclusive(folder):
        pass


def test_a_damaged_state_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_text("{")
    with pytest.raises(ValueError, match="import the catalogue again"):
        Catalog.open(tmp_path)


def features(seed: int, count: int = 60) -> Features:
    """Made-up features with random descriptors."""
    chance = np.random.default_rng(seed)
    descriptors = np.abs(chance.standard_normal((count, DIMENSIONS))).astype(np.float32)
    return Features(
        chance.uniform(0, 512, (count, 2)).astype(np.float32),
        chance.uniform(4, 40, count).astype(np.float32),
        chance.uniform(-np.pi, np.pi, count).astype(np.float32),
        chance.integers(0, AXES, count).astype(np.uint8),
        descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True),
    )


def found(folder: Path, name: str, query: Features) -> list[int]:
    return [int(number) for number in index.open_index(folder / name).votes(query).numbers[:1]]


def test_index_finds_adds_and_replaces(tmp_path: Path) -> None:
    name = index.build(tmp_path, 1, None, ((seed, features(seed).encode()) for seed in range(50)))
    assert found(tmp_path, name, features(7)) == [7]

    state = index.IndexState("v", 1, name, 50, False, 1)
    changes = [(7, features(100).encode()), (900, features(101).encode())]
    later = index.build(tmp_path, 2, state, changes)
    assert [found(tmp_path, later, features(seed)) for seed in (100, 101, 30)] == [[7], [900], [30]]
    assert found(tmp_path, later, features(7)) != [7], "the old features are no longer found"

    index.write_state(tmp_path, dataclasses.replace(state, index=later))
    left = {path.name.partition(".")[0] for path in (tmp_path / "index").iterdir()}
    assert left == {"00000002"}
