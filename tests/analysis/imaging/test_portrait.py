"""Tests of portraits: their frame, their planes, and their field of lines."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging.portrait import COARSE_SIDE, PORTRAIT_SIDE, Portrait, line_field
from pinactors.analysis.model import CROP_SIDE


def test_lines_do_not_care_which_side_is_dark() -> None:
    rgb = np.full((PORTRAIT_SIDE, PORTRAIT_SIDE, 3), 60, np.uint8)
    cv2.line(rgb, (20, 30), (100, 90), (200, 200, 200), 5)
    mask = np.ones((PORTRAIT_SIDE, PORTRAIT_SIDE), np.float32)
    one, other = line_field(rgb, mask), line_field(np.asarray(255 - rgb, np.uint8), mask)
    agreement = (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())
    assert agreement > 0.95
    across = line_field(np.ascontiguousarray(rgb[:, ::-1]), mask)
    assert (one * across).sum() / np.sqrt((one**2).sum() * (across**2).sum()) < 0.3


def test_the_frame_is_the_silhouettes_middle_and_spread() -> None:
    """The standard deviation of a rectangle's points is its side over the square root of 12."""
    mask = np.zeros((CROP_SIDE, CROP_SIDE), np.uint8)
    mask[96:416, 176:336] = 255  # 160 wide, 320 high
    frame = Portrait.of(np.full((CROP_SIDE, CROP_SIDE, 3), 90, np.uint8), mask).frame
    assert frame[:2, 2] == pytest.approx([255.5, 255.5], abs=0.5)
    assert np.diag(frame)[:2] == pytest.approx([160 / 12**0.5, 320 / 12**0.5], rel=0.02)


def test_planes_are_zero_outside_the_mask_and_have_no_level_of_light() -> None:
    rgb = np.random.default_rng(1).integers(40, 160, (CROP_SIDE, CROP_SIDE, 3)).astype(np.uint8)
    rgb[:256] //= 2
    mask = np.zeros((CROP_SIDE, CROP_SIDE), np.uint8)
    mask[128:384, 128:384] = 255
    portrait = Portrait.of(rgb, mask)
    planes = portrait.planes
    assert planes.shape == (COARSE_SIDE, COARSE_SIDE, 4)
    inside = portrait.coarse[1] > 0
    assert not planes[~inside].any()
    assert planes[inside][:, 0].mean() == pytest.approx(0, abs=1e-4)
    assert planes[inside][:, 0].std() == pytest.approx(1, abs=1e-3)
