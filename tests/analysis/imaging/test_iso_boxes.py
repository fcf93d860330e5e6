"""Tests of reading the boxes of HEIC and AVIF files."""

from __future__ import annotations

import pytest
from PIL import Image as Pillow

from pinactors.analysis.imaging.decode import decode
from pinactors.protocol import PinactorsError, View
from tests.analysis.imaging.quartered import LIMIT, quartered, saved


def test_a_heic_that_ends_before_its_last_tile_is_refused() -> None:
    """libheif itself leaves the tiles blank whose bytes did not arrive."""
    data = saved(Pillow.fromarray(quartered(256, 192)), "HEIF", tile_size=64)
    assert decode(data, View.FRONT, LIMIT).width == 256
    with pytest.raises(PinactorsError, match="damaged"):
        decode(data[:-1], View.FRONT, LIMIT)
