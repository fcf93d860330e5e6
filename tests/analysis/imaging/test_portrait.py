"""Tests of portraits: their field of lines."""

from __future__ import annotations

import cv2
import numpy as np

from pinactors.analysis.imaging.portrait import PORTRAIT_SIDE, line_field


def test_lines_do_not_care_which_side_is_dark() -> None:
    rgb = np.full((PORTRAIT_SIDE, PORTRAIT_SIDE, 3), 60, np.uint8)
    cv2.line(rgb, (20, 30), (100, 90), (200, 200, 200), 5)
    mask = np.ones((PORTRAIT_SIDE, PORTRAIT_SIDE), np.float32)
    one, other = line_field(rgb, mask), line_field(np.asarray(255 - rgb, np.uint8), mask)
    agreement = (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())
    assert agreement > 0.95
    across = line_field(np.ascontiguousarray(rgb[:, ::-1]), mask)
    assert (one * across).sum() / np.sqrt((one**2).sum() * (across**2).sum()) < 0.3
