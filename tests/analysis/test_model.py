"""Tests of boxes around points of a picture."""

from __future__ import annotations

import numpy as np

from pinactors.analysis.model import Reference, box_around
from pinactors.protocol import View


def test_a_box_is_around_the_points_and_within_the_picture() -> None:
    box = box_around(View.FRONT, np.array([[0.25, 0.5], [0.75, 0.625], [0.5, 1.5]]))
    assert box is not None
    assert (box.view, box.x, box.y, box.width, box.height) == (View.FRONT, 0.25, 0.5, 0.5, 0.5)


def test_no_points_and_points_in_a_line_have_no_box() -> None:
    assert box_around(View.FRONT, np.zeros((0, 2))) is None
    assert box_around(View.FRONT, np.array([[0.2, 0.1], [0.2, 0.9]])) is None
    assert box_around(View.FRONT, np.array([[1.2, 0.1], [1.5, 0.9]])) is None, "outside the picture"


def test_a_region_of_the_crop_is_one_of_the_catalogue_picture() -> None:
    points = np.array([[100, 100], [200, 300]], np.float32)
    crop, mask = np.zeros((512, 512, 3), np.uint8), np.zeros((512, 512), np.uint8)
    to_picture = np.array([[0.001, 0, 0.1], [0, 0.002, 0], [0, 0, 1]])
    box = Reference(View.BACK, crop, mask, to_picture=to_picture).region(points)
    assert box is not None
    assert (box.view, box.x, box.y, box.width, box.height) == (View.BACK, 0.2, 0.2, 0.1, 0.4)
    assert Reference(View.BACK, crop, mask).region(points) is None
