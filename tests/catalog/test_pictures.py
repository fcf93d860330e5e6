"""Tests of catalogue pictures as they are sent: alpha channels in any format."""

from __future__ import annotations

import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from pinactors.catalog import pictures
from tests import drawing


def share(mask: np.ndarray) -> float:
    return float((mask > 127).mean())


PIN = drawing.pin_front(2)
SMALL = (200, 200)
RGB, MASK = (cv2.resize(drawn, SMALL, interpolation=cv2.INTER_AREA) for drawn in (PIN.rgb, PIN.mask))


def cut_out(format_name: str, alpha: drawing.Picture = MASK) -> bytes:
    picture = Pillow.fromarray(np.dstack([RGB, alpha]))
    target = io.BytesIO()
    picture.save(target, format_name)
    return target.getvalue()


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "HEIF", "AVIF"])
def test_a_cut_out_may_have_any_accepted_format(format_name: str) -> None:
    found = pictures.opaque(cut_out(format_name), SMALL)
    assert found is not None
    assert share(found) == pytest.approx(share(MASK), abs=0.01)


def test_what_stands_beside_the_pixels_costs_no_outline() -> None:
    """Pillow opens neither picture; before, one of them ended the whole import."""
    plain = cut_out("PNG")
    for checksum in (None, 1):
        comment = drawing.chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 << 20)), checksum)
        assert pictures.opaque(plain[:33] + comment + plain[33:], SMALL) is not None


def test_an_alpha_channel_of_noise_is_no_outline() -> None:
    for opaque_share in (0.05, 0.5):
        noise = np.random.default_rng(1).random(SMALL) < opaque_share
        assert pictures.opaque(cut_out("PNG", np.where(noise, 255, 0).astype(np.uint8)), SMALL) is None
