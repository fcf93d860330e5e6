"""Tests of the geometry of crops, pictures and outlines."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging import geometry
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


def test_a_size_fits_into_a_side_and_keeps_its_shape() -> None:
    assert geometry.size_within((4000, 3000), 1600) == (1600, 1200)
    assert geometry.size_within((300, 400), 1600) == (300, 400), "nothing is enlarged"
    assert geometry.size_within((6000, 2), 1600) == (1600, 1)
    assert geometry.size_within((6000, 2), 1600, least=8) == (1600, 8)


def test_pixel_centres_lie_at_halves() -> None:
    """The middle of a square stays its middle, and its corner stays half a pixel from the edge."""
    scale = geometry.scaling(512, 128)
    assert (scale @ [255.5, 255.5, 1])[:2] == pytest.approx([63.5, 63.5])
    assert (scale @ [-0.5, -0.5, 1])[:2] == pytest.approx([-0.5, -0.5])
    shift = np.array([[1, 0, 40], [0, 1, -8], [0, 0, 1.0]])
    assert geometry.at_side(shift, 512, 128) == pytest.approx(np.array([[1, 0, 10], [0, 1, -2], [0, 0, 1.0]]))


def test_a_window_ends_at_the_picture() -> None:
    mask = np.zeros((50, 80), np.uint8)
    mask[10:20, 70:75] = 1
    assert geometry.window_of(mask, 3) == (slice(7, 23), slice(67, 78))
    assert geometry.window_of(mask, 30) == (slice(0, 50), slice(40, 80))


def test_the_largest_outline_is_taken() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[5:10, 5:10] = 255
    mask[20:50, 20:40] = 255
    outline = geometry.largest_outline(mask)
    assert (outline.min(0).tolist(), outline.max(0).tolist()) == ([20, 20], [39, 49])
    assert geometry.largest_outline(np.zeros((9, 9), np.uint8)).shape == (0, 2)


def test_an_outline_is_resampled_evenly_and_has_its_normals() -> None:
    square = np.array([[0.0, 0], [12, 0], [12, 12], [0, 12]])
    points, distance = geometry.resampled(square, 16)
    assert distance == 3
    assert points[:6].tolist() == [[0, 0], [3, 0], [6, 0], [9, 0], [12, 0], [12, 3]]
    normals = geometry.normals_of(points)
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1)
    outward = np.sign((normals * (points - 6)).sum(axis=1))
    assert len(set(outward)) == 1, "all on the same side"
    assert np.abs(normals[2]) == pytest.approx([0, 1])


def test_smoothing_leaves_the_mean_and_lowers_a_wave_as_a_gaussian_does() -> None:
    count, sigma = 64, 2.0
    wave = np.sin(2 * np.pi * 8 * np.arange(count) / count)
    found = geometry.smoothed(np.column_stack([5 + wave]), sigma)
    lowered = np.exp(-0.5 * (2 * np.pi * 8 / count * sigma) ** 2)
    assert found[:, 0] == pytest.approx(5 + lowered * wave)


def test_the_change_of_colour_along_a_normal_is_where_the_edge_is() -> None:
    lab = np.zeros((40, 40, 3), np.float32)
    lab[:, 20:] = (10, 20, 0)
    points, normals = np.array([[15.0, 10], [15, 30]]), np.array([[1.0, 0], [1, 0]])
    change = geometry.change_along(lab, points, normals, np.arange(10.0))
    assert change.sum(axis=1) == pytest.approx([30, 30])
    assert np.flatnonzero(change[0]).tolist() == [4, 5]  # the edge lies between columns 19 and 20
