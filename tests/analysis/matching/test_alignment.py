"""Tests of alignment on drawn pins whose pose is known."""

from __future__ import annotations

import numpy as np
import pytest

from pinactors.analysis.imaging.portrait import Portrait
from pinactors.analysis.matching import alignment
from tests.analysis.matching.crops import crop, rotation


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_registration_is_exact_to_a_few_pixels(seed: int) -> None:
    pose = rotation(33, 0.9)
    found_by = alignment.register(Portrait.of(*crop(seed, pose)), Portrait.of(*crop(seed)))
    corners = np.array([[150, 150, 1], [360, 150, 1], [360, 360, 1], [150, 360, 1]], float).T
    wanted, found = pose @ corners, found_by.to_query @ corners
    assert np.abs(wanted[:2] / wanted[2] - found[:2] / found[2]).max() < 4


def test_a_picture_lies_on_itself() -> None:
    """The catalogue's own picture is sent: the registration must accept a cost of zero."""
    portrait = Portrait.of(*crop(2))
    found_by = alignment.register(portrait, portrait)
    assert found_by.cost == pytest.approx(0, abs=1e-6)
    assert found_by.to_query == pytest.approx(np.eye(3), abs=1e-3)
