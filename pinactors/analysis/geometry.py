"""Plane geometry of cut-outs: the square crop a pin is compared in, and outlines from masks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from pinactors.analysis.model import CROP_SIDE, Image, Matrix, Points

CROP_MARGIN = 0.04
"""Free border of the crop, as a share of its side: room for the outline and for a registration to slide."""

NEUTRAL = 128
"""Grey level around the pin in a crop: middle grey favours neither dark nor bright rims."""


def as_image(array: Any) -> Image:
    """`array` as uint8: OpenCV's annotations promise less than it returns."""
    return np.asarray(array, np.uint8)


def largest_outline(mask: Image) -> Points:
    """Outer outline (n, 2) of the largest connected region of `mask`; empty when there is none."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros((0, 2), np.float32)
    return max(contours, key=cv2.contourArea).reshape(-1, 2).astype(np.float32)


def crop_transform(outline: Points) -> Matrix:
    """Similarity (3x3, no turn, no mirror) from working to crop pixels: the outline's enclosing circle is
    centred and fills the crop but for its margin, so the scale does not depend on how the pin lies."""
    (x, y), radius = cv2.minEnclosingCircle(outline)
    scale = CROP_SIDE * (0.5 - CROP_MARGIN) / max(radius, 1.0)
    middle = (CROP_SIDE - 1) / 2
    return np.array([[scale, 0, middle - scale * x], [0, scale, middle - scale * y], [0, 0, 1]], np.float64)


def warp_crop(rgb: Image, mask: Image, to_crop: Matrix) -> tuple[Image, Image]:
    """(rgb, mask) in crop pixels, the surroundings in neutral grey.

    Strong reductions are filtered first: sampling alone would alias fine waffle and text.
    """
    scale = float(to_crop[0, 0])
    matrix = to_crop[:2].copy()
    if scale < 0.75:
        size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
        ratio = np.array([size[0] / rgb.shape[1], size[1] / rgb.shape[0]])
        rgb = as_image(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
        mask = as_image(cv2.resize(mask, size, interpolation=cv2.INTER_AREA))
        # pixel centres: a pixel at x lies at (x + 0.5) * ratio - 0.5 in the reduced picture
        matrix[:, :2] /= ratio
        matrix[:, 2] += (matrix[:, :2] * 0.5).sum(axis=1) - (to_crop[:2, :2] * 0.5).sum(axis=1)
    square = (CROP_SIDE, CROP_SIDE)
    crop = as_image(
        cv2.warpAffine(rgb, matrix, square, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )
    soft = cv2.warpAffine(mask, matrix, square, flags=cv2.INTER_LINEAR)
    crop_mask = np.where(soft >= 128, 255, 0).astype(np.uint8)
    crop[crop_mask == 0] = NEUTRAL
    return crop, crop_mask
