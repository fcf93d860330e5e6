"""Tests that keypoints are found and described alike, however the search saves work."""

from __future__ import annotations

import cv2
import numpy as np

from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.matching import keypoints


def test_keypoints_described_after_the_choice_have_the_descriptors_of_all_together() -> None:
    texture = np.random.default_rng(5).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    picture = as_image(cv2.resize(texture, (640, 480), interpolation=cv2.INTER_CUBIC))
    everything = np.full(picture.shape[:2], 255, np.uint8)
    chosen, together = (keypoints.extract(picture, mask, (400, 300), 400) for mask in (None, everything))
    lightness = chosen.axes == 0
    assert lightness.sum() == 200  # there were more: some had to be left out
    assert np.array_equal(chosen.points, together.points)
    assert np.array_equal(chosen.descriptors[lightness], together.descriptors[lightness])
