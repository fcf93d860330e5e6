"""Tests of the copies of photographs that others may see."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from pinactors.analysis.imaging.public_copy import LONGEST_SIDE, public_copy
from pinactors.protocol import PinactorsError, View


def test_a_photograph_is_shown_upright_small_and_without_its_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    exif[0x010E] = "somewhere at home"
    path = tmp_path / "photograph"
    Image.new("RGB", (3000, 2000), "orange").save(path, "JPEG", exif=exif)
    content = public_copy(str(path), View.FRONT, 64_000_000)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "JPEG"
        assert max(picture.size) == LONGEST_SIDE
        assert picture.size[1] > picture.size[0]
        assert not picture.getexif()
    assert b"somewhere" not in content
    path.write_bytes(b"no photograph")
    with pytest.raises(PinactorsError):
        public_copy(str(path), View.FRONT, 64_000_000)
