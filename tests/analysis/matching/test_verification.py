"""Tests of registering keypoints on drawn pins whose pose is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.matching import inverted_index, verification
from tests.analysis.matching.poses import features, features_of, rotated, seen


@pytest.mark.parametrize(("degrees", "tilt"), [(0, 0.0), (130, 0.0), (-70, 6e-4)])
def test_a_pin_is_registered_in_any_turn(degrees: float, tilt: float) -> None:
    pose = rotated(degrees, tilt)
    query, reference = features(seen(2, pose)), features_of(2)
    found = verification.register(query, reference)
    assert found is not None
    found = verification.complete(query, reference, found)
    corners = np.array([[[100, 100], [400, 100], [400, 400], [100, 400.0]]])
    away = cv2.perspectiveTransform(corners, found.to_photo) - cv2.perspectiveTransform(corners, pose)
    assert np.abs(away).max() < 5
    assert len(set(found.query.tolist())) == len(found.query) == len(found.reference)


def test_a_mirrored_pin_is_not_registered_as_itself() -> None:
    reference = features_of(2)
    straight = verification.register(features(seen(2, rotated(20))), reference)
    mirrored = verification.register(features(np.ascontiguousarray(seen(2, rotated(20))[:, ::-1])), reference)
    assert straight is not None
    assert mirrored is None or len(mirrored.query) < len(straight.query) / 4
    assert not verification.plausible(np.diag([-1.0, 1, 1]), np.array([[0.0, 0], [9, 0], [0, 9]]))


def test_a_blank_picture_has_no_features_and_no_registration() -> None:
    blank = features(np.full((300, 400, 3), 127, np.uint8))
    assert len(blank) == 0
    assert verification.register(blank, features_of(2)) is None
    assert inverted_index.empty().votes(blank).numbers.tolist() == []
