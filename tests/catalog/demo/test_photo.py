"""Tests of the demonstration's photographs."""

from __future__ import annotations

import cv2
import numpy as np

from pinactors.catalog.demo import DESIGNS, photograph
from pinactors.protocol import View


def test_photographs_are_phone_sized_varied_and_repeatable() -> None:
    design = DESIGNS[0]
    one, again = photograph(design, View.FRONT, 3), photograph(design, View.FRONT, 3)
    assert one == again
    assert photograph(design, View.FRONT, 4) != one
    assert 100_000 < len(one) < 600_000
    picture = cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (1440, 1080, 3)
    border = np.concatenate([picture[:40].reshape(-1, 3), picture[-40:].reshape(-1, 3)])
    middle = picture[520:920, 340:740].reshape(-1, 3)
    assert np.abs(border.mean(axis=0) - middle.mean(axis=0)).max() > 20, "the pin lies in the middle"
    assert border.std(axis=0).max() > 3, "the table has a texture"
