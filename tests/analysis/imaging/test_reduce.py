"""Tests of making decoded pixels RGB of the working size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from pinactors.analysis.imaging import reduce
from pinactors.analysis.imaging.decode import decode
from pinactors.analysis.imaging.reduce import ArrayPixels, PillowPixels
from pinactors.analysis.model import WORKING_SIDE
from pinactors.protocol import View
from tests import drawing
from tests.analysis.imaging.quartered import BLUE, GREEN, LIMIT, close, corner, quartered, saved


def test_a_large_photograph_is_scaled_to_the_working_side() -> None:
    photograph = decode(drawing.jpeg(quartered(4000, 3000)), View.FRONT, LIMIT)
    assert photograph.rgb.shape == (WORKING_SIDE * 3 // 4, WORKING_SIDE, 3)
    assert (photograph.width, photograph.height) == (4000, 3000)
    assert photograph.scale == pytest.approx(WORKING_SIDE / 4000)
    assert close(corner(photograph.rgb, "TR"), GREEN)


def test_a_very_narrow_picture_keeps_at_least_a_pixel() -> None:
    photograph = decode(drawing.encoded(np.full((2, 6000, 3), 80, np.uint8), "PNG"), View.FRONT, LIMIT)
    assert photograph.rgb.shape == (1, WORKING_SIDE, 3)


def test_transparency_is_laid_on_white() -> None:
    rgba = np.dstack([quartered(), np.full((64, 96), 255, np.uint8)])
    rgba[:32, :48, 3] = 0
    for image in (Pillow.fromarray(rgba), Pillow.fromarray(rgba).quantize(8, Pillow.Quantize.FASTOCTREE)):
        photograph = decode(saved(image, "PNG"), View.FRONT, LIMIT)
        assert close(corner(photograph.rgb, "TL"), (255, 255, 255), within=2)
        assert close(corner(photograph.rgb, "TR"), GREEN, within=30)


@pytest.mark.parametrize(("mode", "format_name"), [("L", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("LA", "PNG")])
def test_grey_pictures_become_rgb(mode: str, format_name: str) -> None:
    photograph = decode(saved(Pillow.fromarray(quartered()).convert(mode), format_name), View.FRONT, LIMIT)
    assert photograph.rgb.shape == (64, 96, 3)
    assert np.array_equal(photograph.rgb[..., 0], photograph.rgb[..., 2])
    assert corner(photograph.rgb, "BR")[0] > 200


def test_cmyk_and_palette_keep_their_colours() -> None:
    picture = Pillow.fromarray(quartered())
    for data in (saved(picture.convert("CMYK"), "JPEG", quality=95), saved(picture.convert("P"), "PNG")):
        assert close(corner(decode(data, View.FRONT, LIMIT).rgb, "BL"), BLUE, within=40)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    levels = np.linspace(0, 65535, 256).astype(np.uint16)
    data = saved(Pillow.fromarray(np.tile(levels, (8, 1))), "PNG")
    row = decode(data, View.FRONT, LIMIT).rgb[4, :, 0]
    assert abs(int(row[128]) - 128) <= 1
    assert (row[0], row[255]) == (0, 255)


@pytest.mark.parametrize("target", [(300, 200), (90, 70)])
def test_strip_by_strip_gives_the_same_picture(
    target: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (400, 600, 3)).astype(np.uint8)
    whole = reduce.reduced(ArrayPixels(rgb, (600, 400)), target)
    monkeypatch.setattr(reduce, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(reduce, "STRIP_PIXELS", 600 * 7)
    for pixels in (ArrayPixels(rgb, (600, 400)), PillowPixels(Pillow.fromarray(rgb), (600, 400))):
        strips = reduce.reduced(pixels, target)
        assert strips.shape == whole.shape == (target[1], target[0], 3)
        assert np.abs(strips.astype(int) - whole).max() <= 2


def test_a_mean_over_areas_is_exact() -> None:
    rgb = np.kron(np.arange(24, dtype=np.uint8).reshape(4, 6), np.ones((5, 5), np.uint8))
    found = reduce.reduced(ArrayPixels(rgb, (30, 20)), (6, 4))
    assert np.array_equal(found, np.dstack([np.arange(24).reshape(4, 6)] * 3))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_of_any_channels_become_rgb_on_white(channels: int) -> None:
    array = np.full((2, 2, channels), 100, np.uint8)
    if channels in (2, 4):
        array[..., -1] = [[255, 0], [0, 255]]
    found = ArrayPixels(array, (2, 2)).rows(0, 2)
    white = 255 if channels in (2, 4) else 100
    assert found.tolist() == [[[100] * 3, [white] * 3], [[white] * 3, [100] * 3]]
    assert ArrayPixels(array, (2, 2)).is_rgb == (channels >= 3)
