"""Tests of the geometry of crops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging.geometry import crop_transform, warp_crop
from pinactors.analysis.model import CROP_SIDE


@pytest.mark.parametrize("size", [150, 400, 1500])
def test_a_mark_lands_in_the_crop_where_to_crop_says(size: int) -> None:
    """Holds for enlarged and reduced crops: filtering before a reduction must not shift by half a pixel."""
    rgb, mask = np.full((size, size, 3), 40, np.uint8), np.zeros((size, size), np.uint8)
    cv2.circle(mask, (size // 2, size // 2), size // 3, 255, -1)
    at = np.array([size * 0.4, size * 0.58], np.float32)
    ys, xs = np.mgrid[:size, :size]
    spot = np.exp(-((xs - at[0]) ** 2 + (ys - at[1]) ** 2) / (2 * (size / 50) ** 2))
    rgb[:] = (40 + 200 * spot[:, :, None]).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    to_crop = crop_transform(contours[0][:, 0].astype(np.float32))
    crop, crop_mask = warp_crop(rgb, mask, to_crop)
    weight = np.where(crop_mask > 0, crop[:, :, 0].astype(float) - 40, 0.0)
    grid_y, grid_x = np.mgrid[:CROP_SIDE, :CROP_SIDE]
    centre = [(weight * grid_x).sum() / weight.sum(), (weight * grid_y).sum() / weight.sum()]
    assert centre == pytest.approx((to_crop @ [*at, 1.0])[:2].tolist(), abs=0.35)
