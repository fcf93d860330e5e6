"""Tests of moving outlines by a graph cut."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.segmentation import graph_cut, proposals
from tests import drawing
from tests.analysis.segmentation.drawn import front, proposal_of, shared, small, table


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


@pytest.mark.parametrize("kind", drawing.BACKGROUNDS)
def test_a_proposal_that_is_somewhat_too_wide_is_finished_along_the_pin(kind: str) -> None:
    for seed in range(3):
        scene, truth = small(drawing.photograph(front(seed), table(kind, seed), share=0.7))
        wide = as_image(cv2.dilate(truth, proposals.disk(3)))
        found = graph_cut.refine(scene, proposal_of(wide), None)
        assert shared(wide, truth) < 0.9
        assert shared(found, truth) > 0.9


def test_a_shadow_that_is_known_is_cut_off() -> None:
    scene, truth = small(drawing.photograph(front(0), table("wood"), share=0.7))
    beside = as_image(cv2.warpAffine(truth, np.array([[1.0, 0, 12], [0, 1, 9]]), (224, 168))) & (1 - truth)
    found = graph_cut.refine(scene, proposal_of(truth | beside), beside)
    assert np.count_nonzero(found & beside) == 0
    assert shared(found, truth) > 0.9


def test_a_region_without_anything_around_it_cannot_be_cut_anew() -> None:
    scene, _ = small(drawing.photograph(front(0), table("wood"), share=0.7))
    assert graph_cut.recut(scene, proposal_of(np.ones((168, 224), np.uint8))) is None
