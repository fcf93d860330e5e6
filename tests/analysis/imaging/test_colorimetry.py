"""Tests of colour differences and conversions against published values."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging.colorimetry import (
    difference,
    encoded,
    lab_of_linear,
    lab_of_srgb,
    linear,
)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # Sharma, Wu and Dalal 2005, table 1
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_colour_differences_are_those_of_the_standard(
    first: tuple[float, ...], second: tuple[float, ...], expected: float
) -> None:
    assert difference(np.array(first), np.array(second)) == pytest.approx(expected, abs=1e-4)


def test_colours_through_linear_light_and_back() -> None:
    rgb = np.array([[0.2, 0.5, 0.9], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    lab = lab_of_linear(linear(rgb))
    direct = cv2.cvtColor(rgb[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    assert np.abs(lab - direct).max() < 0.2  # OpenCV uses lookup tables
    assert encoded(linear(rgb)) == pytest.approx(rgb, abs=1e-6)
    assert lab_of_srgb(np.array([[[255, 0, 0]]], np.uint8))[0, 0] == pytest.approx(
        [53.24, 80.09, 67.20], abs=0.1
    )
    assert lab_of_linear(np.array([1.0, 0.0, 0.0])) == pytest.approx([53.24, 80.09, 67.20], abs=0.03)
