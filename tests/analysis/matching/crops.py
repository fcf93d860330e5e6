"""Drawn pins in crop pixels, in poses that are known."""

from __future__ import annotations

import cv2
import numpy as np

from pinactors.analysis.imaging.portrait import Portrait
from pinactors.analysis.matching import alignment, likeness
from pinactors.analysis.model import CROP_SIDE, Image, Matrix
from tests import drawing


def crop(seed: int, pose: Matrix | None = None) -> tuple[Image, Image]:
    """The drawn pin in crop pixels, moved by `pose` (3x3, crop pixels)."""
    pin = drawing.pin_front(seed)
    scale = CROP_SIDE * 0.85 / drawing.PIN_SIDE
    shift = (CROP_SIDE - drawing.PIN_SIDE * scale) / 2
    matrix = np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1]])
    if pose is not None:
        matrix = pose @ matrix
    size = (CROP_SIDE, CROP_SIDE)
    rgb = cv2.warpPerspective(pin.rgb, matrix, size, flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(pin.mask, matrix, size, flags=cv2.INTER_AREA)
    rgb[mask < 128] = 128
    return np.asarray(rgb, np.uint8), np.where(mask < 128, 0, 255).astype(np.uint8)


def rotation(degrees: float, stretch: float = 1.0) -> Matrix:
    middle = (CROP_SIDE - 1) / 2
    about = np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, 1]])
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return np.linalg.inv(about) @ np.diag([1, stretch, 1]) @ rotation @ about


def likeness_of(query: tuple[Image, Image], reference: tuple[Image, Image]) -> likeness.Likeness:
    one, other = Portrait.of(*query), Portrait.of(*reference)
    found = likeness.compare(one, other, alignment.register(one, other).to_query)
    assert found is not None
    return found


def in_another_hue(picture: tuple[Image, Image]) -> tuple[Image, Image]:
    return drawing.in_another_hue(picture[0]), picture[1]
