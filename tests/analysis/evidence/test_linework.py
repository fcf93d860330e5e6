"""Tests of the drawing's shape and its lines, photographed from different directions."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import cv2
import numpy as np

from pinactors.analysis.evidence import colours, linework
from pinactors.analysis.evidence.comparison import Comparison
from pinactors.analysis.evidence.likelihood import Measurement
from pinactors.protocol import View
from tests import drawing
from tests.analysis import prepared
from tests.analysis.evidence import drawn
from tests.drawing import Pin


def test_the_same_drawing_speaks_for_itself() -> None:
    rows = drawn.geometry(drawn.compared(drawn.FRONT, angle=7, tilt=8))
    assert drawn.score(rows["front_geometry"]) > 0.3
    assert drawn.score(rows["front_lines"]) > 0.3


def test_a_view_laid_askew_is_put_right_without_a_perspective() -> None:
    """With such a shift, lines are nearer to their neighbours' places than to their own, which disturbs the
    fit."""
    found = drawn.compared(drawn.FRONT)
    askew = np.array([[1, 0.03, 12], [-0.03, 1, -6], [0, 0, 1.0]])
    photo = np.asarray(cv2.warpPerspective(found.photo, askew, found.photo.shape[:2]), np.uint8)
    traced = linework.trace(dataclasses.replace(found, photo=photo))
    assert traced is not None
    assert np.abs(traced.correction[2, :2]).max() * 256 < 0.01


def test_a_drawing_is_not_blamed_where_nothing_lies_on_its_picture() -> None:
    bad = drawn.compared(drawn.warped(drawn.FRONT, 5, 320))
    for agreement, overlap, assessed in ((0.6, 0.7, False), (0.6, 0.95, True), (0.9, 0.7, True)):
        row = drawn.geometry(dataclasses.replace(bad, agreement=agreement, overlap=overlap))["front_geometry"]
        assert (row.score is not None) is assessed


def test_a_drawing_drawn_again_is_seen() -> None:
    rows = drawn.geometry(drawn.compared(drawn.warped(drawn.FRONT, 5, 320)))
    assert drawn.score(rows["front_geometry"]) < -0.5
    assert rows["front_geometry"].region is not None


def test_wavering_lines_are_seen() -> None:
    rows = drawn.geometry(drawn.compared(drawn.warped(drawn.FRONT, 2.5, 24)))
    assert drawn.score(rows["front_lines"]) < -0.3
    assert (
        drawn.score(rows["front_lines"])
        < drawn.score(drawn.geometry(drawn.compared(drawn.FRONT))["front_lines"]) - 0.5
    )


def test_nothing_is_said_without_a_comparison() -> None:
    for row in linework.rows(None, None):
        assert row.score is None
        assert row.text


def test_reflections_beside_lines_are_not_taken_for_them() -> None:
    """A raised metal edge reflects a bright line beside the edge between two paints."""
    found = drawn.compared(drawn.FRONT)
    lab = cv2.cvtColor(found.photo, cv2.COLOR_RGB2LAB)
    ridge = cv2.morphologyEx(lab[..., 1], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 12
    beside = cv2.warpAffine(ridge.astype(np.float32), np.array([[1, 0, 3.0], [0, 1, 2.0]]), ridge.shape[::-1])
    lab[..., 0] = np.clip(lab[..., 0] + 100 * cv2.GaussianBlur(beside, (0, 0), 1.0), 0, 255)
    lit = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)
    traced = linework.trace(dataclasses.replace(found, photo=lit))
    assert traced is not None
    assert np.median(np.abs(traced.offset - traced.shift)) < 0.05, "0.07 by lightness alone"


METALS = colours.metal_tones({View.FRONT: prepared.reference(drawn.FRONT, View.FRONT)})


@lru_cache(2)
def thickened(pin: Pin, pixels: int) -> Pin:
    """The pin with its dark metal lines `pixels` pixels (of `PIN_SIDE`) thicker on each side."""
    metal = (pin.rgb.max(axis=2) < 80).astype(np.uint8)
    thick = cv2.dilate(metal, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1,) * 2))
    rgb = pin.rgb.copy()
    rgb[(thick > 0) & (metal == 0) & (pin.mask > 0)] = drawing.METALS["black"]
    return Pin(rgb, pin.mask)


def width(*views: Comparison | None) -> Measurement:
    """The measurement `front_line_width` on photographs, of which the first is taken straight on."""
    return linework.width([(seen, linework.trace(seen) if seen else None) for seen in views], METALS)


def test_thick_lines_are_seen_and_lines_as_thick_as_they_are_not() -> None:
    good, thick = (
        drawn.compared(drawn.FRONT, angle=12),
        drawn.compared(thickened(drawn.FRONT, 2), angle=12, tilt=6),
    )
    assert drawn.score(width(good)) > 0
    assert drawn.score(width(thick)) < -0.5
    assert drawn.score(width(thick, drawn.compared(thickened(drawn.FRONT, 2), tilt=30))) < -0.5


def test_lines_thicker_in_one_photograph_only_are_its_light() -> None:
    good, thick = drawn.compared(drawn.FRONT), drawn.compared(thickened(drawn.FRONT, 2))
    assert drawn.score(width(thick, good)) == drawn.score(width(good))
    assert drawn.score(width(good, thick)) == drawn.score(width(good))
    assert width(None, thick).score is None, "a photograph from the side alone says nothing"


def test_thickness_is_not_measured_without_metal_or_a_fit() -> None:
    thick = drawn.compared(thickened(drawn.FRONT, 2))
    traced = linework.trace(thick)
    assert linework.width([(thick, None)], METALS).score is None
    assert linework.width([(thick, traced)], []).score is None
    assert traced is not None
    some = {name: getattr(traced, name)[:50] for name in ("points", "normals", "offset")}
    assert linework.width([(thick, dataclasses.replace(traced, **some))], METALS).score is None
    assert width(dataclasses.replace(thick, agreement=0.6, overlap=0.7)).score is None
