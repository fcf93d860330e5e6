"""Tests of keypoints, their registration and the inverted index on drawn pins whose pose is known."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from pinactors.analysis.matching import inverted_index, keypoints, verification
from pinactors.analysis.matching.keypoints import Features
from pinactors.analysis.model import Image, Matrix
from tests import drawing

SIDES = 480, 400


def picture(seed: int) -> Image:
    return np.asarray(cv2.resize(drawing.pin_front(seed).rgb, (512, 512), interpolation=cv2.INTER_AREA))


def seen(seed: int, pose: Matrix) -> Image:
    return np.asarray(cv2.warpPerspective(picture(seed), pose, (900, 800), borderValue=(90, 120, 100)))


def features(rgb: Image) -> Features:
    return keypoints.extract(rgb, None, SIDES, 560)


@cache
def features_of(seed: int) -> Features:
    return features(picture(seed))


def rotated(degrees: float, tilt: float = 0.0) -> Matrix:
    angle = np.deg2rad(degrees)
    cosine, sine = 0.9 * np.cos(angle), 0.9 * np.sin(angle)
    middle = np.array([[1, 0, -256], [0, 1, -256], [0, 0, 1.0]])
    there = np.array([[1, 0, 450], [0, 1, 400], [0, 0, 1.0]])
    return there @ np.array([[cosine, -sine, 0], [sine, cosine, 0], [tilt, 0, 1]]) @ middle


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


def test_features_survive_their_storage() -> None:
    kept = features_of(4)
    again = Features.decode(kept.encode())
    assert np.abs(again.points - kept.points).max() < 0.02
    assert np.array_equal(again.axes, kept.axes)
    assert (again.descriptors * kept.descriptors).sum(1).min() > 0.95
    assert np.cos(again.angles - kept.angles).min() > 0.999
    with pytest.raises(ValueError, match="buffer size"):
        Features.decode(b"damaged")


def test_what_pins_share_counts_less() -> None:
    """The index holds two pins on the same card: each of the card's features occurs twice, each of a pin's
    own features once."""
    card, one, other = (features_of(seed) for seed in (1, 2, 4))
    index = inverted_index.empty().replaced(
        [(1, keypoints.concatenated(card, one)), (2, keypoints.concatenated(card, other))]
    )
    for number, own in ((1, one), (2, other)):
        weights = index.weights(number)
        assert weights[: len(card)].mean() < 0.6
        assert weights[len(card) :].mean() > 0.8
        votes = index.votes(own)
        assert votes.numbers[0] == number
        assert votes.votes[votes.numbers.tolist().index(number)] > len(own) / 2


def test_lists_of_any_length_are_compared_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index compares long lists one by one and short lists together; both must give the same votes."""
    one, other = features_of(2), features_of(4)
    index = inverted_index.empty().replaced(
        [(1, one), (2, other), *((number, one) for number in range(3, 9))]
    )
    query = features(seen(2, rotated(30)))
    assert np.diff(index.starts).max() > 6, "the copies share their lists"
    found = []
    for longest in (1, 3, 1000):
        monkeypatch.setattr(inverted_index, "LONG_LIST_FEATURES", longest)
        found.append(index.votes(query))
    assert found[0].numbers.tolist() == found[1].numbers.tolist() == found[2].numbers.tolist()
    assert found[0].votes == pytest.approx(found[2].votes)
    assert found[1].votes == pytest.approx(found[2].votes)
    assert found[0].numbers[-1] == 2
