"""A picture whose rotations and mirrorings can be seen, and files of it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow
from pillow_heif import register_heif_opener

from tests import drawing

register_heif_opener()


LIMIT = 64_000_000
RED, GREEN, BLUE, WHITE = (210, 30, 30), (30, 170, 50), (30, 50, 200), (240, 240, 240)
CORNERS = {"TL": (0, 0), "TR": (0, 1), "BL": (1, 0), "BR": (1, 1)}


def quartered(width: int = 96, height: int = 64) -> drawing.Picture:
    """Red and green above blue and white, so that each rotation and mirroring can be seen."""
    rgb = np.zeros((height, width, 3), np.uint8)
    for (row, column), colour in zip(CORNERS.values(), (RED, GREEN, BLUE, WHITE), strict=True):
        rows = slice(row * height // 2, (row + 1) * height // 2)
        rgb[rows, column * width // 2 : (column + 1) * width // 2] = colour
    return rgb


def corner(rgb: drawing.Picture, name: str) -> tuple[int, ...]:
    height, width = rgb.shape[:2]
    row, column = CORNERS[name]
    return tuple(
        int(value) for value in rgb[height // 4 + row * height // 2, width // 4 + column * width // 2]
    )


def close(one: tuple[int, ...], other: tuple[int, ...], within: int = 14) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= within


def saved(image: Pillow.Image, format_name: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, format_name, **options)
    return target.getvalue()
