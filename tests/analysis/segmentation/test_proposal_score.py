"""Tests of the measures of a region."""

from __future__ import annotations

from pinactors.analysis.segmentation import proposal_score
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
