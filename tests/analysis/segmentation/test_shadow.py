"""Tests of telling a pin's shadow from the pin."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.segmentation.outline import segment
from tests import drawing
from tests.analysis.segmentation.drawn import front, overlap, table


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
