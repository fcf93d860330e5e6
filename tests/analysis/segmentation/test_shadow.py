"""Tests of telling a pin's shadow from the pin."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.segmentation.outline import segment
from pinactors.analysis.segmentation.shadow import cast_shadow
from tests import drawing
from tests.analysis.segmentation.drawn import front, overlap, proposal_of, shared, small, table


@pytest.mark.parametrize("kind", ["wood", "speckle"])
def test_a_hard_shadow_is_not_part_of_the_pin_but_a_black_rim_is(kind: str) -> None:
    surface = table(kind, 2)
    pose = {"share": 0.7, "at": (0.55, 0.45)}
    black = drawing.photograph(front(0, metal="black"), surface, **pose)
    assert overlap(segment(black.rgb), black.mask) > 0.93
    moved = cv2.warpAffine(black.mask, np.array([[1.0, 0, -34], [0, 1, 26]]), (640, 480))
    shade = cv2.GaussianBlur(moved, (0, 0), 3).astype(np.float32)[:, :, None] / 255
    shaded = (surface * (1 - 0.8 * shade)).astype(np.uint8)
    gold = drawing.photograph(front(0, metal="gold"), shaded, **pose)
    assert ((black.mask > 0) | (moved > 0)).sum() > 1.15 * (black.mask > 0).sum()  # large enough to matter
    assert overlap(segment(gold.rgb), gold.mask) > 0.93


def under_a_lamp(kind: str, metal: str) -> tuple[drawing.Scene, drawing.Picture]:
    """A pin that casts a hard shadow, and the mask (0 or 255) of the pin moved to where its shadow falls."""
    surface = table(kind, 2)
    pose = {"share": 0.7, "at": (0.55, 0.45)}
    mask = drawing.photograph(front(0, metal=metal), surface, **pose).mask
    moved = np.asarray(cv2.warpAffine(mask, np.array([[1.0, 0, -34], [0, 1, 26]]), (640, 480)), np.uint8)
    shade = cv2.GaussianBlur(moved, (0, 0), 3).astype(np.float32)[:, :, None] / 255
    shaded = (surface * (1 - 0.8 * shade)).astype(np.uint8)
    return drawing.photograph(front(0, metal=metal), shaded, **pose), moved


@pytest.mark.parametrize("kind", ["wood", "speckle"])
def test_the_part_of_a_proposal_that_is_shadow_is_found(kind: str) -> None:
    taken, moved = under_a_lamp(kind, "gold")
    scene, pin = small(taken)
    both = pin | cv2.resize(moved, (224, 168), interpolation=cv2.INTER_AREA) // 128
    found = cast_shadow(scene, proposal_of(both))
    assert found is not None
    assert shared(found, both - pin) > 0.85
    assert cast_shadow(scene, proposal_of(pin)) is None, "the pin alone has none"


@pytest.mark.parametrize("kind", drawing.BACKGROUNDS)
def test_a_black_rim_is_no_shadow(kind: str) -> None:
    for seed in range(3):
        scene, pin = small(drawing.photograph(front(seed, metal="black"), table(kind, seed), share=0.7))
        assert cast_shadow(scene, proposal_of(pin)) is None
