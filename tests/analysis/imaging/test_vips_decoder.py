"""Tests of decoding PNG and WebP with libvips."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from pinactors.analysis.imaging import vips_decoder
from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.model import WORKING_SIDE
from pinactors.protocol import View
from tests import drawing
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


@pytest.mark.parametrize("format_name", ["PNG", "WEBP"])
def test_a_header_has_size_orientation_and_profile(format_name: str) -> None:
    opened = {"PNG": vips_decoder.open_png, "WEBP": vips_decoder.open_webp}[format_name]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = opened(drawing.encoded(quartered(), format_name))
    assert (plain.width, plain.height, plain.orientation, plain.profile) == (96, 64, 1, b"")
    held = opened(drawing.encoded(quartered(), format_name, 6, icc_profile=profile))
    assert (held.width, held.height, held.orientation, held.profile) == (96, 64, 6, profile)


def test_pixels_are_means_of_squares() -> None:
    checks = np.zeros((6, 9, 4), np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 200
    checks[..., 3] = 255
    checks[:3, :3, 3] = 0
    png = saved(Pillow.fromarray(checks), "PNG")
    assert vips_decoder.rgb(vips_decoder.open_png(png).picture).shape == (6, 9, 3)
    reduced = vips_decoder.rgb(vips_decoder.open_png(png).picture, 3)
    expected = [round(200 * bright / 9) for bright in (5, 4)]
    assert reduced[0, 0].tolist() == [255] * 3, "what is transparent is white"
    assert np.abs(reduced[0, 1].astype(int) - expected[1]).max() <= 1
    assert np.abs(reduced[0, 2].astype(int) - expected[0]).max() <= 1
    alpha = vips_decoder.alpha(vips_decoder.open_png(png).picture, 3)
    assert alpha.tolist() == [[0, 255, 255], [255, 255, 255]]


@pytest.mark.parametrize("format_name", ["PNG", "WEBP"])
def test_damage_is_vips_own_error(format_name: str) -> None:
    data = drawing.encoded(quartered(), format_name)
    opened = {"PNG": vips_decoder.open_png, "WEBP": vips_decoder.open_webp}[format_name]
    with pytest.raises(vips_decoder.Error):
        vips_decoder.rgb(opened(data[: len(data) // 2]).picture)
