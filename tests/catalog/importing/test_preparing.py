"""Tests of preparing catalogue pictures: an unclear outline is accepted, a given mask or box is used."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
from pillow_heif import register_heif_opener

from pinactors.analysis.imaging.geometry import largest_outline
from pinactors.analysis.matching import keypoints
from pinactors.analysis.model import Reference
from pinactors.catalog import pictures
from pinactors.catalog.exporting import export
from pinactors.catalog.importing.importer import import_catalog, rebuild_catalog
from pinactors.catalog.importing.rows import ImportReport
from pinactors.catalog.reader import Catalog
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared
from tests.catalog import folders

register_heif_opener()

OPTIONAL = ["mask", "box"]


def imported(tmp_path: Path, **changes: str) -> tuple[ImportReport, Reference | None]:
    folder = tmp_path / "in"
    rows = [folders.pin_row(2, back=False, **changes)]
    folders.write_csv(folder / "pins.csv", folders.PIN_HEADER + OPTIONAL, rows)
    report = import_catalog(folder, tmp_path / "catalog")
    return report, Catalog.open(tmp_path / "catalog").reference("T002", View.FRONT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folders.write_folder(tmp_path / "in", [2], back=False)


def share(mask: np.ndarray) -> float:
    return float((mask > 127).mean())


def test_a_picture_without_a_clear_outline_is_taken_with_a_reservation(folder: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    busy = cv2.resize(noise, (600, 400), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / "images/2_front.png"), busy)
    report, reference = imported(tmp_path)
    assert (report.added, report.problems) == (1, [])
    assert ["is used whole" in warning.message for warning in report.warnings] == [True]
    assert reference is not None
    assert not reference.outlined


def test_a_mask_says_where_the_pin_is(folder: Path, tmp_path: Path) -> None:
    mask = np.zeros((400, 400), np.uint8)
    cv2.circle(mask, (200, 200), 90, 255, -1)
    cv2.imwrite(str(folder / "images/mask.png"), mask)
    report, reference = imported(tmp_path, mask="images/mask.png")
    assert (report.problems, report.warnings) == ([], [])
    assert reference is not None
    assert reference.outlined
    assert share(reference.mask) == pytest.approx(np.pi * 0.46**2, abs=0.03), "a disc that fills the crop"


@pytest.mark.parametrize("box", ["0.25,0.25,0.5,0.5", "0.25; 0.25; 0.5; 0.5"])
def test_a_box_says_where_the_pin_is(folder: Path, tmp_path: Path, box: str) -> None:
    report, reference = imported(tmp_path, box=box)
    assert report.problems == []
    assert reference is not None
    assert not reference.outlined, "a box is no outline"
    assert reference.region(np.array([[0, 0], [511, 511]], np.float32)) is not None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"box": "0.5,0.5,0.9,0.1"}, "box"),
        ({"box": "left half"}, "box"),
        ({"mask": "images/none.png"}, "mask"),
        ({"mask": "pins.csv"}, "mask"),
        ({"mask": "images/2_front.png"}, ""),
    ],
)
def test_what_is_no_mask_or_box_is_named(
    folder: Path, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    report, _ = imported(tmp_path, **changes)
    assert [said in problem.message for problem in report.problems] == ([True] if said else [])


def test_a_cut_out_keeps_its_own_outline(folder: Path, tmp_path: Path) -> None:
    pin = drawing.pin_front(2)
    rgba = np.dstack([pin.rgb[..., ::-1], pin.mask])
    padded = cv2.copyMakeBorder(rgba, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    cv2.imwrite(str(folder / "images/2_front.png"), padded)
    report, reference = imported(tmp_path)
    assert (report.problems, report.warnings) == ([], [])
    assert reference is not None
    assert reference.outlined
    found = pictures.opaque((folder / "images/2_front.png").read_bytes(), padded.shape[1::-1])
    assert found is not None
    assert share(found) == pytest.approx(share(padded[..., 3]), abs=0.01)


HOLED = prepared.with_holes(drawing.pin_front(2))
HOLES = share(drawing.pin_front(2).mask) - share(HOLED.mask)


def test_what_has_the_colour_of_the_ground_may_be_a_hole(folder: Path, tmp_path: Path) -> None:
    table = drawing.background("white", 640, 640)
    scene = drawing.photograph(HOLED, table, share=0.9, noise=1, blur=0.3)
    cv2.imwrite(str(folder / "images/2_front.png"), scene.rgb[..., ::-1])
    report, reference = imported(tmp_path)
    assert (report.problems, report.warnings) == ([], [])
    assert reference is not None
    assert reference.ground is not None
    assert (reference.mask[reference.ground > 0] == 255).all(), "it may as well be paint"
    holes = share(reference.ground) / share(reference.mask) / (HOLES / share(drawing.pin_front(2).mask))
    assert 0.7 < holes < 1.05, "without the pin's shadow on the ground"


def test_no_hole_is_suspected_in_a_pin_without_the_grounds_colour(folder: Path, tmp_path: Path) -> None:
    assert folder.is_dir()
    _, reference = imported(tmp_path)
    assert reference is not None
    assert reference.ground is None


def test_the_holes_of_a_cut_out_are_not_part_of_the_pin(folder: Path, tmp_path: Path) -> None:
    rgba = np.dstack([HOLED.rgb[..., ::-1], HOLED.mask])
    cv2.imwrite(str(folder / "images/2_front.png"), rgba)
    _, reference = imported(tmp_path)
    assert reference is not None
    assert reference.ground is None
    filled = cv2.fillPoly(
        np.zeros_like(reference.mask), [largest_outline(reference.mask).astype(np.int32)], 255
    )
    assert 1 - share(reference.mask) / share(filled) == pytest.approx(
        HOLES / share(drawing.pin_front(2).mask), rel=0.1
    )


def test_a_catalogue_of_the_first_schema_is_rebuilt_from_its_pictures(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "catalog"
    import_catalog(folder, target)
    taken = folders.photograph(2, View.FRONT)
    assert folders.identify(target, taken).identified
    with sqlite3.connect(target / "catalog.sqlite3") as database:
        for column in ("outlined", "given", "features", "to_picture"):
            database.execute(f"ALTER TABLE picture DROP COLUMN {column}")
        for column in ("portrait", "layout"):
            database.execute(f"ALTER TABLE picture ADD COLUMN {column} BLOB")
        database.execute("UPDATE fact SET value = '1' WHERE name = 'schema'")
    database.close()
    current = target / "CURRENT"
    current.write_text(current.read_text().replace(f'"features": {keypoints.VERSION}', '"features": 1'))
    old = folders.identify(target, taken)
    assert not old.identified
    assert Catalog.open(target).outdated
    assert "cannot be searched" in old.reason
    assert export(Catalog.open(target), tmp_path / "out") == 1
    (folder / "pins.csv").unlink()
    report = rebuild_catalog(target)
    assert (report.updated, report.size, report.problems) == (1, 1, [])
    assert folders.identify(target, taken).identified
    with pytest.raises(FileNotFoundError):
        rebuild_catalog(tmp_path / "absent")
