"""Tests of fitting the segmentation to labelled outlines, on drawn photographs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.segmentation import proposal_score
from pinactors.analysis.segmentation.proposal_score import CONFIDENCE_NAMES, NAMES, SIGNS
from pinactors.catalog.pictures import MAX_PIXELS
from pinactors.evaluation import cutouts
from pinactors.evaluation.cutouts import MeasuredPhoto
from pinactors.evaluation.dataset import LabelledPhotoSet, PinKind
from pinactors.protocol import View
from tests import drawing

SHIPPED = proposal_score.shipped()


def labelled(folder: Path, enlarged: int = 1) -> tuple[LabelledPhotoSet, LabelledPhotoSet]:
    """Writes a photograph of a pin with its labelled outline, and one of a blank table."""
    scene = drawing.photograph(drawing.pin_front(1), drawing.background("wood", 480, 360, 1), angle=20)
    (contour, *_), _ = cv2.findContours(scene.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for name, rgb in (("1", scene.rgb), ("2", drawing.background("cloth", 480, 360, 2))):
        large = cv2.resize(rgb, None, fx=enlarged, fy=enlarged)
        cv2.imwrite(str(folder / f"{name}.png"), cv2.cvtColor(large, cv2.COLOR_RGB2BGR))
    (folder / "truth").mkdir()
    row = {"photo_id": "1", "views": {"front": {"outline": (contour[:, 0] * enlarged).tolist()}, "back": {}}}
    (folder / "truth" / "outlines.jsonl").write_text(json.dumps(row) + "\n")
    return (
        LabelledPhotoSet("1", PinKind.GENUINE, "P1", (), {View.FRONT: folder / "1.png"}),
        LabelledPhotoSet("2", PinKind.NOT_A_PIN, None, (), {View.FRONT: folder / "2.png"}),
    )


def test_regions_and_cuts_are_held_against_the_outline(tmp_path: Path) -> None:
    pin, table = labelled(tmp_path)
    known = cutouts.outlines(tmp_path)
    ((view, truth),) = cutouts.views_of(pin, known)
    assert view is View.FRONT
    assert truth is not None
    seen = cutouts.measure_photo(pin, view, truth)
    assert seen is not None
    assert seen.regions.shape == (len(seen.covers), len(NAMES))
    assert seen.covers.any()
    assert seen.cut_covers
    beside = cutouts.measure_photo(pin, view, truth + np.array([200, 0]))
    assert beside is not None
    assert not beside.cut_covers
    assert cutouts.views_of(table, known) == [(View.FRONT, None)]
    blank = cutouts.measure_photo(table, View.FRONT, None)
    assert blank is None or not blank.covers.any()


def test_outlines_are_in_the_pixels_of_the_photograph_also_if_it_is_reduced_to_be_analysed(
    tmp_path: Path,
) -> None:
    pin, _ = labelled(tmp_path, enlarged=4)
    assert decode(pin.images[View.FRONT].read_bytes(), View.FRONT, MAX_PIXELS).scale < 1
    seen = cutouts.measure_photo(pin, View.FRONT, cutouts.outlines(tmp_path)["1", View.FRONT])
    assert seen is not None
    assert seen.cut_covers


def test_bad_outlines_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no truth/outlines\.jsonl"):
        cutouts.outlines(tmp_path)
    (tmp_path / "truth").mkdir()
    path = tmp_path / "truth" / "outlines.jsonl"
    for line in ("{", "[]", '{"photo_id": 1, "views": {"front": {"outline": [1, 2, 3]}}}'):
        path.write_text('{"photo_id": "0", "views": {}}\n' + line + "\n")
        with pytest.raises(ValueError, match="line 2 is not an outline"):
            cutouts.outlines(tmp_path)


def made_up(count: int, told_by: str, way: int) -> list[MeasuredPhoto]:
    """Pictures of three regions and a cut each, in which only the measure `told_by` indicates the pin: larger
    is likelier if `way` is 1, smaller if it is -1."""
    rng = np.random.default_rng(5)
    photos = []
    for number in range(count):
        regions = rng.normal(0, 0.01, (3, len(NAMES)))
        regions[:, NAMES.index(told_by)] = rng.permutation(3)
        best = (way * regions[:, NAMES.index(told_by)]).argmax()
        cut = rng.normal(0, 0.01, len(CONFIDENCE_NAMES))
        cut[CONFIDENCE_NAMES.index(told_by)] = rng.normal()
        covers = bool(way * cut[CONFIDENCE_NAMES.index(told_by)] > 0.3 * rng.normal())
        photos.append(MeasuredPhoto(f"P{number % 20}", regions, np.arange(3) == best, cut, covers))
    return photos


def test_a_fit_finds_what_tells_the_pin_and_turns_no_sign() -> None:
    start = dataclasses.replace(SHIPPED, region=np.zeros(len(NAMES)), cut=np.zeros(1 + len(CONFIDENCE_NAMES)))
    at = NAMES.index("contrast")
    fitted = cutouts.fit(made_up(80, "contrast", 1), start)
    assert fitted.region[at] > 1
    assert fitted.cut[1 + CONFIDENCE_NAMES.index("contrast")] > 1
    against = cutouts.fit(made_up(80, "contrast", -1), start)
    assert against.region[at] == 0
    for names, values in ((NAMES, against.region), (CONFIDENCE_NAMES, against.cut[1:])):
        assert all(SIGNS[name] * value >= 0 for name, value in zip(names, values, strict=True))
    figures = cutouts.out_of_fold(made_up(80, "contrast", 1), start, 4)
    assert figures["best region covers the pin"]["value"] > 0.95
    assert figures["Brier score of the confidence"]["value"] < 0.15


def test_what_the_photographs_do_not_show_stays_and_the_file_is_read_again() -> None:
    photos = made_up(40, "contrast", 1)
    flat = [dataclasses.replace(one, regions=np.ones((3, len(NAMES)))) for one in photos]
    fitted = cutouts.fit(flat, SHIPPED)
    np.testing.assert_allclose(fitted.region, SHIPPED.region, atol=1e-3)
    model = json.loads(cutouts.dump(fitted, "drawn", cutouts.out_of_fold(photos, SHIPPED, 2)))
    assert model["fitted"] == "drawn"
    assert list(model["region"]) == list(NAMES)
    assert list(model["cut"]) == ["intercept", *CONFIDENCE_NAMES]
    with pytest.raises(ValueError, match="covers the pin and others"):
        cutouts.fit([dataclasses.replace(one, cut_covers=True) for one in photos], SHIPPED)
