"""Tests of comparing a registered candidate with the photograph."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging.geometry import crop_transform, largest_outline, warp_crop
from pinactors.analysis.matching import keypoints, verification
from pinactors.analysis.matching.reranking import CandidateAgreement, CandidateFront, compare
from pinactors.analysis.model import Image, Matrix, Reference
from pinactors.protocol import View
from tests import drawing

SIDES, COUNT = (480, 400), 560


def candidate(seed: int) -> CandidateFront:
    """The drawn pin as a pin of the catalogue, each of whose features is distinctive."""
    pin = drawing.pin_front(seed)
    reference = Reference(
        View.FRONT, *warp_crop(pin.rgb, pin.mask, crop_transform(largest_outline(pin.mask)))
    )
    features = keypoints.extract(reference.rgb, reference.mask, SIDES, COUNT)
    return CandidateFront(seed, features, np.ones(len(features), np.float32), True, lambda: reference)


def photograph(seed: int) -> drawing.Scene:
    table = drawing.background("cloth", 900, 900, 1)
    return drawing.photograph(drawing.pin_front(seed), table, share=0.8, angle=25)


def agreement(rgb: Image, with_: CandidateFront, to_photo: Matrix | None = None) -> CandidateAgreement:
    """How well the photograph agrees with the candidate, registered by its features or by `to_photo`."""
    query = keypoints.extract(rgb, None, SIDES, 2 * COUNT)
    found = verification.register(query, with_.features) if to_photo is None else None
    if to_photo is not None:
        found = verification.without_pairs(to_photo)
    assert found is not None
    return compare(rgb, query, with_, found).agreement


def test_a_pins_own_photograph_agrees_in_everything() -> None:
    for seed in (1, 2, 4):
        found = agreement(photograph(seed).rgb, candidate(seed))
        assert found.covered > 0.7
        assert found.patches > 0.9
        assert found.likeness is not None
        assert found.likeness.inner_lines > 0.8


def test_another_pin_in_the_same_place_agrees_in_nothing() -> None:
    """Pins 1 and 7 have the same outline."""
    taken, own, other = photograph(1), candidate(1), candidate(7)
    pin = drawing.pin_front(1)
    to_photo = taken.to_photo @ np.linalg.inv(crop_transform(largest_outline(pin.mask)))
    right, wrong = (agreement(taken.rgb, one, to_photo) for one in (own, other))
    assert right.patches > 0.9 > 0.3 > wrong.patches
    assert right.weight > 10 * wrong.weight
    assert right.covered > 2 * wrong.covered
    assert right.likeness is not None
    assert wrong.likeness is not None
    assert right.likeness.inner_lines > wrong.likeness.inner_lines + 0.4


def test_only_what_the_photograph_shows_of_a_pin_is_compared() -> None:
    """A photograph that ends in the pin's middle counts as one of the visible half; a cover counts against
    the pin."""
    taken, own = photograph(2), candidate(2)
    half = np.ascontiguousarray(taken.rgb[:, :450])
    covered = taken.rgb.copy()
    cv2.rectangle(covered, (450, 0), (900, 900), (120, 120, 120), -1)
    seen, hidden = agreement(half, own), agreement(covered, own)
    assert seen.patches > 0.9
    assert seen.covered > 0.7
    assert 0.3 < hidden.patches < 0.7
    assert hidden.covered < seen.covered - 0.2


def test_a_picture_that_is_gone_is_a_lookup_error() -> None:
    own = candidate(1)
    gone = CandidateFront(1, own.features, own.weights, True, lambda: None)
    with pytest.raises(LookupError, match="pin 1"):
        agreement(photograph(1).rgb, gone)
