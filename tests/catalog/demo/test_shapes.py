"""Tests of the shapes of which the demonstration's pins are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from pinactors.catalog.demo import shapes


def area(shape: shapes.Shape) -> float:
    """The area of a closed outline, by the shoelace formula."""
    x, y = shape.points.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def test_outlines_have_their_areas_wherever_they_are_and_however_they_are_turned() -> None:
    pi = np.pi
    for shape, expected in (
        (shapes.ellipse("red", 0.3, -0.2, 0.4, 0.3, 30), pi * 0.4 * 0.3),
        (shapes.polygon("red", (0, 0), (0.6, 0), (0, 0.4)), 0.12),
        (shapes.box("red", 0.1, 0.1, 0.4, 0.2), 0.08),
        (shapes.box("red", 0.1, 0.1, 0.4, 0.2, 0.1, 45), 0.2 * 0.2 + pi * 0.1**2),
        (shapes.sector("red", 0, 0, 0.5, 0.3, 0, 90), pi / 4 * (0.5**2 - 0.3**2)),
        (shapes.star("red", 0, 0, 0.5, 0.5, tips=36), pi * 0.5**2),
    ):
        assert area(shape) == pytest.approx(expected, rel=0.02)


def test_a_smooth_curve_goes_through_its_points() -> None:
    points = ((-0.5, 0.0), (0.0, -0.4), (0.5, 0.0), (0.0, 0.4))
    for shape in (shapes.blob("red", *points), shapes.line(*points)):
        for point in points:
            assert np.linalg.norm(shape.points - point, axis=1).min() < 1e-9
    assert shapes.line(*points).colour is None


def test_a_mirrored_shape_is_on_the_other_side() -> None:
    left, right = shapes.mirrored(shapes.polygon("red", (0.1, 0), (0.6, 0), (0.1, 0.4)))
    assert (right.points * (-1, 1)).tolist() == left.points.tolist()
    assert right.colour == "red"
