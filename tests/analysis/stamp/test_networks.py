"""Tests that the changed networks give the same results as PP-OCR's own."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from rapidocr import RapidOCR

from pinactors.analysis.stamp import networks

KEPT = np.array([0, 11, 12, 13, 40, 41, 42])
TINY = np.finfo(np.float32).tiny


@pytest.fixture(scope="module")
def reader() -> Any:
    return RapidOCR(params={"Global.log_level": "critical", "Global.use_cls": False})


def _line() -> npt.NDArray[np.float32]:
    picture = np.full((48, 240, 3), 60, np.uint8)
    cv2.putText(picture, "MADE 2015", (8, 36), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (200, 200, 200), 2)
    return np.moveaxis(picture.astype(np.float32) / 127.5 - 1, 2, 0)[None]


def test_the_detector_gives_the_same_values_without_its_subnormal_weights(reader: Any) -> None:
    network = reader._load_det_model().session
    pixels = np.repeat(_line(), 4, axis=2)[..., :224].copy()
    before = network(pixels)
    networks.lighten(network)
    assert np.array_equal(network(pixels), before)
    assert before.max() > 0.3  # there is something to detect


def test_the_kept_classes_have_the_probabilities_that_they_had_relative_to_each_other(reader: Any) -> None:
    network = reader._load_rec_model().session
    before = network(_line())[0][:, KEPT]
    networks.lighten(network, KEPT)
    after = network(_line())[0]
    assert after.shape == before.shape
    assert np.allclose(after, before / before.sum(axis=1, keepdims=True), atol=1e-5)
    assert network.have_key()  # the characters' names are still there


def test_only_subnormal_weights_are_changed() -> None:
    weights = np.array([TINY / 2, -TINY / 8, TINY, 0.5, -1e-30, 0], np.float32)
    assert networks._normal(weights).tolist() == [0, 0, float(TINY), 0.5, float(np.float32(-1e-30)), 0]
    usual = np.array([0.5, -0.25, 0], np.float32)
    assert networks._normal(usual) is usual
