"""Tests of alignment on drawn pins whose pose is known."""

from __future__ import annotations

import numpy as np
import pytest

from pinactors.analysis.imaging.portrait import Portrait
from pinactors.analysis.matching import alignment
from pinactors.analysis.model import CROP_SIDE
from tests.analysis.matching.crops import crop, rotation


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_registration_is_exact_to_a_few_pixels(seed: int) -> None:
    pose = rotation(33, 0.9)
    found_by = alignment.register(Portrait.of(*crop(seed, pose)), Portrait.of(*crop(seed)))
    corners = np.array([[150, 150, 1], [360, 150, 1], [360, 360, 1], [150, 360, 1]], float).T
    wanted, found = pose @ corners, found_by.to_query @ corners
    assert np.abs(wanted[:2] / wanted[2] - found[:2] / found[2]).max() < 4


def test_a_picture_lies_on_itself() -> None:
    """The catalogue's own picture is sent: the registration must accept a cost of zero."""
    portrait = Portrait.of(*crop(2))
    found_by = alignment.register(portrait, portrait)
    assert found_by.cost == pytest.approx(0, abs=1e-6)
    assert found_by.to_query == pytest.approx(np.eye(3), abs=1e-3)


def test_the_overlap_of_silhouettes_is_that_of_their_masks() -> None:
    """A square moved by a quarter of its side shares three quarters of it: 0.75 / 1.25."""
    rgb, mask = np.full((CROP_SIDE, CROP_SIDE, 3), 128, np.uint8), np.zeros((CROP_SIDE, CROP_SIDE), np.uint8)
    mask[128:384, 128:384] = 255
    portrait = Portrait.of(rgb, mask)
    for pixels, expected in ((0, 1.0), (64, 0.6), (256, 0.0)):
        moved = np.array([[1, 0, pixels], [0, 1, 0], [0, 0, 1.0]])
        assert alignment.overlap(portrait, portrait, moved) == pytest.approx(expected, abs=0.02)
