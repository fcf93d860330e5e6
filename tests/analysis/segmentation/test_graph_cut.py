"""Tests of moving outlines by a graph cut."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.segmentation import graph_cut, proposals
from tests import drawing
from tests.analysis.segmentation.drawn import front, shared, small, table


@pytest.mark.parametrize("kind", ["cloth", "wood", "speckle"])
def test_an_outline_far_too_wide_is_cut_anew_along_the_pin(kind: str) -> None:
    for seed in range(4):
        scene, truth = small(drawing.photograph(front(seed), table(kind, seed), share=0.7))
        for moved in (0, 4):
            shift = np.array([[1.0, 0, moved], [0, 1, 0]])
            rough = cv2.warpAffine(cv2.dilate(truth, proposals.disk(8)), shift, (224, 168))
            cut = graph_cut.recut(scene, proposals.Proposal(rough, cv2.countNonZero(rough), "rough"))
            assert cut is not None
            assert shared(rough, truth) < 0.78
            assert shared(cut, truth) > 0.9
