"""Tests of decoding large PNGs and WebP with libvips."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.model import WORKING_SIDE
from pinactors.protocol import View
from tests.analysis.imaging.quartered import BLUE, GREEN, LIMIT, close, corner, quartered, saved


@pytest.mark.parametrize("format_name", ["PNG", "WEBP"])
def test_a_large_picture_is_turned_and_laid_on_white_as_a_small_one(format_name: str) -> None:
    rgb = np.kron(quartered(100, 80), np.ones((50, 50, 1), np.uint8))
    alpha = np.full(rgb.shape[:2], 255, np.uint8)
    alpha[:2000, :2500] = 0
    exif = Pillow.Exif()
    exif[0x0112] = 6
    image = Pillow.fromarray(np.dstack([rgb, alpha]))
    options = {"compress_level": 1} if format_name == "PNG" else {"lossless": True, "quality": 0, "method": 0}
    photograph = decode(saved(image, format_name, exif=exif.tobytes(), **options), View.FRONT, LIMIT)
    assert (photograph.width, photograph.height) == (4000, 5000)
    assert photograph.rgb.shape == (WORKING_SIDE, WORKING_SIDE * 4 // 5, 3)
    assert corner(photograph.rgb, "TR") == (255, 255, 255)
    assert close(corner(photograph.rgb, "BR"), GREEN, within=2)
    assert close(corner(photograph.rgb, "TL"), BLUE, within=2)
