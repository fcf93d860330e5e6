"""Geometry of pictures and cut-outs: sizes, the square crop in which pins are compared, outlines."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pinactors.analysis.model import CROP_SIDE, Doubles, Flags, Floats, Image, Matrix, Points

CROP_MARGIN = 0.04
"""Free border of the crop, as a share of its side: room for the outline and for shifts in a registration."""

NEUTRAL_GREY = 128
"""Grey level around the pin in a crop: middle grey contrasts equally with dark and bright rims."""


def as_image(array: Any) -> Image:
    """`array` as uint8. OpenCV's type annotations are less specific than what it returns."""
    return np.asarray(array, np.uint8)


def as_floats(array: Any) -> Floats:
    """`array` as float32, for the same reason."""
    return np.asarray(array, np.float32)


def resized(picture: Image, size: tuple[int, int]) -> Image:
    """The picture at a smaller size (width, height), by averages over areas."""
    return as_image(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def size_within(size: tuple[int, int], side: int, least: int = 1) -> tuple[int, int]:
    """`size` (width, height) reduced to a longer side of at most `side`, each side at least `least`."""
    scale = min(1.0, side / max(size))
    return max(least, round(size[0] * scale)), max(least, round(size[1] * scale))


def reduced(rgb: Image, side: int) -> Image:
    """The picture reduced to a longer side of at most `side`."""
    height, width = rgb.shape[:2]
    return rgb if max(width, height) <= side else resized(rgb, size_within((width, height), side))


def dot(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Floats:
    """The dot product over the channels of two pictures (height, width, n) at each pixel: (height, width)."""
    total = first[..., 0] * second[..., 0]
    for channel in range(1, first.shape[2]):
        total += first[..., channel] * second[..., channel]
    return as_floats(total)


def window_of(mask: Image, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the bounding box of `mask`, extended by `margin` pixels within the picture."""
    x, y, width, height = cv2.boundingRect(mask)
    rows = slice(max(0, y - margin), min(mask.shape[0], y + height + margin))
    return rows, slice(max(0, x - margin), min(mask.shape[1], x + width + margin))


def on_frame(points: npt.NDArray[Any], width: int, height: int) -> Flags:
    """Which points (n, 2) of an outline lie at the edge of a picture of this size."""
    x, y = points.T
    return np.asarray((x <= 1) | (y <= 1) | (x >= width - 2) | (y >= height - 2))


def largest_outline(mask: Image) -> Points:
    """Outer outline (n, 2) of the largest connected region of `mask`; empty if the mask is empty."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return np.zeros((0, 2), np.float32)
    return max(contours, key=cv2.contourArea).reshape(-1, 2).astype(np.float32)


def crop_transform(outline: Points) -> Matrix:
    """Similarity (3x3, no rotation, no mirroring) from working to crop pixels: the outline's enclosing circle
    is centred and fills the crop except for its margin, so the scale does not depend on the pin's
    rotation."""
    (x, y), radius = cv2.minEnclosingCircle(outline)
    scale = CROP_SIDE * (0.5 - CROP_MARGIN) / max(radius, 1.0)
    middle = (CROP_SIDE - 1) / 2
    return np.array([[scale, 0, middle - scale * x], [0, scale, middle - scale * y], [0, 0, 1]], np.float64)


def warp_crop(rgb: Image, mask: Image, to_crop: Matrix) -> tuple[Image, Image]:
    """(rgb, mask) warped by `to_crop` to a square of `CROP_SIDE` pixels; pixels outside the mask are neutral
    grey.

    Strong reductions are low-pass filtered first: sampling alone would alias fine waffle patterns and text.
    """
    window = window_of(mask, 4)
    rgb, mask = rgb[window], mask[window]
    shift = np.array([[1, 0, window[1].start], [0, 1, window[0].start], [0, 0, 1]], np.float64)
    matrix = to_crop @ shift
    scale = float(to_crop[0, 0])
    if scale < 0.75:
        size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
        matrix = matrix @ np.linalg.inv(_scaling(size[0] / rgb.shape[1], size[1] / rgb.shape[0]))
        rgb, mask = resized(rgb, size), resized(mask, size)
    square = (CROP_SIDE, CROP_SIDE)
    replicate = cv2.BORDER_REPLICATE
    crop = as_image(cv2.warpAffine(rgb, matrix[:2], square, flags=cv2.INTER_LINEAR, borderMode=replicate))
    soft = cv2.warpAffine(mask, matrix[:2], square, flags=cv2.INTER_LINEAR)
    crop_mask = as_image(cv2.threshold(soft, 127, 255, cv2.THRESH_BINARY)[1])
    return as_image(cv2.copyTo(crop, crop_mask, np.full_like(crop, NEUTRAL_GREY))), crop_mask


def _scaling(x: float, y: float) -> Matrix:
    """3x3 from pixel coordinates before a resize by (x, y) to those after it: pixel centres lie at halves."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]], np.float64)


def scaling(from_side: int, to_side: int) -> Matrix:
    """3x3 from pixels of a `from_side` square to those of a `to_side` square."""
    return _scaling(to_side / from_side, to_side / from_side)


def at_side(matrix: Matrix, from_side: int, to_side: int) -> Matrix:
    """A homography (3x3) between squares of `from_side` pixels, for squares of `to_side` pixels."""
    return scaling(from_side, to_side) @ matrix @ scaling(to_side, from_side)


def resampled(outline: Doubles, count: int) -> tuple[Doubles, float]:
    """`count` evenly spaced points along a closed outline (n, 2), and the distance between them."""
    closed = np.vstack([outline, outline[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    places = np.linspace(0, along[-1], count, endpoint=False)
    points = np.column_stack([np.interp(places, along, closed[:, axis]) for axis in (0, 1)])
    return points, float(along[-1] / count)


def smoothed(curves: Doubles, sigma: float) -> Doubles:
    """Closed curves, one per column, smoothed by a Gaussian; `sigma` in samples."""
    frequency = np.fft.rfftfreq(len(curves))
    response = np.exp(-2 * np.square(np.pi * frequency * sigma))
    return np.fft.irfft(np.fft.rfft(curves, axis=0) * response[:, None], len(curves), axis=0)


def normals_of(outline: Doubles) -> Doubles:
    """Unit normals (n, 2) of a closed outline, all on the same side of it."""
    tangent = np.roll(outline, -1, axis=0) - np.roll(outline, 1, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    return np.column_stack([-tangent[:, 1], tangent[:, 0]])


def change_along(
    lab: Floats,
    points: Doubles,
    normals: Doubles,
    offsets: Doubles,
) -> Floats:
    """The rate of colour change along the normal of each point, at each of `offsets` (pixels, evenly spaced),
    summed over the channels: (points, offsets)."""
    places = (points[:, None] + offsets[None, :, None] * normals[:, None]).astype(np.float32)
    x, y = places[..., 0], places[..., 1]
    profiles = cv2.remap(lab, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return as_floats(np.abs(np.gradient(profiles, axis=1)).sum(axis=2))
