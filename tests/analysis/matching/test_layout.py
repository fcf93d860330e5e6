"""Tests of layouts on drawn pins whose pose is known."""

from __future__ import annotations

import numpy as np
import pytest

from pinactors.analysis.imaging.portrait import Portrait
from pinactors.analysis.matching import layout
from tests.analysis.matching.crops import crop, rotation


def test_layouts_have_length_one() -> None:
    grid = layout.layout(Portrait.of(*crop(1)))
    assert grid.shape == (layout.RINGS, layout.SECTORS, layout.CHANNELS)
    assert np.linalg.norm(grid) == pytest.approx(1, abs=1e-5)


def test_the_turn_is_found() -> None:
    still, moved = Portrait.of(*crop(4)), Portrait.of(*crop(4, rotation(70)))
    found = np.rad2deg(layout.likely_rotations(layout.layout(moved), layout.layout(still), 1)[0])
    assert abs((found - 70 + 180) % 360 - 180) < 10
