"""The drawing's shape and its lines, under any view."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from pinactors.analysis.evidence import linework
from tests.analysis.evidence import drawn


def test_the_same_drawing_speaks_for_itself() -> None:
    rows = drawn.geometry(drawn.seen(drawn.FRONT, angle=7, tilt=8))
    assert drawn.score(rows["front_geometry"]) > 0.3
    assert drawn.score(rows["front_lines"]) > 0.3


def test_a_view_laid_askew_is_put_right_without_a_perspective() -> None:
    """Lines lie further from their places than from their neighbours', and pull the fit every way."""
    found = drawn.seen(drawn.FRONT)
    askew = np.array([[1, 0.03, 12], [-0.03, 1, -6], [0, 0, 1.0]])
    photo = np.asarray(cv2.warpPerspective(found.photo, askew, found.photo.shape[:2]), np.uint8)
    traced = linework.trace(dataclasses.replace(found, photo=photo))
    assert traced is not None
    assert np.abs(traced.correction[2, :2]).max() * 256 < 0.01


def test_a_drawing_is_not_blamed_where_nothing_lies_on_its_picture() -> None:
    bad = drawn.seen(drawn.warped(drawn.FRONT, 5, 320))
    for agreement, overlap, assessed in ((0.6, 0.7, False), (0.6, 0.95, True), (0.9, 0.7, True)):
        row = drawn.geometry(dataclasses.replace(bad, agreement=agreement, overlap=overlap))["front_geometry"]
        assert (row.score is not None) is assessed


def test_a_drawing_drawn_again_is_seen() -> None:
    rows = drawn.geometry(drawn.seen(drawn.warped(drawn.FRONT, 5, 320)))
    assert drawn.score(rows["front_geometry"]) < -0.5
    assert rows["front_geometry"].region is not None


def test_wavering_lines_are_seen() -> None:
    rows = drawn.geometry(drawn.seen(drawn.warped(drawn.FRONT, 2.5, 24)))
    assert drawn.score(rows["front_lines"]) < -0.3
    assert (
        drawn.score(rows["front_lines"])
        < drawn.score(drawn.geometry(drawn.seen(drawn.FRONT))["front_lines"]) - 0.5
    )


def test_nothing_is_said_without_a_comparison() -> None:
    for row in linework.rows(None, None):
        assert row.score is None
        assert row.text


def test_reflections_beside_lines_are_not_taken_for_them() -> None:
    """A raised metal edge shows a bright line beside the change of paint."""
    found = drawn.seen(drawn.FRONT)
    lab = cv2.cvtColor(found.photo, cv2.COLOR_RGB2LAB)
    ridge = cv2.morphologyEx(lab[..., 1], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 12
    beside = cv2.warpAffine(ridge.astype(np.float32), np.array([[1, 0, 3.0], [0, 1, 2.0]]), ridge.shape[::-1])
    lab[..., 0] = np.clip(lab[..., 0] + 100 * cv2.GaussianBlur(beside, (0, 0), 1.0), 0, 255)
    lit = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)
    traced = linework.trace(dataclasses.replace(found, photo=lit))
    assert traced is not None
    assert np.median(np.abs(traced.offset - traced.shift)) < 0.05, "0.07 by lightness alone"
