"""Tests of the measures of a region and of its score."""

from __future__ import annotations

import numpy as np
import pytest

from pinactors.analysis.segmentation import proposal_score
from pinactors.analysis.segmentation.proposal_score import measure, score
from tests import drawing
from tests.analysis.segmentation.drawn import front, small, table


def test_one_metal_all_round_has_a_quieter_rim_than_a_part_of_the_enamel() -> None:
    for seed in range(4):
        scene, truth = small(drawing.photograph(front(seed, metal="gold"), table("white"), share=0.8))
        part = truth.copy()
        part[:, 112:] = 0
        whole, half = proposal_score.measure(truth, scene), proposal_score.measure(part, scene)
        assert whole is not None
        assert half is not None
        assert whole.rim < half.rim


@pytest.mark.parametrize("kind", drawing.BACKGROUNDS)
def test_the_pin_scores_above_its_half_and_above_a_part_of_the_table(kind: str) -> None:
    for seed in range(3):
        scene, truth = small(drawing.photograph(front(seed), table(kind, seed), share=0.7))
        half, beside = truth.copy(), np.zeros_like(truth)
        half[:, 112:] = 0
        beside[5:45, 5:45] = 1
        whole, *others = (measure(mask, scene) for mask in (truth, half, beside))
        assert whole is not None
        for other in others:
            assert other is not None
            assert score(whole) > score(other)


def test_what_has_no_background_is_not_measured() -> None:
    scene, _ = small(drawing.photograph(front(0), table("wood"), share=0.7))
    assert measure(np.ones((168, 224), np.uint8), scene) is None
    assert measure(np.zeros((168, 224), np.uint8), scene) is None
