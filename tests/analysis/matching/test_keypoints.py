"""Tests that keypoints are found and described alike, however the search saves work, and can be stored."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.matching import keypoints
from pinactors.analysis.matching.keypoints import Features
from tests.analysis.matching.poses import features_of


def test_keypoints_described_after_the_choice_have_the_descriptors_of_all_together() -> None:
    texture = np.random.default_rng(5).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    picture = as_image(cv2.resize(texture, (640, 480), interpolation=cv2.INTER_CUBIC))
    everything = np.full(picture.shape[:2], 255, np.uint8)
    chosen, together = (keypoints.extract(picture, mask, (400, 300), 400) for mask in (None, everything))
    lightness = chosen.axes == 0
    assert lightness.sum() == 200  # there were more: some had to be left out
    assert np.array_equal(chosen.points, together.points)
    assert np.array_equal(chosen.descriptors[lightness], together.descriptors[lightness])


def test_features_survive_their_storage() -> None:
    kept = features_of(4)
    again = Features.decode(kept.encode())
    assert np.abs(again.points - kept.points).max() < 0.02
    assert np.array_equal(again.axes, kept.axes)
    assert (again.descriptors * kept.descriptors).sum(1).min() > 0.95
    assert np.cos(again.angles - kept.angles).min() > 0.999
    with pytest.raises(ValueError, match="buffer size"):
        Features.decode(b"damaged")
