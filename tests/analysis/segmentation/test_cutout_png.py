"""Tests of making a catalogue picture from a photograph: the pin is cut out if its outline is sure."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pinactors.analysis.segmentation.cutout_png import cutout_png
from pinactors.protocol import View
from tests import drawing
from tests.catalog import folders


def decoded(png: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(picture)


def test_a_pin_is_cut_along_its_outline(tmp_path: Path) -> None:
    path = str(folders.photographed(3, tmp_path / "photograph.png"))
    content, outlined = cutout_png(path, View.FRONT, folders.MAX_PIXELS, False)
    picture = decoded(content)
    assert outlined
    assert picture.shape[2] == 4
    seen = picture[..., 3] > 0
    assert 0.3 < seen.mean() < 0.95
    assert not seen[0].any(), "a margin is kept around it"
    whole, outlined = cutout_png(path, View.FRONT, folders.MAX_PIXELS, True)
    assert not outlined
    assert decoded(whole).shape == (700, 900, 3)


def test_a_table_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.png"
    cv2.imwrite(str(path), drawing.background("white", 300, 200))
    content, outlined = cutout_png(str(path), View.FRONT, folders.MAX_PIXELS, False)
    assert not outlined
    assert decoded(content).shape == (200, 300, 3)
